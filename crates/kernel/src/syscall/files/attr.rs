//! What is known about files, and changing it.

use alloc::vec;

use foliant_uapi::open::{AT_FDCWD, AtFlags, FallocateMode, OpenFlags};
use foliant_uapi::resource::Resource;
use foliant_uapi::stat::StatxMask;
use foliant_uapi::time::{Timespec, Timeval, Utimbuf};
use foliant_units::Errno;

use crate::fs::{Access, FileStat, FileType, Last, NodeRef, SetAttr, SetTime, SpaceHint};
use crate::machine::UserMachine;
use crate::syscall::{Answer, Ctx};
use crate::tmpfs::TmpFile;

fn last(flags: AtFlags) -> Last {
    if flags.contains(AtFlags::SYMLINK_NOFOLLOW) {
        Last::Keep
    } else {
        Last::Follow
    }
}

fn stat_at<M: UserMachine>(ctx: &Ctx<'_, M>, dir: i32, at: usize, flags: AtFlags) -> Result<FileStat, Errno> {
    let empty = flags.contains(AtFlags::EMPTY_PATH);
    let path = if empty && ctx.args[at] == 0 {
        vec![]
    } else {
        ctx.path(at)?
    };
    if !(empty && path.is_empty()) {
        return ctx.walk(dir, &path)?.stat(&path, last(flags));
    }
    if dir == AT_FDCWD {
        return ctx.node_of(dir)?.stat();
    }
    let fd = crate::fd::Fd::new(dir)?;
    ctx.task.files().table().get(fd)?.file().stat()
}

fn tell<M: UserMachine>(ctx: &Ctx<'_, M>, at: usize, stat: &FileStat) -> Answer<M> {
    ctx.memory()?.put(ctx.ptr(at), &stat.to_stat())?;
    Ok(0)
}

pub(super) fn stat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    tell(ctx, 1, &stat_at(ctx, AT_FDCWD, 0, AtFlags::empty())?)
}

pub(super) fn lstat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    tell(ctx, 1, &stat_at(ctx, AT_FDCWD, 0, AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(super) fn fstat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    tell(ctx, 1, &ctx.any_open(0)?.file().stat()?)
}

pub(super) fn newfstatat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = AtFlags::from_bits_retain(ctx.uint(3));
    if flags.intersects(!(AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH)) {
        return Err(Errno::INVAL.into());
    }
    tell(ctx, 2, &stat_at(ctx, ctx.int(0), 1, flags)?)
}

pub(super) fn statx<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = AtFlags::from_bits_retain(ctx.uint(2));
    let sync = AtFlags::STATX_FORCE_SYNC | AtFlags::STATX_DONT_SYNC;
    let known = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH | sync;
    const RESERVED: u32 = 1 << 31;
    if flags.intersects(!known) || flags.contains(sync) || ctx.uint(3) & RESERVED != 0 {
        return Err(Errno::INVAL.into());
    }
    let stat = stat_at(ctx, ctx.int(0), 1, flags)?;
    let mut x = stat.to_statx();
    // Birth and mount are told only to those who ask.
    let asked = StatxMask::from_bits_retain(ctx.uint(3)) | StatxMask::BASIC_STATS;
    x.mask &= asked.bits();
    if !asked.contains(StatxMask::MNT_ID) {
        x.mnt_id = 0;
    }
    ctx.memory()?.put(ctx.ptr(4), &x)?;
    Ok(0)
}

pub(super) fn statfs<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let node = ctx.node_at(AT_FDCWD, 0, Last::Follow, false)?;
    ctx.memory()?.put(ctx.ptr(1), &node.statfs()?)?;
    Ok(0)
}

pub(super) fn fstatfs<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let node = ctx.node_of(ctx.int(0).max(-1))?;
    ctx.memory()?.put(ctx.ptr(1), &node.statfs()?)?;
    Ok(0)
}

pub(super) fn access<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    access_at(ctx, AT_FDCWD, 0, ctx.uint(1), AtFlags::empty())
}

pub(super) fn faccessat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    access_at(ctx, ctx.int(0), 1, ctx.uint(2), AtFlags::empty())
}

pub(super) fn faccessat2<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    access_at(
        ctx,
        ctx.int(0),
        1,
        ctx.uint(2),
        AtFlags::from_bits_retain(ctx.uint(3)),
    )
}

/// `AT_EACCESS` shares its bit with `AT_REMOVEDIR`.
const EACCESS: AtFlags = AtFlags::REMOVEDIR;

fn access_at<M: UserMachine>(ctx: &Ctx<'_, M>, dir: i32, at: usize, mode: u32, flags: AtFlags) -> Answer<M> {
    let known = EACCESS | AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    if mode & !7 != 0 || flags.intersects(!known) {
        return Err(Errno::INVAL.into());
    }
    let node = ctx.node_at(dir, at, last(flags), flags.contains(AtFlags::EMPTY_PATH))?;
    node.access(Access {
        mode,
        effective: flags.contains(EACCESS),
    })?;
    Ok(0)
}

pub(super) fn chmod<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    set(
        ctx.node_at(AT_FDCWD, 0, Last::Follow, false)?,
        SetAttr::Mode(ctx.uint(1) & 0o7777),
    )
}

pub(super) fn fchmod<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    ctx.open(0)?;
    set(ctx.node_of(ctx.int(0))?, SetAttr::Mode(ctx.uint(1) & 0o7777))
}

pub(super) fn fchmodat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    set(
        ctx.node_at(ctx.int(0), 1, Last::Follow, false)?,
        SetAttr::Mode(ctx.uint(2) & 0o7777),
    )
}

pub(super) fn fchmodat2<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = AtFlags::from_bits_retain(ctx.uint(3));
    if flags.intersects(!(AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)) {
        return Err(Errno::INVAL.into());
    }
    let node = ctx.node_at(ctx.int(0), 1, last(flags), flags.contains(AtFlags::EMPTY_PATH))?;
    if node.kind() == FileType::Symlink {
        return Err(Errno::OPNOTSUPP.into());
    }
    set(node, SetAttr::Mode(ctx.uint(2) & 0o7777))
}

fn set<M: UserMachine>(node: NodeRef<M>, change: SetAttr) -> Answer<M> {
    node.set(change)?;
    Ok(0)
}

fn owner(user: u32, group: u32) -> SetAttr {
    let id = |raw| (raw != u32::MAX).then_some(raw);
    SetAttr::Owner(id(user), id(group))
}

pub(super) fn chown<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    set(
        ctx.node_at(AT_FDCWD, 0, Last::Follow, false)?,
        owner(ctx.uint(1), ctx.uint(2)),
    )
}

pub(super) fn lchown<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    set(
        ctx.node_at(AT_FDCWD, 0, Last::Keep, false)?,
        owner(ctx.uint(1), ctx.uint(2)),
    )
}

pub(super) fn fchown<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    ctx.open(0)?;
    set(ctx.node_of(ctx.int(0))?, owner(ctx.uint(1), ctx.uint(2)))
}

pub(super) fn fchownat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = AtFlags::from_bits_retain(ctx.uint(4));
    if flags.intersects(!(AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)) {
        return Err(Errno::INVAL.into());
    }
    let node = ctx.node_at(ctx.int(0), 1, last(flags), flags.contains(AtFlags::EMPTY_PATH))?;
    set(node, owner(ctx.uint(2), ctx.uint(3)))
}

fn time(at: Timespec) -> Result<SetTime, Errno> {
    match at.nsec {
        Timespec::UTIME_NOW => Ok(SetTime::Now),
        Timespec::UTIME_OMIT => Ok(SetTime::Keep),
        0..1_000_000_000 => Ok(SetTime::To(at)),
        _ => Err(Errno::INVAL),
    }
}

pub(super) fn utimensat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = AtFlags::from_bits_retain(ctx.uint(3));
    let change = if ctx.args[2] == 0 {
        SetAttr::Times(SetTime::Now, SetTime::Now)
    } else {
        let [access, modify]: [Timespec; 2] = ctx.memory()?.get(ctx.ptr(2))?;
        SetAttr::Times(time(access)?, time(modify)?)
    };
    if flags.intersects(!(AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)) {
        return Err(Errno::INVAL.into());
    }
    if change == SetAttr::Times(SetTime::Keep, SetTime::Keep) {
        return Ok(0);
    }
    if ctx.args[1] == 0 && ctx.int(0) != AT_FDCWD {
        return set(ctx.node_of(ctx.int(0))?, change);
    }
    let empty = flags.contains(AtFlags::EMPTY_PATH);
    set(ctx.node_at(ctx.int(0), 1, last(flags), empty)?, change)
}

fn from_micros(at: Timeval) -> Result<SetTime, Errno> {
    match at.usec {
        0..1_000_000 => Ok(SetTime::To(Timespec {
            sec: at.sec,
            nsec: at.usec * 1000,
        })),
        _ => Err(Errno::INVAL),
    }
}

pub(super) fn utimes<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    utimes_at(ctx, AT_FDCWD, 0)
}

pub(super) fn futimesat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    utimes_at(ctx, ctx.int(0), 1)
}

fn utimes_at<M: UserMachine>(ctx: &Ctx<'_, M>, dir: i32, path: usize) -> Answer<M> {
    let change = if ctx.args[path + 1] == 0 {
        SetAttr::Times(SetTime::Now, SetTime::Now)
    } else {
        let [access, modify]: [Timeval; 2] = ctx.memory()?.get(ctx.ptr(path + 1))?;
        SetAttr::Times(from_micros(access)?, from_micros(modify)?)
    };
    if ctx.args[path] == 0 && dir != AT_FDCWD {
        return set(ctx.node_of(dir)?, change);
    }
    set(ctx.node_at(dir, path, Last::Follow, false)?, change)
}

pub(super) fn utime<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let change = if ctx.args[1] == 0 {
        SetAttr::Times(SetTime::Now, SetTime::Now)
    } else {
        let times: Utimbuf = ctx.memory()?.get(ctx.ptr(1))?;
        let at = |sec| SetTime::To(Timespec { sec, nsec: 0 });
        SetAttr::Times(at(times.actime), at(times.modtime))
    };
    set(ctx.node_at(AT_FDCWD, 0, Last::Follow, false)?, change)
}

pub(super) fn truncate<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let size = u64::try_from(ctx.args[1] as i64).map_err(|_| Errno::INVAL)?;
    let node = ctx.node_at(AT_FDCWD, 0, Last::Follow, false)?;
    match node.kind() {
        FileType::Regular => {
            check_size(ctx, node.stat()?.size, size)?;
            set(node, SetAttr::Size(size))
        }
        FileType::Directory => Err(Errno::ISDIR.into()),
        _ => Err(Errno::INVAL.into()),
    }
}

/// A file may not grow beyond the limit, but be longer already.
///
/// # Linux source concept
/// `inode_newsize_ok()`.
fn check_size<M: UserMachine>(ctx: &Ctx<'_, M>, now: u64, wanted: u64) -> Result<(), Errno> {
    if wanted > now && wanted > ctx.task.process().limit(Resource::Fsize) {
        Err(super::file_too_large(ctx))
    } else {
        Ok(())
    }
}

pub(super) fn ftruncate<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let size = u64::try_from(ctx.args[1] as i64).map_err(|_| Errno::INVAL)?;
    let open = ctx.open(0)?;
    if !open.flags().writable() {
        return Err(Errno::INVAL.into());
    }
    check_size(ctx, open.file().stat()?.size, size)?;
    open.file().truncate(size)?;
    Ok(0)
}

pub(super) fn fallocate<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (offset, len) = (ctx.args[2] as i64, ctx.args[3] as i64);
    let open = ctx.open(0)?;
    if offset < 0 || len <= 0 {
        return Err(Errno::INVAL.into());
    }
    let mode = FallocateMode::from_bits(ctx.uint(1)).ok_or(Errno::OPNOTSUPP)?;
    if mode.contains(FallocateMode::PUNCH_HOLE) && !mode.contains(FallocateMode::KEEP_SIZE) {
        return Err(Errno::OPNOTSUPP.into());
    }
    if !open.flags().writable() {
        return Err(Errno::BADF.into());
    }
    let end = offset.checked_add(len).ok_or(Errno::FBIG)? as u64;
    // Files in memory ask for the limit even if they are not to grow.
    let grows = !mode.contains(FallocateMode::KEEP_SIZE)
        || open.downcast::<TmpFile<M>>().is_some() && !mode.contains(FallocateMode::PUNCH_HOLE);
    if grows && open.file().writers().is_some() {
        check_size(ctx, open.file().stat()?.size, end)?;
    }
    open.file().allocate(SpaceHint {
        mode,
        offset: offset as u64,
        len: len as u64,
    })?;
    Ok(0)
}

pub(super) fn fsync<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    ctx.open(0)?.file().sync(false)?;
    Ok(0)
}

pub(super) fn fdatasync<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    ctx.open(0)?.file().sync(true)?;
    Ok(0)
}

pub(super) fn sync<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    ctx.kernel.files().sync();
    Ok(0)
}

/// `sync_file_range`, `syncfs`: more is written than was asked for.
pub(super) fn sync_some<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    match ctx.open(0)?.file().sync(true) {
        Ok(()) | Err(Errno::INVAL) => Ok(0),
        Err(errno) => Err(errno.into()),
    }
}

/// `readahead` and `fadvise64`: hints that this machine does not need.
pub(super) fn hint<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    if open.file().positioning() == crate::fs::Positioning::Stream {
        let pipe = FileType::of(open.file().stat()?.mode) == FileType::Fifo;
        return Err(if pipe { Errno::SPIPE } else { Errno::INVAL }.into());
    }
    Ok(0)
}

pub(super) fn getdents64<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    let room = (ctx.uint(2) as usize).min(1 << 20);
    let entries = open.entries(room)?;
    ctx.memory()?.dynamic().put(ctx.ptr(1), &entries)?;
    Ok(entries.len() as u64)
}

/// Whether an `O_PATH` descriptor is refused; used by the calls on attributes.
fn plain<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<NodeRef<M>, Errno> {
    let open = ctx.open(0)?;
    debug_assert!(!open.flags().contains(OpenFlags::PATH));
    ctx.node_of(ctx.int(0))
}

/// Longest name and value of an extended attribute in bytes.
const XATTR_NAME_MAX: usize = 256;
const XATTR_SIZE_MAX: usize = 65536;

fn xattr_name<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<alloc::vec::Vec<u8>, Errno> {
    let name = ctx.memory()?.dynamic().string(ctx.ptr(1), XATTR_NAME_MAX);
    match name {
        Ok(name) if name.is_empty() => Err(Errno::RANGE),
        Err(Errno::NAMETOOLONG) => Err(Errno::RANGE),
        other => other,
    }
}

fn path_node<M: UserMachine>(ctx: &Ctx<'_, M>, last: Last) -> Result<NodeRef<M>, Errno> {
    ctx.node_at(AT_FDCWD, 0, last, false)
}

/// Gives `value` to a buffer of `room` bytes at `at`; 0 only asks for the length.
fn give<M: UserMachine>(ctx: &Ctx<'_, M>, value: &[u8], at: usize) -> Answer<M> {
    match ctx.len(at + 1) {
        0 => {}
        room if room < value.len() => return Err(Errno::RANGE.into()),
        _ => ctx.memory()?.dynamic().put(ctx.ptr(at), value)?,
    }
    Ok(value.len() as u64)
}

fn get_xattr<M: UserMachine>(ctx: &Ctx<'_, M>, node: NodeRef<M>) -> Answer<M> {
    let value = node.xattr(&xattr_name(ctx)?)?;
    give(ctx, &value, 2)
}

fn set_xattr<M: UserMachine>(ctx: &Ctx<'_, M>, node: NodeRef<M>) -> Answer<M> {
    let name = xattr_name(ctx)?;
    if ctx.len(3) > XATTR_SIZE_MAX {
        return Err(Errno::TOOBIG.into());
    }
    if ctx.uint(4) & !3 != 0 {
        return Err(Errno::INVAL.into());
    }
    let mut value = vec![0; ctx.len(3)];
    ctx.memory()?.dynamic().fill(ctx.ptr(2), &mut value)?;
    node.set_xattr(&name, &value, ctx.uint(4))?;
    Ok(0)
}

fn remove_xattr<M: UserMachine>(ctx: &Ctx<'_, M>, node: NodeRef<M>) -> Answer<M> {
    node.remove_xattr(&xattr_name(ctx)?)?;
    Ok(0)
}

macro_rules! xattr_calls {
    ($($name:ident = $work:ident, $node:expr;)*) => {
        $(pub(super) fn $name<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
            let find: fn(&Ctx<'_, M>) -> Result<NodeRef<M>, Errno> = $node;
            $work(ctx, find(ctx)?)
        })*
    };
}

fn list_xattr<M: UserMachine>(ctx: &Ctx<'_, M>, node: NodeRef<M>) -> Answer<M> {
    give(ctx, &node.xattrs()?, 1)
}

xattr_calls! {
    getxattr = get_xattr, |ctx| path_node(ctx, Last::Follow);
    lgetxattr = get_xattr, |ctx| path_node(ctx, Last::Keep);
    fgetxattr = get_xattr, |ctx| plain(ctx);
    setxattr = set_xattr, |ctx| path_node(ctx, Last::Follow);
    lsetxattr = set_xattr, |ctx| path_node(ctx, Last::Keep);
    fsetxattr = set_xattr, |ctx| plain(ctx);
    listxattr = list_xattr, |ctx| path_node(ctx, Last::Follow);
    llistxattr = list_xattr, |ctx| path_node(ctx, Last::Keep);
    flistxattr = list_xattr, |ctx| plain(ctx);
    removexattr = remove_xattr, |ctx| path_node(ctx, Last::Follow);
    lremovexattr = remove_xattr, |ctx| path_node(ctx, Last::Keep);
    fremovexattr = remove_xattr, |ctx| plain(ctx);
}
