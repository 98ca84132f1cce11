//! What is resident: the numbers of `/proc/PID/smaps`, the vector of
//! `mincore`, the words of `/proc/PID/pagemap`.

use core::ops::ControlFlow;

use foliant_arch::x86_64::{Absent, Pte};
use foliant_paging::Missing;
use foliant_phys::FrameFlags;
use foliant_platform::Mmu;
use foliant_units::{PAGE_SIZE, Pfn, Vpn, VpnRange};

use super::slot;
use crate::counters::Resident;
use crate::flags::VmFlags;
use crate::space::Space;
use crate::vma::Vma;

/// log2 of the parts in which a proportional share is counted.
const PSS_SHIFT: u32 = 12;

/// What of a mapping is resident.
///
/// # Units
/// Bytes; proportional shares in 1/4096 of a byte, as Linux sums them before
/// it rounds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Residency {
    /// `Rss`.
    pub rss: u64,
    /// `Pss`.
    pub pss: u64,
    /// `Pss_Dirty`.
    pub pss_dirty: u64,
    /// Part of `pss` that is private memory (`Pss_Anon` of the roll-up).
    pub pss_anon: u64,
    /// Part of `pss` that is files (`Pss_File`).
    pub pss_file: u64,
    /// Part of `pss` that is shared memory (`Pss_Shmem`).
    pub pss_shmem: u64,
    /// Part of `pss` in locked mappings (`Locked`).
    pub pss_locked: u64,
    /// `Shared_Clean`.
    pub shared_clean: u64,
    /// `Shared_Dirty`.
    pub shared_dirty: u64,
    /// `Private_Clean`.
    pub private_clean: u64,
    /// `Private_Dirty`.
    pub private_dirty: u64,
    /// `Referenced`.
    pub referenced: u64,
    /// `Anonymous`.
    pub anonymous: u64,
    /// `LazyFree`.
    pub lazy_free: u64,
    /// `Swap`.
    pub swap: u64,
    /// `SwapPss`.
    pub swap_pss: u64,
}

impl Residency {
    /// The sum, as `smaps_rollup` shows it.
    pub fn plus(self, other: &Self) -> Self {
        Self {
            rss: self.rss + other.rss,
            pss: self.pss + other.pss,
            pss_dirty: self.pss_dirty + other.pss_dirty,
            pss_anon: self.pss_anon + other.pss_anon,
            pss_file: self.pss_file + other.pss_file,
            pss_shmem: self.pss_shmem + other.pss_shmem,
            pss_locked: self.pss_locked + other.pss_locked,
            shared_clean: self.shared_clean + other.shared_clean,
            shared_dirty: self.shared_dirty + other.shared_dirty,
            private_clean: self.private_clean + other.private_clean,
            private_dirty: self.private_dirty + other.private_dirty,
            referenced: self.referenced + other.referenced,
            anonymous: self.anonymous + other.anonymous,
            lazy_free: self.lazy_free + other.lazy_free,
            swap: self.swap + other.swap,
            swap_pss: self.swap_pss + other.swap_pss,
        }
    }
}

/// Adds up what `vma` has resident.
///
/// # Locking
/// None needed; each leaf table is seen at one moment.
///
/// # Linux source concept
/// `smaps_pte_range()`, `smaps_account()`.
pub(crate) fn residency<P: Mmu>(space: &Space<P>, vma: &Vma<P>) -> Residency {
    let mut sum = Residency::default();
    let locked = vma.flags.contains(VmFlags::LOCKED);
    let _ = space
        .tables()
        .for_each_leaf(vma.range, Missing::Skip, |leaf, part| {
            for (_, entry) in leaf.entries(part) {
                account(space, entry, locked, &mut sum);
            }
            ControlFlow::<()>::Continue(())
        });
    sum
}

fn account<P: Mmu>(space: &Space<P>, entry: Pte, locked: bool, sum: &mut Residency) {
    let size = PAGE_SIZE as u64;
    let Some((frame, sort)) = slot::held(space.env(), entry) else {
        if let Some(Absent::Swap(_)) = Absent::decode(entry) {
            sum.swap += size;
            sum.swap_pss += size << PSS_SHIFT;
        }
        return;
    };
    let record = space.env().phys().record(frame);
    let maps = u64::from(record.maps.get()).max(1);
    let dirty = entry.is_dirty() || record.has(FrameFlags::DIRTY);
    let share = (size << PSS_SHIFT) / maps;

    sum.rss += size;
    sum.pss += share;
    match sort {
        Resident::Anon => {
            sum.anonymous += size;
            sum.pss_anon += share;
            if !record.has(FrameFlags::SWAPBACKED) && !dirty {
                sum.lazy_free += size;
            }
        }
        Resident::File => sum.pss_file += share,
        Resident::Shmem => sum.pss_shmem += share,
    }
    if locked {
        sum.pss_locked += share;
    }
    if dirty {
        sum.pss_dirty += share;
    }
    if entry.is_accessed() || record.has(FrameFlags::REFERENCED) {
        sum.referenced += size;
    }
    match (maps > 1, dirty) {
        (true, true) => sum.shared_dirty += size,
        (true, false) => sum.shared_clean += size,
        (false, true) => sum.private_dirty += size,
        (false, false) => sum.private_clean += size,
    }
}

/// What one page is to `mincore` and `pagemap`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageView {
    /// The page.
    pub page: Vpn,
    /// The entry as it was seen; empty where there is no table.
    pub entry: Pte,
    /// The frame, if one is mapped: the frame of zeroes included.
    pub frame: Option<Pfn>,
    /// How the frame counts; `None` for the frame of zeroes. One that is being
    /// moved counts although none is mapped.
    pub sort: Option<Resident>,
    /// Mapped once, and a counted frame (`PM_MMAP_EXCLUSIVE`).
    pub exclusive: bool,
    /// A guard marker.
    pub guard: bool,
    /// Not mapped, but the object has it in memory: what `mincore` adds.
    pub cached: bool,
}

impl PageView {
    /// What `mincore` says: an access would wait for nothing but a move.
    pub const fn is_in_memory(&self) -> bool {
        self.frame.is_some() || self.sort.is_some() || self.cached
    }
}

/// Shows each page of `range`, a part of `vma`, to `see`, in order.
pub(crate) fn view<P: Mmu>(space: &Space<P>, vma: &Vma<P>, range: VpnRange, mut see: impl FnMut(PageView)) {
    for page in range.iter() {
        let entry = space.tables().get(page);
        let counted = slot::held(space.env(), entry);
        let record = |frame| space.env().phys().record(frame);
        let cached = entry.is_empty() || entry.is_absent();
        see(PageView {
            page,
            entry,
            frame: entry.has_frame().then(|| entry.frame()),
            sort: counted.map(|(_, sort)| sort),
            exclusive: counted.is_some_and(|(frame, _)| record(frame).maps.get() == 1),
            guard: slot::is_guard(entry),
            cached: cached
                && vma
                    .object()
                    .is_some_and(|object| object.is_cached(vma.pgoff_at(page))),
        });
    }
}
