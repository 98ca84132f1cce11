//! Which neighbours become one.
//!
//! Pure: from what stands left and right of a range to what they join to.

use alloc::sync::Arc;

use foliant_units::VpnRange;

use crate::flags::VmFlags;
use crate::vma::{Backing, Lineage, Source, Vma};

/// A VMA that may yet become part of a neighbour.
pub(crate) struct Draft<B: Backing> {
    pub(crate) range: VpnRange,
    pub(crate) flags: VmFlags,
    pub(crate) pgoff: u64,
    pub(crate) source: Source<B>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) family: Option<Arc<B::Family>>,
}

/// What a draft joins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Join {
    /// It stands alone.
    Neither,
    /// It extends the VMA on its left.
    Left,
    /// It extends the VMA on its right.
    Right,
    /// It fills the space between the two.
    Both,
}

impl<B: Backing> Draft<B> {
    /// The part `range` of `vma`, as it would be with other flags and name.
    pub(crate) fn part_of(vma: &Vma<B>, range: VpnRange, flags: VmFlags, name: Option<Arc<str>>) -> Self {
        Self {
            range,
            flags,
            pgoff: vma.pgoff_at(range.start),
            source: vma.source.clone(),
            name,
            family: vma.family(),
        }
    }

    pub(crate) fn into_vma(self) -> Vma<B> {
        let mut vma = Vma::new(self.range, self.flags, self.pgoff, self.source);
        vma.name = self.name;
        vma.set_family(self.family);
        vma
    }

    /// Whether the draft and `vma` are of one kind.
    ///
    /// # Linux source concept
    /// `is_mergeable_vma()`.
    fn resembles(&self, vma: &Vma<B>) -> bool {
        (self.flags ^ vma.flags).difference(VmFlags::STICKY).is_empty()
            && self.source.same(&vma.source)
            && self.name == vma.name
    }

    fn extends(&self, left: &Vma<B>) -> bool {
        left.range.end == self.range.start
            && self.resembles(left)
            && kin(left.family().as_ref(), self.family.as_ref())
            && left.pgoff_at(self.range.start) == self.pgoff
    }

    fn leads_to(&self, right: &Vma<B>) -> bool {
        self.range.end == right.range.start
            && self.resembles(right)
            && kin(right.family().as_ref(), self.family.as_ref())
            && right.pgoff_at(self.range.start) == self.pgoff
    }
}

/// Decides from the neighbours. `left` and `right` need not touch the draft.
///
/// # Linux source concept
/// `vma_merge_new_range()`, `vma_merge_existing_range()`.
pub(crate) fn decide<B: Backing>(left: Option<&Vma<B>>, draft: &Draft<B>, right: Option<&Vma<B>>) -> Join {
    if draft.flags.intersects(VmFlags::SPECIAL) {
        return Join::Neither;
    }
    let left = left.filter(|left| draft.extends(left));
    let right = right.filter(|right| draft.leads_to(right));
    match (left, right) {
        (None, None) => Join::Neither,
        (Some(_), None) => Join::Left,
        (None, Some(_)) => Join::Right,
        // Each may fit the draft and still not fit the other.
        (Some(left), Some(right)) => match (left.family(), right.family()) {
            (Some(one), Some(two)) if !Arc::ptr_eq(&one, &two) => Join::Left,
            _ => Join::Both,
        },
    }
}

/// Whether pages of the two may be under one family. A VMA that a fork made
/// does not widen: every page in it would have to ask the parent's family too.
///
/// # Linux source concept
/// `is_mergeable_anon_vma()`.
fn kin<F: Lineage>(one: Option<&Arc<F>>, two: Option<&Arc<F>>) -> bool {
    match (one, two) {
        (None, None) => true,
        (Some(only), None) | (None, Some(only)) => !only.is_fork_child(),
        (Some(one), Some(two)) => Arc::ptr_eq(one, two),
    }
}
