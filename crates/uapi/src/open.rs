//! Flags of opening, descriptors and paths.

use bitflags::bitflags;

/// What a descriptor may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AccessMode {
    /// Reading.
    ReadOnly,
    /// Writing.
    WriteOnly,
    /// Both.
    ReadWrite,
    /// Neither, only `ioctl` (value 3).
    IoctlOnly,
}

bitflags! {
    /// Flags of `open(2)`. The low two bits are an [`AccessMode`], not flags.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct OpenFlags: u32 {
        /// Bit of [`AccessMode::WriteOnly`].
        const WRONLY = 0o1;
        /// Bit of [`AccessMode::ReadWrite`].
        const RDWR = 0o2;
        /// Create if it does not exist.
        const CREAT = 0o100;
        /// With `CREAT`: fail if it exists.
        const EXCL = 0o200;
        /// Do not become the controlling terminal.
        const NOCTTY = 0o400;
        /// Truncate to nothing.
        const TRUNC = 0o1000;
        /// Writes go to the end.
        const APPEND = 0o2000;
        /// Do not block.
        const NONBLOCK = 0o4000;
        /// Writes wait for data.
        const DSYNC = 0o10000;
        /// Signal-driven I/O.
        const ASYNC = 0o20000;
        /// Around the page cache.
        const DIRECT = 0o40000;
        /// Ignored on 64 bits.
        const LARGEFILE = 0o100000;
        /// Only a directory.
        const DIRECTORY = 0o200000;
        /// Not through a final symbolic link.
        const NOFOLLOW = 0o400000;
        /// Do not change the access time.
        const NOATIME = 0o1000000;
        /// Close on exec.
        const CLOEXEC = 0o2000000;
        /// Writes wait for data and metadata (this bit; `O_SYNC` also has `DSYNC`).
        const SYNC_BIT = 0o4000000;
        /// Only the path.
        const PATH = 0o10000000;
        /// Unnamed file (this bit; `O_TMPFILE` also has `DIRECTORY`).
        const TMPFILE_BIT = 0o20000000;
    }
}

impl OpenFlags {
    /// `O_SYNC`.
    pub const SYNC: Self = Self::SYNC_BIT.union(Self::DSYNC);
    /// `O_TMPFILE`.
    pub const TMPFILE: Self = Self::TMPFILE_BIT.union(Self::DIRECTORY);
    /// What `fcntl(F_SETFL)` can change.
    pub const SETFL: Self = Self::APPEND
        .union(Self::NONBLOCK)
        .union(Self::ASYNC)
        .union(Self::DIRECT)
        .union(Self::NOATIME);

    /// What the descriptor may be used for.
    pub const fn access(self) -> AccessMode {
        match self.bits() & 3 {
            0 => AccessMode::ReadOnly,
            1 => AccessMode::WriteOnly,
            2 => AccessMode::ReadWrite,
            _ => AccessMode::IoctlOnly,
        }
    }

    /// Whether reading is allowed.
    pub const fn readable(self) -> bool {
        matches!(self.access(), AccessMode::ReadOnly | AccessMode::ReadWrite)
    }

    /// Whether writing is allowed.
    pub const fn writable(self) -> bool {
        matches!(self.access(), AccessMode::WriteOnly | AccessMode::ReadWrite)
    }
}

/// The descriptor number that stands for the working directory.
pub const AT_FDCWD: i32 = -100;

bitflags! {
    /// Flags of the `*at(2)` calls. Some bits mean different things to
    /// different calls.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct AtFlags: u32 {
        /// `renameat2`: fail if the new name exists (`RENAME_NOREPLACE`).
        const RENAME_NOREPLACE = 1;
        /// Do not follow a final symbolic link.
        const SYMLINK_NOFOLLOW = 0x100;
        /// `unlinkat`: remove a directory; `faccessat2`: use effective ids (`AT_EACCESS`).
        const REMOVEDIR = 0x200;
        /// `linkat`: follow a final symbolic link.
        const SYMLINK_FOLLOW = 0x400;
        /// Do not trigger an automount.
        const NO_AUTOMOUNT = 0x800;
        /// An empty path names the descriptor itself.
        const EMPTY_PATH = 0x1000;
        /// `statx`: always ask the server.
        const STATX_FORCE_SYNC = 0x2000;
        /// `statx`: what is cached will do.
        const STATX_DONT_SYNC = 0x4000;
        /// Whole subtree.
        const RECURSIVE = 0x8000;
        /// `execveat`: only check whether it could be executed.
        const EXECVE_CHECK = 0x1_0000;
    }
}

bitflags! {
    /// Flags of `renameat2(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct RenameFlags: u32 {
        /// Fail if the new name exists.
        const NOREPLACE = 1;
        /// Swap the two names.
        const EXCHANGE = 2;
        /// Leave a whiteout.
        const WHITEOUT = 4;
    }
}

bitflags! {
    /// What a path of `openat2(2)` may not do on its way.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct ResolveFlags: u64 {
        /// Reach another mounted file system.
        const NO_XDEV = 1;
        /// Follow a link of `/proc` that leads to a file, not to a name.
        const NO_MAGICLINKS = 2;
        /// Follow any link.
        const NO_SYMLINKS = 4;
        /// Leave the directory where it starts.
        const BENEATH = 8;
        /// Leave it either, which is `/` to the path.
        const IN_ROOT = 16;
        /// Wait for a file system.
        const CACHED = 32;
    }
}

bitflags! {
    /// Modes of `access(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct AccessFlags: u32 {
        /// Executable or searchable.
        const X = 1;
        /// Writable.
        const W = 2;
        /// Readable.
        const R = 4;
    }
}

bitflags! {
    /// Flags of `close_range(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct CloseRangeFlags: u32 {
        /// Unshare the table first.
        const UNSHARE = 2;
        /// Mark instead of closing.
        const CLOEXEC = 4;
    }
}

bitflags! {
    /// Modes of `fallocate(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct FallocateMode: u32 {
        /// The size stays.
        const KEEP_SIZE = 0x1;
        /// Makes a hole.
        const PUNCH_HOLE = 0x2;
        /// Cuts a range out.
        const COLLAPSE_RANGE = 0x8;
        /// Zeroes a range.
        const ZERO_RANGE = 0x10;
        /// Inserts a range.
        const INSERT_RANGE = 0x20;
        /// Unshares blocks.
        const UNSHARE_RANGE = 0x40;
    }
}

bitflags! {
    /// Per-call flags of `preadv2(2)` and `pwritev2(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct RwFlags: u32 {
        /// High priority.
        const HIPRI = 0x1;
        /// As if opened with `O_DSYNC`.
        const DSYNC = 0x2;
        /// As if opened with `O_SYNC`.
        const SYNC = 0x4;
        /// Do not block.
        const NOWAIT = 0x8;
        /// To the end.
        const APPEND = 0x10;
        /// Not to the end.
        const NOAPPEND = 0x20;
        /// All or nothing.
        const ATOMIC = 0x40;
        /// Leave nothing in the page cache.
        const DONTCACHE = 0x80;
    }
}

/// Where `lseek(2)` counts from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum Whence {
    /// The start.
    Set = 0,
    /// The current position.
    Cur = 1,
    /// The end.
    End = 2,
    /// The next data.
    Data = 3,
    /// The next hole.
    Hole = 4,
}

impl Whence {
    /// Decodes the argument; `None` is `EINVAL`.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::Set),
            1 => Some(Self::Cur),
            2 => Some(Self::End),
            3 => Some(Self::Data),
            4 => Some(Self::Hole),
            _ => None,
        }
    }
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// Commands of `fcntl(2)`.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        pub enum Fcntl { $($(#[$doc])* $name = $code,)* }

        impl Fcntl {
            /// Decodes the argument; `None` is `EINVAL`.
            pub const fn from_raw(raw: u32) -> Option<Self> {
                match raw { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

commands! {
    /// Lowest free descriptor from the argument on.
    DupFd = 0;
    /// Descriptor flags.
    GetFd = 1;
    /// Sets descriptor flags.
    SetFd = 2;
    /// Status flags.
    GetFl = 3;
    /// Sets status flags.
    SetFl = 4;
    /// Tests for a record lock.
    GetLk = 5;
    /// Sets a record lock.
    SetLk = 6;
    /// Sets a record lock, waiting.
    SetLkW = 7;
    /// Receiver of `SIGIO`.
    SetOwn = 8;
    /// Receiver of `SIGIO`.
    GetOwn = 9;
    /// Signal sent for I/O.
    SetSig = 10;
    /// Signal sent for I/O.
    GetSig = 11;
    /// Receiver of `SIGIO`, extended.
    SetOwnEx = 15;
    /// Receiver of `SIGIO`, extended.
    GetOwnEx = 16;
    /// User ids of the receiver of `SIGIO`.
    GetOwnerUids = 17;
    /// Tests for an open-file lock.
    OfdGetLk = 36;
    /// Sets an open-file lock.
    OfdSetLk = 37;
    /// Sets an open-file lock, waiting.
    OfdSetLkW = 38;
    /// Sets a lease.
    SetLease = 1024;
    /// The lease.
    GetLease = 1025;
    /// Directory change notification.
    Notify = 1026;
    /// Whether two descriptors are the same open file.
    DupFdQuery = 1027;
    /// Whether this open created the file.
    CreatedQuery = 1028;
    /// Cancels a blocking lock.
    CancelLk = 1029;
    /// [`Fcntl::DupFd`] with close-on-exec.
    DupFdCloexec = 1030;
    /// Sets the size of a pipe.
    SetPipeSz = 1031;
    /// Size of a pipe.
    GetPipeSz = 1032;
    /// Adds seals.
    AddSeals = 1033;
    /// The seals.
    GetSeals = 1034;
    /// Write life-time hint.
    GetRwHint = 1035;
    /// Write life-time hint.
    SetRwHint = 1036;
    /// Write life-time hint of the open file.
    GetFileRwHint = 1037;
    /// Write life-time hint of the open file.
    SetFileRwHint = 1038;
}

/// Descriptor flag of `F_GETFD` and `F_SETFD`: close on exec.
pub const FD_CLOEXEC: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_mode_is_a_value() {
        assert_eq!(OpenFlags::empty().access(), AccessMode::ReadOnly);
        assert!(OpenFlags::RDWR.readable() && OpenFlags::RDWR.writable());
        assert!(!OpenFlags::from_bits_retain(3).readable());
    }
}
