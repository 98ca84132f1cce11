//! What the bookkeeping asks of the pages below it.

use alloc::sync::Arc;

use foliant_units::{Errno, Vpn, VpnRange};

use crate::book::Usage;
use crate::flags::VmFlags;
use crate::tree::Tree;
use crate::vma::{Backing, Mapping, Vma};

/// Why translations of a range are dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Zap {
    /// The range is unmapped: nothing stays.
    Unmap,
    /// `MADV_DONTNEED`: guard markers stay.
    Discard,
}

/// How pages are to be treated, from `madvise`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Treatment {
    /// Contents are dropped now (`MADV_DONTNEED`).
    Discard,
    /// Contents may be dropped until written again (`MADV_FREE`).
    LazyFree,
    /// Wanted soon (`MADV_WILLNEED`).
    WillNeed,
    /// To the cold end of the LRU (`MADV_COLD`).
    Cool,
    /// Reclaimed now (`MADV_PAGEOUT`).
    PageOut,
    /// Replaced by guard markers (`MADV_GUARD_INSTALL`).
    Guard,
    /// Guard markers taken away (`MADV_GUARD_REMOVE`).
    Unguard,
    /// A hole is punched into the object (`MADV_REMOVE`).
    Punch,
}

/// Page tables, frames and objects, as the operations on VMAs need them. The
/// implementation of a space walks its tables; the tests of the bookkeeping
/// have one without pages.
///
/// # Locking
/// Called with the space's writer lock held, and with the VMAs concerned
/// frozen, so that no fault runs on them. [`treat`](PageWork::treat) is called
/// with the VMA held as for a fault, and no more.
pub trait PageWork<B: Backing> {
    /// Makes the object of a `MAP_SHARED|MAP_ANONYMOUS` mapping of `pages`.
    ///
    /// # Errors
    /// `NOMEM` where the machine does not commit to so much.
    fn shared_memory(&mut self, pages: u64, flags: VmFlags) -> Result<Arc<Mapping<B>>, Errno>;

    /// Gives `vma`, which stands in `tree`, its family if it has none.
    fn prepare(&mut self, tree: &Tree<Vma<B>>, vma: &Vma<B>);

    /// A VMA enters the space: its object learns that the space shows it.
    ///
    /// # Errors
    /// Nothing is entered then; `BUSY` or `PERM` from a sealed object.
    fn link(&mut self, vma: &Arc<Vma<B>>) -> Result<(), Errno>;

    /// A VMA leaves the space, its pages are gone or belong to a successor.
    fn unlink(&mut self, vma: &Arc<Vma<B>>);

    /// Drops the translations of `range`, which lies in `vma`.
    fn zap(&mut self, vma: &Vma<B>, range: VpnRange, why: Zap);

    /// Frees page tables that serve nothing outside of `hole`, which has no VMA.
    fn free_tables(&mut self, hole: VpnRange);

    /// Gives the present pages of `range` the rights of `vma`, which covers it.
    fn protect(&mut self, vma: &Vma<B>, range: VpnRange);

    /// Moves the translations of `range` in `from` to `to`, where `target` is.
    ///
    /// # Errors
    /// `NOMEM` if tables could not be had: then nothing has moved.
    fn relocate(&mut self, from: &Vma<B>, range: VpnRange, target: &Vma<B>, to: Vpn) -> Result<(), Errno>;

    /// `range` in `vma` became locked or unlocked, as its flags say.
    fn locked(&mut self, vma: &Vma<B>, range: VpnRange);

    /// Treats the pages of `range` in `vma`.
    ///
    /// # Errors
    /// Those of the object or the lack of frames; the part before may be done.
    fn treat(&self, vma: &Arc<Vma<B>>, range: VpnRange, how: Treatment) -> Result<(), Errno>;

    /// Whether the machine lets the space commit to `pages` more.
    fn may_commit(&self, pages: u64) -> bool;

    /// The operation is over; the counters shown outside can be set.
    fn settled(&mut self, usage: &Usage);
}
