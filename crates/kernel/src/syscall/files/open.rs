//! Opening, closing and duplicating.

use foliant_uapi::io::ioctl;
use foliant_uapi::mman::Seals;
use foliant_uapi::open::{AT_FDCWD, CloseRangeFlags, FD_CLOEXEC, Fcntl, OpenFlags, ResolveFlags};
use foliant_units::Errno;

use super::lock;
use crate::fd::{Fd, OpenRef};
use crate::fs::{OpenHow, SignalOwner};
use crate::machine::UserMachine;
use crate::pipe::PipeEnd;
use crate::syscall::{Answer, Ctx};
use crate::terminal;

pub(super) fn open<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    open_at(ctx, AT_FDCWD, 0, ctx.uint(1), ctx.uint(2))
}

pub(super) fn creat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    open_at(ctx, AT_FDCWD, 0, flags.bits(), ctx.uint(1))
}

pub(super) fn openat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    open_at(ctx, ctx.int(0), 1, ctx.uint(2), ctx.uint(3))
}

pub(super) fn openat2<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let memory = ctx.memory()?;
    match ctx.len(3) {
        0..24 => return Err(Errno::INVAL.into()),
        24 => {}
        more if more > 4096 => return Err(Errno::TOOBIG.into()),
        more => {
            let mut rest = alloc::vec![0; more - 24];
            memory.dynamic().fill((ctx.args[2] + 24).into_addr(), &mut rest)?;
            if rest.iter().any(|&byte| byte != 0) {
                return Err(Errno::TOOBIG.into());
            }
        }
    }
    let [flags, mode, resolve]: [u64; 3] = memory.get(ctx.ptr(2))?;
    let bounds = ResolveFlags::from_bits(resolve).ok_or(Errno::INVAL)?;
    if bounds.contains(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
        return Err(Errno::INVAL.into());
    }
    let known = OpenFlags::all();
    let flags = u32::try_from(flags)
        .ok()
        .and_then(OpenFlags::from_bits)
        .ok_or(Errno::INVAL)?;
    let creates = flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE_BIT);
    if !known.contains(flags) || mode & !0o7777 != 0 || (mode != 0 && !creates) {
        return Err(Errno::INVAL.into());
    }
    let changes = OpenFlags::CREAT | OpenFlags::TRUNC | OpenFlags::TMPFILE_BIT;
    if bounds.contains(ResolveFlags::CACHED) && flags.intersects(changes) {
        return Err(Errno::AGAIN.into());
    }
    open_within(ctx, ctx.int(0), 1, (flags.bits(), mode as u32), bounds)
}

trait IntoAddr {
    fn into_addr(self) -> foliant_units::VirtAddr;
}

impl IntoAddr for u64 {
    fn into_addr(self) -> foliant_units::VirtAddr {
        foliant_units::VirtAddr::new(self)
    }
}

fn open_at<M: UserMachine>(ctx: &mut Ctx<'_, M>, dir: i32, path: usize, flags: u32, mode: u32) -> Answer<M> {
    open_within(ctx, dir, path, (flags, mode), ResolveFlags::empty())
}

fn open_within<M: UserMachine>(
    ctx: &mut Ctx<'_, M>,
    dir: i32,
    path: usize,
    (flags, mode): (u32, u32),
    bounds: ResolveFlags,
) -> Answer<M> {
    let mut flags = OpenFlags::from_bits_truncate(flags) | OpenFlags::LARGEFILE;
    if flags.contains(OpenFlags::PATH) {
        flags &= OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC;
    }
    if flags.contains(OpenFlags::TMPFILE_BIT) && (!flags.contains(OpenFlags::TMPFILE) || !flags.writable()) {
        return Err(Errno::INVAL.into());
    }
    if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
        return Err(Errno::INVAL.into());
    }
    let mode = mode & 0o7777 & !ctx.task.files().context().umask();
    let path = ctx.path(path)?;
    let how = OpenHow {
        flags,
        mode,
        caller: ctx.caller(),
    };
    // With a root of its own even an absolute path begins at the descriptor.
    let in_root = bounds.contains(ResolveFlags::IN_ROOT);
    let mut walk = ctx.walk(dir, if in_root { b"." } else { &path })?;
    walk.bound(bounds);
    // A name that must wait for its other end (a FIFO) says AGAIN until then.
    let file = loop {
        match walk.open(&path, how) {
            Err(Errno::AGAIN) if !flags.contains(OpenFlags::NONBLOCK) => super::lock::pause(ctx)?,
            answer => break answer?,
        }
    };
    if !flags.contains(OpenFlags::NONBLOCK) {
        ctx.wait_for(&file, true, None, || file.opened())?;
    }
    Ok(ctx.install(file, flags)?)
}

pub(super) fn close<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.task.files().table().remove(Fd::new(ctx.int(0))?)?;
    closed(ctx, open);
    Ok(0)
}

/// What closing a descriptor means for the process.
fn closed<M: UserMachine>(ctx: &Ctx<'_, M>, open: OpenRef<M>) {
    open.file().closed_by(ctx.task.process().id().raw());
}

pub(super) fn close_range<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (first, last) = (ctx.uint(0), ctx.uint(1));
    let flags = CloseRangeFlags::from_bits(ctx.uint(2)).ok_or(Errno::INVAL)?;
    if first > last {
        return Err(Errno::INVAL.into());
    }
    if flags.contains(CloseRangeFlags::UNSHARE) {
        ctx.task.files().unshare_table();
    }
    let table = ctx.task.files().table();
    if flags.contains(CloseRangeFlags::CLOEXEC) {
        table.set_cloexec_range(first, last);
    } else {
        for open in table.remove_range(first, last) {
            closed(ctx, open);
        }
    }
    Ok(0)
}

pub(super) fn dup<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    dup_from(ctx, 0, false)
}

fn dup_from<M: UserMachine>(ctx: &Ctx<'_, M>, lowest: u32, cloexec: bool) -> Answer<M> {
    let open = ctx.any_open(0)?;
    let fd = ctx
        .task
        .files()
        .table()
        .add(open, cloexec, lowest, ctx.fd_limit())?;
    Ok(u64::from(fd.raw()))
}

pub(super) fn dup2<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    if ctx.int(0) == ctx.int(1) {
        ctx.any_open(0)?;
        return Ok(u64::from(ctx.uint(1)));
    }
    dup_to(ctx, false)
}

pub(super) fn dup3<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = OpenFlags::from_bits_retain(ctx.uint(2));
    if flags.intersects(!OpenFlags::CLOEXEC) || ctx.int(0) == ctx.int(1) {
        return Err(Errno::INVAL.into());
    }
    dup_to(ctx, flags.contains(OpenFlags::CLOEXEC))
}

fn dup_to<M: UserMachine>(ctx: &Ctx<'_, M>, cloexec: bool) -> Answer<M> {
    let open = ctx.any_open(0)?;
    let to = Fd::new(ctx.int(1))?;
    if let Some(old) = ctx
        .task
        .files()
        .table()
        .replace(to, open, cloexec, ctx.fd_limit())?
    {
        closed(ctx, old);
    }
    Ok(u64::from(to.raw()))
}

pub(super) fn fcntl<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.any_open(0)?;
    let command = Fcntl::from_raw(ctx.uint(1)).ok_or(Errno::INVAL)?;
    let table = ctx.task.files().table();
    let fd = Fd::new(ctx.int(0))?;
    match command {
        Fcntl::DupFd | Fcntl::DupFdCloexec => {
            if ctx.args[2] as u32 as u64 >= ctx.fd_limit() {
                return Err(Errno::INVAL.into());
            }
            return dup_from(ctx, ctx.uint(2), command == Fcntl::DupFdCloexec);
        }
        Fcntl::DupFdQuery => {
            let other = table.get(Fd::new(ctx.int(2))?)?;
            return Ok(u64::from(alloc::sync::Arc::ptr_eq(&open, &other)));
        }
        Fcntl::GetFd => return Ok(u64::from(table.cloexec(fd)?)),
        Fcntl::SetFd => {
            table.set_cloexec(fd, ctx.uint(2) & FD_CLOEXEC != 0)?;
            return Ok(0);
        }
        Fcntl::GetFl => return Ok(u64::from(open.flags().bits())),
        _ => {}
    }
    if open.flags().contains(OpenFlags::PATH) {
        return Err(Errno::BADF.into());
    }
    fcntl_open(ctx, command, open)
}

/// The commands that an `O_PATH` descriptor does not have.
fn fcntl_open<M: UserMachine>(ctx: &mut Ctx<'_, M>, command: Fcntl, open: OpenRef<M>) -> Answer<M> {
    match command {
        Fcntl::SetFl => open.set_flags(OpenFlags::from_bits_retain(ctx.uint(2))),
        Fcntl::GetLk
        | Fcntl::SetLk
        | Fcntl::SetLkW
        | Fcntl::OfdGetLk
        | Fcntl::OfdSetLk
        | Fcntl::OfdSetLkW => {
            return lock::record(ctx, command, &open);
        }
        Fcntl::GetOwn => return Ok(open.owner().id as i64 as u64),
        Fcntl::SetOwn => open.set_owner(SignalOwner {
            id: ctx.int(2),
            ..open.owner()
        }),
        Fcntl::GetSig => return Ok(u64::from(open.owner().signal)),
        Fcntl::SetSig => open.set_owner(SignalOwner {
            signal: ctx.uint(2),
            ..open.owner()
        }),
        Fcntl::GetOwnEx => {
            let owner = open.owner();
            ctx.memory()?.put(ctx.ptr(2), &[owner.kind as i32, owner.id])?;
        }
        Fcntl::SetOwnEx => {
            let [kind, id]: [i32; 2] = ctx.memory()?.get(ctx.ptr(2))?;
            open.set_owner(SignalOwner {
                kind: kind as u32,
                id,
                ..open.owner()
            });
        }
        Fcntl::GetPipeSz => {
            let pipe = open.downcast::<PipeEnd>().ok_or(Errno::BADF)?;
            return Ok(pipe.capacity() as u64);
        }
        Fcntl::SetPipeSz => {
            let pipe = open.downcast::<PipeEnd>().ok_or(Errno::BADF)?;
            return Ok(pipe.set_capacity(ctx.uint(2))? as u64);
        }
        Fcntl::AddSeals => {
            if !open.flags().writable() {
                return Err(Errno::PERM.into());
            }
            open.file()
                .add_seals(Seals::from_bits(ctx.uint(2)).ok_or(Errno::INVAL)?)?;
        }
        Fcntl::GetSeals => return Ok(u64::from(open.file().seals()?.bits())),
        Fcntl::GetLease => return Ok(2),
        Fcntl::CreatedQuery => return Ok(0),
        _ => return Err(Errno::INVAL.into()),
    }
    Ok(0)
}

pub(super) fn ioctl_<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    let memory = ctx.memory()?;
    let table = ctx.task.files().table();
    let fd = Fd::new(ctx.int(0))?;
    if open.file().is_terminal()
        && let Some(answer) = terminal::ioctl(ctx, &**open.file())
    {
        return answer;
    }
    match ctx.uint(1) {
        ioctl::FIOCLEX => table.set_cloexec(fd, true)?,
        ioctl::FIONCLEX => table.set_cloexec(fd, false)?,
        ioctl::FIONBIO => {
            let on: i32 = memory.get(ctx.ptr(2))?;
            let mut flags = open.flags();
            flags.set(OpenFlags::NONBLOCK, on != 0);
            open.set_flags(flags);
        }
        ioctl::FIOASYNC => {
            let on: i32 = memory.get(ctx.ptr(2))?;
            let mut flags = open.flags();
            flags.set(OpenFlags::ASYNC, on != 0);
            open.set_flags(flags);
        }
        command => return Ok(open.file().ioctl(&memory, command, ctx.ptr(2))?),
    }
    Ok(0)
}
