//! The page of a fault: its entry as first seen, and its publication.

use foliant_arch::x86_64::{Pte, PteFlags};
use foliant_paging::{Gather, Leaf, Missing};
use foliant_phys::{AllocError, Frame, FrameFlags};
use foliant_platform::Mmu;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Pfn, Vpn, VpnRange};

use super::classify::SlotState;
use super::exclusive;
use super::large::Block;
use super::outcome::Outcome;
use crate::counters::Resident;
use crate::object::Layout;
use crate::pages::slot;
use crate::rmap::private_word;
use crate::space::Space;
use crate::thp::ThpEvent;
use crate::vma::Vma;
use crate::{Object, VmFlags};

/// What publication found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Published {
    /// The entry was as first seen, and is now as wanted.
    Done,
    /// Somebody changed it meanwhile: the access is tried again as it is.
    Raced,
}

/// One page of a mapping, while a fault deals with it.
///
/// The entry is read once, without a lock; every change compares it again
/// under the lock of its leaf table. Long work happens between the two.
pub(crate) struct Page<'f, P: Mmu> {
    pub(crate) space: &'f Space<P>,
    pub(crate) vma: &'f Vma<P>,
    pub(crate) vpn: Vpn,
    seen: Pte,
}

impl<'f, P: Mmu> Page<'f, P> {
    /// Looks at the entry of `vpn`.
    pub(crate) fn look(space: &'f Space<P>, vma: &'f Vma<P>, vpn: Vpn) -> Self {
        let seen = space.tables().get(vpn);
        Self {
            space,
            vma,
            vpn,
            seen,
        }
    }

    /// What the entry said.
    pub(crate) fn state(&self) -> SlotState {
        slot::state(self.space.env(), self.seen)
    }

    /// Whether there was no entry.
    pub(crate) fn was_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Whether no page of `block`, which is around the page and in its leaf
    /// table, has an entry.
    ///
    /// # Linux source concept
    /// `pte_range_none()`.
    pub(crate) fn is_empty_around(&self, block: VpnRange) -> bool {
        // Skipping allocates nothing; without a table there is no entry.
        match self.space.tables().lock_leaf(self.vpn, Missing::Skip) {
            Ok(Some(leaf)) => is_empty(&leaf, block),
            Ok(None) | Err(_) => true,
        }
    }

    /// The page's number in the object.
    pub(crate) fn index(&self) -> u64 {
        self.vma.pgoff_at(self.vpn)
    }

    /// The locked leaf table, if the entry is still as first seen.
    pub(crate) fn lock(&self) -> Result<Option<Leaf<'f, P>>, AllocError> {
        let leaf = self.space.tables().lock_leaf(self.vpn, Missing::Allocate)?;
        Ok(leaf.filter(|leaf| same(leaf.get(self.vpn), self.seen)))
    }

    /// A reference to the frame that the entry shows, if it still does.
    pub(crate) fn frame(&self) -> Result<Option<Frame<'f, P>>, AllocError> {
        let leaf = self.lock()?;
        Ok(leaf.map(|_held| self.space.env().phys().get(self.seen.frame())))
    }

    /// Lets stores pass to the frame that is mapped, if nothing changed and
    /// `allowed`, asked under the lock, agrees.
    pub(crate) fn make_writable(&self, allowed: impl FnOnce(Pfn) -> bool) -> Result<Published, AllocError> {
        let Some(mut leaf) = self.lock()? else {
            return Ok(Published::Raced);
        };
        if !allowed(self.seen.frame()) {
            return Ok(Published::Raced);
        }
        leaf.update(self.vpn, writable);
        Ok(Published::Done)
    }

    /// Notes the access in an entry that allows it already.
    pub(crate) fn touch(&self, write: bool) {
        // Skipping allocates nothing.
        if let Ok(Some(mut leaf)) = self.space.tables().lock_leaf(self.vpn, Missing::Skip) {
            leaf.update(self.vpn, |entry| match entry.is_present() {
                true if write && entry.is_writable() => entry.with(PteFlags::ACCESSED | PteFlags::DIRTY),
                true => entry.with(PteFlags::ACCESSED),
                false => entry,
            });
        }
    }

    /// Maps the frame of zeroes.
    pub(crate) fn publish_zero(&self) -> Result<Published, AllocError> {
        let entry = slot::fresh(self.vma, self.space.env().zero_frame()).with(PteFlags::SPECIAL);
        let Some(mut leaf) = self.lock()? else {
            return Ok(Published::Raced);
        };
        leaf.set(self.vpn, entry);
        Ok(Published::Done)
    }

    /// Maps a frame that is not counted and outlives every mapping.
    ///
    /// # Linux source concept
    /// `vmf_insert_pfn()`.
    pub(crate) fn publish_special(&self, frame: &Frame<'_, P>) -> Result<Published, AllocError> {
        let entry = slot::fresh(self.vma, frame.pfn()).with(PteFlags::SPECIAL);
        let Some(mut leaf) = self.lock()? else {
            return Ok(Published::Raced);
        };
        leaf.set(self.vpn, entry);
        Ok(Published::Done)
    }

    /// Maps a private frame that nobody else has seen yet. `index` is the page
    /// of the VMA's family that it holds. With `layout`, only if the object
    /// still has what was copied.
    pub(crate) fn publish_private(
        &self,
        frame: Frame<'_, P>,
        layout: Option<Layout>,
    ) -> Result<Published, AllocError> {
        if self.seen.has_frame() {
            return self.replace_private(frame, layout);
        }
        let Some(mut leaf) = self.lock()? else {
            return Ok(Published::Raced);
        };
        if !self.is_still(layout) {
            return Ok(Published::Raced);
        }
        self.adopt(self.vpn, frame.pfn(), FrameFlags::ANON_EXCLUSIVE);
        leaf.set(self.vpn, self.private_entry(frame.into_pfn()));
        self.space.counters().resident(Resident::Anon, 1);
        Ok(Published::Done)
    }

    /// Maps the private frames of a block that nobody else has seen yet, if
    /// none of its pages got an entry meanwhile.
    pub(crate) fn publish_block(&self, block: Block<'_, P>) -> Result<Published, AllocError> {
        let mut leaf = match self.space.tables().lock_leaf(self.vpn, Missing::Allocate)? {
            Some(leaf) if is_empty(&leaf, block.pages) => leaf,
            Some(_) | None => return Ok(Published::Raced),
        };
        for (page, frame) in block.pages.iter().zip(block.frames.into_frames().iter()) {
            self.adopt(page, frame, FrameFlags::ANON_EXCLUSIVE);
            leaf.set(page, self.private_entry(frame));
        }
        self.space
            .counters()
            .resident(Resident::Anon, block.pages.len() as i64);
        self.space.env().thp().count(block.order, ThpEvent::Filled);
        Ok(Published::Done)
    }

    /// Maps private frames that nobody else has seen yet at this page and those
    /// behind it, up to the first that has an entry; returns how many. All are
    /// in one leaf table, for which there may be no frame.
    pub(crate) fn publish_ahead<'a>(&self, frames: impl Iterator<Item = Frame<'a, P>>) -> u64 {
        let Ok(Some(mut leaf)) = self.space.tables().lock_leaf(self.vpn, Missing::Allocate) else {
            return 0;
        };
        let mut page = self.vpn;
        for frame in frames {
            if !leaf.get(page).is_empty() {
                break;
            }
            self.adopt(page, frame.pfn(), FrameFlags::ANON_EXCLUSIVE);
            leaf.set(page, self.private_entry(frame.into_pfn()));
            page += 1;
        }
        let mapped = page - self.vpn;
        self.space.counters().resident(Resident::Anon, mapped as i64);
        mapped
    }

    /// Puts a copy in the place of the frame that is mapped.
    ///
    /// A CPU may still read the old frame after another one has written the
    /// new one, until the flush is over. So the copy goes in read-only and not
    /// exclusive first, which makes a store by anybody fault and wait or copy,
    /// and becomes writable after the flush.
    fn replace_private(&self, frame: Frame<'_, P>, layout: Option<Layout>) -> Result<Published, AllocError> {
        let Some(mut leaf) = self.lock()? else {
            return Ok(Published::Raced);
        };
        if !self.is_still(layout) {
            return Ok(Published::Raced);
        }
        self.adopt(self.vpn, frame.pfn(), FrameFlags::empty());
        let copy = self
            .private_entry(frame.pfn())
            .without(PteFlags::WRITE | PteFlags::DIRTY);
        let mut gather = Gather::new(self.space.tables());
        let old = leaf.replace(self.vpn, copy);
        gather.removed(VpnRange::new(self.vpn, self.vpn + 1));
        // The entry's reference; `frame` keeps one until the flush is over.
        let _ = self.space.env().phys().get(frame.pfn()).into_pfn();
        self.space.counters().resident(Resident::Anon, 1);
        if let Some((gone, sort)) = slot::counted(self.space.env(), old) {
            let _ = self.phys_record(gone).maps.put();
            self.space.counters().resident(sort, -1);
            // An empty gather has room.
            let _ = gather.frame(gone);
        }
        drop(leaf);
        gather.finish();

        let settled = Page { seen: copy, ..*self };
        let published = settled.make_writable(|pfn| {
            // The entry's reference and `frame`'s: no fork came between.
            exclusive::claim(self.phys_record(pfn), 2)
        });
        drop(frame);
        published
    }

    /// Maps a frame of the object, and its neighbours `around` where nothing
    /// is mapped yet.
    pub(crate) fn publish_object(
        &self,
        around: &mut Around<'_, P>,
        layout: Layout,
        write: bool,
    ) -> Result<Published, AllocError> {
        let Some(mut leaf) = self.lock()? else {
            return Ok(Published::Raced);
        };
        if !self.is_still(Some(layout)) {
            return Ok(Published::Raced);
        }
        let Some(object) = self.vma.object() else {
            return Ok(Published::Raced);
        };
        let mut mapped = 0;
        for (page, frame) in around.take() {
            if !leaf.get(page).is_empty() {
                continue;
            }
            let record = self.phys_record(frame.pfn());
            record.maps.add();
            self.note_lock(frame.pfn());
            let entry = slot::fresh(self.vma, frame.into_pfn());
            leaf.set(
                page,
                if write && page == self.vpn {
                    writable(entry)
                } else {
                    entry
                },
            );
            mapped += 1;
        }
        self.space.counters().resident(object.resident(), mapped);
        Ok(Published::Done)
    }

    fn private_entry(&self, frame: Pfn) -> Pte {
        let entry = slot::fresh(self.vma, frame);
        if self.vma.flags.contains(VmFlags::WRITE) {
            writable(entry)
        } else {
            entry
        }
    }

    /// Makes a new frame one of the space's kin, mapped once, by `page`.
    fn adopt(&self, page: Vpn, frame: Pfn, flags: FrameFlags) {
        let record = self.phys_record(frame);
        record
            .mapping
            .store(private_word(self.space.kin()), Ordering::Relaxed);
        record.index.store(self.vma.pgoff_at(page), Ordering::Relaxed);
        record.set(FrameFlags::UPTODATE | FrameFlags::SWAPBACKED | flags);
        record.maps.add();
        self.note_lock(frame);
    }

    fn note_lock(&self, frame: Pfn) {
        if self.vma.flags.contains(VmFlags::LOCKED) {
            self.phys_record(frame).set(FrameFlags::MLOCKED);
        }
    }

    fn is_still(&self, layout: Option<Layout>) -> bool {
        match (layout, self.vma.object()) {
            (Some(layout), Some(object)) => Object::is_still(object, layout),
            (None, _) | (_, None) => true,
        }
    }

    fn phys_record(&self, frame: Pfn) -> &'f foliant_phys::FrameRecord {
        self.space.env().phys().record(frame)
    }
}

/// Pages that one fault looks at (`fault_around_bytes`).
pub(crate) const AROUND: usize = 16;

/// Frames of an object that one fault maps, with their pages.
pub(crate) struct Around<'a, P: Mmu> {
    frames: [Option<(Vpn, Frame<'a, P>)>; AROUND],
    count: usize,
}

impl<'a, P: Mmu> Around<'a, P> {
    pub(crate) fn new() -> Self {
        Self {
            frames: [const { None }; AROUND],
            count: 0,
        }
    }

    pub(crate) fn add(&mut self, page: Vpn, frame: Frame<'a, P>) {
        if let Some(slot) = self.frames.get_mut(self.count) {
            *slot = Some((page, frame));
            self.count += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many frames there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    fn take(&mut self) -> impl Iterator<Item = (Vpn, Frame<'a, P>)> {
        self.count = 0;
        self.frames.iter_mut().filter_map(Option::take)
    }
}

/// Whether no page of `block` has an entry.
fn is_empty<P: Mmu>(leaf: &Leaf<'_, P>, block: VpnRange) -> bool {
    leaf.live() == 0 || block.iter().all(|page| leaf.get(page).is_empty())
}

/// The entry with stores allowed and one noted.
fn writable(entry: Pte) -> Pte {
    entry.with(PteFlags::WRITE | PteFlags::DIRTY | PteFlags::ACCESSED)
}

/// Whether two entries differ in nothing but what the hardware notes.
fn same(now: Pte, seen: Pte) -> bool {
    let noted = PteFlags::ACCESSED | PteFlags::DIRTY;
    now == seen || (now.is_present() && seen.is_present() && now.without(noted) == seen.without(noted))
}

impl Published {
    /// The outcome of a fault that wanted `outcome`: nothing, if somebody else
    /// was faster. The access is tried again and faults again if it must.
    pub(crate) const fn or_spurious(self, outcome: Outcome) -> Outcome {
        match self {
            Published::Done => outcome,
            Published::Raced => Outcome::Spurious,
        }
    }
}
