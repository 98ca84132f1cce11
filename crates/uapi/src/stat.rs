//! What the kernel tells about files.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::time::Timespec;

/// Type and permission bits of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Mode(pub u32);

impl Mode {
    /// The bits that hold the type.
    pub const TYPE: u32 = 0o170000;
    /// Socket.
    pub const SOCKET: u32 = 0o140000;
    /// Symbolic link.
    pub const LINK: u32 = 0o120000;
    /// Regular file.
    pub const REGULAR: u32 = 0o100000;
    /// Block device.
    pub const BLOCK: u32 = 0o060000;
    /// Directory.
    pub const DIRECTORY: u32 = 0o040000;
    /// Character device.
    pub const CHARACTER: u32 = 0o020000;
    /// Pipe.
    pub const FIFO: u32 = 0o010000;
    /// Set user id on exec.
    pub const SETUID: u32 = 0o4000;
    /// Set group id on exec.
    pub const SETGID: u32 = 0o2000;
    /// Sticky.
    pub const STICKY: u32 = 0o1000;

    /// The type bits.
    pub const fn file_type(self) -> u32 {
        self.0 & Self::TYPE
    }

    /// The permission bits, with setuid, setgid and sticky.
    pub const fn permissions(self) -> u32 {
        self.0 & 0o7777
    }

    /// Whether it is a regular file.
    pub const fn is_regular(self) -> bool {
        self.file_type() == Self::REGULAR
    }

    /// Whether it is a directory.
    pub const fn is_directory(self) -> bool {
        self.file_type() == Self::DIRECTORY
    }

    /// The type as `getdents64(2)` has it.
    pub const fn dirent_type(self) -> u8 {
        (self.file_type() >> 12) as u8
    }
}

/// Result of `stat(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Stat {
    /// Device.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Hard links.
    pub nlink: u64,
    /// Type and permissions.
    pub mode: Mode,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Padding.
    pub pad: u32,
    /// Device, if it is one.
    pub rdev: u64,
    /// Bytes.
    pub size: i64,
    /// Preferred I/O size.
    pub blksize: i64,
    /// Blocks of 512 bytes.
    pub blocks: i64,
    /// Last access.
    pub atime: Timespec,
    /// Last change of contents.
    pub mtime: Timespec,
    /// Last change of status.
    pub ctime: Timespec,
    /// Zero.
    pub reserved: [i64; 3],
}

/// A time of `statx(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StatxTimestamp {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds.
    pub nsec: u32,
    /// Padding.
    pub reserved: i32,
}

bitflags! {
    /// Which fields of [`Statx`] are wanted, and which are there.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct StatxMask: u32 {
        /// Type bits.
        const TYPE = 0x1;
        /// Permission bits.
        const MODE = 0x2;
        /// Links.
        const NLINK = 0x4;
        /// Owner.
        const UID = 0x8;
        /// Group.
        const GID = 0x10;
        /// Access time.
        const ATIME = 0x20;
        /// Modification time.
        const MTIME = 0x40;
        /// Change time.
        const CTIME = 0x80;
        /// Inode number.
        const INO = 0x100;
        /// Size.
        const SIZE = 0x200;
        /// Blocks.
        const BLOCKS = 0x400;
        /// All that `stat` has.
        const BASIC_STATS = 0x7ff;
        /// Creation time.
        const BTIME = 0x800;
        /// Mount.
        const MNT_ID = 0x1000;
        /// Direct I/O alignment.
        const DIOALIGN = 0x2000;
        /// Unique mount.
        const MNT_ID_UNIQUE = 0x4000;
        /// Subvolume.
        const SUBVOL = 0x8000;
    }
}

/// Result of `statx(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Statx {
    /// [`StatxMask`] of the fields that are there.
    pub mask: u32,
    /// Preferred I/O size.
    pub blksize: u32,
    /// Attributes.
    pub attributes: u64,
    /// Links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Type and permissions.
    pub mode: u16,
    /// Padding.
    pub pad: u16,
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// Attributes that are supported.
    pub attributes_mask: u64,
    /// Last access.
    pub atime: StatxTimestamp,
    /// Creation.
    pub btime: StatxTimestamp,
    /// Last change of status.
    pub ctime: StatxTimestamp,
    /// Last change of contents.
    pub mtime: StatxTimestamp,
    /// Device, if it is one.
    pub rdev_major: u32,
    /// Device, if it is one.
    pub rdev_minor: u32,
    /// Device it is on.
    pub dev_major: u32,
    /// Device it is on.
    pub dev_minor: u32,
    /// Mount it is on.
    pub mnt_id: u64,
    /// Memory alignment for direct I/O.
    pub dio_mem_align: u32,
    /// Offset alignment for direct I/O.
    pub dio_offset_align: u32,
    /// Newer fields and room.
    pub spare: [u64; 12],
}

/// Result of `statfs(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Statfs {
    /// Magic number of the file system.
    pub kind: i64,
    /// Block size.
    pub bsize: i64,
    /// Blocks.
    pub blocks: u64,
    /// Free blocks.
    pub bfree: u64,
    /// Free blocks for ordinary users.
    pub bavail: u64,
    /// Inodes.
    pub files: u64,
    /// Free inodes.
    pub ffree: u64,
    /// File system id.
    pub fsid: [i32; 2],
    /// Longest name.
    pub namelen: i64,
    /// Fragment size.
    pub frsize: i64,
    /// Mount flags.
    pub flags: i64,
    /// Zero.
    pub spare: [i64; 4],
}

/// Head of an entry of `getdents64(2)`; the name and a NUL follow, and the
/// whole is padded to 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub struct Dirent64 {
    /// Inode number.
    pub ino: u64,
    /// Where the next entry is.
    pub off: i64,
    /// Bytes of this entry.
    pub reclen: u16,
    /// Type, as of [`Mode::dirent_type`].
    pub kind: u8,
}

impl Dirent64 {
    /// Bytes of an entry whose name has `name` bytes.
    pub const fn record_len(name: usize) -> usize {
        (size_of::<Self>() + name + 1).next_multiple_of(8)
    }
}

/// Packs a device number as user space sees it.
pub const fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
}

/// The major part of a device number.
pub const fn major(dev: u64) -> u32 {
    (((dev >> 8) & 0xfff) | ((dev >> 32) & !0xfff)) as u32
}

/// The minor part of a device number.
pub const fn minor(dev: u64) -> u32 {
    ((dev & 0xff) | ((dev >> 12) & 0xffff_ff00)) as u32
}

const _: () = assert!(size_of::<Stat>() == 144);
const _: () = assert!(size_of::<Statx>() == 256);
const _: () = assert!(size_of::<Statfs>() == 120);
const _: () = assert!(size_of::<Dirent64>() == 19);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive_packing() {
        for (maj, min) in [(8, 1), (0, 0x12345), (0xabc, 0xff), (0x1000, 0x100)] {
            let dev = makedev(maj, min);
            assert_eq!((major(dev), minor(dev)), (maj, min));
        }
    }

    #[test]
    fn directory_entries_are_padded_to_eight() {
        assert_eq!(Dirent64::record_len(1), 24);
        assert_eq!(Dirent64::record_len(5), 32);
    }
}
