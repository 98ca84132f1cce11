//! Where a frame may be mapped.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_arch::x86_64::Pte;
use foliant_paging::{Leaf, Missing};
use foliant_phys::{FrameRecord, Owner};
use foliant_platform::Mmu;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Pfn, Vpn};

use super::kin::Kin;
use super::registry::Registry;
use crate::object::Object;
use crate::space::Space;
use crate::vma::Vma;

/// What a record says of the use of its frame. Only a guess until an entry or
/// the cache was seen to hold the frame: records of free frames keep what they
/// said last, or say something new at any time.
pub(crate) enum Use<P: Mmu> {
    /// Private memory of these spaces, at this page of its VMAs' numbering.
    Private {
        /// Who may map it.
        kin: Arc<Kin<P>>,
        /// The page.
        index: u64,
    },
    /// A page of an object.
    Cached {
        /// Which object.
        object: Arc<Object<P>>,
        /// The page.
        index: u64,
    },
}

/// What the record of a private frame of `kin` holds in its word `mapping`;
/// that of an object's frame holds the object's number, doubled.
pub(crate) fn private_word<P: Mmu>(kin: &Kin<P>) -> u64 {
    kin.id() << 1 | 1
}

impl<P: Mmu> Use<P> {
    /// Reads a record; `None` if its frame belongs neither to programs nor to
    /// objects, or does not yet, or not any more.
    pub(crate) fn of(registry: &Registry<P>, record: &FrameRecord) -> Option<Self> {
        let mapping = record.mapping.load(Ordering::Relaxed);
        let index = record.index.load(Ordering::Relaxed);
        match (record.owner(), mapping & 1) {
            (Owner::Anonymous, 1) => Some(Self::Private {
                kin: registry.kins().get(mapping >> 1)?,
                index,
            }),
            (Owner::PageCache | Owner::Shmem, 0) => Some(Self::Cached {
                object: registry.objects().get(mapping >> 1)?,
                index,
            }),
            _ => None,
        }
    }

    /// The spaces that may map it.
    pub(crate) fn spaces(&self) -> Vec<Arc<Space<P>>> {
        match self {
            Self::Private { kin, .. } => kin.spaces(),
            Self::Cached { object, .. } => object.mappers(),
        }
    }

    /// Where `vma` would show it.
    ///
    /// # Linux source concept
    /// `vma_address()`.
    fn page_in(&self, vma: &Vma<P>) -> Option<Vpn> {
        let index = match self {
            Self::Private { .. } if vma.is_shared() => return None,
            Self::Private { index, .. } => *index,
            Self::Cached { object, index } => {
                let shows = vma.object().is_some_and(|shown| Arc::ptr_eq(shown, object));
                if !shows {
                    return None;
                }
                *index
            }
        };
        let at = index.checked_sub(vma.pgoff)?;
        (at < vma.range.len()).then(|| vma.range.start + at)
    }

    /// Whether an entry of `space` seems to map `frame`, asked without a lock.
    pub(crate) fn is_seen_in(&self, space: &Space<P>, frame: Pfn) -> bool {
        let pages = space.map().snapshot();
        let mut shown = pages.iter().filter_map(|vma| self.page_in(vma));
        shown.any(|page| maps(space.tables().get(page), frame))
    }

    /// Calls `visit` with each entry of `space` that maps `frame`, under the
    /// lock of its leaf table.
    ///
    /// # Locking
    /// Complete only if the space's writer lock is held: otherwise the VMAs may
    /// change and entries move meanwhile.
    ///
    /// # Linux source concept
    /// `rmap_walk()`, `page_vma_mapped_walk()`.
    pub(crate) fn each_in(
        &self,
        space: &Space<P>,
        frame: Pfn,
        mut visit: impl FnMut(&mut Leaf<'_, P>, Vpn, Pte),
    ) {
        for vma in &space.map().snapshot() {
            let Some(page) = self.page_in(vma) else { continue };
            // Skipping allocates nothing.
            let Ok(Some(mut leaf)) = space.tables().lock_leaf(page, Missing::Skip) else {
                continue;
            };
            let entry = leaf.get(page);
            if maps(entry, frame) {
                visit(&mut leaf, page, entry);
            }
        }
    }
}

/// Whether an entry maps a frame and counts.
fn maps(entry: Pte, frame: Pfn) -> bool {
    entry.has_frame() && !entry.is_special() && entry.frame() == frame
}
