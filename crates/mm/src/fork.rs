//! A copy of a space that shares its frames until one side writes.

use alloc::sync::Arc;

use foliant_arch::x86_64::{Absent, Markers, Pte, PteFlags};
use foliant_paging::{Gather, Leaf, Missing};
use foliant_phys::{AllocError, FrameFlags};
use foliant_platform::Mmu;
use foliant_units::{Errno, Vpn, VpnRange};

use crate::anon::AnonFamily;
use crate::book::{Book, Usage};
use crate::counters::{Resident, RssDelta};
use crate::flags::VmFlags;
use crate::map::AddressMap;
use crate::pages::{self, Removal, slot};
use crate::space::Space;
use crate::tree::Tree;
use crate::vma::Vma;

/// Entries of a leaf table.
const ENTRIES: usize = 512;

/// A mapping and its copy in the child.
type Pair<P> = (Arc<Vma<P>>, Arc<Vma<P>>);

impl<P: Mmu> Space<P> {
    /// A space with the same mappings, for a new process. Private frames are
    /// shared and write-protected on both sides; tables are copied only for
    /// mappings that have private frames or frames that are not counted, since
    /// the rest can be faulted in.
    ///
    /// # Errors
    /// `NOMEM`, and what the machine says of one space more. Nothing remains
    /// then but entries of this space that the next store makes writable again.
    ///
    /// # Locking
    /// Takes the writer lock; faults go on, each before or after its leaf
    /// table was copied.
    ///
    /// # Linux source concept
    /// `dup_mmap()`, `copy_page_range()`.
    pub fn fork(&self) -> Result<Arc<Space<P>>, Errno> {
        let book = self.map().book();
        let mut usage = Usage::default();
        let mut tree = Tree::new();
        let mut pairs = alloc::vec::Vec::new();
        for vma in &self.map().snapshot() {
            if vma.flags.contains(VmFlags::DONTCOPY) {
                continue;
            }
            if vma.flags.contains(VmFlags::ACCOUNT) && !self.may_commit(vma.range.len()) {
                return Err(Errno::NOMEM);
            }
            let copy = Arc::new(self.child_of(vma));
            usage.add(copy.flags, copy.range.len());
            tree.insert(copy.clone());
            pairs.push((vma.clone(), copy));
        }
        let child_book = Book {
            usage,
            future: book.future & VmFlags::NOHUGEPAGE,
            ..book.clone()
        };
        let child = Space::with_map(self.env(), self.kin(), AddressMap::with(tree, child_book))?;
        child.settle(&usage);
        child.set_thp_mode(self.thp_mode());
        self.share_all(&child, &pairs)?;
        Ok(child)
    }

    /// The copy of a mapping, without pages.
    fn child_of(&self, vma: &Vma<P>) -> Vma<P> {
        let mut copy = vma.successor();
        copy.flags -= VmFlags::LOCKED_MASK;
        copy.faults = Arc::default();
        let inherits = !vma.flags.contains(VmFlags::WIPEONFORK);
        let family = vma.family().filter(|_| inherits);
        copy.set_family(family.map(AnonFamily::branch));
        copy
    }

    fn share_all(&self, child: &Arc<Space<P>>, pairs: &[Pair<P>]) -> Result<(), AllocError> {
        // Whoever takes pages away from the child waits until it has them.
        let _child_book = child.map().book();
        let mut gather = Gather::new(self.tables());
        for (parent, copy) in pairs {
            let layout = copy.object().map(|object| {
                object.attach(child);
                object.layout()
            });
            // Guard markers are no pages of a family, but the child has them too.
            let guarded = copy.flags & (VmFlags::MAYBE_GUARD | VmFlags::WIPEONFORK) == VmFlags::MAYBE_GUARD;
            let needs_copy = copy.family().is_some() || guarded || copy.flags.contains(VmFlags::PFNMAP);
            if !needs_copy {
                continue;
            }
            self.share(child, parent, &mut gather)?;
            if let (Some(object), Some(layout)) = (copy.object(), layout)
                && !(layout.is_calm() && object.is_still(layout))
            {
                child.forget_object(copy, object.pages());
            }
        }
        // Pays before the child can run: no CPU may store through an old entry
        // to a frame that is the child's too.
        gather.finish();
        Ok(())
    }

    /// Shares the pages of one mapping with the child.
    fn share<'s>(
        &'s self,
        child: &Space<P>,
        vma: &Vma<P>,
        gather: &mut Gather<'s, P>,
    ) -> Result<(), AllocError> {
        let mut delta = RssDelta::default();
        let mut at = vma.range.start;
        let mut result = Ok(());
        while at < vma.range.end && result.is_ok() {
            let next = (at.align_down(ENTRIES as u64) + ENTRIES as u64).min(vma.range.end);
            result = self.share_leaf(child, vma, VpnRange::new(at, next), gather, &mut delta);
            at = next;
        }
        child.counters().apply(delta);
        result
    }

    /// Shares the pages of one leaf table. No two tables are locked at once:
    /// the entries are carried over in a buffer.
    fn share_leaf<'s>(
        &'s self,
        child: &Space<P>,
        vma: &Vma<P>,
        part: VpnRange,
        gather: &mut Gather<'s, P>,
        delta: &mut RssDelta,
    ) -> Result<(), AllocError> {
        let occupied = |leaf: Option<Leaf<'_, P>>| leaf.is_some_and(|leaf| leaf.live() != 0);
        if !occupied(self.tables().lock_leaf(part.start, Missing::Skip)?) {
            return Ok(());
        }
        // Made first, so that nothing can fail once frames are shared.
        drop(child.tables().lock_leaf(part.start, Missing::Allocate)?);

        let mut copies = [Pte::EMPTY; ENTRIES];
        if let Some(mut leaf) = self.tables().lock_leaf(part.start, Missing::Skip)? {
            for (page, copy) in part.iter().zip(&mut copies) {
                *copy = self.share_entry(vma, &mut leaf, page, gather, delta);
            }
        }
        if let Some(mut leaf) = child.tables().lock_leaf(part.start, Missing::Skip)? {
            for (page, &copy) in part.iter().zip(&copies) {
                if !copy.is_empty() {
                    leaf.set(page, copy);
                }
            }
        }
        Ok(())
    }

    /// The child's entry for a page of `leaf`, with its reference.
    ///
    /// # Linux source concept
    /// `copy_present_ptes()`, `copy_nonpresent_pte()`.
    fn share_entry<'s>(
        &'s self,
        vma: &Vma<P>,
        leaf: &mut Leaf<'_, P>,
        page: Vpn,
        gather: &mut Gather<'s, P>,
        delta: &mut RssDelta,
    ) -> Pte {
        let entry = leaf.get(page);
        if !entry.has_frame() {
            return inherited(entry);
        }
        let Some((frame, sort)) = slot::counted(self.env(), entry) else {
            return entry.without(PteFlags::ACCESSED);
        };
        let record = self.env().phys().record(frame);
        // After the first fork it is clear, and a locked instruction saved.
        if sort == Resident::Anon && record.has(FrameFlags::ANON_EXCLUSIVE) {
            record.clear(FrameFlags::ANON_EXCLUSIVE);
        }
        let mut copy = entry;
        if entry.is_writable() && !vma.is_shared() {
            copy = leaf.update(page, |entry| entry.without(PteFlags::WRITE)).1;
            gather.demoted(VpnRange::new(page, page + 1));
        }
        if vma.is_shared() {
            copy = copy.without(PteFlags::DIRTY);
        }
        let _ = self.env().phys().get(frame).into_pfn();
        record.maps.add();
        delta.add(sort, 1);
        copy.without(PteFlags::ACCESSED)
    }

    /// Drops what the child was given of an object that changed meanwhile, of
    /// which `pages` are left; it is faulted in again.
    fn forget_object(&self, vma: &Vma<P>, pages: u64) {
        let mut gather = Gather::new(self.tables());
        pages::zap(self, vma, vma.range, Removal::Invalidate, &mut gather);
        let left = pages.saturating_sub(vma.pgoff).min(vma.range.len());
        let gone = VpnRange::new(vma.range.start + left, vma.range.end);
        pages::zap(self, vma, gone, Removal::Truncate, &mut gather);
        gather.finish();
    }
}

/// What a child inherits of an entry without a frame: guard and poison markers.
fn inherited(entry: Pte) -> Pte {
    match Absent::decode(entry) {
        Some(Absent::Marker(markers)) if markers.intersects(Markers::GUARD | Markers::POISONED) => entry,
        Some(_) | None => Pte::EMPTY,
    }
}
