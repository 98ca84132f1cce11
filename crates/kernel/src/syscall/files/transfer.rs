//! Bytes from one file to another without a look at user memory.

use alloc::vec;

use foliant_uapi::io::MAX_RW_COUNT;
use foliant_uapi::open::{OpenFlags, RwFlags};
use foliant_units::{Errno, VirtAddr};

use super::env::Memory;
use super::rw::{Place, read_blocking, write_blocking};
use crate::fd::OpenRef;
use crate::fs::{FileType, Positioning, SliceSink, SliceSource};
use crate::machine::UserMachine;
use crate::pipe::PipeEnd;
use crate::syscall::{Answer, Ctx, Fail};

/// `sendfile`.
pub(super) fn sendfile<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (output, input) = (ctx.open(0)?, ctx.open(1)?);
    if !output.flags().writable() || !input.flags().readable() {
        return Err(Errno::BADF.into());
    }
    if output.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::INVAL.into());
    }
    let memory = ctx.memory()?;
    let mut transfer = Transfer {
        from: End::new(&memory, input, ctx.ptr(2))?,
        to: End::new(&memory, output, VirtAddr::ZERO)?,
        count: ctx.args[3].min(MAX_RW_COUNT),
    };
    transfer.run(ctx, &memory, |_| true)
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
    let mut transfer = Transfer {
        from: End::new(&memory, input, ctx.ptr(1))?,
        to: End::new(&memory, output, ctx.ptr(3))?,
        count: ctx.args[4].min(MAX_RW_COUNT),
    };
    transfer.run(ctx, &memory, |_| true)
}

/// `splice`: one side must be a pipe.
pub(super) fn splice<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (input, output) = (ctx.open(0)?, ctx.open(2)?);
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::BADF.into());
    }
    let (from_pipe, to_pipe) = (input.downcast::<PipeEnd>(), output.downcast::<PipeEnd>());
    match (from_pipe, to_pipe) {
        (None, None) => return Err(Errno::INVAL.into()),
        (Some(a), Some(b)) if a.same_pipe(b) => return Err(Errno::INVAL.into()),
        _ => {}
    }
    let (from_at, to_at) = (ctx.ptr(1), ctx.ptr(3));
    if from_pipe.is_some() && from_at != VirtAddr::ZERO || to_pipe.is_some() && to_at != VirtAddr::ZERO {
        return Err(Errno::SPIPE.into());
    }
    let memory = ctx.memory()?;
    let mut transfer = Transfer {
        from: End::new(&memory, input, from_at)?,
        to: End::new(&memory, output, to_at)?,
        // What is there now is enough for one call; a pipe of 64 KiB bounds it.
        count: ctx.args[4].min(64 << 10),
    };
    // Waits for input, not for more of it.
    transfer.run(ctx, &memory, |total| total == 0)
}

/// Bytes that one step moves.
const STEP: usize = 256 << 10;

/// One end of a transfer.
struct End<M: UserMachine> {
    open: OpenRef<M>,
    /// Where the program keeps the offset; null if the position is meant.
    kept: VirtAddr,
    /// The offset that moves, if it is not the position.
    at: Option<u64>,
}

impl<M: UserMachine> End<M> {
    fn new(memory: &Memory<M>, open: OpenRef<M>, kept: VirtAddr) -> Result<Self, Errno> {
        let at = match kept {
            VirtAddr::ZERO => None,
            kept => Some(memory.get(kept)?),
        };
        if at.is_some() && open.file().positioning() == Positioning::Stream {
            return Err(Errno::SPIPE);
        }
        Ok(Self { open, kept, at })
    }

    fn place(&self) -> Place {
        self.at.map_or(Place::Position, Place::At)
    }

    fn advance(&mut self, count: u64) {
        if let Some(at) = &mut self.at {
            *at += count;
        }
    }

    /// Moves the position back over bytes that were read and not used.
    fn unread(&self, count: u64) -> Result<(), Errno> {
        if self.at.is_none() && self.open.file().positioning() != Positioning::Stream {
            self.open.seek(-(count as i64), 1)?;
        }
        Ok(())
    }

    /// Tells the program how far it came.
    fn tell(&self, memory: &Memory<M>) -> Result<(), Errno> {
        match self.at {
            Some(at) => memory.put(self.kept, &at),
            None => Ok(()),
        }
    }
}

/// Bytes on their way through a buffer of the kernel.
struct Transfer<M: UserMachine> {
    from: End<M>,
    to: End<M>,
    /// How many at most.
    count: u64,
}

impl<M: UserMachine> Transfer<M> {
    /// Moves what there is for as long as `more` wants it, who is told how
    /// much was moved, and leaves the offsets behind it.
    fn run(&mut self, ctx: &Ctx<'_, M>, memory: &Memory<M>, more: impl Fn(u64) -> bool) -> Answer<M> {
        let mut buffer = vec![0; STEP.min(self.count as usize)];
        let mut total = 0;
        while total < self.count && more(total) {
            let most = buffer.len().min((self.count - total) as usize);
            match self.step(ctx, &mut buffer[..most]) {
                Ok((moved, last)) => {
                    total += moved;
                    if last {
                        break;
                    }
                }
                Err(_) if total > 0 => break,
                Err(fail) => return Err(fail),
            }
        }
        self.from.tell(memory)?;
        self.to.tell(memory)?;
        Ok(total)
    }

    /// Moves one buffer; returns how much that was, and whether it was the last.
    fn step(&mut self, ctx: &Ctx<'_, M>, buffer: &mut [u8]) -> Result<(u64, bool), Fail<M>> {
        let Self { from, to, .. } = self;
        let mut sink = SliceSink::new(buffer);
        let got = read_blocking(ctx, &from.open, &mut sink, from.place(), from.open.blocks())?;
        if got == 0 {
            return Ok((0, true));
        }
        let mut source = SliceSource::new(&buffer[..got as usize]);
        let (place, flags) = (to.place(), RwFlags::empty());
        let put = write_blocking(ctx, &to.open, &mut source, place, flags, to.open.blocks());
        let used = *put.as_ref().unwrap_or(&0);
        if used < got {
            from.unread(got - used)?;
        }
        from.advance(used);
        to.advance(used);
        put.map(|put| (put, put < got))
    }
}
