//! What the models are made of: a CPU to share, frames without RAM, and words
//! that loom watches.
#![allow(unsafe_code)]

use core::ptr::NonNull;

use foliant_phys::FrameRecord;
use foliant_platform::sync::UnsafeCell;
use foliant_platform::{CpuId, Nanos, Platform};
use foliant_units::{Pfn, PhysAddr, PhysRange};

use super::super::object::Object;
use super::super::page::{Frames, Page};
use super::super::shape::Shape;
use super::super::shard::Ground;
use super::super::spec::CacheSpec;

/// A plain word. Loom fails the model if two threads use it at once and one
/// of them writes: that nobody does is what the models are about.
#[derive(Debug, Default)]
pub(super) struct Word(UnsafeCell<u32>);

// SAFETY: loom stops the model before an access that races.
unsafe impl Sync for Word {}
// SAFETY: as above.
unsafe impl Send for Word {}

impl Word {
    pub(super) fn read(&self) -> u32 {
        // SAFETY: loom checks that nobody writes meanwhile.
        self.0.with(|word| unsafe { word.read() })
    }

    pub(super) fn write(&self, value: u32) {
        // SAFETY: loom checks that nobody reads or writes meanwhile.
        self.0.with_mut(|word| unsafe { *word = value });
    }
}

/// One CPU that threads share, and no RAM.
#[derive(Clone)]
pub(super) struct Shared;

// SAFETY: no RAM was handed over, and the CPU is not exclusive.
unsafe impl Platform for Shared {
    const CPU_IS_EXCLUSIVE: bool = false;

    fn ram(&self, at: PhysAddr) -> NonNull<u8> {
        unreachable!("{at:?} is not RAM")
    }

    fn has_ram(&self, _: PhysRange) -> bool {
        false
    }

    fn cpu(&self) -> CpuId {
        CpuId(0)
    }

    fn cpus(&self) -> u32 {
        1
    }

    fn now(&self) -> Nanos {
        Nanos(0)
    }
}

/// The `number`-th object of a model: an address that nobody uses as one.
pub(super) fn object(number: usize) -> Object {
    let address = core::num::NonZero::new(0x1000 + number * 64).unwrap();
    Object(NonNull::without_provenance(address))
}

/// Which object of a model that is.
pub(super) fn number(object: Object) -> usize {
    (object.0.as_ptr().addr() - 0x1000) / 64
}

/// Three frames, numbered from one, that slabs can be in.
#[derive(Default)]
pub(super) struct Ram {
    records: [FrameRecord; 3],
}

impl Frames for Ram {
    fn record(&self, pfn: Pfn) -> &FrameRecord {
        &self.records[pfn.index() - 1]
    }

    fn peek(&self, pfn: Pfn) -> Option<&FrameRecord> {
        self.records.get(pfn.index() - 1)
    }

    fn start(&self, pfn: Pfn) -> NonNull<u8> {
        object(pfn.index() * 64).0
    }
}

impl Ram {
    /// How the slabs of a model are cut: two objects each.
    pub(super) fn shape() -> Shape {
        let shape = Shape::new(&CacheSpec::new("model", 2048), 1).unwrap();
        Shape { objects: 2, ..shape }
    }

    /// A new slab for a shard, whose objects are all free.
    pub(super) fn slab<'a>(ground: Ground<'a, Self>, pfn: u64, shard: u32) -> Page<'a, Self> {
        let page = ground.page(Pfn::new(pfn));
        page.begin();
        page.assign(shard);
        page
    }
}
