//! One host system call that a stub executes for the supervisor.

use super::layout::{OPS_SIZE, SLOT_SIZE, Slot};

/// Descriptor of RAM in every stub process.
pub(super) const RAM_FD: u64 = 0;
/// Descriptor of the control file in every stub process.
pub(super) const CONTROL_FD: u64 = 1;
/// "Number" of the call by which a stub asks the supervisor what to do.
pub(super) const TRAP_NR: u64 = 0x3ff;

/// A record of the list that the stub works through; its layout is known to
/// the stub's code.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Op {
    nr: u64,
    /// RDI, RSI, RDX, R10, R8, R9. The stub adds the secret to R8 and to RDX
    /// (mmap) or R10 (the others).
    args: [u64; 6],
    /// Records to leave out if the result is not 0: what a clone's child does.
    skip: u64,
}

const _: () = assert!(size_of::<Op>() == 64, "the stub steps by 64 bytes");

/// Rights of a host mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rights {
    /// Stores are possible.
    pub write: bool,
    /// Instruction fetches are possible.
    pub execute: bool,
}

impl Rights {
    const fn prot(self) -> u64 {
        libc::PROT_READ as u64
            | if self.write { libc::PROT_WRITE as u64 } else { 0 }
            | if self.execute { libc::PROT_EXEC as u64 } else { 0 }
    }
}

/// Why a stub made its trap call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A signal interrupted guest code; its frame lies on the signal stack.
    Signal(i32),
    /// A new thread's first call; the slot it was given.
    Born(u64),
    /// The zygote has done what it was told.
    Ready,
    /// An operation failed: its address in the list, and the host's errno.
    Failed {
        /// Address of the record, in the guest.
        record: u64,
        /// The host's error, positive.
        errno: i32,
    },
    /// None of these: only a guest that jumped here says so.
    Nonsense,
}

const BORN: u64 = 0x101;
const READY: u64 = 0x102;
pub(super) const FAILED: u64 = 0x103;

impl Cause {
    /// Reads the arguments of a trap call.
    pub fn of(args: &[u64; 6]) -> Self {
        match args[0] {
            signal @ 1..=64 => Self::Signal(signal as i32),
            BORN => Self::Born(args[1]),
            READY => Self::Ready,
            FAILED => Self::Failed {
                record: args[1],
                errno: (args[2] as i64).wrapping_neg() as i32,
            },
            _ => Self::Nonsense,
        }
    }
}

const fn op(nr: libc::c_long, args: [u64; 6]) -> Op {
    Op {
        nr: nr as u64,
        args,
        skip: 0,
    }
}

impl Op {
    /// Shows `len` bytes of RAM from `offset` at `at`, replacing what is there.
    pub const fn map_ram(at: u64, len: u64, offset: u64, rights: Rights) -> Self {
        let flags = libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_POPULATE;
        op(
            libc::SYS_mmap,
            [at, len, rights.prot(), flags as u64, RAM_FD, offset],
        )
    }

    /// Takes away what is mapped in a range.
    pub const fn unmap(at: u64, len: u64) -> Self {
        op(libc::SYS_munmap, [at, len, 0, 0, 0, 0])
    }

    /// Takes the right to write away.
    pub const fn write_protect(at: u64, len: u64, execute: bool) -> Self {
        let rights = Rights {
            write: false,
            execute,
        };
        op(libc::SYS_mprotect, [at, len, rights.prot(), 0, 0, 0])
    }

    /// Shows a slot's operations, read-only.
    pub const fn map_ops(slot: Slot) -> Self {
        let flags = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
        op(
            libc::SYS_mmap,
            [
                slot.address(),
                OPS_SIZE,
                libc::PROT_READ as u64,
                flags,
                CONTROL_FD,
                slot.offset(),
            ],
        )
    }

    /// Shows a slot's signal stack.
    pub const fn map_stack(slot: Slot) -> Self {
        let flags = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
        let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let offset = slot.offset() + OPS_SIZE;
        op(
            libc::SYS_mmap,
            [slot.stack(), Slot::STACK_SIZE, prot, flags, CONTROL_FD, offset],
        )
    }

    /// Takes a slot out of the space.
    pub const fn unmap_slot(slot: Slot) -> Self {
        Self::unmap(slot.address(), SLOT_SIZE)
    }

    /// A new process, child of the supervisor, with a copy of this address
    /// space; the next `child` records are the child's.
    pub const fn fork(child: u64) -> Self {
        let flags = (libc::CLONE_PARENT | libc::CLONE_FILES | libc::CLONE_FS) as u64;
        Self {
            skip: child,
            ..op(libc::SYS_clone, [flags, 0, 0, 0, 0, 0])
        }
    }

    /// A new thread of this process; the next `child` records are the child's.
    pub const fn thread(child: u64) -> Self {
        let flags = libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SYSVSEM;
        Self {
            skip: child,
            ..op(libc::SYS_clone, [flags as u64, 0, 0, 0, 0, 0])
        }
    }

    /// Makes `slot`'s stack the thread's signal stack; the `stack_t` lies in
    /// the slot's operations page.
    pub const fn signal_stack(slot: Slot) -> Self {
        op(libc::SYS_sigaltstack, [slot.address() + STACK_T, 0, 0, 0, 0, 0])
    }

    /// Dies with the supervisor.
    pub const fn die_with_parent() -> Self {
        op(
            libc::SYS_prctl,
            [libc::PR_SET_PDEATHSIG as u64, libc::SIGKILL as u64, 0, 0, 0, 0],
        )
    }

    /// Sets the base of FS.
    pub const fn set_fs(base: u64) -> Self {
        op(libc::SYS_arch_prctl, [ARCH_SET_FS, base, 0, 0, 0, 0])
    }

    /// Sets the base of GS.
    pub const fn set_gs(base: u64) -> Self {
        op(libc::SYS_arch_prctl, [ARCH_SET_GS, base, 0, 0, 0, 0])
    }

    /// Ends this thread.
    pub const fn exit_thread() -> Self {
        op(libc::SYS_exit, [0; 6])
    }

    /// Asks the supervisor: a new thread reports that it is there.
    pub const fn born(slot: Slot) -> Self {
        Self {
            nr: TRAP_NR,
            args: [BORN, slot.0 as u64, 0, 0, 0, 0],
            skip: 0,
        }
    }

    /// Asks the supervisor: the zygote is ready for another order.
    pub const fn ready() -> Self {
        Self {
            nr: TRAP_NR,
            args: [READY, 0, 0, 0, 0, 0],
            skip: 0,
        }
    }

    /// Any call, without the secret: for the time before the filter.
    pub(super) const fn plain(nr: libc::c_long, args: [u64; 6]) -> Self {
        Self {
            nr: nr as u64 | 1 << 63,
            args,
            skip: 0,
        }
    }

    /// Any call; for the list that makes a fresh process a zygote.
    pub(super) const fn raw(nr: libc::c_long, args: [u64; 6]) -> Self {
        op(nr, args)
    }

    /// As words, to be stored.
    pub(super) fn words(&self) -> [u64; 8] {
        let [a, b, c, d, e, f] = self.args;
        [self.nr, a, b, c, d, e, f, self.skip]
    }
}

/// Offset in an operations page of the `stack_t` of its slot.
pub(super) const STACK_T: u64 = 24;
const ARCH_SET_GS: u64 = 0x1001;
const ARCH_SET_FS: u64 = 0x1002;
