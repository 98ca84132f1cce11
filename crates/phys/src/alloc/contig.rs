//! All frames of a range, whoever has them now.

use core::fmt;

use foliant_platform::Platform;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Errno, Order, Pfn, PfnRange};

use super::blocks::{block_of, place_of};
use super::events::Event;
use super::exact::Run;
use super::line::BLOCK;
use super::request::{AllocRequest, Effort};
use crate::migrate::{Migrator, Moved};
use crate::phys::Phys;
use crate::record::{FrameFlags, Owner};

/// Why a range cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContigError {
    /// It is empty, or not all of it is RAM of one zone.
    NotRam,
    /// Something in it cannot be moved: this is the first.
    Busy(Pfn),
    /// Something in it is being used just now: this is the first.
    InUse(Pfn),
    /// Somebody else wants frames of the same blocks.
    Contended,
    /// There is no room elsewhere for what is in it.
    NoRoom,
}

impl ContigError {
    /// Whether another attempt may succeed: what stands in the way does not have
    /// to stay.
    pub const fn may_pass(self) -> bool {
        match self {
            ContigError::InUse(_) | ContigError::Contended | ContigError::NoRoom => true,
            ContigError::NotRam | ContigError::Busy(_) => false,
        }
    }

    /// What a system call returns.
    pub const fn errno(self) -> Errno {
        match self {
            ContigError::NotRam => Errno::INVAL,
            ContigError::Busy(_) | ContigError::InUse(_) | ContigError::Contended => Errno::BUSY,
            ContigError::NoRoom => Errno::NOMEM,
        }
    }
}

impl fmt::Display for ContigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContigError::NotRam => write!(f, "not all of the range is RAM of one zone"),
            ContigError::Busy(pfn) => write!(f, "{pfn:?} is in use and cannot be moved"),
            ContigError::InUse(pfn) => write!(f, "{pfn:?} is being used just now"),
            ContigError::Contended => write!(f, "somebody else wants the same blocks"),
            ContigError::NoRoom => write!(f, "no room elsewhere for what is in the range"),
        }
    }
}

/// Blocks that are closed while this lives.
pub(crate) struct Isolation<'a, P: Platform> {
    phys: &'a Phys<P>,
    first: usize,
    end: usize,
}

impl<'a, P: Platform> Isolation<'a, P> {
    /// Closes all blocks that `frames` touches.
    pub(crate) fn new(phys: &'a Phys<P>, frames: PfnRange) -> Result<Self, ContigError> {
        let (first, end) = (block_of(frames.start), block_of(frames.end + (BLOCK as u64 - 1)));
        let mut isolation = Self {
            phys,
            first,
            end: first,
        };
        for block in first..end {
            if !phys.rekind(block, |tag| tag.isolate()) {
                return Err(ContigError::Contended);
            }
            isolation.end = block + 1;
        }
        Ok(isolation)
    }
}

impl<P: Platform> Drop for Isolation<'_, P> {
    fn drop(&mut self) {
        for block in self.first..self.end {
            self.phys.rekind(block, |tag| tag.unisolate());
        }
    }
}

impl<P: Platform> Phys<P> {
    /// Allocates exactly the frames of a range, after moving those who have
    /// some of them. The frames are single, with one reference each.
    ///
    /// # Errors
    /// [`ContigError`] says what stands in the way; nothing but places of
    /// movable folios has changed then.
    ///
    /// # Locking
    /// The caller holds no spin lock: it may wait for the migrator.
    ///
    /// # Linux source concept
    /// `alloc_contig_range()`.
    pub fn alloc_contig_range(
        &self,
        frames: PfnRange,
        owner: Owner,
        migrator: &dyn Migrator,
    ) -> Result<Run<'_, P>, ContigError> {
        self.one_zone(frames)?;
        let isolation = Isolation::new(self, frames)?;
        self.drain_all();
        self.empty(frames, migrator)?;
        self.drain_all();
        self.take_range(frames)?;
        for pfn in frames.iter() {
            self.check_and_unpoison(pfn, Order::ZERO);
            self.record(pfn).begin(Order::ZERO, owner);
            self.note_allocated(pfn, &AllocRequest::movable(owner));
        }
        drop(isolation);
        Ok(Run::new(self, frames))
    }

    /// Finds `count` contiguous frames at a multiple of `align` frames, wherever
    /// they can be had, and allocates them.
    ///
    /// # Errors
    /// As [`alloc_contig_range`](Phys::alloc_contig_range), for the last place tried.
    ///
    /// # Linux source concept
    /// `alloc_contig_pages()`.
    pub fn alloc_contig(
        &self,
        count: u64,
        align: u64,
        owner: Owner,
        migrator: &dyn Migrator,
    ) -> Result<Run<'_, P>, ContigError> {
        let mut last = ContigError::NotRam;
        for (_, zone) in self.zones.iter() {
            let mut at = zone.span().start.align_up(align.max(1));
            while count > 0 && at + count <= zone.span().end {
                let frames = PfnRange::new(at, at + count);
                // Blocks that hold what stays are not worth the trouble.
                let hopeful = (block_of(at)..block_of(frames.end + (BLOCK as u64 - 1)))
                    .all(|block| self.is_hopeful(block));
                if hopeful {
                    match self.alloc_contig_range(frames, owner, migrator) {
                        Ok(run) => return Ok(run),
                        Err(error) => last = error,
                    }
                }
                at += align.max(BLOCK as u64);
            }
        }
        Err(last)
    }

    fn is_hopeful(&self, block: usize) -> bool {
        let Some(tag) = self.blocks.tags.get(block) else {
            return false;
        };
        tag.zone().is_some() && (tag.kind().is_movable() || self.blocks.is_whole(block))
    }

    fn one_zone(&self, frames: PfnRange) -> Result<(), ContigError> {
        let zone = self.zone_of(frames.start).filter(|_| !frames.is_empty());
        let alike = |pfn| self.is_ram(pfn) && self.zone_of(pfn) == zone;
        if zone.is_some() && frames.iter().all(alike) {
            Ok(())
        } else {
            Err(ContigError::NotRam)
        }
    }

    /// Changes the kind of a block under its claim.
    pub(crate) fn rekind<R>(&self, block: usize, change: impl FnOnce(&super::tag::Tag) -> R) -> R {
        let zone = self.zones.get(self.blocks.tags[block].zone().unwrap_or_default());
        let saved = self.platform.irq_save();
        let claim = self.blocks.tags[block].claim();
        let result = self.blocks.rekind(&claim, zone, block, change);
        drop(claim);
        self.platform.irq_restore(saved);
        result
    }

    /// Moves whatever lies in a range of isolated blocks.
    pub(crate) fn empty(&self, frames: PfnRange, migrator: &dyn Migrator) -> Result<(), ContigError> {
        const TRIES: u32 = 3;
        let mut at = self.head(frames.start);
        while at < frames.end {
            let record = self.record(at);
            if record.has(FrameFlags::RESERVED) {
                return Err(ContigError::Busy(at));
            }
            if record.refs.get() == 0 {
                at += 1;
                continue;
            }
            let order = record.order();
            let mut left = TRIES;
            while self.record(at).refs.get() != 0 {
                match self.move_away(at, order, migrator)? {
                    Moved::Yes => break,
                    Moved::Busy if left > 1 => left -= 1,
                    Moved::Busy => return Err(ContigError::InUse(at)),
                    Moved::No => return Err(ContigError::Busy(at)),
                }
            }
            at += order.frames();
        }
        Ok(())
    }

    /// Moves one folio to wherever there is room.
    fn move_away(&self, from: Pfn, order: Order, migrator: &dyn Migrator) -> Result<Moved, ContigError> {
        let request = AllocRequest::movable(self.record(from).owner())
            .order(order)
            .effort(Effort::NoWait)
            .silent();
        let to = self.alloc(request).map_err(|_| ContigError::NoRoom)?.into_pfn();
        Ok(self.migrate_to(from, to, migrator))
    }

    /// Has a folio moved to `to`, whose reference is given back if it did not.
    pub(crate) fn migrate_to(&self, from: Pfn, to: Pfn, migrator: &dyn Migrator) -> Moved {
        let frames = self.record(to).order().frames();
        let moved = migrator.migrate(from, to);
        if moved == Moved::Yes {
            self.note_moved(from, to);
            self.count(Event::Migrated, frames);
        } else {
            self.count(Event::NotMigrated, frames);
            drop(self.adopt(to));
        }
        moved
    }

    /// Takes every frame of a range of isolated blocks out of the lines, or none.
    fn take_range(&self, frames: PfnRange) -> Result<(), ContigError> {
        let mut at = frames.start;
        while at < frames.end {
            let end = (at + 1).align_up(BLOCK as u64).min(frames.end);
            if let Err(stays) = self.take_piece(PfnRange::new(at, end)) {
                for pfn in PfnRange::new(frames.start, at).iter() {
                    self.give_back(pfn);
                }
                return Err(ContigError::InUse(stays));
            }
            at = end;
        }
        Ok(())
    }

    /// Takes frames of one block; or names one that is not free.
    fn take_piece(&self, frames: PfnRange) -> Result<(), Pfn> {
        let (block, len) = (block_of(frames.start), frames.len());
        let saved = self.platform.irq_save();
        let claim = self.blocks.tags[block].claim();
        let taken = self.blocks.take_exactly(&claim, frames);
        drop(claim);
        let zone = self.zones.get(self.blocks.tags[block].zone().unwrap_or_default());
        self.blocks.refresh(zone, block);
        self.platform.irq_restore(saved);
        taken.map_err(|place| frames.start + (place - place_of(frames.start)) as u64)?;
        zone.free.fetch_sub(len as i64, Ordering::Relaxed);
        if self.blocks.tags[block].is_cma() {
            zone.lend(len);
        }
        Ok(())
    }

    /// Puts a frame without a record straight into its line.
    fn give_back(&self, pfn: Pfn) {
        let id = self.blocks.tags[block_of(pfn)].zone().unwrap_or_default();
        self.free_to_line(
            self.zones.get(id),
            super::entry::Entry::new(pfn, false),
            Order::ZERO,
        );
    }
}
