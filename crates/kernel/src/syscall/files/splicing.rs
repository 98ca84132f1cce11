//! Moving bytes into, out of and between pipes.

use foliant_uapi::open::OpenFlags;
use foliant_units::Errno;

use super::copying::{Side, Until, copy, offset_at, put_offset};
use crate::fs::{Positioning, SliceSource, Splices};
use crate::machine::UserMachine;
use crate::pipe::PipeEnd;
use crate::syscall::{Answer, Ctx};

/// `SPLICE_F_NONBLOCK`.
const NONBLOCK: u32 = 2;
/// `SPLICE_F_ALL`: move, do not wait, more follows, give away.
const KNOWN: u32 = 0xf;
/// What one call moves at most: the size of a pipe bounds it.
const MOST: u64 = 64 << 10;

/// `splice`: through a buffer of the kernel; one side must be a pipe.
pub(super) fn splice<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    if ctx.args[4] == 0 {
        return Ok(0);
    }
    if ctx.uint(5) & !KNOWN != 0 {
        return Err(Errno::INVAL.into());
    }
    let (input, output) = (ctx.open(0)?, ctx.open(2)?);
    let (from_pipe, to_pipe) = (input.downcast::<PipeEnd>(), output.downcast::<PipeEnd>());
    for (pipe, offset) in [(from_pipe, 1), (to_pipe, 3)] {
        if pipe.is_some() && ctx.args[offset] != 0 {
            return Err(Errno::SPIPE.into());
        }
    }
    let (from_at, to_at) = (offset_at(ctx, 1)?, offset_at(ctx, 3)?);
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::BADF.into());
    }
    match (from_pipe, to_pipe) {
        (None, None) => return Err(Errno::INVAL.into()),
        (Some(a), Some(b)) if a.same_pipe(b) => return Err(Errno::INVAL.into()),
        _ => {}
    }
    for (at, open) in [(from_at, &input), (to_at, &output)] {
        if at.is_some() && open.file().positioning() == Positioning::Stream {
            return Err(Errno::INVAL.into());
        }
    }
    if from_pipe.is_some() && output.flags().contains(OpenFlags::APPEND)
        || from_pipe.is_none() && !input.file().splices().contains(Splices::FROM)
        || !output.file().splices().contains(Splices::TO)
    {
        return Err(Errno::INVAL.into());
    }
    // Asking not to wait is about the pipes.
    let waits = ctx.uint(5) & NONBLOCK == 0;
    let (from_waits, to_waits) = (waits || from_pipe.is_none(), waits || to_pipe.is_none());
    let (mut from, mut to) = (Side::new(input, from_at), Side::new(output, to_at));
    from.blocking &= from_waits;
    to.blocking &= to_waits;
    let count = ctx.args[4].min(MOST).min(to.room(ctx)?);
    let total = copy(ctx, &mut from, &mut to, count, Until::Some)?;
    put_offset(ctx, 1, &from)?;
    put_offset(ctx, 3, &to)?;
    Ok(total)
}

/// `tee`: copies from pipe to pipe without taking.
pub(super) fn tee<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    if ctx.uint(3) & !KNOWN != 0 {
        return Err(Errno::INVAL.into());
    }
    if ctx.args[2] == 0 {
        return Ok(0);
    }
    let (input, output) = (ctx.open(0)?, ctx.open(1)?);
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::BADF.into());
    }
    let (Some(from), Some(to)) = (input.downcast::<PipeEnd>(), output.downcast::<PipeEnd>()) else {
        return Err(Errno::INVAL.into());
    };
    if from.same_pipe(to) {
        return Err(Errno::INVAL.into());
    }
    let blocking = ctx.uint(3) & NONBLOCK == 0;
    let most = ctx.args[2].min(MOST) as usize;
    let bytes = ctx.wait_for(input.file(), blocking && input.blocks(), None, || from.peek(most))?;
    if bytes.is_empty() {
        return Ok(0);
    }
    let answer = ctx.wait_for(output.file(), blocking && output.blocks(), None, || {
        output.write(&mut SliceSource::new(&bytes))
    })?;
    Ok(answer as u64)
}

/// `vmsplice`: a copy, as far as the pipe takes it.
pub(super) fn vmsplice<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    if ctx.uint(3) & !KNOWN != 0 {
        return Err(Errno::INVAL.into());
    }
    let open = ctx.open(0)?;
    open.downcast::<PipeEnd>().ok_or(Errno::BADF)?;
    if open.flags().writable() {
        super::rw::writev(ctx)
    } else {
        super::rw::readv(ctx)
    }
}
