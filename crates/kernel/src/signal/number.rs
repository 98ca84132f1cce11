//! Signal numbers and what they do by default.

use core::fmt;

/// A signal, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

/// What a signal does to a process that neither handles nor ignores it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultAction {
    /// The process ends.
    Terminate,
    /// The process ends, and its status tells of a core image.
    Core,
    /// The process stops.
    Stop,
    /// The process continues, if it was stopped.
    Continue,
    /// Nothing.
    Ignore,
}

macro_rules! signals {
    ($($name:ident = $number:literal, $text:literal, $default:ident;)*) => {
        impl Signal {
            $(
                #[doc = $text]
                pub const $name: Self = Self($number);
            )*

            /// The symbolic name without real-time signals, as in `signal(7)`.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(concat!("SIG", stringify!($name))),)*
                    _ => None,
                }
            }

            /// What `strsignal(3)` says; `None` for real-time signals.
            pub const fn text(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($text),)*
                    _ => None,
                }
            }

            /// What it does by default.
            pub const fn default_action(self) -> DefaultAction {
                match self.0 {
                    $($number => DefaultAction::$default,)*
                    _ => DefaultAction::Terminate,
                }
            }
        }
    };
}

signals! {
    HUP = 1, "Hangup", Terminate;
    INT = 2, "Interrupt", Terminate;
    QUIT = 3, "Quit", Core;
    ILL = 4, "Illegal instruction", Core;
    TRAP = 5, "Trace/breakpoint trap", Core;
    ABRT = 6, "Aborted", Core;
    BUS = 7, "Bus error", Core;
    FPE = 8, "Floating point exception", Core;
    KILL = 9, "Killed", Terminate;
    USR1 = 10, "User defined signal 1", Terminate;
    SEGV = 11, "Segmentation fault", Core;
    USR2 = 12, "User defined signal 2", Terminate;
    PIPE = 13, "Broken pipe", Terminate;
    ALRM = 14, "Alarm clock", Terminate;
    TERM = 15, "Terminated", Terminate;
    STKFLT = 16, "Stack fault", Terminate;
    CHLD = 17, "Child exited", Ignore;
    CONT = 18, "Continued", Continue;
    STOP = 19, "Stopped (signal)", Stop;
    TSTP = 20, "Stopped", Stop;
    TTIN = 21, "Stopped (tty input)", Stop;
    TTOU = 22, "Stopped (tty output)", Stop;
    URG = 23, "Urgent I/O condition", Ignore;
    XCPU = 24, "CPU time limit exceeded", Core;
    XFSZ = 25, "File size limit exceeded", Core;
    VTALRM = 26, "Virtual timer expired", Terminate;
    PROF = 27, "Profiling timer expired", Terminate;
    WINCH = 28, "Window changed", Ignore;
    IO = 29, "I/O possible", Terminate;
    PWR = 30, "Power failure", Terminate;
    SYS = 31, "Bad system call", Core;
}

impl Signal {
    /// Signal `raw`; `None` outside 1 to 64.
    pub const fn new(raw: u64) -> Option<Self> {
        if raw >= 1 && raw <= 64 {
            Some(Self(raw as u8))
        } else {
            None
        }
    }

    /// The raw number.
    pub const fn raw(self) -> u8 {
        self.0
    }

    /// The number as an index into a table that starts with signal 1.
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// Whether several may be pending at once.
    pub const fn is_realtime(self) -> bool {
        self.0 >= 32
    }

    /// Whether it is one of the four that stop a process by default.
    pub const fn stops(self) -> bool {
        matches!(self.default_action(), DefaultAction::Stop)
    }

    /// Whether it can be neither handled, ignored nor blocked.
    pub const fn is_absolute(self) -> bool {
        self.0 == Self::KILL.0 || self.0 == Self::STOP.0
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "SIGRT{}", self.0),
        }
    }
}
