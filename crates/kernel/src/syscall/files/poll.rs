//! Waiting for several files at once.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use foliant_platform::Nanos;
use foliant_uapi::IntoBytes;
use foliant_uapi::poll::{EpollCtl, EpollEvent, PollEvents, PollFd};
use foliant_uapi::time::{Timespec, Timeval};
use foliant_units::{Errno, VirtAddr};

use crate::epoll::{Change, Epoll};
use crate::fd::{Fd, OpenRef};
use crate::machine::UserMachine;
use crate::park::{Interrupt, WaitError};
use crate::syscall::{Answer, Ctx, Fail, Restart};

/// A moment at which waiting ends; `None` is never.
type Deadline = Option<Nanos>;

fn after<M: UserMachine>(ctx: &Ctx<'_, M>, nanos: u64) -> Deadline {
    Some(Nanos(ctx.task.parker().now().0.saturating_add(nanos)))
}

fn after_millis<M: UserMachine>(ctx: &Ctx<'_, M>, millis: i32) -> Deadline {
    u64::try_from(millis)
        .ok()
        .and_then(|millis| after(ctx, millis * 1_000_000))
}

/// The deadline that a `struct timespec` tells; a null pointer is never.
fn after_timespec<M: UserMachine>(ctx: &Ctx<'_, M>, at: VirtAddr) -> Result<Deadline, Errno> {
    if at.raw() == 0 {
        return Ok(None);
    }
    let time: Timespec = ctx.memory()?.get(at)?;
    Ok(after(ctx, time.to_nanos().ok_or(Errno::INVAL)?))
}

fn time_left<M: UserMachine>(ctx: &Ctx<'_, M>, until: Deadline) -> Option<u64> {
    until.map(|until| until.0.saturating_sub(ctx.task.parker().now().0))
}

/// Waits until `scan` counts something among `files`, time is over (0) or a
/// signal comes.
fn wait_any<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    files: &[Option<OpenRef<M>>],
    until: Deadline,
    mut scan: impl FnMut() -> usize,
) -> Result<usize, WaitError> {
    let count = scan();
    if count > 0 || time_left(ctx, until) == Some(0) {
        return Ok(count);
    }
    let parker = ctx.task.parker();
    let queues = files.iter().flatten().filter_map(|open| open.file().queue());
    let places: Vec<_> = queues.map(|queue| queue.register(parker.clone())).collect();
    let found = parker.park(Interrupt::BySignal, until, || {
        Some(scan()).filter(|&count| count > 0)
    });
    drop(places);
    match found {
        Err(WaitError::Timeout) => Ok(0),
        other => other,
    }
}

pub(super) fn poll<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let until = after_millis(ctx, ctx.int(2));
    poll_until(ctx, until)
}

fn poll_until<M: UserMachine>(ctx: &mut Ctx<'_, M>, until: Deadline) -> Answer<M> {
    match poll_once(ctx, until)? {
        Ok(count) => Ok(count),
        Err(_) => Err(Fail::Restart(Restart::Block(Box::new(move |ctx| {
            poll_until(ctx, until)
        })))),
    }
}

pub(super) fn ppoll<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let until = after_timespec(ctx, ctx.ptr(2))?;
    super::mask::enter(ctx, ctx.ptr(3), ctx.args[4])?;
    let result = poll_once(ctx, until)?;
    if let Some(left) = time_left(ctx, until) {
        // As on Linux, a time that cannot be written back is no error.
        let _ = ctx.memory()?.put(ctx.ptr(2), &Timespec::from_nanos(left));
    }
    super::mask::leave(ctx, result)
}

fn poll_once<M: UserMachine>(
    ctx: &mut Ctx<'_, M>,
    until: Deadline,
) -> Result<Result<u64, WaitError>, Fail<M>> {
    let count = ctx.len(1);
    if count as u64 > ctx.fd_limit() {
        return Err(Errno::INVAL.into());
    }
    let memory = ctx.memory()?;
    let mut fds = vec![PollFd::default(); count];
    memory
        .dynamic()
        .fill(ctx.ptr(0), fds.as_mut_slice().as_mut_bytes())?;
    let table = ctx.task.files().table();
    let files: Vec<_> = fds
        .iter()
        .map(|poll| Fd::new(poll.fd).and_then(|fd| table.get(fd)).ok())
        .collect();
    let found = wait_any(ctx, &files, until, || {
        let mut count = 0;
        for (poll, open) in fds.iter_mut().zip(&files) {
            poll.revents = revents(poll, open.as_ref());
            count += usize::from(poll.revents != 0);
        }
        count
    });
    let Ok(found) = found else {
        return Ok(Err(WaitError::Signal));
    };
    for (at, poll) in fds.iter().enumerate() {
        memory.put(VirtAddr::new(ctx.args[0] + at as u64 * 8 + 6), &poll.revents)?;
    }
    Ok(Ok(found as u64))
}

fn revents<M: UserMachine>(poll: &PollFd, open: Option<&OpenRef<M>>) -> u16 {
    let Some(open) = open else {
        return if poll.fd < 0 {
            0
        } else {
            PollEvents::NVAL.bits() as u16
        };
    };
    let wanted = PollEvents::from_bits_retain(u32::from(poll.events)) | PollEvents::ERR | PollEvents::HUP;
    (open.file().ready() & wanted).bits() as u16
}

/// What each of the three sets of `select` means.
const SELECT: [PollEvents; 3] = [
    PollEvents::IN
        .union(PollEvents::RDNORM)
        .union(PollEvents::RDBAND)
        .union(PollEvents::HUP)
        .union(PollEvents::ERR),
    PollEvents::OUT
        .union(PollEvents::WRNORM)
        .union(PollEvents::WRBAND)
        .union(PollEvents::ERR),
    PollEvents::PRI,
];

pub(super) fn select<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let at = ctx.ptr(4);
    let until = if at.raw() == 0 {
        None
    } else {
        let time: Timeval = ctx.memory()?.get(at)?;
        if time.sec < 0 || time.usec < 0 {
            return Err(Errno::INVAL.into());
        }
        after(
            ctx,
            (time.sec as u64)
                .saturating_mul(1_000_000_000)
                .saturating_add(time.usec as u64 * 1000),
        )
    };
    let result = select_once(ctx, until)?;
    if let Some(left) = time_left(ctx, until) {
        let _ = ctx.memory()?.put(at, &Timeval::from_nanos(left));
    }
    result.map_err(|_| Fail::Restart(Restart::NoHand))
}

pub(super) fn pselect6<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let until = after_timespec(ctx, ctx.ptr(4))?;
    let [set, size]: [u64; 2] = if ctx.args[5] == 0 {
        [0, 8]
    } else {
        ctx.memory()?.get(ctx.ptr(5))?
    };
    super::mask::enter(ctx, VirtAddr::new(set), size)?;
    let result = select_once(ctx, until)?;
    if let Some(left) = time_left(ctx, until) {
        let _ = ctx.memory()?.put(ctx.ptr(4), &Timespec::from_nanos(left));
    }
    super::mask::leave(ctx, result)
}

fn select_once<M: UserMachine>(
    ctx: &mut Ctx<'_, M>,
    until: Deadline,
) -> Result<Result<u64, WaitError>, Fail<M>> {
    let table = ctx.task.files().table();
    let count = usize::try_from(ctx.int(0))
        .map_err(|_| Errno::INVAL)?
        .min(table.capacity());
    let bytes = count.div_ceil(64) * 8;
    let memory = ctx.memory()?;
    let mut asked: [Vec<u8>; 3] = [const { Vec::new() }; 3];
    for (set, asked) in asked.iter_mut().enumerate() {
        asked.resize(bytes, 0);
        if ctx.args[1 + set] != 0 {
            memory.dynamic().fill(ctx.ptr(1 + set), asked)?;
        }
    }
    let has = |set: &[u8], fd: usize| set[fd / 8] & (1 << (fd % 8)) != 0;
    let mut files = Vec::new();
    let mut numbers = Vec::new();
    for fd in 0..count {
        if asked.iter().any(|set| has(set, fd)) {
            files.push(Some(table.get(Fd::new(fd as i32)?)?));
            numbers.push(fd);
        }
    }
    let mut found = [vec![0; bytes], vec![0; bytes], vec![0; bytes]];
    let result = wait_any(ctx, &files, until, || {
        let mut total = 0;
        for (&fd, open) in numbers.iter().zip(files.iter().flatten()) {
            let ready = open.file().ready();
            for set in 0..3 {
                if has(&asked[set], fd) && ready.intersects(SELECT[set]) {
                    found[set][fd / 8] |= 1 << (fd % 8);
                    total += 1;
                }
            }
        }
        total
    });
    let Ok(total) = result else {
        return Ok(Err(WaitError::Signal));
    };
    for (set, found) in found.iter().enumerate() {
        if ctx.args[1 + set] != 0 {
            memory.dynamic().put(ctx.ptr(1 + set), found)?;
        }
    }
    Ok(Ok(total as u64))
}

pub(super) fn epoll_ctl<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let command = EpollCtl::from_raw(ctx.uint(1)).ok_or(Errno::INVAL);
    let event: EpollEvent = match command {
        Ok(EpollCtl::Del) => EpollEvent::default(),
        _ => ctx.memory()?.get(ctx.ptr(3))?,
    };
    let (set, open) = (ctx.open(0)?, ctx.open(2)?);
    let epoll = set.downcast::<Epoll<M>>().ok_or(Errno::INVAL)?;
    let change = match command? {
        EpollCtl::Add => Change::Add(event),
        EpollCtl::Mod => Change::Modify(event),
        EpollCtl::Del => Change::Delete,
    };
    epoll.change(Fd::new(ctx.int(2))?, &open, change)?;
    Ok(0)
}

pub(super) fn epoll_wait<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let until = after_millis(ctx, ctx.int(3));
    wait_events(ctx, until)?.map_err(|_| Errno::INTR.into())
}

pub(super) fn epoll_pwait<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let until = after_millis(ctx, ctx.int(3));
    super::mask::enter(ctx, ctx.ptr(4), ctx.args[5])?;
    let result = wait_events(ctx, until)?;
    super::mask::leave_interrupted(ctx, result)
}

pub(super) fn epoll_pwait2<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let until = after_timespec(ctx, ctx.ptr(3))?;
    super::mask::enter(ctx, ctx.ptr(4), ctx.args[5])?;
    let result = wait_events(ctx, until)?;
    super::mask::leave_interrupted(ctx, result)
}

/// Most events that one call returns.
const MAX_EVENTS: i32 = i32::MAX / 12;

fn wait_events<M: UserMachine>(
    ctx: &mut Ctx<'_, M>,
    until: Deadline,
) -> Result<Result<u64, WaitError>, Fail<M>> {
    let most = ctx.int(2);
    if most <= 0 || most > MAX_EVENTS {
        return Err(Errno::INVAL.into());
    }
    let open = ctx.open(0)?;
    let epoll = open.downcast::<Epoll<M>>().ok_or(Errno::INVAL)?;
    let mut events = Vec::new();
    let files = [Some(open.clone())];
    let found = wait_any(ctx, &files, until, || {
        events = epoll.harvest(most as usize);
        events.len()
    });
    let Ok(found) = found else {
        return Ok(Err(WaitError::Signal));
    };
    let memory = ctx.memory()?;
    for (at, event) in events.iter().enumerate() {
        memory.put(VirtAddr::new(ctx.args[1] + at as u64 * 12), event)?;
    }
    Ok(Ok(found as u64))
}
