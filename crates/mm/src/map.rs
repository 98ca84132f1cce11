//! The VMAs of a space together with what only their writer sees.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_platform::sync::{Mutex, MutexGuard};
use foliant_units::{Errno, Vpn, VpnRange};

use crate::book::{Book, Limits};
use crate::flags::VmFlags;
use crate::layout::Layout;
use crate::merge::{self, Draft, Join};
use crate::tree::{Published, Tree};
use crate::vma::{Backing, Vma};
use crate::work::{PageWork, Zap};

/// The upper half of a space: VMAs, layout, limits. It knows no page.
///
/// # Locking
/// Readers look at the published tree without waiting. One writer at a time
/// holds the book (Linux's `mmap_lock` for writing) through a [`Change`].
pub struct AddressMap<B: Backing> {
    published: Published<Vma<B>>,
    book: Mutex<Book>,
}

/// The two halves of a VMA that was cut.
type Halves<B> = (Arc<Vma<B>>, Arc<Vma<B>>);

/// One operation on the VMAs. Edits happen in a private tree, which is
/// published when the change is dropped: whatever state an operation has
/// reached when it fails is the state that stays, as in Linux.
///
/// VMAs that the operation touches are frozen first: a fault on them waits
/// until the change is over and looks again.
pub struct Change<'a, B: Backing, W: PageWork<B>> {
    published: &'a Published<Vma<B>>,
    pub(crate) book: MutexGuard<'a, Book>,
    pub(crate) tree: Tree<Vma<B>>,
    pub(crate) work: &'a mut W,
    frozen: Vec<Arc<Vma<B>>>,
    edited: bool,
}

impl<B: Backing> AddressMap<B> {
    /// An empty space.
    pub fn new(layout: Layout, limits: Limits) -> Self {
        Self::with(Tree::new(), Book::new(layout, limits))
    }

    /// A space that starts with these VMAs, as a fork's child does.
    pub fn with(tree: Tree<Vma<B>>, book: Book) -> Self {
        Self {
            published: Published::new(tree),
            book: Mutex::new(book),
        }
    }

    /// The VMAs now.
    pub fn snapshot(&self) -> Tree<Vma<B>> {
        self.published.snapshot()
    }

    /// The VMA that contains `page`.
    pub fn find(&self, page: Vpn) -> Option<Arc<Vma<B>>> {
        self.published.with(|tree| tree.get(page).cloned())
    }

    /// The VMA that contains `page` or the next one above.
    pub fn find_above(&self, page: Vpn) -> Option<Arc<Vma<B>>> {
        self.published.with(|tree| tree.at_or_above(page).cloned())
    }

    /// Waits for the writer lock. Whoever found a retired VMA does this before
    /// looking again.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    /// The writer lock, if nobody has it.
    pub(crate) fn try_book(&self) -> Option<MutexGuard<'_, Book>> {
        self.book.try_lock()
    }

    /// Starts an operation.
    pub fn change<'a, W: PageWork<B>>(&'a self, work: &'a mut W) -> Change<'a, B, W> {
        let book = self.book.lock();
        Change {
            published: &self.published,
            tree: self.published.snapshot(),
            book,
            work,
            frozen: Vec::new(),
            edited: false,
        }
    }
}

impl<B: Backing, W: PageWork<B>> Change<'_, B, W> {
    /// Keeps faults off `vma` until the change is over.
    pub fn freeze(&mut self, vma: &Arc<Vma<B>>) {
        // Twice does no harm, and looking for it would make big unmappings quadratic.
        vma.retire();
        self.frozen.push(vma.clone());
    }

    /// The VMAs as this change has them so far.
    pub fn tree(&self) -> &Tree<Vma<B>> {
        &self.tree
    }

    /// Takes a VMA out whose pages are gone or belong to a successor.
    fn take_out(&mut self, vma: &Arc<Vma<B>>) {
        self.freeze(vma);
        self.tree.remove(vma.range);
        self.work.unlink(vma);
        self.edited = true;
    }

    /// Puts a VMA in that replaces parts of others: the object knows it already.
    fn put_in(&mut self, vma: Vma<B>) -> Arc<Vma<B>> {
        let vma = Arc::new(vma);
        // A successor shows no more of its object than its predecessors did.
        let linked = self.work.link(&vma);
        debug_assert!(linked.is_ok(), "a successor was refused");
        self.insert(vma)
    }

    fn insert(&mut self, vma: Arc<Vma<B>>) -> Arc<Vma<B>> {
        self.tree.insert(vma.clone());
        self.edited = true;
        vma
    }

    /// Adds a range that has no VMA, joined with neighbours where they fit.
    /// Does not count it.
    ///
    /// # Errors
    /// Those of the object.
    pub(crate) fn place(&mut self, draft: Draft<B>) -> Result<Arc<Vma<B>>, Errno> {
        let left = self.tree.below(draft.range.start).cloned();
        self.place_behind(left, draft)
    }

    /// As [`place`](Self::place), where `left` is the only VMA below that may
    /// be joined.
    ///
    /// # Errors
    /// Those of the object.
    pub(crate) fn place_behind(
        &mut self,
        left: Option<Arc<Vma<B>>>,
        draft: Draft<B>,
    ) -> Result<Arc<Vma<B>>, Errno> {
        let right = self.tree.get(draft.range.end).cloned();
        let left = left.filter(|left| left.range.end == draft.range.start);
        for neighbour in [&left, &right].into_iter().flatten() {
            self.freeze(neighbour);
        }
        let join = merge::decide(left.as_deref(), &draft, right.as_deref());
        let (left, right) = joining(join, left, right);
        if left.is_none() && right.is_none() {
            let vma = Arc::new(draft.into_vma());
            self.work.link(&vma)?;
            return Ok(self.insert(vma));
        }
        Ok(self.join(left, &draft, right))
    }

    /// Adds a range behind `vma`, and joins with what comes after where that
    /// fits too. Does not count it.
    ///
    /// # Linux source concept
    /// `vma_merge_extend()`.
    pub(crate) fn extend_by(&mut self, vma: &Arc<Vma<B>>, draft: Draft<B>) -> Arc<Vma<B>> {
        let right = self.tree.get(draft.range.end).cloned();
        if let Some(right) = &right {
            self.freeze(right);
        }
        let right = match merge::decide(Some(vma), &draft, right.as_deref()) {
            Join::Both => right,
            Join::Neither | Join::Left | Join::Right => None,
        };
        self.join(Some(vma.clone()), &draft, right)
    }

    /// Makes one VMA of `left`, the draft and `right`, which all fit.
    fn join(
        &mut self,
        left: Option<Arc<Vma<B>>>,
        draft: &Draft<B>,
        right: Option<Arc<Vma<B>>>,
    ) -> Arc<Vma<B>> {
        let Some(base) = left.as_ref().or(right.as_ref()) else {
            unreachable!("joining with nobody");
        };
        let mut joined = base.successor();
        let start = left.as_ref().map_or(draft.range.start, |left| left.range.start);
        let end = right.as_ref().map_or(draft.range.end, |right| right.range.end);
        joined.pgoff = base.pgoff_at(start);
        joined.range = VpnRange::new(start, end);
        let others = [&left, &right].into_iter().flatten();
        let sticky = others.clone().fold(draft.flags, |flags, vma| flags | vma.flags);
        joined.flags |= sticky & VmFlags::STICKY;
        let family = others.clone().find_map(|vma| vma.family());
        joined.set_family(family.or_else(|| draft.family.clone()));
        for old in others {
            if !Arc::ptr_eq(&joined.faults, &old.faults) {
                joined.faults.absorb(&old.faults.tally());
            }
            self.take_out(old);
        }
        self.put_in(joined)
    }

    /// Gives the part `range` of `vma` other flags and another name; splits
    /// off the rest, or moves the border to a neighbour that then fits. The
    /// VMA that has the part afterwards.
    ///
    /// # Errors
    /// `NOMEM` where a split would make too many VMAs. A first split may stay.
    ///
    /// # Linux source concept
    /// `vma_modify()`.
    pub(crate) fn modify(
        &mut self,
        vma: &Arc<Vma<B>>,
        range: VpnRange,
        flags: VmFlags,
        name: Option<Arc<str>>,
    ) -> Result<Arc<Vma<B>>, Errno> {
        debug_assert!(vma.range.covers(range) && !range.is_empty());
        let at_left = vma.range.start == range.start;
        let at_right = vma.range.end == range.end;
        let left = self.tree.below(range.start).filter(|_| at_left).cloned();
        let right = self.tree.get(range.end).filter(|_| at_right).cloned();
        let left = left.filter(|left| left.range.end == range.start);
        self.freeze(vma);
        for neighbour in [&left, &right].into_iter().flatten() {
            self.freeze(neighbour);
        }
        let draft = Draft::part_of(vma, range, flags, name);
        let join = merge::decide(left.as_deref(), &draft, right.as_deref());
        if join == Join::Neither {
            return self.set(vma, range, draft);
        }
        let (left, right) = joining(join, left, right);
        self.take_out(vma);
        if !at_left {
            self.put_in(vma.clipped(VpnRange::new(vma.range.start, range.start)));
        }
        if !at_right {
            self.put_in(vma.clipped(VpnRange::new(range.end, vma.range.end)));
        }
        Ok(self.join(left, &draft, right))
    }

    /// Splits `vma` so that `range` stands alone, and puts the draft there.
    fn set(&mut self, vma: &Arc<Vma<B>>, range: VpnRange, draft: Draft<B>) -> Result<Arc<Vma<B>>, Errno> {
        let mut middle = vma.clone();
        if middle.range.start < range.start {
            middle = self.split(&middle, range.start)?.1;
        }
        if middle.range.end > range.end {
            middle = self.split(&middle, range.end)?.0;
        }
        self.take_out(&middle);
        Ok(self.put_in(draft.into_vma()))
    }

    /// Cuts `vma` in two at `at`, which lies inside.
    ///
    /// # Errors
    /// `NOMEM` at the limit of VMAs, `INVAL` for a special mapping.
    pub(crate) fn split(&mut self, vma: &Arc<Vma<B>>, at: Vpn) -> Result<Halves<B>, Errno> {
        if self.tree.len() >= self.book.limits.vmas {
            return Err(Errno::NOMEM);
        }
        self.split_unlimited(vma, at)
    }

    /// [`split`](Self::split) without the limit, for a part that goes away at once.
    ///
    /// # Linux source concept
    /// `__split_vma()`, `special_mapping_split()`.
    fn split_unlimited(&mut self, vma: &Arc<Vma<B>>, at: Vpn) -> Result<Halves<B>, Errno> {
        if vma.flags.contains(VmFlags::DONTEXPAND) {
            return Err(Errno::INVAL);
        }
        self.freeze(vma);
        let left = vma.clipped(VpnRange::new(vma.range.start, at));
        let right = vma.clipped(VpnRange::new(at, vma.range.end));
        self.take_out(vma);
        Ok((self.put_in(left), self.put_in(right)))
    }

    /// Replaces a VMA by another of the same pages.
    pub(crate) fn swap(&mut self, old: &Arc<Vma<B>>, new: Vma<B>) -> Arc<Vma<B>> {
        self.take_out(old);
        self.put_in(new)
    }

    /// Takes out everything in `range`, pages and tables included.
    ///
    /// # Errors
    /// `PERM` over a sealed VMA, `INVAL` for part of a special mapping, `NOMEM`
    /// where a split would make too many VMAs. Nothing is unmapped then, but a split may stay.
    ///
    /// # Linux source concept
    /// `vms_gather_munmap_vmas()`, `vms_complete_munmap_vmas()`.
    pub(crate) fn unmap(&mut self, range: VpnRange) -> Result<(), Errno> {
        self.isolate(range)?;
        let doomed: Vec<_> = self.tree.overlapping(range).cloned().collect();
        for vma in &doomed {
            self.freeze(vma);
            self.tree.remove(vma.range);
            self.edited = true;
            self.book.usage.sub(vma.flags, vma.range.len());
            if vma.flags.contains(VmFlags::LOCKED) {
                self.book.usage.locked = self.book.usage.locked.saturating_sub(vma.range.len());
            }
        }
        for vma in &doomed {
            self.work.zap(vma, vma.range, Zap::Unmap);
        }
        if !doomed.is_empty() {
            self.work.free_tables(self.hole_around(range));
        }
        for vma in &doomed {
            self.work.unlink(vma);
        }
        Ok(())
    }

    /// Splits at both ends of `range`, and refuses if something in it is sealed.
    pub(crate) fn isolate(&mut self, range: VpnRange) -> Result<(), Errno> {
        if let Some(first) = self.tree.get(range.start).cloned()
            && first.range.start < range.start
        {
            // The middle of one VMA makes one more VMA in the end.
            if range.end < first.range.end && self.tree.len() >= self.book.limits.vmas {
                return Err(Errno::NOMEM);
            }
            if first.flags.contains(VmFlags::SEALED) {
                return Err(Errno::PERM);
            }
            self.split_unlimited(&first, range.start)?;
        }
        let inside: Vec<_> = self.tree.overlapping(range).cloned().collect();
        for vma in inside {
            if vma.flags.contains(VmFlags::SEALED) {
                return Err(Errno::PERM);
            }
            if vma.range.end > range.end {
                self.split_unlimited(&vma, range.end)?;
            }
        }
        Ok(())
    }

    /// `range` with the free space on both sides.
    fn hole_around(&self, range: VpnRange) -> VpnRange {
        let start = self
            .tree
            .below(range.start)
            .map_or(Vpn::ZERO, |vma| vma.range.end);
        let end = self.tree.at_or_above(range.end);
        let end = end.map_or(self.book.layout.end.page(), |vma| vma.range.start);
        VpnRange::new(start, end)
    }
}

/// The neighbours that take part in a join.
fn joining<V>(join: Join, left: Option<V>, right: Option<V>) -> (Option<V>, Option<V>) {
    match join {
        Join::Neither => (None, None),
        Join::Left => (left, None),
        Join::Right => (None, right),
        Join::Both => (left, right),
    }
}

impl<B: Backing, W: PageWork<B>> Drop for Change<'_, B, W> {
    fn drop(&mut self) {
        if self.edited {
            self.published.publish(self.tree.clone());
        }
        self.work.settled(&self.book.usage);
        // They go with this value's fields, once the book is open again: the
        // last mapping of a file closes it, which asks spaces about mappings.
        for vma in &self.frozen {
            let stays = self
                .tree
                .get(vma.range.start)
                .is_some_and(|now| Arc::ptr_eq(now, vma));
            if stays {
                vma.revive();
            }
        }
    }
}
