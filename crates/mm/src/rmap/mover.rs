//! Moving the frames of programs and objects while they are used.
//!
//! 1. Every entry that maps the frame becomes a migration entry, and the TLBs
//!    are flushed: whoever touches the page now waits.
//! 2. If the entries (and the cache's slot) are all that refers to the frame,
//!    nobody can reach its bytes or get another reference. They are copied, and
//!    the cache's slot is changed in the same step.
//! 3. The entries come back, at the new place, or at the old one if somebody
//!    else had a reference.
//!
//! A migration entry keeps the reference and the count of the entry that it
//! stands for. So unmapping one is like unmapping a page.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use foliant_arch::x86_64::{Absent, MigrationKind, Pte};
use foliant_paging::{Gather, Missing};
use foliant_phys::{FrameFlags, FrameRecord, Migrator, Moved, NodeId, Owner, Phys};
use foliant_platform::Mmu;
use foliant_platform::sync::atomic::Ordering;
use foliant_platform::sync::{MutexGuard, SpinLock};
use foliant_units::{Order, Pfn, Vpn, VpnRange};

use super::alone::is_alone;
use super::registry::Registry;
use super::uses::Use;
use crate::book::Book;
use crate::pages::slot;
use crate::space::Space;

/// What goes with a frame's content.
const CARRIED: FrameFlags = FrameFlags::UPTODATE
    .union(FrameFlags::DIRTY)
    .union(FrameFlags::ACTIVE)
    .union(FrameFlags::REFERENCED)
    .union(FrameFlags::SWAPBACKED)
    .union(FrameFlags::ANON_EXCLUSIVE)
    .union(FrameFlags::MLOCKED)
    .union(FrameFlags::PRIVATE)
    .union(FrameFlags::ERROR)
    .union(FrameFlags::WORKINGSET)
    .union(FrameFlags::OWNER_1)
    .union(FrameFlags::OWNER_2);

/// Moves single frames of private memory, files and shared memory. What has
/// references besides entries and the cache (it is pinned, or being copied or
/// written back) stays where it is, and so does what a space maps that is just
/// being changed: its writer lock is tried for, never waited for, so the
/// mover can be called by whoever may allocate.
///
/// # Linux source concept
/// `migrate_folio_unmap()`, `migrate_folio_move()`, `try_to_migrate()`,
/// `remove_migration_ptes()`. Differs: spaces cannot change meanwhile.
pub(crate) struct Mover<P: Mmu> {
    phys: Weak<Phys<P>>,
    registry: Arc<Registry<P>>,
    background: SpinLock<Option<Arc<dyn Background>>>,
}

/// Someone with a thread for what nobody waits for.
pub trait Background: Send + Sync {
    /// Has [`compaction_daemon`](Phys::compaction_daemon) called for `node`, soon
    /// and on another thread. Called with any lock of the caller held.
    fn compact(&self, node: NodeId);
}

/// An entry that was replaced by a migration entry.
struct Place {
    /// Index of the space.
    space: usize,
    page: Vpn,
    entry: Pte,
}

/// One frame on its way. Holds a reference to it, once one could be had, and
/// the writer locks of the spaces that map it.
struct Move<'a, P: Mmu> {
    phys: &'a Phys<P>,
    usage: &'a Use<P>,
    from: Pfn,
    spaces: &'a [Arc<Space<P>>],
    books: Vec<MutexGuard<'a, Book>>,
    places: Vec<Place>,
    held: bool,
}

impl<P: Mmu> Mover<P> {
    pub(crate) fn new(phys: &Arc<Phys<P>>, registry: &Arc<Registry<P>>) -> Self {
        Self {
            phys: Arc::downgrade(phys),
            registry: registry.clone(),
            background: SpinLock::new(None),
        }
    }

    pub(crate) fn set_background(&self, background: Option<Arc<dyn Background>>) {
        let before = core::mem::replace(&mut *self.background.lock(), background);
        drop(before);
    }
}

impl<P: Mmu> Migrator for Mover<P> {
    fn wake(&self, node: NodeId) {
        let background = self.background.lock().clone();
        if let Some(background) = background {
            background.compact(node);
        }
    }

    fn migrate(&self, from: Pfn, to: Pfn) -> Moved {
        let Some(phys) = self.phys.upgrade() else {
            return Moved::No;
        };
        let record = phys.record(from);
        let ours = matches!(record.owner(), Owner::Anonymous | Owner::PageCache | Owner::Shmem);
        if !ours || record.order() != Order::ZERO {
            return Moved::No;
        }
        let Some(usage) = Use::of(&self.registry, record) else {
            // Just allocated, or about to be freed.
            return Moved::Busy;
        };
        if let Use::Cached { object, .. } = &usage
            && !object.is_movable()
        {
            return Moved::No;
        }
        let spaces = usage.spaces();
        let moving = Move {
            phys: &phys,
            usage: &usage,
            from,
            spaces: &spaces,
            books: Vec::new(),
            places: Vec::new(),
            held: false,
        };
        moving.run(to)
    }
}

impl<'a, P: Mmu> Move<'a, P> {
    fn run(mut self, to: Pfn) -> Moved {
        let (phys, from) = (self.phys, self.from);
        let unmapped = self.hold_cached() && self.unmap() && self.held;
        if unmapped && self.carry_over(to) {
            self.end(to);
            // The one that came with the call: the entries and the cache have theirs.
            drop(phys.adopt(to));
            Moved::Yes
        } else {
            self.end(from);
            Moved::Busy
        }
    }

    fn record(&self) -> &'a FrameRecord {
        self.phys.record(self.from)
    }

    /// Takes a reference where the cache has one; false if it has not.
    fn hold_cached(&mut self) -> bool {
        match self.usage {
            Use::Private { .. } => true,
            Use::Cached { object, index } => {
                self.held = object.hold(*index, self.from);
                self.held
            }
        }
    }

    /// Puts migration entries in the place of all entries, and flushes. False
    /// if a space is being changed: some may have been replaced by then.
    fn unmap(&mut self) -> bool {
        for number in 0..self.spaces.len() {
            if self.places.len() == self.record().maps.get() as usize {
                break;
            }
            let space: &'a Space<P> = &self.spaces[number];
            if !self.usage.is_seen_in(space, self.from) {
                continue;
            }
            let Some(book) = space.map().try_book() else {
                return false;
            };
            self.books.push(book);
            self.unmap_in(number, space);
        }
        true
    }

    fn unmap_in(&mut self, number: usize, space: &'a Space<P>) {
        let mut gather = Gather::new(space.tables());
        let (usage, from) = (self.usage, self.from);
        usage.each_in(space, from, |leaf, page, _| {
            if !self.held {
                // The entry holds one, and is not let go of while its table is locked.
                let _ = self.phys.get(from).into_pfn();
                self.held = true;
            }
            let exclusive = self.record().has(FrameFlags::ANON_EXCLUSIVE);
            let mut entry = leaf.get(page);
            // The hardware may note something in between.
            while let Err(seen) = leaf.compare_exchange(page, entry, marker(from, entry, exclusive)) {
                entry = seen;
            }
            if let Use::Cached { object, index } = usage
                && entry.is_dirty()
            {
                // Whoever unmaps the migration entry knows nothing of it.
                let _ = object.dirty(*index, from);
            }
            gather.removed(VpnRange::new(page, page + 1));
            self.places.push(Place {
                space: number,
                page,
                entry,
            });
        });
        gather.finish();
    }

    /// Copies everything, if nobody else can look or write; says whether.
    fn carry_over(&self, to: Pfn) -> bool {
        // What the frame is for cannot change while there is a reference.
        if self.record().owner() != self.phys.record(to).owner() {
            return false;
        }
        match self.usage {
            Use::Private { .. } => {
                let alone = self.is_alone(0);
                if alone {
                    self.copy(to);
                }
                alone
            }
            // The cache's lock keeps others from finding the frame there.
            Use::Cached { object, index } => object.replace(*index, self.from, to, || {
                let alone = self.is_alone(1);
                if alone {
                    self.copy(to);
                }
                alone
            }),
        }
    }

    /// Whether the migration entries, this move and `more` hold the only references.
    fn is_alone(&self, more: u32) -> bool {
        let record = self.record();
        is_alone(&record.refs, &record.maps, self.places.len(), more)
    }

    fn copy(&self, to: Pfn) {
        let (old, new) = (self.record(), self.phys.record(to));
        self.phys.content(to).copy_from(self.phys.content(self.from));
        new.set(old.flags() & CARRIED);
        for (from, to) in [
            (&old.mapping, &new.mapping),
            (&old.index, &new.index),
            (&old.private, &new.private),
            (&old.charge, &new.charge),
        ] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Puts the entries back, to show `frame`, and lets everything go.
    fn end(self, frame: Pfn) {
        for place in &self.places {
            self.remap(place, frame);
        }
        if self.held {
            drop(self.phys.adopt(self.from));
        }
        // Those who wait for the writer locks look again when they get them.
    }

    /// Puts one entry back, unless somebody unmapped it.
    fn remap(&self, place: &Place, frame: Pfn) {
        let space = &self.spaces[place.space];
        // Skipping allocates nothing.
        let Ok(Some(mut leaf)) = space.tables().lock_leaf(place.page, Missing::Skip) else {
            return;
        };
        if slot::moving(leaf.get(place.page)) != Some(self.from) {
            return;
        }
        if frame != self.from {
            let _ = self.phys.get(frame).into_pfn();
            self.phys.record(frame).maps.add();
            let _ = self.record().maps.put();
        }
        leaf.set(
            place.page,
            Pte::new(frame, place.entry.flags()).with_key(place.entry.key()),
        );
        drop(leaf);
        if frame != self.from {
            // The entry's: there is still one of this move.
            drop(self.phys.adopt(self.from));
        }
    }
}

/// The migration entry for an entry that maps `frame`.
fn marker(frame: Pfn, entry: Pte, exclusive: bool) -> Pte {
    let kind = match (entry.is_writable(), exclusive) {
        (true, _) => MigrationKind::Write,
        (false, true) => MigrationKind::ReadExclusive,
        (false, false) => MigrationKind::Read,
    };
    let moving = Absent::Migration {
        frame,
        kind,
        young: entry.is_accessed(),
        dirty: entry.is_dirty(),
    };
    moving.encode()
}
