//! Areas of contiguous frames that are lent to movable folios until needed.

use core::fmt;
use std_alloc::vec;
use std_alloc::vec::Vec;

use foliant_platform::Platform;
use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Pfn, PfnRange};

use crate::alloc::{BLOCK, BlockKind, ContigError, Event, Run, block_of};
use crate::migrate::Migrator;
use crate::phys::Phys;
use crate::record::Owner;

/// Why there is no area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CmaError {
    /// The range is empty or does not start and end at blocks of 2 MiB.
    Unaligned,
    /// Not all of it is free RAM of one zone that is nobody's area yet.
    NotFree,
}

impl fmt::Display for CmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CmaError::Unaligned => "a contiguous area consists of whole blocks of 2 MiB",
            CmaError::NotFree => "a contiguous area must be free RAM of one zone when it is made",
        })
    }
}

/// A range of blocks for devices that need contiguous memory. Until someone
/// asks for some of it, movable folios may use it; then they are moved away.
///
/// # Locking
/// The map of what was given out is behind a spin lock that is not held while
/// folios are moved.
///
/// # Linux source concept
/// `struct cma`, `cma_alloc()`, `cma_release()`.
#[derive(Debug)]
pub struct CmaArea {
    frames: PfnRange,
    /// One bit a frame, set while it is given out.
    given: SpinLock<Vec<u64>>,
}

impl CmaArea {
    /// Makes an area of free memory.
    ///
    /// # Errors
    /// [`CmaError`] says what is wrong with the range.
    pub fn reserve<P: Platform>(phys: &Phys<P>, frames: PfnRange) -> Result<Self, CmaError> {
        let whole = |pfn: Pfn| pfn.is_aligned_to(BLOCK as u64);
        if frames.is_empty() || !whole(frames.start) || !whole(frames.end) {
            return Err(CmaError::Unaligned);
        }
        phys.drain_all();
        let blocks = block_of(frames.start)..block_of(frames.end);
        let home = phys.zone_of(frames.start).ok_or(CmaError::NotFree)?;
        let free = |block: usize| {
            let tag = phys.blocks.tags.get(block);
            tag.is_some_and(|tag| tag.zone() == Some(home) && tag.kind().mobility().is_some())
                && phys.blocks.is_whole(block)
        };
        if !blocks.clone().all(free) {
            return Err(CmaError::NotFree);
        }
        let zone = phys.zones.get(home);
        // Again, because someone may have been faster.
        let made = phys
            .blocks
            .make_area(blocks, |block, change| phys.rekind(block, change));
        if !made {
            return Err(CmaError::NotFree);
        }
        zone.cma.fetch_add(frames.len(), Ordering::Relaxed);
        zone.free_cma.fetch_add(frames.len() as i64, Ordering::Relaxed);
        Ok(Self {
            frames,
            given: SpinLock::new(vec![0; (frames.len() as usize).div_ceil(64)]),
        })
    }

    /// Which frames.
    pub fn frames(&self) -> PfnRange {
        self.frames
    }

    /// How many of them are given out.
    pub fn given(&self) -> u64 {
        let given = self.given.lock();
        given.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Gives out `count` frames at a multiple of `align` frames, and moves away
    /// whoever has them. To be given back to [`release`](Self::release).
    ///
    /// # Errors
    /// [`ContigError::NoRoom`] if no stretch is long enough; else why the last
    /// one could not be had.
    pub fn alloc<P: Platform>(
        &self,
        phys: &Phys<P>,
        count: u64,
        align: u64,
        migrator: &dyn Migrator,
    ) -> Result<PfnRange, ContigError> {
        let mut error = ContigError::NoRoom;
        let mut from = self.frames.start;
        while let Some(frames) = self.mark(from, count, align.max(1)) {
            match phys.alloc_contig_range(frames, Owner::Buffer, migrator) {
                Ok(run) => {
                    phys.count(Event::CmaSuccess, count);
                    return Ok(run.into_frames());
                }
                Err(why) => error = why,
            }
            self.unmark(frames);
            from = frames.start + align.max(1);
        }
        phys.count(Event::CmaFail, count);
        Err(error)
    }

    /// Takes back what [`alloc`](Self::alloc) gave out; movable folios may use it again.
    pub fn release<P: Platform>(&self, phys: &Phys<P>, frames: PfnRange) {
        drop(Run::new(phys, frames));
        self.unmark(frames);
    }

    /// Marks the first stretch at or after `from` that is not given out.
    fn mark(&self, from: Pfn, count: u64, align: u64) -> Option<PfnRange> {
        let mut given = self.given.lock();
        let bit = |given: &[u64], pfn: Pfn| {
            let at = (pfn - self.frames.start) as usize;
            given[at / 64] >> (at % 64) & 1 == 1
        };
        let mut start = from.align_up(align);
        while count > 0 && start + count <= self.frames.end {
            let frames = PfnRange::new(start, start + count);
            match frames.iter().find(|&pfn| bit(&given, pfn)) {
                Some(taken) => start = (taken + 1).align_up(align),
                None => {
                    set_all(&mut given, self.frames.start, frames, true);
                    return Some(frames);
                }
            }
        }
        None
    }

    fn unmark(&self, frames: PfnRange) {
        set_all(&mut self.given.lock(), self.frames.start, frames, false);
    }
}

fn set_all(given: &mut [u64], first: Pfn, frames: PfnRange, on: bool) {
    for pfn in frames.iter() {
        let at = (pfn - first) as usize;
        let bit = 1 << (at % 64);
        if on {
            given[at / 64] |= bit;
        } else {
            given[at / 64] &= !bit;
        }
    }
}

impl<P: Platform> Phys<P> {
    /// To whom the block of a frame is given; `None` where there is no RAM.
    pub fn block_kind(&self, pfn: Pfn) -> Option<BlockKind> {
        let tag = self.blocks.tags.get(block_of(pfn))?;
        tag.zone().map(|_| tag.kind())
    }
}
