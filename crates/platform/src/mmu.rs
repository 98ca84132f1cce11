//! Translation caches and the debt of flushing them.

use foliant_units::{Errno, PhysAddr, VpnRange};

use crate::platform::Platform;

/// What became of the translations of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushKind {
    /// Gone, or pointing elsewhere: no cached translation may survive.
    Removed,
    /// The same frames with fewer rights or with the dirty bit cleared: a
    /// machine may keep a translation that still respects the tables.
    Demoted,
}

/// Translations that the tables no longer back.
#[derive(Clone, Copy, Debug)]
pub struct Flush<'a> {
    /// The pages, as few ranges as the caller could make of them.
    pub ranges: &'a [VpnRange],
    /// What became of them.
    pub kind: FlushKind,
    /// Whether tables were unlinked, so that paging-structure caches must go too.
    pub tables_freed: bool,
}

/// How deep the tables of a machine are, where its format leaves a choice.
///
/// # Linux source concept
/// `pgtable_l5_enabled()`, which is decided at boot; here it is decided when
/// the machine is compiled, so that folded levels cost nothing.
pub trait Levels: Copy + Default + core::fmt::Debug + Eq + Send + Sync + 'static {
    /// Whether there are five levels, not four.
    const FIVE: bool;
}

/// Four levels of tables: 47 bits for programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FourLevels;

/// Five levels of tables (CR4.LA57): 56 bits for programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FiveLevels;

impl Levels for FourLevels {
    const FIVE: bool = false;
}

impl Levels for FiveLevels {
    const FIVE: bool = true;
}

/// A platform with a memory-management unit.
///
/// # Safety
///
/// When [`flush`](Mmu::flush) returns, no CPU uses a translation of the ranges
/// that the tables did not hold at some moment after the call began. Frames are
/// freed on the strength of this.
pub unsafe trait Mmu: Platform {
    /// What the machine keeps per address space (Linux's `mm_context_t`): the
    /// CPUs that may cache it, its tag, its host process. Dropping it ends the
    /// machine's knowledge of the space; no CPU runs on it any more.
    type Context: Send + Sync + 'static;

    /// How deep the tables of its spaces are.
    type Levels: Levels;

    /// Prepares a space whose top table is the frame at `root`.
    ///
    /// # Errors
    /// `NOMEM` or `AGAIN` where the machine has no room for another space.
    fn context(&self, root: PhysAddr) -> Result<Self::Context, Errno>;

    /// Prepares the kernel's own tables, whose top table is the frame at
    /// `root`. Other spaces share what is below its top entries, so a
    /// [`flush`](Mmu::flush) with this context makes every CPU forget the
    /// ranges in whichever space it runs or comes back to.
    ///
    /// # Errors
    /// `NOSYS` from a machine without a kernel half; else as
    /// [`context`](Mmu::context).
    ///
    /// # Linux source concept
    /// `init_mm`, `flush_tlb_kernel_range()`.
    fn kernel_context(&self, root: PhysAddr) -> Result<Self::Context, Errno> {
        let _no_kernel_half = root;
        Err(Errno::NOSYS)
    }

    /// Makes this CPU forget the ranges: enough where no other CPU used them
    /// since their last flush. The caller keeps preemption off from the use on.
    fn flush_local(&self, context: &Self::Context, what: Flush<'_>) {
        self.flush(context, what);
    }

    /// Makes every CPU forget the ranges. Callable with spin locks held on
    /// bare metal only from a context that may wait for other CPUs; callers
    /// here hold no table lock.
    fn flush(&self, context: &Self::Context, what: Flush<'_>);
}
