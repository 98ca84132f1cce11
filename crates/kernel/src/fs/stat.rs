//! What is known about a file or a file system.

use foliant_uapi::stat::{Mode, Stat, Statfs, Statx, StatxMask, StatxTimestamp, major, minor};
use foliant_uapi::time::Timespec;

/// What is known about a file.
///
/// # Linux source concept
/// `struct kstat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileStat {
    /// The device that holds the file, encoded as `st_dev`.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// Type and permissions.
    pub mode: Mode,
    /// Names of it.
    pub nlink: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The device that it is, encoded as `dev`.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// Preferred size of a read or write in bytes.
    pub blksize: u32,
    /// Units of 512 bytes that are allocated.
    pub blocks: u64,
    /// Last read.
    pub atime: Timespec,
    /// Last write.
    pub mtime: Timespec,
    /// Last change of anything.
    pub ctime: Timespec,
    /// Birth, where it is known.
    pub btime: Option<Timespec>,
    /// `STATX_ATTR_*` that are set.
    pub attributes: u64,
    /// `STATX_ATTR_*` that the file system knows.
    pub attributes_mask: u64,
    /// Number of the mount, where it is known.
    pub mount: Option<u64>,
}

impl FileStat {
    /// The structure of `stat(2)`.
    pub fn to_stat(&self) -> Stat {
        Stat {
            dev: self.dev,
            ino: self.ino,
            nlink: self.nlink,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            rdev: self.rdev,
            size: self.size as i64,
            blksize: i64::from(self.blksize),
            blocks: self.blocks as i64,
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            ..Stat::default()
        }
    }

    /// The structure of `statx(2)`.
    pub fn to_statx(&self) -> Statx {
        let mut mask = StatxMask::BASIC_STATS;
        mask.set(StatxMask::BTIME, self.btime.is_some());
        mask.set(StatxMask::MNT_ID, self.mount.is_some());
        Statx {
            mask: mask.bits(),
            blksize: self.blksize,
            attributes: self.attributes,
            nlink: self.nlink as u32,
            uid: self.uid,
            gid: self.gid,
            mode: self.mode.0 as u16,
            ino: self.ino,
            size: self.size,
            blocks: self.blocks,
            attributes_mask: self.attributes_mask,
            atime: stamp(self.atime),
            btime: stamp(self.btime.unwrap_or_default()),
            ctime: stamp(self.ctime),
            mtime: stamp(self.mtime),
            rdev_major: major(self.rdev),
            rdev_minor: minor(self.rdev),
            dev_major: major(self.dev),
            dev_minor: minor(self.dev),
            mnt_id: self.mount.unwrap_or(0),
            ..Statx::default()
        }
    }
}

fn stamp(time: Timespec) -> StatxTimestamp {
    StatxTimestamp {
        sec: time.sec,
        nsec: time.nsec as u32,
        reserved: 0,
    }
}

/// Kinds of file systems, as `statfs(2)` tells them.
pub mod magic {
    /// procfs.
    pub const PROC: i64 = 0x9fa0;
    /// sysfs.
    pub const SYSFS: i64 = 0x6265_6572;
    /// tmpfs, and devtmpfs.
    pub const TMPFS: i64 = 0x0102_1994;
    /// Pipes.
    pub const PIPEFS: i64 = 0x5049_5045;
}

/// What `fstat` tells of everything that shares the anonymous inode.
pub fn anonymous_stat() -> FileStat {
    FileStat {
        dev: 0x10,
        ino: 1032,
        nlink: 1,
        mode: Mode(0o600),
        blksize: 4096,
        ..FileStat::default()
    }
}

/// A file system that has nothing to count.
pub fn pseudo_statfs(kind: i64) -> Statfs {
    Statfs {
        kind,
        bsize: 4096,
        namelen: 255,
        frsize: 4096,
        ..Statfs::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foliant_uapi::stat::makedev;

    #[test]
    fn both_structures_tell_the_same() {
        let stat = FileStat {
            dev: makedev(8, 1),
            ino: 2,
            size: 77,
            ..FileStat::default()
        };
        assert_eq!(stat.to_stat().size, 77);
        let x = stat.to_statx();
        assert_eq!((x.dev_major, x.dev_minor, x.size), (8, 1, 77));
        assert_eq!(x.mask, StatxMask::BASIC_STATS.bits());
    }
}
