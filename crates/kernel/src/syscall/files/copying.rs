//! Copies from file to file that never pass through the program.

use alloc::vec;

use foliant_uapi::io::MAX_RW_COUNT;
use foliant_uapi::open::{OpenFlags, RwFlags};
use foliant_units::{Errno, VirtAddr};

use super::rw::{Place, read_blocking, write_blocking};
use crate::fd::OpenRef;
use crate::fs::{FileType, Positioning, SliceSink, SliceSource, Splices};
use crate::machine::UserMachine;
use crate::pipe::PipeEnd;
use crate::syscall::{Answer, Ctx, Fail};

/// Bytes that one step of a copy moves.
const STEP: usize = 256 << 10;

/// One side of a copy.
pub(super) struct Side<M: UserMachine> {
    /// The file.
    pub(super) open: OpenRef<M>,
    /// Where; the position of the file if there is none. Moves with the copy.
    pub(super) at: Option<u64>,
    /// Whether the copy waits for it.
    pub(super) blocking: bool,
    /// Whether what it did not take is offered once more, by which who runs
    /// into a limit hears of it.
    insists: bool,
}

impl<M: UserMachine> Side<M> {
    /// `open` at `at`, waited for if its flags say so.
    pub(super) fn new(open: OpenRef<M>, at: Option<u64>) -> Self {
        let blocking = open.blocks();
        Self {
            open,
            at,
            blocking,
            insists: true,
        }
    }

    fn place(&self) -> Place {
        self.at.map_or(Place::Position, Place::At)
    }

    /// Moves on by `count` bytes; the position of the file has done so already.
    fn advance(&mut self, count: u64) {
        self.at = self.at.map(|at| at + count);
    }

    /// Moves the position back over `count` bytes that were read and not used.
    fn unread(&self, count: u64) -> Result<(), Errno> {
        if self.at.is_none() && self.open.file().positioning() != Positioning::Stream {
            self.open.seek(-(count as i64), 1)?;
        }
        Ok(())
    }

    fn is_pipe(&self) -> bool {
        self.open.downcast::<PipeEnd>().is_some()
    }

    /// Waits until a pipe has room, and tells how much: a copy into it takes no
    /// more from the other side than fits. Any other file has room for all.
    pub(super) fn room(&self, ctx: &mut Ctx<'_, M>) -> Answer<M> {
        let Some(pipe) = self.open.downcast::<PipeEnd>() else {
            return Ok(u64::MAX);
        };
        match ctx.wait_for(self.open.file(), self.blocking, None, || pipe.room()) {
            Ok(room) => Ok(room as u64),
            Err(Fail::Errno(Errno::PIPE)) => {
                super::signal_pipe(ctx);
                Err(Errno::PIPE.into())
            }
            Err(fail) => Err(fail),
        }
    }
}

/// How long a copy goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Until all is copied or the input ends.
    All,
    /// As `All`, but it waits for input only once.
    Some,
}

/// Copies up to `count` bytes.
pub(super) fn copy<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    from: &mut Side<M>,
    to: &mut Side<M>,
    count: u64,
    until: Until,
) -> Answer<M> {
    let mut buffer = vec![0; STEP.min(count as usize)];
    let mut total = 0;
    while total < count {
        let most = buffer.len().min((count - total) as usize);
        let mut sink = SliceSink::new(&mut buffer[..most]);
        let got = match read_blocking(ctx, &from.open, &mut sink, from.place(), from.blocking) {
            Ok(0) => break,
            Ok(got) => got,
            Err(_) if total > 0 => break,
            Err(fail) => return Err(fail),
        };
        let mut source = SliceSource::new(&buffer[..got as usize]);
        let place = to.place();
        let put = match write_blocking(ctx, &to.open, &mut source, place, RwFlags::empty(), to.blocking) {
            Ok(put) => put,
            Err(fail) => {
                from.unread(got)?;
                if total > 0 {
                    break;
                }
                return Err(fail);
            }
        };
        let mut put = put;
        if put < got && to.insists && !to.is_pipe() {
            let place = to.at.map_or(Place::Position, |at| Place::At(at + put));
            let rest = write_blocking(ctx, &to.open, &mut source, place, RwFlags::empty(), false);
            put += rest.unwrap_or(0);
        }
        total += put;
        from.advance(put);
        to.advance(put);
        if put < got {
            from.unread(got - put)?;
            break;
        }
        if until == Until::Some {
            break;
        }
    }
    Ok(total)
}

/// The offset that a call points to, if it does.
pub(super) fn offset_at<M: UserMachine>(ctx: &Ctx<'_, M>, argument: usize) -> Result<Option<u64>, Errno> {
    match ctx.ptr(argument) {
        at if at == VirtAddr::new(0) => Ok(None),
        at => ctx.memory()?.get::<u64>(at).map(Some),
    }
}

/// Stores where a side has come to, if the call gave a place for it.
pub(super) fn put_offset<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    argument: usize,
    side: &Side<M>,
) -> Result<(), Errno> {
    match side.at {
        Some(at) => ctx.memory()?.put(ctx.ptr(argument), &at),
        None => Ok(()),
    }
}

/// `sendfile`. A pipe may be fed from whatever can be spliced; any other file
/// only from one with a position, because what is read and then not written
/// has to stay there.
pub(super) fn sendfile<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let at = offset_at(ctx, 2)?;
    let mut from = Side::new(ctx.open(1)?, at);
    let input = from.open.file().clone();
    if !from.open.flags().readable() {
        return Err(Errno::BADF.into());
    }
    if at.is_some() && input.positioning() == Positioning::Stream {
        return Err(Errno::SPIPE.into());
    }
    let start = at.unwrap_or_else(|| from.open.position());
    if (ctx.args[3] as i64) < 0 || (start.saturating_add(ctx.args[3]) as i64) < 0 {
        return Err(Errno::INVAL.into());
    }
    let mut to = Side::new(ctx.open(0)?, None);
    if !to.open.flags().writable() {
        return Err(Errno::BADF.into());
    }
    let fits = to.is_pipe() || input.positioning() != Positioning::Stream;
    if !fits
        || !input.splices().contains(Splices::FROM)
        || !to.open.file().splices().contains(Splices::TO)
        || to.open.flags().contains(OpenFlags::APPEND)
        || to.is_pipe() && from.is_pipe()
    {
        return Err(Errno::INVAL.into());
    }
    let count = ctx.args[3].min(MAX_RW_COUNT);
    if count == 0 {
        return Ok(0);
    }
    let count = count.min(to.room(ctx)?);
    let until = if to.is_pipe() { Until::Some } else { Until::All };
    let total = copy(ctx, &mut from, &mut to, count, until)?;
    put_offset(ctx, 2, &from)?;
    Ok(total)
}

/// `copy_file_range`: between regular files of one file system.
pub(super) fn copy_file_range<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (input, output) = (ctx.open(0)?, ctx.open(2)?);
    let mut from = Side::new(input, offset_at(ctx, 1)?);
    let mut to = Side {
        insists: false,
        ..Side::new(output, offset_at(ctx, 3)?)
    };
    if ctx.uint(5) != 0 {
        return Err(Errno::INVAL.into());
    }
    let count = range(&from, &to, ctx.args[4])?;
    let total = copy(ctx, &mut from, &mut to, count.min(MAX_RW_COUNT), Until::All)?;
    put_offset(ctx, 1, &from)?;
    put_offset(ctx, 3, &to)?;
    Ok(total)
}

/// How much of `count` bytes `copy_file_range` may copy.
///
/// # Linux source concept
/// `generic_copy_file_checks`, mm/filemap.c.
fn range<M: UserMachine>(from: &Side<M>, to: &Side<M>, count: u64) -> Result<u64, Errno> {
    let (input, output) = (from.open.file().stat()?, to.open.file().stat()?);
    let kinds = [FileType::of(input.mode), FileType::of(output.mode)];
    if kinds.contains(&FileType::Directory) {
        return Err(Errno::ISDIR);
    }
    if kinds != [FileType::Regular; 2] {
        return Err(Errno::INVAL);
    }
    let flags = to.open.flags();
    if !flags.writable() || !from.open.flags().readable() || flags.contains(OpenFlags::APPEND) {
        return Err(Errno::BADF);
    }
    if input.dev != output.dev {
        return Err(Errno::XDEV);
    }
    let start = from.at.unwrap_or_else(|| from.open.position());
    let target = to.at.unwrap_or_else(|| to.open.position());
    if start.checked_add(count).is_none() || target.checked_add(count).is_none() {
        return Err(Errno::OVERFLOW);
    }
    let count = count.min(input.size.saturating_sub(start));
    if input.ino == output.ino && target + count > start && target < start + count {
        return Err(Errno::INVAL);
    }
    Ok(count)
}
