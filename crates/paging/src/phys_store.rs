//! Tables in frames of the machine's RAM.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use alloc::sync::Arc;

use foliant_arch::{Format, Level};
use foliant_phys::{AllocError, AllocRequest, FrameFlags, FrameRecord, Owner, Phys, WORDS};
use foliant_platform::sync::atomic::AtomicU32;
use foliant_platform::{Flush, Mmu};
use foliant_units::{Errno, Pfn, PhysAddr};

use crate::direct;
use crate::store::{Header, Store, Words};
use crate::tree::Tree;

/// Frames of a [`Phys`], and the machine's knowledge of the space.
pub struct PhysStore<P: Mmu> {
    phys: Arc<Phys<P>>,
    root: Pfn,
    context: P::Context,
}

impl<P: Mmu, F: Format> Tree<PhysStore<P>, F> {
    /// Empty tables, and a machine context for them.
    ///
    /// # Errors
    /// `NOMEM` without a frame for the root; what [`Mmu::context`] says.
    pub fn new(phys: &Arc<Phys<P>>) -> Result<Self, Errno> {
        Self::with(phys, P::context)
    }

    /// The kernel's own tables: others may [share](Tree::sharing_from) what is
    /// below their top table, so no table right below it is ever unlinked.
    ///
    /// # Errors
    /// `NOMEM` without a frame for the root; what [`Mmu::kernel_context`] says.
    pub fn new_kernel(phys: &Arc<Phys<P>>) -> Result<Self, Errno> {
        Self::with(phys, P::kernel_context).map(Self::lending)
    }

    fn with(
        phys: &Arc<Phys<P>>,
        context: impl FnOnce(&P, PhysAddr) -> Result<P::Context, Errno>,
    ) -> Result<Self, Errno> {
        let root = allocate(phys)?;
        match context(phys.platform(), root.base()) {
            Ok(context) => Ok(Self::in_store(PhysStore {
                phys: phys.clone(),
                root,
                context,
            })),
            Err(errno) => {
                release(phys, root);
                Err(errno)
            }
        }
    }

    /// What the machine knows of the space.
    pub fn context(&self) -> &P::Context {
        &self.store().context
    }

    /// The memory that the tables are in.
    pub fn phys(&self) -> &Arc<Phys<P>> {
        &self.store().phys
    }
}

impl<P: Mmu> Store for PhysStore<P> {
    type Words<'s>
        = &'s [AtomicU64; WORDS]
    where
        Self: 's;
    type Header<'s>
        = &'s FrameRecord
    where
        Self: 's;

    #[inline]
    fn root(&self) -> Pfn {
        self.root
    }

    fn allocate(&self, _level: Level) -> Result<Pfn, AllocError> {
        allocate(&self.phys)
    }

    fn release(&self, table: Pfn) {
        release(&self.phys, table);
    }

    #[inline]
    fn words(&self, table: Pfn) -> Self::Words<'_> {
        debug_assert!(self.phys.is_ram(table), "{table:?} is no table");
        // SAFETY:
        // 1. The number is the root's, or comes from a link that this crate
        //    wrote and that `allocate` had the frame for.
        // 2. Nobody else knows the frame: it is given back when no descent can
        //    reach it any more.
        unsafe { direct::words(self.phys.platform(), table) }
    }

    #[inline]
    fn header(&self, table: Pfn) -> &FrameRecord {
        self.phys.record(table)
    }

    fn put_frame(&self, frame: Pfn) {
        drop(self.phys.adopt(frame));
    }

    fn flush(&self, what: Flush<'_>) {
        self.phys.platform().flush(&self.context, what);
    }

    #[inline]
    fn cpu(&self) -> usize {
        self.phys.platform().cpu().index()
    }

    #[inline]
    fn cpus(&self) -> usize {
        self.phys.platform().cpus() as usize
    }

    #[inline]
    fn enter(&self) {
        self.phys.platform().preempt_off();
    }

    #[inline]
    fn leave(&self) {
        self.phys.platform().preempt_on();
    }
}

fn allocate<P: Mmu>(phys: &Phys<P>) -> Result<Pfn, AllocError> {
    let table = phys
        .alloc(AllocRequest::kernel(Owner::Table).zeroed())?
        .into_pfn();
    let record = phys.record(table);
    record.set(FrameFlags::TABLE);
    // The record's words are whatever the last owner left.
    record.lock.store(0, Ordering::Relaxed);
    record.count.store(0, Ordering::Relaxed);
    Ok(table)
}

fn release<P: Mmu>(phys: &Phys<P>, table: Pfn) {
    phys.record(table).clear(FrameFlags::TABLE);
    drop(phys.adopt(table));
}

impl Header for &FrameRecord {
    #[inline]
    fn lock(&self) -> &AtomicU32 {
        &self.lock
    }

    #[inline]
    fn live(&self) -> &AtomicU32 {
        &self.count
    }

    #[inline]
    fn next(&self) -> &AtomicU32 {
        &self.next
    }
}

impl Words for &[AtomicU64; WORDS] {
    #[inline]
    fn load(self, index: usize) -> u64 {
        self[index].load(Ordering::Acquire)
    }

    #[inline]
    fn store(self, index: usize, word: u64) {
        self[index].store(word, Ordering::Release);
    }

    #[inline]
    fn store_plain(self, index: usize, word: u64) {
        self[index].store(word, Ordering::Relaxed);
    }

    #[inline]
    fn swap(self, index: usize, word: u64) -> u64 {
        self[index].swap(word, Ordering::AcqRel)
    }

    #[inline]
    fn compare_exchange(self, index: usize, old: u64, new: u64) -> Result<(), u64> {
        self[index]
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }
}
