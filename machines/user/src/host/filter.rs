//! What the host's kernel does with the system calls of guests and stubs.
//!
//! | where the call comes from | what | answer |
//! |---|---|---|
//! | another architecture's entry, an x32 number | any | SIGSYS |
//! | guest code | needs only arguments and a result | notification |
//! | guest code | needs registers or changes mappings, or is unknown | SIGSYS |
//! | the stub's trap call | [`TRAP_NR`] | notification |
//! | the stub's operations | a listed number, with the secret | done |
//! | the stub's return | `rt_sigreturn`, with the secret | done |
//! | the stub's return from an answer | `rt_sigprocmask` that opens all signals | done |
//! | elsewhere in the machine's area, or without the secret | any | the process dies |
//!
//! Returns from signals need the secret because a forged one could move the
//! signal stack to memory that another process sees.

use super::layout::STUB_BASE;
use super::op::TRAP_NR;
use super::stub::Entries;

/// The random number that tells the supervisor's operations from a guest's
/// attempts. 48 bits; a wrong guess is death.
#[derive(Clone, Copy)]
pub(super) struct Secret {
    high: u32,
    low: u16,
}

impl Secret {
    /// Takes the secret from 8 random bytes.
    pub(super) fn new(random: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, ..] = random;
        // The top bit stays clear, so that no answer to a trap call looks like
        // one of the kernel's restart codes.
        Self {
            high: u32::from_le_bytes([a, b, c, d & 0x7f]),
            low: u16::from_le_bytes([e, f]),
        }
    }

    /// The answer to a trap call of the thread in `slot`.
    pub(super) fn answer(self, slot: u16) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low) << 16 | u64::from(slot)
    }

    /// What operations carry in R8, and in RDX (mmap) or R10 (others).
    pub(super) fn masks(self) -> [u64; 2] {
        [u64::from(self.high) << 32, u64::from(self.low) << 48]
    }
}

/// Calls answered by notification: frequent ones that need arguments and a
/// result and seldom anything else. Everything not listed raises SIGSYS, which
/// also wins over an outer filter (of a container) that would refuse the call.
const NOTIFIED: &[core::ops::RangeInclusive<u32>] = &[
    0..=9,     // read write open close stat fstat lstat poll lseek mmap
    13..=14,   // rt_sigaction rt_sigprocmask
    16..=24,   // ioctl pread64 pwrite64 readv writev access pipe select sched_yield
    26..=27,   // msync mincore
    32..=38,   // dup ... nanosleep timers
    40..=55,   // sockets ... getsockopt
    61..=63,   // wait4 kill uname
    72..=100,  // fcntl flock fsync directories links modes ... times
    102..=112, // identities ... setsid
    127..=128, // rt_sigpending rt_sigtimedwait
    130..=130, // rt_sigsuspend
    200..=204, // tkill time futex affinity
    217..=218, // getdents64 set_tid_address
    228..=230, // clock_gettime clock_getres clock_nanosleep
    232..=235, // epoll_wait epoll_ctl tgkill utimes
    247..=247, // waitid
    257..=271, // openat ... ppoll
    273..=273, // set_robust_list
    280..=295, // utimensat epoll_pwait eventfd timerfd accept4 ... preadv
    302..=302, // prlimit64
    309..=309, // getcpu
    316..=319, // renameat2 seccomp getrandom memfd_create
    332..=332, // statx
    334..=334, // rseq
    436..=437, // close_range openat2
    439..=439, // faccessat2
    441..=441, // epoll_pwait2
];

fn is_notified(nr: u32) -> bool {
    NOTIFIED.iter().any(|range| range.contains(&nr))
}

/// Numbers that the stub may use, given the secret.
const OPERATIONS: &[libc::c_long] = &[
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_clone,
    libc::SYS_sigaltstack,
    libc::SYS_arch_prctl,
    libc::SYS_prctl,
    libc::SYS_exit,
    libc::SYS_sendmsg,
    libc::SYS_close,
];

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Where half of the secret is in the upper word of an argument.
const UPPER_HALF: u32 = 0xffff_0000;

const NR: u32 = 0;
const ARCH: u32 = 4;
const IP_LOW: u32 = 8;
const IP_HIGH: u32 = 12;
const ARG0_LOW: u32 = 16;
const ARG1_LOW: u32 = 24;
const ARG1_HIGH: u32 = 28;
const ARG2_LOW: u32 = 32;
const ARG2_HIGH: u32 = 36;
const ARG3_LOW: u32 = 40;
const ARG3_HIGH: u32 = 44;
const ARG4_HIGH: u32 = 52;

pub(super) const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const X32: u32 = 0x4000_0000;
/// First number beyond any that is notified.
const NUMBERS: u32 = 512;

/// One instruction of the filter's machine.
pub(super) type Instruction = libc::sock_filter;

fn step(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

fn done(action: u32) -> Instruction {
    step(RETURN, action)
}

/// Goes on if the loaded word is `k`, otherwise dies.
fn must_be(k: u32) -> [Instruction; 2] {
    [
        Instruction {
            code: EQUAL,
            jt: 1,
            jf: 0,
            k,
        },
        done(libc::SECCOMP_RET_KILL_PROCESS),
    ]
}

/// `then` if the loaded word is `k`, otherwise what follows it.
fn if_equal(k: u32, then: Vec<Instruction>) -> Vec<Instruction> {
    let over = u8::try_from(then.len()).unwrap_or(u8::MAX);
    let mut out = vec![Instruction {
        code: EQUAL,
        jt: 0,
        jf: over,
        k,
    }];
    out.extend(then);
    out
}

/// The whole program.
pub(super) fn program(secret: Secret, entries: &Entries) -> Vec<Instruction> {
    let stub = from_the_area(secret, entries);
    let mut out = vec![
        step(LOAD, ARCH),
        Instruction {
            code: EQUAL,
            jt: 1,
            jf: 0,
            k: AUDIT_ARCH_X86_64,
        },
        done(libc::SECCOMP_RET_TRAP),
        step(LOAD, IP_HIGH),
    ];
    // Guest code is everything outside [STUB_BASE, end of the upper half).
    let over = u8::try_from(stub.len()).unwrap_or(u8::MAX);
    out.push(Instruction {
        code: EQUAL,
        jt: 0,
        jf: over + 2,
        k: (STUB_BASE >> 32) as u32,
    });
    out.push(step(LOAD, IP_LOW));
    out.push(Instruction {
        code: AT_LEAST,
        jt: 0,
        jf: over,
        k: STUB_BASE as u32,
    });
    out.extend(stub);
    out.push(step(LOAD, NR));
    out.extend(decide(&by_number(), libc::SECCOMP_RET_TRAP));
    out
}

/// A call from inside the machine's area; the low half of the instruction
/// pointer is loaded.
fn from_the_area(secret: Secret, entries: &Entries) -> Vec<Instruction> {
    let mut trap = vec![step(LOAD, NR)];
    trap.extend(must_be(TRAP_NR as u32));
    trap.push(done(libc::SECCOMP_RET_USER_NOTIF));

    let mut sigreturn = vec![step(LOAD, NR)];
    sigreturn.extend(must_be(libc::SYS_rt_sigreturn as u32));
    sigreturn.push(step(LOAD, ARG4_HIGH));
    sigreturn.extend(must_be(secret.high));
    sigreturn.extend([step(LOAD, ARG3_HIGH), step(AND, UPPER_HALF)]);
    sigreturn.extend(must_be(u32::from(secret.low) << 16));
    sigreturn.push(done(libc::SECCOMP_RET_ALLOW));

    let mut out = if_equal(entries.trap as u32, trap);
    out.extend(if_equal(entries.opened as u32, opening(entries)));
    out.extend(if_equal(entries.sigreturn as u32, sigreturn));
    out.extend(must_be(entries.op as u32));
    out.extend(operation(secret));
    out
}

/// The call that opens all signals, and no other use of it.
fn opening(entries: &Entries) -> Vec<Instruction> {
    let words = [
        (NR, libc::SYS_rt_sigprocmask as u32),
        (ARG0_LOW, libc::SIG_SETMASK as u32),
        (ARG1_LOW, entries.no_signals as u32),
        (ARG1_HIGH, (entries.no_signals >> 32) as u32),
        (ARG2_LOW, 0),
        (ARG2_HIGH, 0),
        (ARG3_LOW, size_of::<u64>() as u32),
        (ARG3_HIGH, 0),
    ];
    let mut out = Vec::new();
    for (at, word) in words {
        out.push(step(LOAD, at));
        out.extend(must_be(word));
    }
    out.push(done(libc::SECCOMP_RET_ALLOW));
    out
}

/// An operation of the stub: allowed with the secret in the bits that the
/// kernel ignores, and only if it is one of those that the stub needs.
fn operation(secret: Secret) -> Vec<Instruction> {
    let low = u32::from(secret.low) << 16;
    let mut out = vec![step(LOAD, ARG4_HIGH)];
    out.extend(must_be(secret.high));
    out.push(step(LOAD, NR));
    let mut mmap = vec![step(LOAD, ARG2_HIGH), step(AND, UPPER_HALF)];
    mmap.extend(must_be(low));
    mmap.push(done(libc::SECCOMP_RET_ALLOW));
    out.extend(if_equal(libc::SYS_mmap as u32, mmap));
    out.extend([step(LOAD, ARG3_HIGH), step(AND, UPPER_HALF)]);
    out.extend(must_be(low));
    out.push(step(LOAD, NR));
    for &nr in OPERATIONS {
        out.extend(if_equal(nr as u32, vec![done(libc::SECCOMP_RET_ALLOW)]));
    }
    out.push(done(libc::SECCOMP_RET_KILL_PROCESS));
    out
}

/// For each run of numbers its first and its action; ascending.
fn by_number() -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for nr in 0..=NUMBERS {
        let action = if is_notified(nr) {
            libc::SECCOMP_RET_USER_NOTIF
        } else {
            libc::SECCOMP_RET_TRAP
        };
        if runs.last().is_none_or(|&(_, last)| last != action) {
            runs.push((nr, action));
        }
    }
    const { assert!(NUMBERS < X32, "x32 numbers fall into the last run") };
    runs
}

/// A decision tree over the loaded word: the action of the last run that does
/// not begin above it.
fn decide(runs: &[(u32, u32)], before: u32) -> Vec<Instruction> {
    match runs {
        [] => vec![done(before)],
        [(0, action)] => vec![done(*action)],
        _ => {
            let middle = runs.len() / 2;
            let (start, action) = runs[middle];
            let lower = decide(&runs[..middle], before);
            let upper = decide(&runs[middle + 1..], action);
            let over = u8::try_from(lower.len()).unwrap_or(u8::MAX);
            let mut out = vec![Instruction {
                code: AT_LEAST,
                jt: over,
                jf: 0,
                k: start,
            }];
            out.extend(lower);
            out.extend(upper);
            out
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would.
    fn run(program: &[Instruction], data: &[u32; 16]) -> u32 {
        let (mut at, mut a) = (0, 0);
        loop {
            let now = program[at];
            at += 1;
            let jump = |taken| usize::from(if taken { now.jt } else { now.jf });
            match now.code {
                LOAD => a = data[now.k as usize / 4],
                AND => a &= now.k,
                EQUAL => at += jump(a == now.k),
                AT_LEAST => at += jump(a >= now.k),
                RETURN => return now.k,
                other => panic!("no such instruction: {other}"),
            }
        }
    }

    fn call(nr: u64, ip: u64, args: [u64; 6]) -> [u32; 16] {
        let mut data = [0; 16];
        (data[0], data[1], data[2], data[3]) = (nr as u32, AUDIT_ARCH_X86_64, ip as u32, (ip >> 32) as u32);
        for (i, arg) in args.into_iter().enumerate() {
            (data[4 + 2 * i], data[5 + 2 * i]) = (arg as u32, (arg >> 32) as u32);
        }
        data
    }

    const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
    const TRAP: u32 = libc::SECCOMP_RET_TRAP;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const MMAP: u64 = libc::SYS_mmap as u64;
    const MUNMAP: u64 = libc::SYS_munmap as u64;

    fn setup() -> (Vec<Instruction>, Entries, [u64; 2]) {
        let (secret, entries) = (
            Secret::new([0x12, 0x34, 0x56, 0xf8, 0x9a, 0xbc, 0, 0]),
            Entries::new(),
        );
        (program(secret, &entries), entries, secret.masks())
    }

    #[test]
    fn guest_code_never_reaches_the_host() {
        let (program, ..) = setup();
        for ip in [0, 0x40_1000, STUB_BASE - 1, 0xffff_ffff_ff60_0000] {
            for nr in (0..1100).chain([u64::from(X32), u64::from(X32) + 9, u64::from(u32::MAX)]) {
                let wanted = if is_notified(nr as u32) { NOTIFY } else { TRAP };
                assert_eq!(
                    run(&program, &call(nr, ip, [u64::MAX; 6])),
                    wanted,
                    "{nr} at {ip:#x}"
                );
            }
        }
    }

    #[test]
    fn another_architecture_traps_wherever_it_comes_from() {
        let (program, entries, masks) = setup();
        for ip in [0x40_1000, entries.op, entries.trap] {
            let mut data = call(MMAP, ip, [0, 0, masks[1], 0, masks[0], 0]);
            data[1] = 0x4000_0003;
            assert_eq!(run(&program, &data), TRAP);
        }
    }

    #[test]
    fn an_operation_needs_both_halves_of_the_secret() {
        let (program, entries, [high, low]) = setup();
        assert_eq!(
            run(&program, &call(MMAP, entries.op, [0, 0, 3 | low, 0x11, high, 0])),
            ALLOW
        );
        assert_eq!(
            run(&program, &call(MUNMAP, entries.op, [0, 0, 0, low, high, 0])),
            ALLOW
        );
        for (rdx, r10, r8) in [(0, 0, 0), (low, low, 0), (0, 0, high), (low ^ 1 << 63, low, high)] {
            assert_eq!(
                run(&program, &call(MMAP, entries.op, [0, 0, rdx, r10, r8, 0])),
                KILL
            );
        }
        for (rdx, r10, r8) in [(low, 0, high), (0, low, 0), (0, low, high ^ 1 << 32)] {
            assert_eq!(
                run(&program, &call(MUNMAP, entries.op, [0, 0, rdx, r10, r8, 0])),
                KILL
            );
        }
        for nr in [0, 1, 2, 59, 62, 101, 257, 310] {
            assert_eq!(
                run(&program, &call(nr, entries.op, [0, 0, low, low, high, 0])),
                KILL,
                "{nr}"
            );
        }
    }

    #[test]
    fn signals_can_be_opened_and_nothing_else() {
        let (program, entries, _) = setup();
        let right = [2, entries.no_signals, 0, 8, u64::MAX, u64::MAX];
        assert_eq!(run(&program, &call(14, entries.opened, right)), ALLOW);
        assert_eq!(run(&program, &call(13, entries.opened, right)), KILL);
        let wrong = [
            [0, entries.no_signals],
            [1, entries.no_signals],
            [2, entries.no_signals + 8],
            [2, 0x1000],
            [2, entries.no_signals | 1 << 48],
        ];
        for [how, set] in wrong {
            let args = [how, set, 0, 8, 0, 0];
            assert_eq!(run(&program, &call(14, entries.opened, args)), KILL);
        }
        for (old, size) in [(8, 8), (1 << 32, 8), (0, 16), (0, 8 | 1 << 32)] {
            let args = [2, entries.no_signals, old, size, 0, 0];
            assert_eq!(run(&program, &call(14, entries.opened, args)), KILL);
        }
        for ip in [entries.op, entries.trap, entries.sigreturn, entries.leave] {
            assert_eq!(run(&program, &call(14, ip, right)), KILL);
        }
    }

    #[test]
    fn the_rest_of_the_area_is_deadly() {
        let (program, entries, [high, low]) = setup();
        for ip in [
            STUB_BASE,
            entries.trap + 1,
            entries.op - 1,
            STUB_BASE + 0x1000_0000,
        ] {
            assert_eq!(run(&program, &call(MMAP, ip, [0, 0, low, low, high, 0])), KILL);
        }
        assert_eq!(run(&program, &call(TRAP_NR, entries.trap, [0; 6])), NOTIFY);
        assert_eq!(run(&program, &call(9, entries.trap, [0; 6])), KILL);
        assert_eq!(
            run(&program, &call(15, entries.sigreturn, [0, 0, 0, low, high, 0])),
            ALLOW
        );
        assert_eq!(run(&program, &call(15, entries.sigreturn, [0; 6])), KILL);
        assert_eq!(run(&program, &call(9, entries.sigreturn, [0; 6])), KILL);
    }
}
