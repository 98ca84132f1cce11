//! What ties private pages to the mappings that may show them.

use alloc::sync::Arc;

use crate::vma::{Backing, Lineage, Source, Vma};
use crate::{Tree, VmFlags};

/// The mappings that may show one another's private frames: those split from
/// one mapping, and their copies in forked spaces.
///
/// # Linux source concept
/// `struct anon_vma` with its chain, as far as merging asks. Differs: a child
/// knows its parent, and nothing is linked the other way; a reverse walk asks
/// the spaces that descend from one another (`rmap`).
#[derive(Debug)]
pub struct AnonFamily {
    parent: Option<Arc<AnonFamily>>,
}

impl AnonFamily {
    /// A family without ancestors.
    pub(crate) fn found() -> Arc<Self> {
        Arc::new(Self { parent: None })
    }

    /// The family of the copy that a fork makes of a mapping of `parent`.
    pub(crate) fn branch(parent: Arc<Self>) -> Arc<Self> {
        Arc::new(Self { parent: Some(parent) })
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
pub(crate) fn prepare<B: Backing<Family = AnonFamily>>(tree: &Tree<Vma<B>>, vma: &Vma<B>) -> Arc<AnonFamily> {
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
    vma.family_or(borrowed.unwrap_or_else(AnonFamily::found))
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
