//! `/proc/PID/stat`.

use alloc::vec::Vec;

use super::scan::{ParseError, ascii, expected, number};
use super::write::{Text, put};

macro_rules! pid_stat {
    ($($(#[$doc:meta])* $field:ident: $kind:ty;)*) => {
        /// A process in one line: 52 fields. Times are in clock ticks of 10 ms.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct PidStat {
            /// Process id.
            pub pid: i32,
            /// Name.
            pub comm: Vec<u8>,
            /// State letter.
            pub state: u8,
            $($(#[$doc])* pub $field: $kind,)*
        }

        impl Text for PidStat {
            fn write(&self, out: &mut Vec<u8>) {
                put!(out, "{} (", self.pid);
                out.extend_from_slice(&self.comm);
                out.extend_from_slice(b") ");
                out.push(self.state);
                $(put!(out, " {}", self.$field);)*
                out.push(b'\n');
            }
        }

        impl PidStat {
            /// Reads the file.
            ///
            /// # Errors
            /// Anything but the 52 fields.
            pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
                // The name may hold spaces and parentheses; the last one ends it.
                let missing = expected("a name in parentheses");
                let open = text.iter().position(|&byte| byte == b'(').ok_or(missing)?;
                let close = text.iter().rposition(|&byte| byte == b')').ok_or(missing)?;
                let comm = text.get(open + 1..close).ok_or(missing)?;
                let rest = ascii(&text[close + 1..], "numbers")?;
                let mut words = rest.split_whitespace();
                let mut next = || words.next().ok_or(expected("52 fields"));
                let state = next()?;
                let &[state] = state.as_bytes() else {
                    return Err(expected("a state letter"));
                };
                Ok(Self {
                    pid: number(ascii(&text[..open], "a process id")?, "a process id")?,
                    comm: Vec::from(comm),
                    state,
                    $($field: number(next()?, "a number")?,)*
                })
            }
        }
    };
}

pid_stat! {
    /// Parent.
    ppid: i32;
    /// Process group.
    pgrp: i32;
    /// Session.
    session: i32;
    /// Controlling terminal.
    tty_nr: i32;
    /// Foreground process group of the terminal.
    tpgid: i32;
    /// Kernel flags.
    flags: u32;
    /// Minor faults.
    minflt: u64;
    /// Minor faults of waited-for children.
    cminflt: u64;
    /// Major faults.
    majflt: u64;
    /// Major faults of waited-for children.
    cmajflt: u64;
    /// User time.
    utime: u64;
    /// System time.
    stime: u64;
    /// User time of waited-for children.
    cutime: i64;
    /// System time of waited-for children.
    cstime: i64;
    /// Priority.
    priority: i64;
    /// Nice value.
    nice: i64;
    /// Threads.
    num_threads: i64;
    /// Zero.
    itrealvalue: i64;
    /// Start, since boot.
    starttime: u64;
    /// Address space, bytes.
    vsize: u64;
    /// Resident pages.
    rss: i64;
    /// Limit of them, bytes.
    rsslim: u64;
    /// Start of text.
    startcode: u64;
    /// End of text.
    endcode: u64;
    /// Bottom of the stack.
    startstack: u64;
    /// Stack pointer.
    kstkesp: u64;
    /// Instruction pointer.
    kstkeip: u64;
    /// Pending signals.
    signal: u64;
    /// Blocked signals.
    blocked: u64;
    /// Ignored signals.
    sigignore: u64;
    /// Caught signals.
    sigcatch: u64;
    /// Whether it waits in the kernel.
    wchan: u64;
    /// Zero.
    nswap: u64;
    /// Zero.
    cnswap: u64;
    /// Signal to the parent at exit.
    exit_signal: i32;
    /// CPU.
    processor: i32;
    /// Real-time priority.
    rt_priority: u32;
    /// Scheduling policy.
    policy: u32;
    /// Time waited for block I/O.
    delayacct_blkio_ticks: u64;
    /// Time of guests.
    guest_time: u64;
    /// Time of guests of waited-for children.
    cguest_time: i64;
    /// Start of data.
    start_data: u64;
    /// End of data.
    end_data: u64;
    /// Start of the heap.
    start_brk: u64;
    /// Start of the arguments.
    arg_start: u64;
    /// End of the arguments.
    arg_end: u64;
    /// Start of the environment.
    env_start: u64;
    /// End of the environment.
    env_end: u64;
    /// Exit status.
    exit_code: i32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses() {
        let zeroes = " 0".repeat(49);
        let text = alloc::format!("12 (a) R (b) S{zeroes}\n");
        let stat = PidStat::parse(text.as_bytes()).unwrap();
        assert_eq!(stat.comm, b"a) R (b");
        assert_eq!(stat.state, b'S');
        assert_eq!(stat.to_bytes(), text.as_bytes());
        assert!(PidStat::parse(b"12 )a( S").is_err());
    }
}
