//! Reading, writing and seeking.

use alloc::vec;
use alloc::vec::Vec;

use foliant_uapi::io::{Iovec, MAX_RW_COUNT, UIO_MAXIOV};
use foliant_uapi::open::{OpenFlags, RwFlags};
use foliant_uapi::resource::{Resource, Rlimit};
use foliant_units::{Errno, VirtAddr};

use super::env::Memory;
use crate::fd::OpenRef;
use crate::fs::{IoVec, Sink, Source, UserSink, UserSource};
use crate::machine::UserMachine;
use crate::signal::Signal;
use crate::syscall::{Answer, Ctx, Fail};
use crate::terminal;

/// One past the last address of user memory.
const TASK_SIZE: u64 = 0x7fff_ffff_f000;

/// Where a call reads or writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// At the position, which moves.
    Position,
    /// There, and the position stays.
    At(u64),
}

/// What a call asks to be read or written.
struct Request {
    pieces: Vec<IoVec>,
    place: Place,
    flags: RwFlags,
}

impl Request {
    /// One buffer, at the position.
    fn plain<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<Self, Errno> {
        Ok(Self {
            pieces: one_piece(ctx.args[1], ctx.args[2])?,
            place: Place::Position,
            flags: RwFlags::empty(),
        })
    }

    /// One buffer, at an offset.
    fn at<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<Self, Errno> {
        let place = offset(ctx.args[3] as i64)?;
        Ok(Self {
            place,
            ..Self::plain(ctx)?
        })
    }

    /// Many buffers, at the position.
    fn vector<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<Self, Errno> {
        Self::scattered(ctx, Place::Position, RwFlags::empty())
    }

    /// Many buffers, at an offset.
    fn vector_at<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<Self, Errno> {
        Self::scattered(ctx, offset(ctx.args[3] as i64)?, RwFlags::empty())
    }

    /// Many buffers, at an offset or the position, with flags.
    fn vector_with<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<Self, Errno> {
        let place = offset_or_position(ctx.args[3])?;
        Self::scattered(ctx, place, rw_flags(ctx.uint(5))?)
    }

    fn scattered<M: UserMachine>(ctx: &Ctx<'_, M>, place: Place, flags: RwFlags) -> Result<Self, Errno> {
        Ok(Self {
            pieces: many_pieces(&ctx.memory()?, ctx.ptr(1), ctx.args[2])?,
            place,
            flags,
        })
    }
}

pub(super) fn read<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    read_into(ctx, Request::plain(ctx)?)
}

pub(super) fn write<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    write_from(ctx, Request::plain(ctx)?)
}

pub(super) fn pread64<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    read_into(ctx, Request::at(ctx)?)
}

pub(super) fn pwrite64<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    write_from(ctx, Request::at(ctx)?)
}

pub(super) fn readv<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    read_into(ctx, Request::vector(ctx)?)
}

pub(super) fn writev<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    write_from(ctx, Request::vector(ctx)?)
}

pub(super) fn preadv<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    read_into(ctx, Request::vector_at(ctx)?)
}

pub(super) fn pwritev<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    write_from(ctx, Request::vector_at(ctx)?)
}

pub(super) fn preadv2<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    read_into(ctx, Request::vector_with(ctx)?)
}

pub(super) fn pwritev2<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    write_from(ctx, Request::vector_with(ctx)?)
}

fn offset(raw: i64) -> Result<Place, Errno> {
    u64::try_from(raw).map(Place::At).map_err(|_| Errno::INVAL)
}

fn offset_or_position(raw: u64) -> Result<Place, Errno> {
    if raw == u64::MAX {
        Ok(Place::Position)
    } else {
        offset(raw as i64)
    }
}

fn rw_flags(raw: u32) -> Result<RwFlags, Errno> {
    let flags = RwFlags::from_bits(raw).ok_or(Errno::OPNOTSUPP)?;
    if flags.contains(RwFlags::APPEND | RwFlags::NOAPPEND) {
        return Err(Errno::INVAL);
    }
    if flags.intersects(RwFlags::ATOMIC) {
        Err(Errno::OPNOTSUPP)
    } else {
        Ok(flags)
    }
}

fn one_piece(base: u64, len: u64) -> Result<Vec<IoVec>, Errno> {
    if len as i64 > 0 && base.checked_add(len).is_none_or(|end| end > TASK_SIZE) {
        return Err(Errno::FAULT);
    }
    if (len as i64) < 0 {
        return Err(Errno::INVAL);
    }
    Ok(vec![IoVec {
        base: VirtAddr::new(base),
        len: len.min(MAX_RW_COUNT) as usize,
    }])
}

/// Reads an array of `struct iovec`, as `import_iovec()` checks it.
pub(super) fn many_pieces<M: UserMachine>(
    memory: &Memory<M>,
    at: VirtAddr,
    count: u64,
) -> Result<Vec<IoVec>, Errno> {
    if count > UIO_MAXIOV as u64 {
        return Err(Errno::INVAL);
    }
    let mut left = MAX_RW_COUNT;
    let mut pieces = Vec::with_capacity(count as usize);
    for index in 0..count {
        let iovec: Iovec = memory.get(VirtAddr::new(at.raw().wrapping_add(index * 16)))?;
        if (iovec.len as i64) < 0 {
            return Err(Errno::INVAL);
        }
        if iovec.len > 0
            && iovec
                .base
                .checked_add(iovec.len)
                .is_none_or(|end| end > TASK_SIZE)
        {
            return Err(Errno::FAULT);
        }
        let len = iovec.len.min(left);
        left -= len;
        pieces.push(IoVec {
            base: VirtAddr::new(iovec.base),
            len: len as usize,
        });
    }
    Ok(pieces)
}

fn read_into<M: UserMachine>(ctx: &mut Ctx<'_, M>, request: Request) -> Answer<M> {
    let open = ctx.open(0)?;
    if open.file().is_terminal() {
        terminal::may_touch(ctx.kernel, ctx.task, &**open.file(), Signal::TTIN)?;
    }
    let memory = ctx.memory()?;
    let mut sink = UserSink::new(&memory, request.pieces);
    let blocking = open.blocks() && !request.flags.contains(RwFlags::NOWAIT);
    read_blocking(ctx, &open, &mut sink, request.place, blocking)
}

pub(super) fn read_blocking<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    open: &OpenRef<M>,
    sink: &mut dyn Sink,
    place: Place,
    blocking: bool,
) -> Answer<M> {
    let attempt = || match place {
        Place::Position => open.read(sink),
        Place::At(offset) => open.read_at(offset, sink),
    };
    ctx.wait_for(open.file(), blocking, None, attempt)
        .map(|count| count as u64)
}

fn write_from<M: UserMachine>(ctx: &mut Ctx<'_, M>, request: Request) -> Answer<M> {
    let (place, flags) = (request.place, request.flags);
    let open = ctx.open(0)?;
    let memory = ctx.memory()?;
    let mut source = UserSource::new(&memory, request.pieces);
    let blocking = open.blocks() && !flags.contains(RwFlags::NOWAIT);
    write_blocking(ctx, &open, &mut source, place, flags, blocking)
}

pub(super) fn write_blocking<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    open: &OpenRef<M>,
    source: &mut dyn Source,
    place: Place,
    flags: RwFlags,
    blocking: bool,
) -> Answer<M> {
    let mut how = open.flags();
    how.set(
        OpenFlags::APPEND,
        how.contains(OpenFlags::APPEND) && !flags.contains(RwFlags::NOAPPEND),
    );
    how.set(
        OpenFlags::APPEND,
        how.contains(OpenFlags::APPEND) || flags.contains(RwFlags::APPEND),
    );
    how.set(
        OpenFlags::DSYNC,
        how.contains(OpenFlags::DSYNC) || flags.intersects(RwFlags::DSYNC | RwFlags::SYNC),
    );
    let mut source = Bounded {
        left: room(ctx, open, how, place, source.left())?,
        source,
    };
    let source = &mut source;
    let mut total = 0;
    let attempt = || {
        loop {
            let answer = match place {
                Place::Position => open.write_with(source, how),
                Place::At(offset) => open.write_at(offset + total, source, how),
            };
            match answer {
                Ok(count) => total += count as u64,
                // What is written is written: the error comes next time.
                Err(Errno::AGAIN) if total > 0 && !blocking => return Ok(()),
                Err(errno) if total > 0 && errno != Errno::AGAIN => return Ok(()),
                Err(errno) => return Err(errno),
            }
            if source.left() == 0 || !open.file().takes_all() {
                return Ok(());
            }
        }
    };
    match ctx.wait_for(open.file(), blocking, None, attempt) {
        Ok(()) => Ok(total),
        Err(_) if total > 0 => Ok(total),
        Err(Fail::Errno(Errno::PIPE)) => {
            super::signal_pipe(ctx);
            Err(Errno::PIPE.into())
        }
        Err(fail) => Err(fail),
    }
}

/// How much of `wanted` bytes the limit on the size of files lets be written.
///
/// # Linux source concept
/// `generic_write_check_limits()`.
fn room<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    open: &OpenRef<M>,
    how: OpenFlags,
    place: Place,
    wanted: usize,
) -> Result<usize, Errno> {
    let limit = ctx.task.process().limit(Resource::Fsize);
    // Only what can be executed has a size that is limited.
    if limit == Rlimit::INFINITY || wanted == 0 || open.file().writers().is_none() {
        return Ok(wanted);
    }
    let at = match place {
        _ if how.contains(OpenFlags::APPEND) => open.file().stat()?.size,
        Place::At(at) => at,
        Place::Position => open.position(),
    };
    if at >= limit {
        return Err(super::file_too_large(ctx));
    }
    Ok(wanted.min(usize::try_from(limit - at).unwrap_or(usize::MAX)))
}

/// The first bytes of a source.
struct Bounded<'a> {
    source: &'a mut dyn Source,
    left: usize,
}

impl Source for Bounded<'_> {
    fn left(&self) -> usize {
        self.left
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<usize, Errno> {
        let most = bytes.len().min(self.left);
        let taken = self.source.take(&mut bytes[..most])?;
        self.left -= taken;
        Ok(taken)
    }

    fn give_back(&mut self, count: usize) {
        self.source.give_back(count);
        self.left += count;
    }
}

pub(super) fn lseek<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    Ok(open.seek(ctx.args[1] as i64, ctx.uint(2))?)
}
