//! Making pipes, counters, timers and other files without a name.

use alloc::sync::Arc;

use foliant_uapi::mman::{MemfdFlags, Seals};
use foliant_uapi::open::OpenFlags;
use foliant_uapi::poll::EventFdFlags;
use foliant_uapi::time::Itimerspec;
use foliant_uapi::{SigSet, Signal};
use foliant_units::Errno;

use crate::epoll::Epoll;
use crate::eventfd::EventFd;
use crate::fs::OpenFile;
use crate::machine::UserMachine;
use crate::pipe::PipeEnd;
use crate::signalfd::SignalFd;
use crate::syscall::{Answer, Ctx};
use crate::timerfd::TimerFd;
use crate::tmpfs::create_memfd;

/// Flags that most of these calls share.
const SHARED: OpenFlags = OpenFlags::NONBLOCK.union(OpenFlags::CLOEXEC);

fn shared_flags(raw: u32) -> Result<OpenFlags, Errno> {
    let flags = OpenFlags::from_bits_retain(raw);
    if SHARED.contains(flags) {
        Ok(flags | OpenFlags::RDWR)
    } else {
        Err(Errno::INVAL)
    }
}

pub(super) fn pipe<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    make_pipe(ctx, OpenFlags::empty())
}

pub(super) fn pipe2<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = OpenFlags::from_bits_retain(ctx.uint(1));
    if !(SHARED | OpenFlags::DIRECT).contains(flags) {
        return Err(Errno::INVAL.into());
    }
    if flags.contains(OpenFlags::DIRECT) {
        // Packets are not offered.
        return Err(Errno::INVAL.into());
    }
    make_pipe(ctx, flags)
}

fn make_pipe<M: UserMachine>(ctx: &Ctx<'_, M>, flags: OpenFlags) -> Answer<M> {
    let (reader, writer) = PipeEnd::pair(ctx.kernel.files().next_number());
    let table = ctx.task.files().table();
    let cloexec = flags.contains(OpenFlags::CLOEXEC);
    let reader = OpenFile::new(Arc::new(reader), flags);
    let writer = OpenFile::new(Arc::new(writer), flags | OpenFlags::WRONLY);
    let first = table.add(reader, cloexec, 0, ctx.fd_limit())?;
    let second = match table.add(writer, cloexec, 0, ctx.fd_limit()) {
        Ok(second) => second,
        Err(errno) => {
            drop(table.remove(first));
            return Err(errno.into());
        }
    };
    let pair = [first.raw(), second.raw()];
    if let Err(errno) = ctx.memory()?.put(ctx.ptr(0), &pair) {
        drop((table.remove(first), table.remove(second)));
        return Err(errno.into());
    }
    Ok(0)
}

pub(super) fn eventfd<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    Ok(ctx.install(Arc::new(EventFd::new(ctx.uint(0), false)), OpenFlags::RDWR)?)
}

pub(super) fn eventfd2<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = EventFdFlags::from_bits(ctx.uint(1)).ok_or(Errno::INVAL)?;
    let file = EventFd::new(ctx.uint(0), flags.contains(EventFdFlags::SEMAPHORE));
    let open = OpenFlags::from_bits_retain(flags.bits()) & SHARED;
    Ok(ctx.install(Arc::new(file), open | OpenFlags::RDWR)?)
}

pub(super) fn epoll_create<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    if ctx.int(0) <= 0 {
        return Err(Errno::INVAL.into());
    }
    Ok(ctx.install(Arc::new(Epoll::new()), OpenFlags::RDWR)?)
}

pub(super) fn epoll_create1<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = OpenFlags::from_bits_retain(ctx.uint(0));
    if flags.intersects(!OpenFlags::CLOEXEC) {
        return Err(Errno::INVAL.into());
    }
    Ok(ctx.install(Arc::new(Epoll::new()), flags | OpenFlags::RDWR)?)
}

pub(super) fn timerfd_create<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = shared_flags(ctx.uint(1))?;
    let timer = TimerFd::new(ctx.kernel, ctx.int(0))?;
    Ok(ctx.install(timer, flags)?)
}

pub(super) fn timerfd_settime<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    const ABSOLUTE: u32 = 1;
    const CANCEL_ON_SET: u32 = 2;
    let memory = ctx.memory()?;
    let new: Itimerspec = memory.get(ctx.ptr(2))?;
    if ctx.uint(1) & !(ABSOLUTE | CANCEL_ON_SET) != 0 {
        return Err(Errno::INVAL.into());
    }
    let open = ctx.open(0)?;
    let timer = open.downcast::<TimerFd<M>>().ok_or(Errno::INVAL)?;
    let old = timer.set(new, ctx.uint(1) & ABSOLUTE != 0)?;
    if ctx.args[3] != 0 {
        memory.put(ctx.ptr(3), &old)?;
    }
    Ok(0)
}

pub(super) fn timerfd_gettime<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    let timer = open.downcast::<TimerFd<M>>().ok_or(Errno::INVAL)?;
    ctx.memory()?.put(ctx.ptr(1), &timer.get())?;
    Ok(0)
}

pub(super) fn signalfd<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    make_signalfd(ctx, OpenFlags::RDWR)
}

pub(super) fn signalfd4<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = shared_flags(ctx.uint(3))?;
    make_signalfd(ctx, flags)
}

fn make_signalfd<M: UserMachine>(ctx: &mut Ctx<'_, M>, flags: OpenFlags) -> Answer<M> {
    if ctx.args[2] != 8 {
        return Err(Errno::INVAL.into());
    }
    let mask: u64 = ctx.memory()?.get(ctx.ptr(1))?;
    let never = SigSet::only(Signal::KILL).union(SigSet::only(Signal::STOP));
    let mask = SigSet::from_bits(mask).difference(never);
    if ctx.int(0) == -1 {
        return Ok(ctx.install(Arc::new(SignalFd::new(ctx.task.clone(), mask)), flags)?);
    }
    let open = ctx.open(0)?;
    open.downcast::<SignalFd<M>>().ok_or(Errno::INVAL)?.set_mask(mask);
    Ok(ctx.args[0])
}

/// Longest name of a memfd in bytes, with its zero byte.
const MEMFD_NAME_MAX: usize = 250;

pub(super) fn memfd_create<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = MemfdFlags::from_bits(ctx.uint(1)).ok_or(Errno::INVAL)?;
    if flags.contains(MemfdFlags::HUGETLB) {
        // The machine has no pool of huge pages yet.
        return Err(Errno::NOSYS.into());
    }
    if flags.intersects(MemfdFlags::HUGE_SIZE) || flags.contains(MemfdFlags::EXEC | MemfdFlags::NOEXEC_SEAL) {
        return Err(Errno::INVAL.into());
    }
    let name = ctx.memory()?.dynamic().string(ctx.ptr(0), MEMFD_NAME_MAX);
    let name = name.map_err(|errno| {
        if errno == Errno::NAMETOOLONG {
            Errno::INVAL
        } else {
            errno
        }
    })?;
    let seals = match flags {
        _ if flags.contains(MemfdFlags::NOEXEC_SEAL) => Seals::EXEC,
        _ if flags.contains(MemfdFlags::ALLOW_SEALING) => Seals::empty(),
        _ => Seals::SEAL,
    };
    let mode = if flags.contains(MemfdFlags::NOEXEC_SEAL) {
        0o666
    } else {
        0o777
    };
    let file = create_memfd(ctx.kernel, &name, seals, mode, ctx.owner())?;
    let mut open = OpenFlags::RDWR | OpenFlags::LARGEFILE;
    open.set(OpenFlags::CLOEXEC, flags.contains(MemfdFlags::CLOEXEC));
    Ok(ctx.install(file, open)?)
}
