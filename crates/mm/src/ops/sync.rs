//! `msync`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_uapi::MsyncFlags;
use foliant_units::{Errno, VirtAddr, VpnRange};

use super::page_align;
use crate::flags::VmFlags;
use crate::map::AddressMap;
use crate::vma::{Backing, Mapping, Source};

/// What `msync` has to write back, and what it says after that.
pub struct SyncPlan<B: Backing> {
    /// Pages of objects, in order; the first failure is the call's.
    pub writes: Vec<(Arc<Mapping<B>>, core::ops::Range<u64>)>,
    /// The result, if all were written.
    pub result: Result<(), Errno>,
}

impl<B: Backing> AddressMap<B> {
    /// Plans an `msync`.
    ///
    /// # Linux source concept
    /// `sys_msync()`.
    pub fn msync(&self, start: VirtAddr, len: u64, how: MsyncFlags) -> SyncPlan<B> {
        let mut writes = Vec::new();
        let result = self.collect_syncs(start, len, how, &mut writes);
        SyncPlan { writes, result }
    }

    fn collect_syncs(
        &self,
        start: VirtAddr,
        len: u64,
        how: MsyncFlags,
        writes: &mut Vec<(Arc<Mapping<B>>, core::ops::Range<u64>)>,
    ) -> Result<(), Errno> {
        let both = MsyncFlags::ASYNC | MsyncFlags::SYNC;
        if MsyncFlags::from_bits(how.bits()).is_none() || !start.is_aligned() || how.contains(both) {
            return Err(Errno::INVAL);
        }
        let end = start.checked_add(page_align(len)).ok_or(Errno::NOMEM)?;
        let range = VpnRange::new(start.page(), end.page());
        let tree = self.snapshot();
        let mut outcome = Ok(());
        let mut at = range.start;
        while at < range.end {
            let vma = tree.at_or_above(at).ok_or(Errno::NOMEM)?;
            if vma.range.start > at {
                if how == MsyncFlags::ASYNC || vma.range.start >= range.end {
                    return Err(Errno::NOMEM);
                }
                outcome = Err(Errno::NOMEM);
            }
            if how.contains(MsyncFlags::INVALIDATE) && vma.flags.contains(VmFlags::LOCKED) {
                return Err(Errno::BUSY);
            }
            let part = vma.range.intersect(VpnRange::new(at, range.end));
            if let Source::Object(mapping) = &vma.source
                && how.contains(MsyncFlags::SYNC)
                && vma.is_shared()
            {
                let first = vma.pgoff_at(part.start);
                writes.push((mapping.clone(), first..first + part.len()));
            }
            at = vma.range.end;
        }
        outcome
    }
}
