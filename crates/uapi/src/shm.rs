//! System V shared memory.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `IPC_PRIVATE`: a key that stands for none.
pub const IPC_PRIVATE: i32 = 0;
/// `IPC_RMID`.
pub const IPC_RMID: u32 = 0;
/// `IPC_SET`.
pub const IPC_SET: u32 = 1;
/// `IPC_STAT`.
pub const IPC_STAT: u32 = 2;
/// `IPC_INFO`.
pub const IPC_INFO: u32 = 3;
/// `SHM_LOCK`.
pub const SHM_LOCK: u32 = 11;
/// `SHM_UNLOCK`.
pub const SHM_UNLOCK: u32 = 12;
/// `SHM_STAT`: as `IPC_STAT`, by index.
pub const SHM_STAT: u32 = 13;
/// `SHM_INFO`.
pub const SHM_INFO: u32 = 14;
/// `SHM_STAT_ANY`: as `SHM_STAT`, without asking for the right to read.
pub const SHM_STAT_ANY: u32 = 15;

bitflags::bitflags! {
    /// Flags of `shmget(2)` above the permissions.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct ShmGetFlags: u32 {
        /// Make it if it is not there.
        const CREAT = 0o1000;
        /// It must not be there.
        const EXCL = 0o2000;
        /// Of huge pages.
        const HUGETLB = 0o4000;
        /// Do not count it as committed.
        const NORESERVE = 0o10000;
    }

    /// Flags of `shmat(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct ShmAtFlags: u32 {
        /// Only to be read.
        const RDONLY = 0o10000;
        /// Round the address down.
        const RND = 0o20000;
        /// Over whatever is there.
        const REMAP = 0o40000;
        /// May be executed.
        const EXEC = 0o100000;
    }

    /// What the mode of a segment says beside permissions.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct ShmMode: u32 {
        /// Goes with the last who has it attached.
        const DEST = 0o1000;
        /// Is not swapped.
        const LOCKED = 0o2000;
    }
}

/// `struct ipc64_perm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IpcPerm {
    /// Key.
    pub key: i32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Who made it.
    pub cuid: u32,
    /// Group of who made it.
    pub cgid: u32,
    /// Permissions and [`ShmMode`].
    pub mode: u32,
    /// How often its index was used before.
    pub seq: u16,
    /// Padding.
    pub pad: [u16; 3],
    /// Zero.
    pub unused: [u64; 2],
}

/// `struct shmid64_ds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ShmidDs {
    /// Owner and permissions.
    pub perm: IpcPerm,
    /// Bytes as asked for.
    pub segsz: u64,
    /// Second of the last attach.
    pub atime: i64,
    /// Second of the last detach.
    pub dtime: i64,
    /// Second of the last change.
    pub ctime: i64,
    /// Process that made it.
    pub cpid: i32,
    /// Process of the last attach or detach.
    pub lpid: i32,
    /// How often it is attached.
    pub nattch: u64,
    /// Zero.
    pub unused: [u64; 2],
}

/// `struct shminfo64`: the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ShmLimits {
    /// Largest segment in bytes.
    pub shmmax: u64,
    /// Smallest.
    pub shmmin: u64,
    /// Segments at most.
    pub shmmni: u64,
    /// Segments of a process at most (not looked at).
    pub shmseg: u64,
    /// Pages of all segments at most.
    pub shmall: u64,
    /// Zero.
    pub unused: [u64; 4],
}

/// `struct shm_info`: what is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ShmInfo {
    /// Segments.
    pub used_ids: i32,
    /// Padding.
    pub pad: i32,
    /// Their pages.
    pub shm_tot: u64,
    /// Those in memory.
    pub shm_rss: u64,
    /// Those swapped out.
    pub shm_swp: u64,
    /// Zero.
    pub swap_attempts: u64,
    /// Zero.
    pub swap_successes: u64,
}

const _: () = assert!(size_of::<IpcPerm>() == 48 && size_of::<ShmidDs>() == 112);
const _: () = assert!(size_of::<ShmLimits>() == 72 && size_of::<ShmInfo>() == 48);
