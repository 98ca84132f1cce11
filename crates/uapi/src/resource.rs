//! Resource use and limits; facts about the system.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::time::Timeval;

/// Result of `getrusage(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Rusage {
    /// User time.
    pub utime: Timeval,
    /// System time.
    pub stime: Timeval,
    /// Peak resident set, KiB.
    pub maxrss: i64,
    /// Zero on Linux.
    pub ixrss: i64,
    /// Zero on Linux.
    pub idrss: i64,
    /// Zero on Linux.
    pub isrss: i64,
    /// Minor faults.
    pub minflt: i64,
    /// Major faults.
    pub majflt: i64,
    /// Zero on Linux.
    pub nswap: i64,
    /// Blocks read, 512 bytes each.
    pub inblock: i64,
    /// Blocks written, 512 bytes each.
    pub oublock: i64,
    /// Zero on Linux.
    pub msgsnd: i64,
    /// Zero on Linux.
    pub msgrcv: i64,
    /// Zero on Linux.
    pub nsignals: i64,
    /// Voluntary context switches.
    pub nvcsw: i64,
    /// Involuntary context switches.
    pub nivcsw: i64,
}

/// Whose use `getrusage(2)` reports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum RusageWho {
    /// The process.
    Itself = 0,
    /// Its waited-for children.
    Children = -1,
    /// The thread.
    Thread = 1,
}

impl RusageWho {
    /// Decodes the argument; `None` is `EINVAL`.
    pub const fn from_raw(raw: i32) -> Option<Self> {
        match raw {
            0 => Some(Self::Itself),
            -1 => Some(Self::Children),
            1 => Some(Self::Thread),
            _ => None,
        }
    }
}

/// A soft and a hard limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Rlimit {
    /// What is enforced.
    pub cur: u64,
    /// How far `cur` may be raised.
    pub max: u64,
}

impl Rlimit {
    /// No limit.
    pub const INFINITY: u64 = u64::MAX;
    /// No limit, soft or hard.
    pub const UNLIMITED: Self = Self {
        cur: Self::INFINITY,
        max: Self::INFINITY,
    };
}

macro_rules! resources {
    ($($name:ident = $code:literal, $limits:literal, $unit:literal;)*) => {
        /// What a limit is about.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        pub enum Resource {
            $(#[doc = concat!($limits, ", in ", $unit, ".")] $name = $code,)*
        }

        impl Resource {
            /// Every resource, in the order of their numbers.
            pub const EVERY: [Self; 16] = [$(Self::$name),*];

            /// Decodes the argument; `None` is `EINVAL`.
            pub const fn from_raw(raw: u32) -> Option<Self> {
                match raw {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Position in arrays with one element per resource.
            pub const fn index(self) -> usize {
                self as usize
            }

            /// What `/proc/PID/limits` calls it.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $limits,)* }
            }

            /// The unit of `/proc/PID/limits`.
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$name => $unit,)* }
            }
        }
    };
}

resources! {
    Cpu = 0, "Max cpu time", "seconds";
    Fsize = 1, "Max file size", "bytes";
    Data = 2, "Max data size", "bytes";
    Stack = 3, "Max stack size", "bytes";
    Core = 4, "Max core file size", "bytes";
    Rss = 5, "Max resident set", "bytes";
    Nproc = 6, "Max processes", "processes";
    Nofile = 7, "Max open files", "files";
    Memlock = 8, "Max locked memory", "bytes";
    As = 9, "Max address space", "bytes";
    Locks = 10, "Max file locks", "locks";
    Sigpending = 11, "Max pending signals", "signals";
    Msgqueue = 12, "Max msgqueue size", "bytes";
    Nice = 13, "Max nice priority", "";
    Rtprio = 14, "Max realtime priority", "";
    Rttime = 15, "Max realtime timeout", "us";
}

/// Result of `sysinfo(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Sysinfo {
    /// Seconds since boot.
    pub uptime: i64,
    /// Load averages over 1, 5, 15 minutes, times 65,536.
    pub loads: [u64; 3],
    /// Usable RAM, in units.
    pub totalram: u64,
    /// Free RAM, in units.
    pub freeram: u64,
    /// Shared memory, in units.
    pub sharedram: u64,
    /// Block device cache, in units.
    pub bufferram: u64,
    /// Swap space, in units.
    pub totalswap: u64,
    /// Free swap space, in units.
    pub freeswap: u64,
    /// Processes.
    pub procs: u16,
    /// Padding.
    pub pad: u16,
    /// Padding.
    pub pad2: u32,
    /// Zero on x86-64.
    pub totalhigh: u64,
    /// Zero on x86-64.
    pub freehigh: u64,
    /// Bytes per unit.
    pub mem_unit: u32,
    /// Padding.
    pub pad3: u32,
}

/// Result of `uname(2)`: six NUL-terminated texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Utsname {
    /// `Linux`.
    pub sysname: [u8; 65],
    /// Host name.
    pub nodename: [u8; 65],
    /// Kernel release.
    pub release: [u8; 65],
    /// Kernel build.
    pub version: [u8; 65],
    /// `x86_64`.
    pub machine: [u8; 65],
    /// NIS domain.
    pub domainname: [u8; 65],
}

impl Utsname {
    /// One field from text; what does not fit in 64 bytes is cut.
    pub fn field(text: &str) -> [u8; 65] {
        let mut bytes = [0; 65];
        for (to, from) in bytes.iter_mut().take(64).zip(text.bytes()) {
            *to = from;
        }
        bytes
    }
}

const _: () = assert!(size_of::<Rusage>() == 144);
const _: () = assert!(size_of::<Sysinfo>() == 112);
const _: () = assert!(size_of::<Utsname>() == 390);
