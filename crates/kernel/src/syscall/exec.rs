//! Replacing the program.

use foliant_uapi::Sysno;
use foliant_uapi::open::AtFlags;
use foliant_uapi::resource::Resource;
use foliant_units::Errno;

use super::{Answer, Ctx, Fail, Handler};
use crate::exec::{self, Args, Origin, caller};
use crate::fd::Fd;
use crate::fs::{Last, PATH_MAX, Walk};
use crate::machine::UserMachine;

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::EXECVE => |ctx| {
            let [path, argv, envp, ..] = ctx.args;
            run(ctx, AT_FDCWD, [path, argv, envp], AtFlags::empty())
        },
        Sysno::EXECVEAT => |ctx| {
            let [_, path, argv, envp, ..] = ctx.args;
            let flags = AtFlags::from_bits_retain(ctx.uint(4));
            if !(AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW).contains(flags) {
                return Err(Fail::Errno(Errno::INVAL));
            }
            run(ctx, ctx.int(0), [path, argv, envp], flags)
        },
        _ => return None,
    })
}

/// "The working directory."
const AT_FDCWD: i32 = -100;

fn run<M: UserMachine>(
    ctx: &mut Ctx<'_, M>,
    dir: i32,
    [path, argv, envp]: [u64; 3],
    flags: AtFlags,
) -> Answer<M> {
    let path = ctx.read_string(path, PATH_MAX).map_err(|errno| match errno {
        Errno::TOOBIG => Errno::NAMETOOLONG,
        errno => errno,
    })?;
    let context = ctx.task.files().context();
    let mut walk = Walk {
        root: context.root(),
        start: context.cwd(),
        chrooted: context.is_chrooted(),
        bounds: foliant_uapi::open::ResolveFlags::empty(),
        caller: caller(ctx.task),
    };
    let mut node = None;
    let mut shown = path.clone();
    if dir != AT_FDCWD && path.first() != Some(&b'/') {
        let open = ctx.task.files().table().get(Fd::new(dir)?)?;
        let from = open.file().node().ok_or(Errno::ACCES)?;
        shown = alloc::format!("/dev/fd/{dir}").into_bytes();
        if path.is_empty() {
            node = Some(from);
        } else {
            shown.push(b'/');
            shown.extend_from_slice(&path);
            walk.start = from;
        }
    }
    if path.is_empty() && (node.is_none() || !flags.contains(AtFlags::EMPTY_PATH)) {
        return Err(Fail::Errno(Errno::NOENT));
    }

    let stack_limit = ctx.task.process().limit(Resource::Stack);
    let args = Args::read(&ctx.copier(&*ctx.space()?), argv, envp, stack_limit)?;
    let last = if flags.contains(AtFlags::SYMLINK_NOFOLLOW) {
        Last::Keep
    } else {
        Last::Follow
    };
    let origin = Origin {
        walk,
        path: &path,
        shown: &shown,
        last,
        node,
    };
    exec::execve(ctx.kernel, ctx.task, ctx.cpu, origin, args)?;
    Ok(0)
}
