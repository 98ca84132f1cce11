//! Futexes and robust lists.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// Operations of `futex(2)`, without its flags.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        pub enum FutexOp { $($(#[$doc])* $name = $code,)* }

        impl FutexOp {
            /// Decodes the argument without [`FUTEX_PRIVATE`] and
            /// [`FUTEX_CLOCK_REALTIME`]; `None` is `ENOSYS`.
            pub const fn from_raw(raw: u32) -> Option<Self> {
                match raw & !(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME) {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

operations! {
    /// Waits while the word has a value.
    Wait = 0;
    /// Wakes waiters.
    Wake = 1;
    /// Removed from Linux.
    Fd = 2;
    /// Wakes some, moves the rest.
    Requeue = 3;
    /// Wakes some, moves the rest, if the word has a value.
    CmpRequeue = 4;
    /// Changes a second word, wakes on both.
    WakeOp = 5;
    /// Takes a lock with priority inheritance.
    LockPi = 6;
    /// Gives it back.
    UnlockPi = 7;
    /// Takes it if it is free.
    TrylockPi = 8;
    /// [`FutexOp::Wait`] with a mask and an absolute timeout.
    WaitBitset = 9;
    /// [`FutexOp::Wake`] with a mask.
    WakeBitset = 10;
    /// Waits to be moved to a lock with priority inheritance.
    WaitRequeuePi = 11;
    /// Moves waiters to such a lock.
    CmpRequeuePi = 12;
    /// [`FutexOp::LockPi`] with the monotonic clock.
    LockPi2 = 13;
}

/// Flag of `futex(2)`: not shared between processes.
pub const FUTEX_PRIVATE: u32 = 128;
/// Flag of `futex(2)`: the timeout is of the wall clock.
pub const FUTEX_CLOCK_REALTIME: u32 = 256;
/// Mask that matches every waiter.
pub const FUTEX_BITSET_MATCH_ANY: u32 = u32::MAX;
/// Bit of a lock word: there are waiters.
pub const FUTEX_WAITERS: u32 = 0x8000_0000;
/// Bit of a lock word: the owner died.
pub const FUTEX_OWNER_DIED: u32 = 0x4000_0000;
/// Bits of a lock word that hold the owner.
pub const FUTEX_TID_MASK: u32 = 0x3fff_ffff;
/// Most entries of a robust list that are walked.
pub const ROBUST_LIST_LIMIT: u32 = 2048;

/// Head of a thread's robust list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RobustListHead {
    /// First entry (bit 0: priority inheritance).
    pub list: u64,
    /// From an entry to its futex word.
    pub futex_offset: i64,
    /// Entry being added or removed.
    pub list_op_pending: u64,
}

/// One futex of `futex_waitv(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FutexWaitv {
    /// Expected value.
    pub val: u64,
    /// Address.
    pub uaddr: u64,
    /// Size and sharing.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}
