//! Between the host's words and the machine's.

use std::os::fd::{AsFd, AsRawFd};

use foliant_kernel::fs::{FileStat, FileType};
use foliant_uapi::open::OpenFlags;
use foliant_uapi::stat::{Mode, Statfs, makedev};
use foliant_uapi::time::Timespec;
use foliant_units::Errno;
use rustix::fs::{AtFlags, OFlags, StatxFlags};

/// An error of the host is the same error of the machine.
pub(super) fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error()).unwrap_or(Errno::IO)
}

/// An error of a call through the C library.
pub(super) fn last_errno() -> Errno {
    std::io::Error::last_os_error()
        .raw_os_error()
        .and_then(Errno::from_raw)
        .unwrap_or(Errno::IO)
}

/// Runs a call again as long as a signal of the supervisor interrupts it.
pub(super) fn retry<T>(call: impl FnMut() -> rustix::io::Result<T>) -> Result<T, Errno> {
    rustix::io::retry_on_intr(call).map_err(errno)
}

/// What the host tells of an open descriptor, of `O_PATH` or not.
pub(super) fn stat_fd(fd: impl AsFd) -> Result<FileStat, Errno> {
    stat_at(fd, c"", AtFlags::EMPTY_PATH)
}

/// What the host tells of `name` in the directory `dir`.
pub(super) fn stat_at(
    dir: impl AsFd,
    name: impl rustix::path::Arg,
    flags: AtFlags,
) -> Result<FileStat, Errno> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    let x = rustix::fs::statx(dir, name, flags | AtFlags::NO_AUTOMOUNT, wanted).map_err(errno)?;
    let time = |at: rustix::fs::StatxTimestamp| Timespec {
        sec: at.tv_sec,
        nsec: i64::from(at.tv_nsec),
    };
    let has = |flag: StatxFlags| x.stx_mask & flag.bits() != 0;
    Ok(FileStat {
        dev: makedev(x.stx_dev_major, x.stx_dev_minor),
        ino: x.stx_ino,
        mode: Mode(u32::from(x.stx_mode)),
        nlink: u64::from(x.stx_nlink),
        uid: x.stx_uid,
        gid: x.stx_gid,
        rdev: makedev(x.stx_rdev_major, x.stx_rdev_minor),
        size: x.stx_size,
        blksize: x.stx_blksize,
        blocks: x.stx_blocks,
        atime: time(x.stx_atime),
        mtime: time(x.stx_mtime),
        ctime: time(x.stx_ctime),
        btime: has(StatxFlags::BTIME).then(|| time(x.stx_btime)),
        attributes: x.stx_attributes.bits(),
        attributes_mask: x.stx_attributes_mask.bits(),
        mount: has(StatxFlags::MNT_ID).then_some(x.stx_mnt_id),
    })
}

/// The type that a stat tells.
pub(super) fn kind(stat: &FileStat) -> FileType {
    FileType::of(stat.mode)
}

/// `struct statfs` as the machine tells it.
pub(super) fn statfs(from: &rustix::fs::StatFs) -> Statfs {
    Statfs {
        kind: from.f_type,
        bsize: from.f_bsize,
        blocks: from.f_blocks,
        bfree: from.f_bfree,
        bavail: from.f_bavail,
        files: from.f_files,
        ffree: from.f_ffree,
        fsid: [0; 2],
        namelen: from.f_namelen,
        frsize: from.f_frsize,
        flags: from.f_flags,
        spare: [0; 4],
    }
}

/// How the host opens what the machine wants open: never blocking, never a
/// controlling terminal, and without what the machine does itself (appending,
/// direct and synchronous writes go through its cache).
pub(super) fn open_flags(flags: OpenFlags) -> OFlags {
    let own = OpenFlags::APPEND
        | OpenFlags::DIRECT
        | OpenFlags::SYNC
        | OpenFlags::ASYNC
        | OpenFlags::NOFOLLOW
        | OpenFlags::LARGEFILE;
    OFlags::from_bits_retain((flags - own).bits()) | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC
}

/// The path that opens the file behind `fd` anew.
pub(super) fn proc_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}
