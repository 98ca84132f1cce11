//! Tables in frames of the machine's RAM.
#![allow(unsafe_code)]

use core::sync::atomic::Ordering;

use alloc::sync::Arc;

use foliant_arch::{Entry, Format, Level};
use foliant_phys::{AllocError, AllocRequest, FrameFlags, FrameRecord, Owner, Phys, ZoneKind};
use foliant_platform::sync::atomic::AtomicU32;
use foliant_platform::{Flush, Mmu};
use foliant_units::{Errno, Pfn, PhysAddr};

use crate::direct::{TableWords, table_size};
use crate::store::{Header, Store, Words};
use crate::tree::Tree;

/// Frames of a [`Phys`], and the machine's knowledge of the space.
pub struct PhysStore<P: Mmu> {
    phys: Arc<Phys<P>>,
    root: Pfn,
    request: AllocRequest,
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

    /// The kernel's own tables as the boot made them, before there were frames
    /// to allocate; what of them becomes empty later is given to the allocator.
    ///
    /// # Errors
    /// What [`Mmu::kernel_context`] says; nothing has changed then.
    ///
    /// # Safety
    /// 1. The frame at `root`, and all that are linked from it, are tables in
    ///    format `F` in RAM of `phys`, each linked once, which the boot reserved.
    /// 2. From now on nobody else changes them, reads them but as words of
    ///    theirs, or gives them back. Other roots link tables right below this
    ///    root only, or such as are never emptied.
    ///
    /// # Linux source concept
    /// `init_mm`, whose root is `swapper_pg_dir`.
    pub unsafe fn adopt_kernel(phys: &Arc<Phys<P>>, root: PhysAddr) -> Result<Self, Errno> {
        let context = phys.platform().kernel_context(root)?;
        let tree = Self::in_store(PhysStore {
            phys: phys.clone(),
            root: root.frame(),
            request: request::<P, F>(phys),
            context,
        })
        .lending();
        tree.count(F::GEOMETRY.top(), false);
        tree.adopt_table(root.frame(), F::GEOMETRY.top());
        Ok(tree)
    }

    /// Begins the record of a table and of those below it, at most five deep.
    fn adopt_table(&self, table: Pfn, level: Level) {
        let words = self.store().words(table);
        let mut live = 0;
        for index in 0..F::GEOMETRY.entries(level) {
            let entry = words.load::<F>(index);
            live += u32::from(!entry.is_empty());
            if let Some(below) = F::GEOMETRY.below(level)
                && entry.is_table(level)
            {
                self.adopt_table(entry.target(level).frame(), below);
            }
        }
        begin(self.phys().record(table), live);
        self.count(level, true);
    }

    fn with(
        phys: &Arc<Phys<P>>,
        context: impl FnOnce(&P, PhysAddr) -> Result<P::Context, Errno>,
    ) -> Result<Self, Errno> {
        let request = request::<P, F>(phys);
        let root = allocate(phys, request)?;
        match context(phys.platform(), root.base()) {
            Ok(context) => Ok(Self::in_store(PhysStore {
                phys: phys.clone(),
                root,
                request,
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
        = TableWords<'s>
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
        allocate(&self.phys, self.request)
    }

    fn release(&self, table: Pfn) {
        release(&self.phys, table);
    }

    fn release_empty(&self, table: Pfn) {
        self.phys.record(table).clear(FrameFlags::TABLE);
        if !self.phys.put_reserved(table) {
            self.phys.adopt(table).put_zeroed();
        }
    }

    #[inline]
    fn words(&self, table: Pfn) -> Self::Words<'_> {
        debug_assert!(self.phys.is_ram(table), "{table:?} is no table");
        // SAFETY:
        // 1. The number is the root's, or comes from a link that this crate
        //    wrote and that `allocate` had the frames for: as many as the
        //    format of the tree says whose store this is. Or they are the
        //    boot's, of which `adopt_kernel` was promised the same.
        // 2. Nobody else knows the frame: it is given back when no descent can
        //    reach it any more.
        unsafe { TableWords::new(self.phys.platform(), table) }
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

/// How tables of `F` are asked for: as large as one level's at most, and where
/// links can point.
fn request<P: Mmu, F: Format>(phys: &Phys<P>) -> AllocRequest {
    let end = PhysAddr::new(1 << F::TABLE_BITS).frame();
    let reaches_too_far = phys
        .zones()
        .iter()
        .any(|(_, zone)| zone.kind() == ZoneKind::Normal && zone.span().end > end);
    let request = AllocRequest::kernel(Owner::Table)
        .order(table_size::<F>())
        .zeroed();
    match reaches_too_far {
        true => request.zone(ZoneKind::Dma32),
        false => request,
    }
}

fn allocate<P: Mmu>(phys: &Phys<P>, request: AllocRequest) -> Result<Pfn, AllocError> {
    let table = phys.alloc(request)?.into_pfn();
    begin(phys.record(table), 0);
    Ok(table)
}

/// Begins the record of a table with so many entries.
fn begin(record: &FrameRecord, live: u32) {
    record.set(FrameFlags::TABLE);
    // The record's words are whatever the last owner left.
    record.lock.store(0, Ordering::Relaxed);
    record.count.store(live, Ordering::Relaxed);
}

fn release<P: Mmu>(phys: &Phys<P>, table: Pfn) {
    phys.record(table).clear(FrameFlags::TABLE);
    if !phys.put_reserved(table) {
        drop(phys.adopt(table));
    }
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

/// Runs `$work` on the entry as an atomic word of the width that `F` has.
macro_rules! with_word {
    ($words:expr, $index:expr, $word:ident => $work:expr) => {
        match const { F::GEOMETRY.entry_bytes } {
            4 => {
                let $word = $words.narrow::<F>($index);
                $work
            }
            _ => {
                let $word = $words.wide::<F>($index);
                $work
            }
        }
    };
}

/// Words of both widths to entries and back: a narrow entry's upper half is zero.
fn entry<F: Format>(word: impl Into<u64>) -> F::Entry {
    F::Entry::from_raw(word.into())
}

impl Words for TableWords<'_> {
    #[inline]
    fn load<F: Format>(self, index: usize) -> F::Entry {
        with_word!(self, index, word => entry::<F>(word.load(Ordering::Acquire)))
    }

    #[inline]
    fn store<F: Format>(self, index: usize, entry: F::Entry) {
        with_word!(self, index, word => word.store(entry.raw() as _, Ordering::Release));
    }

    #[inline]
    fn store_plain<F: Format>(self, index: usize, entry: F::Entry) {
        with_word!(self, index, word => word.store(entry.raw() as _, Ordering::Relaxed));
    }

    #[inline]
    fn swap<F: Format>(self, index: usize, new: F::Entry) -> F::Entry {
        with_word!(self, index, word => entry::<F>(word.swap(new.raw() as _, Ordering::AcqRel)))
    }

    #[inline]
    fn compare_exchange<F: Format>(self, index: usize, old: F::Entry, new: F::Entry) -> Result<(), F::Entry> {
        with_word!(self, index, word => word
            .compare_exchange(old.raw() as _, new.raw() as _, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(entry::<F>))
    }
}
