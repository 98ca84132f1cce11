//! A store for tests and `loom` models: tables that know when they are used
//! after their end.
#![allow(unsafe_code)]

extern crate std;

use std::boxed::Box;
use std::vec::Vec;

use foliant_arch::x86_64::{Control, Pte, Rights, X86_64};
use foliant_arch::{Above, Access, Entry, ErrorCode, Format, Geometry, Level, LevelShape, Refusal};
use foliant_phys::AllocError;
use foliant_platform::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use foliant_platform::sync::{SpinLock, UnsafeCell};
use foliant_platform::{Flush, FlushKind};
use foliant_units::{Pfn, VpnRange};

use crate::mutant::{Mutant, seeded};
use crate::store::{Header, Store, Words};

pub(crate) struct ModelTable {
    words: Box<[AtomicU64]>,
    lock: AtomicU32,
    live: AtomicU32,
    next: AtomicU32,
    /// Read by every access, written by allocation and release: `loom` sees an
    /// access that is not ordered before the release.
    life: UnsafeCell<()>,
    in_use: AtomicU32,
}

// SAFETY: `life` is only ever accessed for `loom`'s bookkeeping; it has no bytes.
unsafe impl Sync for ModelTable {}
// SAFETY: as above.
unsafe impl Send for ModelTable {}

/// What memory holds that nobody has cleared: a page of somebody else.
const STALE: u64 = 0x0bad_0007;

impl ModelTable {
    fn clear(&self) {
        for word in &self.words {
            word.store(0, Ordering::Relaxed);
        }
    }
}

impl Header for &ModelTable {
    fn lock(&self) -> &AtomicU32 {
        &self.lock
    }

    fn live(&self) -> &AtomicU32 {
        &self.live
    }

    fn next(&self) -> &AtomicU32 {
        &self.next
    }
}

/// What a flush was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Flushed {
    pub(crate) ranges: Vec<VpnRange>,
    pub(crate) kind: FlushKind,
    pub(crate) tables_freed: bool,
}

/// A fixed number of tables of a fixed size. Table *n* is frame *n*.
pub(crate) struct ModelStore {
    tables: Box<[ModelTable]>,
    free: SpinLock<Vec<u32>>,
    /// Allocations that still succeed.
    credit: AtomicU32,
    waiting_max: usize,
    pub(crate) flushes: SpinLock<Vec<Flushed>>,
    pub(crate) put: SpinLock<Vec<Pfn>>,
    /// How many flushes there had been when each frame was put.
    pub(crate) put_after: SpinLock<Vec<usize>>,
}

impl ModelStore {
    pub(crate) fn new(tables: u32, entries: usize) -> Self {
        let table = || ModelTable {
            words: (0..entries).map(|_| AtomicU64::new(STALE)).collect(),
            lock: AtomicU32::new(0),
            live: AtomicU32::new(0),
            next: AtomicU32::new(0),
            life: UnsafeCell::new(()),
            in_use: AtomicU32::new(0),
        };
        let store = Self {
            tables: (0..tables).map(|_| table()).collect(),
            free: SpinLock::new((1..tables).rev().collect()),
            credit: AtomicU32::new(u32::MAX),
            waiting_max: 64,
            flushes: SpinLock::new(Vec::new()),
            put: SpinLock::new(Vec::new()),
            put_after: SpinLock::new(Vec::new()),
        };
        store.tables[0].in_use.store(1, Ordering::Relaxed);
        store.tables[0].clear();
        store
    }

    /// The same, with room for no more than `max` unlinked tables that wait.
    pub(crate) fn with_waiting_max(mut self, max: usize) -> Self {
        self.waiting_max = max;
        self
    }

    #[cfg_attr(loom, expect(dead_code, reason = "the models have memory enough"))]
    /// Lets `credit` more allocations succeed.
    pub(crate) fn set_credit(&self, credit: u32) {
        self.credit.store(credit, Ordering::Relaxed);
    }

    /// Tables that are not allocated.
    pub(crate) fn free_tables(&self) -> usize {
        self.free.lock().len()
    }

    fn table(&self, table: Pfn) -> &ModelTable {
        let found = &self.tables[table.index()];
        found.life.with(|_| ());
        assert_eq!(
            found.in_use.load(Ordering::Relaxed),
            1,
            "{table:?} is used after its end"
        );
        found
    }
}

#[derive(Clone, Copy)]
pub(crate) struct ModelWords<'s>(&'s ModelStore, Pfn);

impl ModelWords<'_> {
    fn at(self, index: usize) -> impl core::ops::Deref<Target = AtomicU64> {
        &self.0.table(self.1).words[index]
    }
}

impl Words for ModelWords<'_> {
    fn load<F: Format>(self, index: usize) -> F::Entry {
        F::Entry::from_raw(self.at(index).load(Ordering::Acquire))
    }

    fn store<F: Format>(self, index: usize, entry: F::Entry) {
        self.at(index).store(entry.raw(), Ordering::Release);
    }

    fn store_plain<F: Format>(self, index: usize, entry: F::Entry) {
        self.at(index).store(entry.raw(), Ordering::Relaxed);
    }

    fn swap<F: Format>(self, index: usize, entry: F::Entry) -> F::Entry {
        F::Entry::from_raw(self.at(index).swap(entry.raw(), Ordering::AcqRel))
    }

    fn compare_exchange<F: Format>(self, index: usize, old: F::Entry, new: F::Entry) -> Result<(), F::Entry> {
        self.at(index)
            .compare_exchange(old.raw(), new.raw(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(F::Entry::from_raw)
    }
}

impl Store for ModelStore {
    type Words<'s> = ModelWords<'s>;
    type Header<'s> = &'s ModelTable;

    fn root(&self) -> Pfn {
        Pfn::ZERO
    }

    fn allocate(&self, _level: Level) -> Result<Pfn, AllocError> {
        let credit = self.credit.load(Ordering::Relaxed);
        if credit == 0 {
            return Err(AllocError::Injected);
        }
        self.credit.store(credit - 1, Ordering::Relaxed);
        let number = self.free.lock().pop().ok_or(AllocError::OutOfMemory)?;
        let table = &self.tables[number as usize];
        table.life.with_mut(|_| ());
        assert_eq!(table.in_use.swap(1, Ordering::Relaxed), 0);
        if !seeded(Mutant::LinkUncleared) && !seeded(Mutant::LinkRelaxed) {
            table.clear();
        }
        table.lock.store(0, Ordering::Relaxed);
        table.live.store(0, Ordering::Relaxed);
        Ok(Pfn::new(u64::from(number)))
    }

    fn release(&self, table: Pfn) {
        let found = &self.tables[table.index()];
        found.life.with_mut(|_| ());
        assert_eq!(
            found.in_use.swap(0, Ordering::Relaxed),
            1,
            "{table:?} is released twice"
        );
        for word in &found.words {
            word.store(STALE, Ordering::Relaxed);
        }
        self.free.lock().push(table.raw() as u32);
    }

    fn words(&self, table: Pfn) -> ModelWords<'_> {
        ModelWords(self, table)
    }

    fn header(&self, table: Pfn) -> &ModelTable {
        self.table(table)
    }

    fn put_frame(&self, frame: Pfn) {
        let flushes = self.flushes.lock().len();
        self.put.lock().push(frame);
        self.put_after.lock().push(flushes);
    }

    fn flush(&self, what: Flush<'_>) {
        self.flushes.lock().push(Flushed {
            ranges: what.ranges.to_vec(),
            kind: what.kind,
            tables_freed: what.tables_freed,
        });
    }

    fn cpu(&self) -> usize {
        0
    }

    fn cpus(&self) -> usize {
        1
    }

    fn waiting_max(&self) -> usize {
        self.waiting_max
    }
}

/// Three levels of two entries: small enough for `loom`.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tiny;

const fn shape(shift: u32, bits: u32) -> LevelShape {
    LevelShape {
        shift,
        bits,
        leaf: true,
    }
}

impl Format for Tiny {
    type Entry = Pte;
    type Rights = Rights;
    type Control = Control;
    const GEOMETRY: Geometry = Geometry {
        levels: [
            shape(12, 1),
            shape(13, 1),
            shape(14, 0),
            shape(14, 0),
            shape(14, 1),
        ],
        entry_bytes: 8,
        address_bits: 15,
        above: Above::Clear,
    };
    const OPEN: Rights = X86_64::OPEN;

    fn narrow(rights: Rights, entry: Pte, level: Level) -> Rights {
        X86_64::narrow(rights, entry, level)
    }

    fn is_reserved(entry: Pte, level: Level, control: &Control) -> bool {
        X86_64::is_reserved(entry, level, control)
    }

    fn permit(rights: Rights, access: Access, control: &Control) -> Result<(), Refusal> {
        X86_64::permit(rights, access, control)
    }

    fn describe(access: Access, control: &Control) -> ErrorCode {
        X86_64::describe(access, control)
    }

    fn exceeds(more: Rights, less: Rights) -> bool {
        X86_64::exceeds(more, less)
    }
}
