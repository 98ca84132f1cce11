//! Making, removing and renaming; working directory and root.

use foliant_uapi::open::{AT_FDCWD, AtFlags, RenameFlags};
use foliant_uapi::stat::Mode;
use foliant_units::Errno;

use crate::fs::{Access, FileType, Final, Last, Parent};
use crate::machine::UserMachine;
use crate::syscall::{Answer, Ctx};

/// The directory of the path at argument `at`, and the name in it. Components
/// that are no names give `odd`.
fn place<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    dir: i32,
    at: usize,
    odd: impl Fn(&Final) -> Errno,
) -> Result<(Parent<M>, alloc::vec::Vec<u8>), Errno> {
    let path = ctx.path(at)?;
    let parent = ctx.walk(dir, &path)?.parent(&path)?;
    match &parent.last {
        Final::Name(name) => {
            let name = name.clone();
            Ok((parent, name))
        }
        other => Err(odd(other)),
    }
}

pub(super) fn mkdir<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    mkdir_at(ctx, AT_FDCWD, 0, ctx.uint(1))
}

pub(super) fn mkdirat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    mkdir_at(ctx, ctx.int(0), 1, ctx.uint(2))
}

fn mkdir_at<M: UserMachine>(ctx: &Ctx<'_, M>, dir: i32, path: usize, mode: u32) -> Answer<M> {
    let (parent, name) = place(ctx, dir, path, |_| Errno::EXIST)?;
    let mode = mode & 0o1777 & !ctx.task.files().context().umask();
    parent.dir.make_directory(&name, mode, ctx.caller())?;
    Ok(0)
}

pub(super) fn mknod<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    mknod_at(ctx, AT_FDCWD, 0, ctx.uint(1), ctx.args[2])
}

pub(super) fn mknodat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    mknod_at(ctx, ctx.int(0), 1, ctx.uint(2), ctx.args[3])
}

fn mknod_at<M: UserMachine>(ctx: &Ctx<'_, M>, dir: i32, path: usize, mode: u32, device: u64) -> Answer<M> {
    let kind = match mode & Mode::TYPE {
        0 => Mode::REGULAR,
        Mode::DIRECTORY => return Err(Errno::PERM.into()),
        kind @ (Mode::REGULAR | Mode::CHARACTER | Mode::BLOCK | Mode::FIFO | Mode::SOCKET) => kind,
        _ => return Err(Errno::INVAL.into()),
    };
    let (parent, name) = place(ctx, dir, path, |_| Errno::EXIST)?;
    if parent.slash {
        return Err(Errno::NOENT.into());
    }
    let permissions = mode & 0o7777 & !ctx.task.files().context().umask();
    parent
        .dir
        .make_node(&name, kind | permissions, device, ctx.caller())?;
    Ok(0)
}

pub(super) fn unlink<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    remove_at(ctx, AT_FDCWD, 0, false)
}

pub(super) fn rmdir<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    remove_at(ctx, AT_FDCWD, 0, true)
}

pub(super) fn unlinkat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = AtFlags::from_bits_retain(ctx.uint(2));
    if flags.intersects(!AtFlags::REMOVEDIR) {
        return Err(Errno::INVAL.into());
    }
    remove_at(ctx, ctx.int(0), 1, flags.contains(AtFlags::REMOVEDIR))
}

fn remove_at<M: UserMachine>(ctx: &Ctx<'_, M>, dir: i32, path: usize, directory: bool) -> Answer<M> {
    let (parent, name) = place(ctx, dir, path, |last| match last {
        _ if !directory => Errno::ISDIR,
        Final::Dot => Errno::INVAL,
        Final::DotDot => Errno::NOTEMPTY,
        Final::Root | Final::Name(_) => Errno::BUSY,
    })?;
    if parent.slash && !directory {
        // The slash wants a directory, which unlink does not take.
        let node = parent.dir.lookup(&name, ctx.caller())?;
        return Err(match node.kind() {
            FileType::Directory => Errno::ISDIR,
            _ => Errno::NOTDIR,
        }
        .into());
    }
    parent.dir.remove(&name, directory, ctx.caller())?;
    Ok(0)
}

pub(super) fn rename<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    rename_at(ctx, (AT_FDCWD, 0), (AT_FDCWD, 1), 0)
}

pub(super) fn renameat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    rename_at(ctx, (ctx.int(0), 1), (ctx.int(2), 3), 0)
}

pub(super) fn renameat2<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    rename_at(ctx, (ctx.int(0), 1), (ctx.int(2), 3), ctx.uint(4))
}

fn rename_at<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    from: (i32, usize),
    to: (i32, usize),
    flags: u32,
) -> Answer<M> {
    let known = RenameFlags::from_bits(flags).ok_or(Errno::INVAL)?;
    if known.contains(RenameFlags::EXCHANGE) && known != RenameFlags::EXCHANGE {
        return Err(Errno::INVAL.into());
    }
    let (old, old_name) = place(ctx, from.0, from.1, |_| Errno::BUSY)?;
    let odd = if known.contains(RenameFlags::NOREPLACE) {
        Errno::EXIST
    } else {
        Errno::BUSY
    };
    let (new, new_name) = place(ctx, to.0, to.1, |_| odd)?;
    if old.slash || new.slash {
        let node = old.dir.lookup(&old_name, ctx.caller())?;
        if node.kind() != FileType::Directory {
            return Err(Errno::NOTDIR.into());
        }
    }
    old.dir
        .rename(&old_name, &new.dir, &new_name, flags, ctx.caller())?;
    Ok(0)
}

pub(super) fn link<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    link_at(ctx, (AT_FDCWD, 0), (AT_FDCWD, 1), AtFlags::empty())
}

pub(super) fn linkat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = AtFlags::from_bits_retain(ctx.uint(4));
    if flags.intersects(!(AtFlags::SYMLINK_FOLLOW | AtFlags::EMPTY_PATH)) {
        return Err(Errno::INVAL.into());
    }
    link_at(ctx, (ctx.int(0), 1), (ctx.int(2), 3), flags)
}

fn link_at<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    from: (i32, usize),
    to: (i32, usize),
    flags: AtFlags,
) -> Answer<M> {
    let last = if flags.contains(AtFlags::SYMLINK_FOLLOW) {
        Last::Follow
    } else {
        Last::Keep
    };
    let node = ctx.node_at(from.0, from.1, last, flags.contains(AtFlags::EMPTY_PATH))?;
    let (parent, name) = place(ctx, to.0, to.1, |_| Errno::EXIST)?;
    if parent.slash {
        return Err(Errno::NOENT.into());
    }
    parent.dir.add_name(&name, &node, ctx.caller())?;
    Ok(0)
}

pub(super) fn symlink<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    symlink_at(ctx, AT_FDCWD, 1)
}

pub(super) fn symlinkat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    symlink_at(ctx, ctx.int(1), 2)
}

fn symlink_at<M: UserMachine>(ctx: &Ctx<'_, M>, dir: i32, path: usize) -> Answer<M> {
    let target = ctx.path(0)?;
    if target.is_empty() {
        return Err(Errno::NOENT.into());
    }
    let (parent, name) = place(ctx, dir, path, |_| Errno::EXIST)?;
    if parent.slash {
        return Err(Errno::NOENT.into());
    }
    parent.dir.make_link(&name, &target, ctx.caller())?;
    Ok(0)
}

pub(super) fn readlink<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    readlink_at(ctx, AT_FDCWD, 0)
}

pub(super) fn readlinkat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    readlink_at(ctx, ctx.int(0), 1)
}

fn readlink_at<M: UserMachine>(ctx: &Ctx<'_, M>, dir: i32, path: usize) -> Answer<M> {
    let room = ctx.int(path + 2);
    if room <= 0 {
        return Err(Errno::INVAL.into());
    }
    let empty = ctx.path(path)?.is_empty();
    if empty && dir == AT_FDCWD {
        return Err(Errno::NOENT.into());
    }
    let node = ctx.node_at(dir, path, Last::Keep, true)?;
    let text = node.link_text(ctx.caller()).map_err(|errno| match errno {
        // An empty path that leads to no link has no name to read.
        Errno::INVAL if empty => Errno::NOENT,
        other => other,
    })?;
    let count = text.len().min(room as usize);
    ctx.memory()?.dynamic().put(ctx.ptr(path + 1), &text[..count])?;
    Ok(count as u64)
}

pub(super) fn getcwd<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let context = ctx.task.files().context();
    let mut path = context.cwd().path()?;
    if context.is_chrooted() {
        let root = context.root().path()?;
        if let Some(rest) = path.strip_prefix(&root[..]) {
            path = if rest.is_empty() {
                b"/".to_vec()
            } else {
                rest.to_vec()
            };
        } else {
            path.splice(0..0, *b"(unreachable)");
        }
    }
    path.push(0);
    if path.len() > ctx.len(1) {
        return Err(Errno::RANGE.into());
    }
    ctx.memory()?.dynamic().put(ctx.ptr(0), &path)?;
    Ok(path.len() as u64)
}

pub(super) fn chdir<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let node = ctx.node_at(AT_FDCWD, 0, Last::Follow, false)?;
    enter(ctx, node)
}

pub(super) fn fchdir<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let node = ctx.any_open(0)?.file().node().ok_or(Errno::NOTDIR)?;
    enter(ctx, node)
}

fn enter<M: UserMachine>(ctx: &Ctx<'_, M>, node: crate::fs::NodeRef<M>) -> Answer<M> {
    if node.kind() != FileType::Directory {
        return Err(Errno::NOTDIR.into());
    }
    node.access(Access {
        mode: 1,
        effective: true,
    })?;
    ctx.task.files().context().set_cwd(node);
    Ok(0)
}

pub(super) fn chroot<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let node = ctx.node_at(AT_FDCWD, 0, Last::Follow, false)?;
    if node.kind() != FileType::Directory {
        return Err(Errno::NOTDIR.into());
    }
    if !ctx.is_privileged() {
        return Err(Errno::PERM.into());
    }
    ctx.task.files().context().set_root(node);
    Ok(0)
}

pub(super) fn umask<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    Ok(u64::from(ctx.task.files().context().set_umask(ctx.uint(0))))
}
