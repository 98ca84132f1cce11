//! The two scanners: one looks for folios to move from the zone's start up,
//! the other for room from its end down, until they meet.

use foliant_platform::Platform;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Order, Pfn};

use crate::alloc::{
    AllocRequest, BLOCK, Batch, BlockKind, Effort, Entry, Event, Mobility, block_of, frame_at,
};
use crate::migrate::{Migrator, Moved};
use crate::phys::Phys;
use crate::record::FrameFlags;
use crate::zone::ZoneId;

/// What tells the scanners to stop.
pub(super) enum Goal<'a> {
    /// A free folio of this order.
    Folio(Order),
    /// The same, taken at once for something of this mobility.
    Capture(Order, Mobility),
    /// Whatever this says, asked now and then.
    Until(&'a dyn Fn() -> bool),
}

/// On whose time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    /// Of who wants the result.
    Owner,
    /// Of a compaction thread.
    Daemon,
}

/// Whether the goal was reached.
pub(super) enum Reached {
    No,
    Yes,
    /// The folio was taken.
    Captured(Entry),
}

/// Where the scanners of one zone are.
pub(super) struct Scanners<'a, P: Platform> {
    phys: &'a Phys<P>,
    id: ZoneId,
    by: By,
    /// The block after the one that room is looked for in.
    free_end: usize,
    /// Room that was found, and how much of it is used.
    room: Batch,
    used: usize,
}

impl<'a, P: Platform> Scanners<'a, P> {
    pub(super) fn new(phys: &'a Phys<P>, id: ZoneId, by: By) -> Self {
        Self {
            phys,
            id,
            by,
            free_end: phys.zones.get(id).blocks().end,
            room: Batch::new(),
            used: 0,
        }
    }

    /// Runs until the goal is reached, which it tells, or the scanners meet.
    ///
    /// # Linux source concept
    /// `compact_zone()`, `compaction_capture()`.
    pub(super) fn run(&mut self, goal: &Goal<'_>, migrator: &dyn Migrator) -> Reached {
        const NOW_AND_THEN: usize = 16;
        self.phys.drain_all();
        let mut block = self.phys.zones.get(self.id).blocks().start;
        let mut reached = Reached::No;
        while block < self.free_end && matches!(reached, Reached::No) {
            if self.is_worth_moving(block) && !self.move_block(block, migrator) {
                break;
            }
            let there = match goal {
                Goal::Folio(order) | Goal::Capture(order, _) => self.phys.has_folio(self.id, block, *order),
                Goal::Until(done) => block.is_multiple_of(NOW_AND_THEN) && done(),
            };
            reached = match goal {
                _ if !there => Reached::No,
                Goal::Capture(order, mobility) => self
                    .phys
                    .capture(self.id, block, *order, *mobility)
                    .map_or(Reached::Yes, Reached::Captured),
                Goal::Folio(_) | Goal::Until(_) => Reached::Yes,
            };
            block += 1;
        }
        self.give_room_back();
        reached
    }

    /// Whether a block holds some folios that move, and some free frames.
    fn is_worth_moving(&self, block: usize) -> bool {
        let (tag, line) = (&self.phys.blocks.tags[block], &self.phys.blocks.lines[block]);
        let ours = tag.zone() == Some(self.id) && tag.kind().is_movable();
        ours && !line.is_whole() && !line.is_used_up()
    }

    /// Moves what it can out of a block; false when there is no more room.
    fn move_block(&mut self, block: usize, migrator: &dyn Migrator) -> bool {
        let (mut at, end) = (0, BLOCK);
        let mut scanned = 0;
        let mut roomy = true;
        while at < end {
            let from = frame_at(block, at);
            scanned += 1;
            let Some(record) = self.phys.find_record(from) else {
                at += 1;
                continue;
            };
            if record.refs.get() == 0 || record.has(FrameFlags::RESERVED) {
                at += 1;
                continue;
            }
            let order = record.order();
            at += order.frames() as usize;
            if order >= Order::PMD {
                continue;
            }
            let Some(to) = self.find_room(block, order, from) else {
                roomy = false;
                break;
            };
            self.phys.count(Event::CompactIsolated, order.frames());
            if self.phys.migrate_to(from, to, migrator) == Moved::No && self.phys.blocks.tags[block].is_cma()
            {
                break;
            }
        }
        self.phys.count(Event::CompactMigrateScanned, scanned);
        if self.by == By::Daemon {
            self.phys.count(Event::CompactDaemonMigrateScanned, scanned);
        }
        self.phys.drain_here();
        roomy
    }

    /// A folio to move to, with one reference.
    fn find_room(&mut self, moving: usize, order: Order, from: Pfn) -> Option<Pfn> {
        let owner = self.phys.record(from).owner();
        if order != Order::ZERO {
            let request = AllocRequest::movable(owner)
                .order(order)
                .effort(Effort::NoWait)
                .silent();
            return self.phys.alloc(request).ok().map(|frame| frame.into_pfn());
        }
        while self.used == self.room.len() {
            self.find_more_room(moving)?;
        }
        let pfn = self.room.as_slice()[self.used].pfn();
        self.used += 1;
        self.phys.check_and_unpoison(pfn, Order::ZERO);
        self.phys.record(pfn).begin(Order::ZERO, owner);
        Some(pfn)
    }

    /// Takes the free frames of the next block from the end.
    fn find_more_room(&mut self, moving: usize) -> Option<()> {
        let phys = self.phys;
        let block = self.free_end.checked_sub(1).filter(|&block| block > moving)?;
        let (tag, line) = (&phys.blocks.tags[block], &phys.blocks.lines[block]);
        let zone = phys.zones.get(self.id);
        self.room = Batch::new();
        self.used = 0;
        let suits = tag.zone() == Some(self.id)
            && tag.kind() == BlockKind::Of(Mobility::Movable)
            && !line.is_whole()
            && !line.is_used_up();
        if suits {
            let saved = phys.platform.irq_save();
            if let Some(claim) = tag.try_claim() {
                // A block that became whole meanwhile is what this is all for.
                if !line.is_whole() {
                    phys.blocks.take(&claim, block, Order::ZERO, 64, &mut self.room);
                }
            }
            phys.blocks.refresh(zone, block);
            phys.platform.irq_restore(saved);
            zone.free.fetch_sub(self.room.len() as i64, Ordering::Relaxed);
        }
        phys.count(Event::CompactFreeScanned, BLOCK as u64);
        phys.count(Event::CompactIsolated, self.room.len() as u64);
        if self.by == By::Daemon {
            phys.count(Event::CompactDaemonFreeScanned, BLOCK as u64);
        }
        if self.room.is_empty() {
            self.free_end = block;
        }
        Some(())
    }

    fn give_room_back(&mut self) {
        let zone = self.phys.zones.get(self.id);
        let rest: &[Entry] = &self.room.as_slice()[self.used..];
        for &entry in rest {
            debug_assert!(self.phys.blocks.tags[block_of(entry.pfn())].zone() == Some(self.id));
            self.phys.free_to_line(zone, entry, Order::ZERO);
        }
        self.room = Batch::new();
        self.used = 0;
    }
}

impl<P: Platform> Phys<P> {
    /// Takes a folio that has just come free in a block, before anybody else
    /// does. Nothing from blocks that are lent or closed, and nothing small and
    /// immovable from a movable one.
    ///
    /// # Linux source concept
    /// `compaction_capture()`.
    fn capture(&self, id: ZoneId, block: usize, order: Order, mobility: Mobility) -> Option<Entry> {
        let (tag, zone) = (&self.blocks.tags[block], self.zones.get(id));
        let kind = tag.kind().mobility()?;
        let spoils = order < Order::PMD && mobility != kind && kind == Mobility::Movable;
        if spoils || order > Order::PMD {
            return None;
        }
        let mut batch = Batch::new();
        let saved = self.platform.irq_save();
        if let Some(claim) = tag.try_claim()
            && tag.kind().mobility().is_some()
        {
            self.blocks.open_up(&claim, zone, block);
            if order == Order::PMD && self.blocks.lines[block].is_whole() {
                self.blocks.retag(&claim, zone, block, mobility);
            }
            self.blocks.take(&claim, block, order, 1, &mut batch);
        }
        self.blocks.refresh(zone, block);
        self.platform.irq_restore(saved);
        let entry = *batch.as_slice().first()?;
        zone.free.fetch_sub(order.frames() as i64, Ordering::Relaxed);
        self.count(Event::alloc_from(zone.kind()), order.frames());
        self.count(Event::Request, 1);
        Some(entry)
    }

    /// Whether a block (or the pair it is part of) has a free folio of `order`.
    fn has_folio(&self, id: ZoneId, block: usize, order: Order) -> bool {
        if order <= Order::PMD {
            return self.blocks.whole.has(block) || self.blocks.lines[block].has(order);
        }
        let whole = |at: usize| {
            self.blocks.tags.get(at).is_some_and(|tag| tag.zone() == Some(id)) && self.blocks.is_whole(at)
        };
        whole(block & !1) && whole(block | 1)
    }
}
