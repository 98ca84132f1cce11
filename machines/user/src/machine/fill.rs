//! Filling the host's mappings from the guest's tables: a TLB miss.

use std::sync::atomic::{AtomicU64, Ordering};

use foliant_arch::x86_64::{Control, Pte, PteFlags, X86_64};
use foliant_arch::{
    Access, AccessKind, EntryMemory, ErrorCode, Fault, Format, Level, Translation, peek, walk,
};
use foliant_platform::Platform;
use foliant_units::{Pfn, PhysAddr, VirtAddr, Vpn, VpnRange};

use super::User;
use super::space::{Inner, slot_of};
use super::tlb::Run;
use crate::host::{AREA_END, Rights, STUB_BASE};

/// Pages of neighbours that one fill shows at most, on either side.
const AROUND: u64 = 32;
/// Entries of a leaf table.
const ENTRIES: u64 = 512;
/// An entry that guest code may use, and has used.
const USED: PteFlags = PteFlags::PRESENT.union(PteFlags::USER).union(PteFlags::ACCESSED);

impl EntryMemory for User {
    fn load(&self, at: PhysAddr, _bytes: u64) -> u64 {
        self.entry(at)
            .map_or(u64::MAX, |word| word.load(Ordering::Acquire))
    }

    fn compare_exchange(&self, at: PhysAddr, _bytes: u64, old: u64, new: u64) -> Result<(), u64> {
        let word = self.entry(at).ok_or(u64::MAX)?;
        word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }

    fn has(&self, at: PhysAddr, bytes: u64) -> bool {
        at.raw() < self.ram_size() && bytes <= self.ram_size() - at.raw()
    }
}

impl User {
    /// An entry of a table in RAM.
    fn entry(&self, at: PhysAddr) -> Option<&AtomicU64> {
        if !at.is_aligned_to(8) || at.raw() >= self.ram_size() {
            return None;
        }
        // SAFETY:
        // 1. The address is aligned, inside RAM, and RAM is mapped as long as `self`.
        // 2. Tables are only accessed atomically while they are linked.
        Some(unsafe { AtomicU64::from_ptr(self.ram(at).as_ptr().cast()) })
    }

    /// Finds what a fill for an access at `at` shows, and notes it in the TLB.
    /// The caller sends the run's operation before the space is unlocked for
    /// long: under the lock its thread must be marked as running.
    pub(crate) fn fill(
        &self,
        root: PhysAddr,
        inner: &mut Inner,
        at: VirtAddr,
        kind: AccessKind,
    ) -> Option<Run> {
        if (STUB_BASE..AREA_END).contains(&at.raw()) {
            return None;
        }
        let found = walk::<X86_64>(self, root, at, Access::user(kind), &Control::default()).ok()?;
        let run = match found.level {
            Level::PTE => self.leaf_run(inner, at.page(), &found),
            _ => large_run(at.page(), &found),
        };
        inner.tlb.insert(run);
        self.backing().shown(run.frame, run.pages.len());
        self.counters().fills.fetch_add(1, Ordering::Relaxed);
        self.counters()
            .filled_pages
            .fetch_add(run.pages.len(), Ordering::Relaxed);
        Some(run)
    }

    /// The page and those neighbours in its leaf table that the tables show
    /// with the same rights in neighbouring frames, used already, and that the
    /// host does not show yet.
    fn leaf_run(&self, inner: &Inner, page: Vpn, found: &Translation<X86_64>) -> Run {
        let rights = rights(found.leaf, found.rights.execute);
        let frame = found.frame_of(page);
        let fits = |other: Vpn, frame: Option<Pfn>| {
            let entry = self.entry_of(found.via.table, other);
            let flags = PteFlags::from_bits_truncate(entry.raw());
            frame.is_some_and(|frame| entry_frame(entry) == frame)
                && flags.contains(USED)
                && self::rights(entry, !flags.contains(PteFlags::NO_EXECUTE)) == rights
                && inner.tlb.find(other).is_none()
        };
        let (mut start, mut end) = (page, page + 1);
        while start.raw() % ENTRIES != 0
            && page - start < AROUND
            && fits(start - 1, frame.raw().checked_sub(page - start + 1).map(Pfn::new))
        {
            start = start - 1;
        }
        while end.raw() % ENTRIES != 0 && end - page < AROUND && fits(end, frame.checked_add(end - page)) {
            end += 1;
        }
        Run {
            pages: VpnRange::new(start, end),
            frame: Pfn::new(frame.raw() - (page - start)),
            rights,
        }
    }

    /// Whether the tables permit an access; the processor's complaint if not.
    /// Leaves traces as an access does.
    pub(crate) fn probe(&self, root: PhysAddr, at: VirtAddr, kind: AccessKind) -> Result<(), ErrorCode> {
        if (STUB_BASE..AREA_END).contains(&at.raw()) {
            return Err(describe(kind));
        }
        match walk::<X86_64>(self, root, at, Access::user(kind), &Control::default()) {
            Ok(_) => Ok(()),
            Err(Fault::Page(fault)) => Err(fault.code),
            Err(Fault::NonCanonical(_)) => Err(describe(kind)),
        }
    }

    /// Whether the tables still show all of a run, in whatever way, and still
    /// call it used: a flush that follows the loss of accessed bits is to make
    /// the next access set them.
    pub(crate) fn still_backed(&self, root: PhysAddr, run: &Run) -> bool {
        let mut page = run.pages.start;
        while page < run.pages.end {
            // Looking leaves no trace: the guest did not use the page.
            let Some(found) = peek::<X86_64>(self, root, page.base(), &Control::default()) else {
                return false;
            };
            let end = match found.level {
                // One walk for all pages of a leaf table.
                Level::PTE => (page.align_down(ENTRIES) + ENTRIES).min(run.pages.end),
                _ => page + 1,
            };
            let backed = |page: Vpn| {
                let frame = run.frame + (page - run.pages.start);
                if found.level != Level::PTE {
                    return found.rights.user && found.frame_of(page) == frame;
                }
                let entry = self.entry_of(found.via.table, page);
                PteFlags::from_bits_truncate(entry.raw()).contains(USED) && entry_frame(entry) == frame
            };
            if !VpnRange::new(page, end).iter().all(backed) {
                return false;
            }
            page = end;
        }
        true
    }

    /// The entry of `page` in its leaf table.
    fn entry_of(&self, table: PhysAddr, page: Vpn) -> Pte {
        let slot = X86_64::GEOMETRY.slot(table, slot_of(page) as usize);
        Pte::from_raw(self.load(slot, 8))
    }
}

/// Writable only once dirty, so that the first write is seen.
fn rights(leaf: Pte, execute: bool) -> Rights {
    let flags = PteFlags::from_bits_truncate(leaf.raw());
    Rights {
        write: flags.contains(PteFlags::WRITE | PteFlags::DIRTY),
        execute,
    }
}

fn describe(kind: AccessKind) -> ErrorCode {
    X86_64::describe(Access::user(kind), &Control::default())
}

fn entry_frame(entry: Pte) -> Pfn {
    foliant_arch::Entry::target(entry, Level::PTE).frame()
}

/// The 2 MiB around `page` inside a larger leaf.
fn large_run(page: Vpn, found: &Translation<X86_64>) -> Run {
    let start = page.align_down(ENTRIES);
    let pages = VpnRange::new(start, start + ENTRIES);
    Run {
        pages,
        frame: found.frame_of(start),
        rights: rights(found.leaf, found.rights.execute),
    }
}
