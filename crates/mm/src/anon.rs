//! What ties private pages to the mappings that may show them.

use alloc::sync::Arc;

use foliant_platform::sync::atomic::{AtomicU64, Ordering};

use crate::vma::{Backing, Lineage, Source, Vma};
use crate::{Tree, VmFlags};

/// The number of a family. A frame's record holds it, so that the record
/// points at nothing that may be gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FamilyId(u64);

impl FamilyId {
    /// The raw number, never zero.
    pub const fn raw(self) -> u64 {
        self.0
    }
}

/// Hands out family numbers.
#[derive(Default, Debug)]
pub(crate) struct Families(AtomicU64);

/// The mappings that may show one another's private frames: those split from
/// one mapping, and their copies in forked spaces.
///
/// # Linux source concept
/// `struct anon_vma` with its chain. Differs: a child knows its parent, and
/// nothing is linked the other way; a reverse walk asks the spaces.
#[derive(Debug)]
pub struct AnonFamily {
    id: FamilyId,
    parent: Option<Arc<AnonFamily>>,
}

impl Families {
    /// A family without ancestors.
    pub(crate) fn found(&self) -> Arc<AnonFamily> {
        self.create(None)
    }

    /// The family of the copy that a fork makes of a mapping of `parent`.
    pub(crate) fn branch(&self, parent: Arc<AnonFamily>) -> Arc<AnonFamily> {
        self.create(Some(parent))
    }

    fn create(&self, parent: Option<Arc<AnonFamily>>) -> Arc<AnonFamily> {
        let id = FamilyId(self.0.fetch_add(1, Ordering::Relaxed) + 1);
        Arc::new(AnonFamily { id, parent })
    }
}

impl AnonFamily {
    /// Its number.
    pub const fn id(&self) -> FamilyId {
        self.id
    }

    /// The family that this one branched from in a fork.
    pub const fn parent(&self) -> Option<&Arc<AnonFamily>> {
        self.parent.as_ref()
    }
}

impl Lineage for AnonFamily {
    fn is_fork_child(&self) -> bool {
        self.parent.is_some()
    }
}

/// Gives `vma` its family before its first private frame: a neighbour's if
/// the two could still become one mapping, or else a new one.
///
/// # Locking
/// The caller holds the VMA for a fault or holds the writer lock. Neighbours
/// are looked at in a snapshot; two neighbours that found families at the same
/// moment stay apart, which Linux avoids by a lock and a program cannot see
/// unless its own threads race.
///
/// # Linux source concept
/// `__anon_vma_prepare()`.
pub(crate) fn prepare<B: Backing<Family = AnonFamily>>(
    families: &Families,
    tree: &Tree<Vma<B>>,
    vma: &Vma<B>,
) -> Arc<AnonFamily> {
    if let Some(family) = vma.family() {
        return family;
    }
    let next = tree.get(vma.range.end).filter(|next| could_join(vma, next));
    let previous = tree
        .below(vma.range.start)
        .filter(|before| could_join(before, vma));
    let borrowed = [next, previous]
        .into_iter()
        .flatten()
        .filter_map(|neighbour| neighbour.family())
        .find(|family| !family.is_fork_child());
    vma.family_or(borrowed.unwrap_or_else(|| families.found()))
}

/// Whether `left` and `right` touch and differ in nothing but access rights.
///
/// # Linux source concept
/// `anon_vma_compatible()`.
fn could_join<B: Backing>(left: &Vma<B>, right: &Vma<B>) -> bool {
    let ignored = VmFlags::ACCESS.union(VmFlags::STICKY);
    left.range.end == right.range.start
        && Source::same(&left.source, &right.source)
        && left.flags.difference(ignored) == right.flags.difference(ignored)
        && right.pgoff == left.pgoff_at(right.range.start)
}
