//! Signal numbers and what each does by default.

use core::fmt;

/// A signal number, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

/// What a signal does to a process that neither handles nor ignores it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DefaultAction {
    /// Nothing.
    Ignore,
    /// Ends the process.
    Terminate,
    /// Ends the process with a core dump.
    CoreDump,
    /// Stops the process.
    Stop,
    /// Continues the process.
    Continue,
}

macro_rules! signals {
    ($($name:ident = $code:literal, $symbol:literal, $text:literal, $action:ident;)*) => {
        impl Signal {
            $(
                #[doc = concat!("`", $symbol, "`: ", $text, ".")]
                pub const $name: Self = Self($code);
            )*

            /// The symbolic name of a standard signal, as in `signal(7)`.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($symbol),)*
                    _ => None,
                }
            }

            /// What `strsignal(3)` says of a standard signal.
            pub const fn text(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($text),)*
                    _ => None,
                }
            }

            /// What it does by default; real-time signals terminate.
            pub const fn default_action(self) -> DefaultAction {
                match self.0 {
                    $($code => DefaultAction::$action,)*
                    _ => DefaultAction::Terminate,
                }
            }
        }
    };
}

signals! {
    HUP = 1, "SIGHUP", "Hangup", Terminate;
    INT = 2, "SIGINT", "Interrupt", Terminate;
    QUIT = 3, "SIGQUIT", "Quit", CoreDump;
    ILL = 4, "SIGILL", "Illegal instruction", CoreDump;
    TRAP = 5, "SIGTRAP", "Trace/breakpoint trap", CoreDump;
    ABRT = 6, "SIGABRT", "Aborted", CoreDump;
    BUS = 7, "SIGBUS", "Bus error", CoreDump;
    FPE = 8, "SIGFPE", "Floating point exception", CoreDump;
    KILL = 9, "SIGKILL", "Killed", Terminate;
    USR1 = 10, "SIGUSR1", "User defined signal 1", Terminate;
    SEGV = 11, "SIGSEGV", "Segmentation fault", CoreDump;
    USR2 = 12, "SIGUSR2", "User defined signal 2", Terminate;
    PIPE = 13, "SIGPIPE", "Broken pipe", Terminate;
    ALRM = 14, "SIGALRM", "Alarm clock", Terminate;
    TERM = 15, "SIGTERM", "Terminated", Terminate;
    STKFLT = 16, "SIGSTKFLT", "Stack fault", Terminate;
    CHLD = 17, "SIGCHLD", "Child exited", Ignore;
    CONT = 18, "SIGCONT", "Continued", Continue;
    STOP = 19, "SIGSTOP", "Stopped (signal)", Stop;
    TSTP = 20, "SIGTSTP", "Stopped", Stop;
    TTIN = 21, "SIGTTIN", "Stopped (tty input)", Stop;
    TTOU = 22, "SIGTTOU", "Stopped (tty output)", Stop;
    URG = 23, "SIGURG", "Urgent I/O condition", Ignore;
    XCPU = 24, "SIGXCPU", "CPU time limit exceeded", CoreDump;
    XFSZ = 25, "SIGXFSZ", "File size limit exceeded", CoreDump;
    VTALRM = 26, "SIGVTALRM", "Virtual timer expired", Terminate;
    PROF = 27, "SIGPROF", "Profiling timer expired", Terminate;
    WINCH = 28, "SIGWINCH", "Window changed", Ignore;
    IO = 29, "SIGIO", "I/O possible", Terminate;
    PWR = 30, "SIGPWR", "Power failure", Terminate;
    SYS = 31, "SIGSYS", "Bad system call", CoreDump;
}

impl Signal {
    /// Signals there are.
    pub const COUNT: u8 = 64;
    /// First real-time signal.
    pub const RT_MIN: Self = Self(32);

    /// Wraps a raw number; `None` outside `1..=64`.
    pub const fn from_raw(raw: i32) -> Option<Self> {
        if raw >= 1 && raw <= Self::COUNT as i32 {
            Some(Self(raw as u8))
        } else {
            None
        }
    }

    /// The raw number.
    pub const fn raw(self) -> u8 {
        self.0
    }

    /// Position in arrays with one element per signal (number minus one).
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// Whether several of it queue up.
    pub const fn is_realtime(self) -> bool {
        self.0 >= 32
    }

    /// Whether it can be neither caught, blocked nor ignored.
    pub const fn is_unblockable(self) -> bool {
        self.0 == Self::KILL.0 || self.0 == Self::STOP.0
    }

    /// Whether it is raised by the instruction being executed, so that it is
    /// delivered before others that are pending.
    pub const fn is_synchronous(self) -> bool {
        matches!(
            self,
            Self::SEGV | Self::BUS | Self::ILL | Self::TRAP | Self::FPE | Self::SYS
        )
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "SIGRT_{}", self.0 - 32),
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => f.write_str(text),
            None => write!(f, "Real-time signal {}", i32::from(self.0) - 34),
        }
    }
}
