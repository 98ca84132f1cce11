//! Reading, writing and seeking.

use alloc::vec;
use alloc::vec::Vec;

use foliant_uapi::io::{Iovec, MAX_RW_COUNT, UIO_MAXIOV};
use foliant_uapi::open::{OpenFlags, RwFlags};
use foliant_units::{Errno, VirtAddr};

use super::env::Memory;
use crate::fd::OpenRef;
use crate::fs::{FileType, IoVec, Positioning, Sink, SliceSink, SliceSource, Source, UserSink, UserSource};
use crate::machine::UserMachine;
use crate::signal::Signal;
use crate::syscall::{Answer, Ctx, Fail};
use crate::terminal;

/// One past the last address of user memory.
const TASK_SIZE: u64 = 0x7fff_ffff_f000;

/// Where a call reads or writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the position, which moves.
    Position,
    /// There, and the position stays.
    At(u64),
}

pub(super) fn read<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let pieces = one_piece(ctx.args[1], ctx.args[2])?;
    read_into(ctx, pieces, Place::Position, RwFlags::empty())
}

pub(super) fn write<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let pieces = one_piece(ctx.args[1], ctx.args[2])?;
    write_from(ctx, pieces, Place::Position, RwFlags::empty())
}

pub(super) fn pread64<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let place = offset(ctx.args[3] as i64)?;
    let pieces = one_piece(ctx.args[1], ctx.args[2])?;
    read_into(ctx, pieces, place, RwFlags::empty())
}

pub(super) fn pwrite64<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let place = offset(ctx.args[3] as i64)?;
    let pieces = one_piece(ctx.args[1], ctx.args[2])?;
    write_from(ctx, pieces, place, RwFlags::empty())
}

pub(super) fn readv<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let pieces = many_pieces(&ctx.memory()?, ctx.ptr(1), ctx.args[2])?;
    read_into(ctx, pieces, Place::Position, RwFlags::empty())
}

pub(super) fn writev<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let pieces = many_pieces(&ctx.memory()?, ctx.ptr(1), ctx.args[2])?;
    write_from(ctx, pieces, Place::Position, RwFlags::empty())
}

pub(super) fn preadv<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let place = offset(ctx.args[3] as i64)?;
    let pieces = many_pieces(&ctx.memory()?, ctx.ptr(1), ctx.args[2])?;
    read_into(ctx, pieces, place, RwFlags::empty())
}

pub(super) fn pwritev<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let place = offset(ctx.args[3] as i64)?;
    let pieces = many_pieces(&ctx.memory()?, ctx.ptr(1), ctx.args[2])?;
    write_from(ctx, pieces, place, RwFlags::empty())
}

pub(super) fn preadv2<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (place, flags) = (offset_or_position(ctx.args[3])?, rw_flags(ctx.uint(5))?);
    let pieces = many_pieces(&ctx.memory()?, ctx.ptr(1), ctx.args[2])?;
    read_into(ctx, pieces, place, flags)
}

pub(super) fn pwritev2<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (place, flags) = (offset_or_position(ctx.args[3])?, rw_flags(ctx.uint(5))?);
    let pieces = many_pieces(&ctx.memory()?, ctx.ptr(1), ctx.args[2])?;
    write_from(ctx, pieces, place, flags)
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

fn read_into<M: UserMachine>(
    ctx: &mut Ctx<'_, M>,
    pieces: Vec<IoVec>,
    place: Place,
    flags: RwFlags,
) -> Answer<M> {
    let open = ctx.open(0)?;
    if open.file().is_terminal() {
        terminal::may_touch(ctx.kernel, ctx.task, &**open.file(), Signal::TTIN)?;
    }
    let memory = ctx.memory()?;
    let mut sink = UserSink::new(&memory, pieces);
    let blocking = open.blocks() && !flags.contains(RwFlags::NOWAIT);
    read_blocking(ctx, &open, &mut sink, place, blocking)
}

fn read_blocking<M: UserMachine>(
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

fn write_from<M: UserMachine>(
    ctx: &mut Ctx<'_, M>,
    pieces: Vec<IoVec>,
    place: Place,
    flags: RwFlags,
) -> Answer<M> {
    let open = ctx.open(0)?;
    let memory = ctx.memory()?;
    let mut source = UserSource::new(&memory, pieces);
    let blocking = open.blocks() && !flags.contains(RwFlags::NOWAIT);
    write_blocking(ctx, &open, &mut source, place, flags, blocking)
}

fn write_blocking<M: UserMachine>(
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

pub(super) fn lseek<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    Ok(open.seek(ctx.args[1] as i64, ctx.uint(2))?)
}

/// `sendfile`: through a buffer of the kernel.
pub(super) fn sendfile<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (output, input) = (ctx.open(0)?, ctx.open(1)?);
    if !output.flags().writable() || !input.flags().readable() {
        return Err(Errno::BADF.into());
    }
    if output.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::INVAL.into());
    }
    let (memory, at) = (ctx.memory()?, ctx.ptr(2));
    let mut from = if at.raw() == 0 {
        None
    } else {
        Some(memory.get::<u64>(at)?)
    };
    if from.is_some() && input.file().positioning() == Positioning::Stream {
        return Err(Errno::SPIPE.into());
    }
    let count = ctx.args[3].min(MAX_RW_COUNT);
    let total = copy(ctx, &input, &mut from, &output, &mut None, count)?;
    if let Some(from) = from {
        memory.put(at, &from)?;
    }
    Ok(total)
}

pub(super) fn copy_file_range<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (input, output) = (ctx.open(0)?, ctx.open(2)?);
    if ctx.uint(5) != 0 {
        return Err(Errno::INVAL.into());
    }
    for open in [&input, &output] {
        match FileType::of(open.file().stat()?.mode) {
            FileType::Regular => {}
            FileType::Directory => return Err(Errno::ISDIR.into()),
            _ => return Err(Errno::INVAL.into()),
        }
    }
    if !output.flags().writable() || !input.flags().readable() || output.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::BADF.into());
    }
    let memory = ctx.memory()?;
    let load = |at: VirtAddr| {
        if at.raw() == 0 {
            Ok(None)
        } else {
            memory.get::<u64>(at).map(Some)
        }
    };
    let (mut from, mut to) = (load(ctx.ptr(1))?, load(ctx.ptr(3))?);
    let total = copy(
        ctx,
        &input,
        &mut from,
        &output,
        &mut to,
        ctx.args[4].min(MAX_RW_COUNT),
    )?;
    for (at, value) in [(ctx.ptr(1), from), (ctx.ptr(3), to)] {
        if let Some(value) = value {
            memory.put(at, &value)?;
        }
    }
    Ok(total)
}

/// Bytes that one step of [`copy`] moves.
const STEP: usize = 256 << 10;

/// Moves up to `count` bytes; offsets that are given move instead of positions.
pub(super) fn copy<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    input: &OpenRef<M>,
    from: &mut Option<u64>,
    output: &OpenRef<M>,
    to: &mut Option<u64>,
    count: u64,
) -> Answer<M> {
    copy_while(ctx, input, from, output, to, count, || true)
}

fn copy_while<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    input: &OpenRef<M>,
    from: &mut Option<u64>,
    output: &OpenRef<M>,
    to: &mut Option<u64>,
    count: u64,
    mut more: impl FnMut() -> bool,
) -> Answer<M> {
    let mut buffer = vec![0; STEP.min(count as usize)];
    let mut total = 0;
    while total < count && more() {
        let most = buffer.len().min((count - total) as usize);
        let place = from.map_or(Place::Position, Place::At);
        let got = read_blocking(
            ctx,
            input,
            &mut SliceSink::new(&mut buffer[..most]),
            place,
            input.blocks(),
        );
        let got = match got {
            Ok(got) => got as usize,
            Err(_) if total > 0 => break,
            Err(fail) => return Err(fail),
        };
        if got == 0 {
            break;
        }
        let place = to.map_or(Place::Position, Place::At);
        let mut source = SliceSource::new(&buffer[..got]);
        let put = write_blocking(ctx, output, &mut source, place, RwFlags::empty(), output.blocks());
        let put = match put {
            Ok(put) => put,
            Err(fail) => {
                unread(input, from, got as u64)?;
                if total > 0 {
                    break;
                }
                return Err(fail);
            }
        };
        total += put;
        if let Some(from) = from {
            *from += put;
        }
        if let Some(to) = to {
            *to += put;
        }
        if (put as usize) < got {
            unread(input, from, got as u64 - put)?;
            break;
        }
    }
    Ok(total)
}

/// One step of [`copy`]: waits for input, not for more of it.
pub(super) fn copy_once<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    input: &OpenRef<M>,
    from: &mut Option<u64>,
    output: &OpenRef<M>,
    to: &mut Option<u64>,
    count: u64,
) -> Answer<M> {
    let mut first = true;
    copy_while(ctx, input, from, output, to, count, || {
        core::mem::take(&mut first)
    })
}

/// Moves the position back over bytes that were read and not used.
fn unread<M: UserMachine>(input: &OpenRef<M>, from: &Option<u64>, count: u64) -> Result<(), Errno> {
    if from.is_none() && input.file().positioning() != Positioning::Stream {
        input.seek(-(count as i64), 1)?;
    }
    Ok(())
}
