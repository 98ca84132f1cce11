//! What the models are made of: words that loom watches, and a CPU to share.

use core::ptr::NonNull;

use foliant_platform::sync::UnsafeCell;
use foliant_platform::{CpuId, Nanos, Platform};
use foliant_units::{PhysAddr, PhysRange};
use std_alloc::alloc::{Layout, alloc, dealloc};

use crate::ram::{Blank, Found, Table};
use crate::sectioned::Sectioned;

/// A plain word. Loom fails the model if two threads use it at once and one
/// of them writes: that nobody does is what the models are about.
#[derive(Debug, Default)]
pub(super) struct Word(UnsafeCell<u32>);

// SAFETY: loom stops the model before an access that races.
unsafe impl Sync for Word {}
// SAFETY: as above.
unsafe impl Send for Word {}

impl Word {
    pub(super) fn read(&self) {
        // SAFETY: loom checks that nobody writes meanwhile.
        self.0.with(|word| unsafe { word.read() });
    }

    pub(super) fn write(&self) {
        // SAFETY: loom checks that nobody reads or writes meanwhile.
        self.0.with_mut(|word| unsafe { *word += 1 });
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

/// RAM for one piece: a page.
const ROOM: Layout = match Layout::from_size_align(4096, 4096) {
    Ok(room) => room,
    Err(_) => panic!("a page is a layout"),
};

/// An eighth of a page, made where the piece is made.
#[repr(align(512))]
pub(super) struct Element(UnsafeCell<u32>);

impl Default for Element {
    fn default() -> Self {
        Self(UnsafeCell::new(7))
    }
}

impl Element {
    /// Fails if it was not made before, for this thread.
    pub(super) fn read(&self) {
        // SAFETY: nobody writes after it was made.
        assert_eq!(self.0.with(|value| unsafe { value.read() }), 7);
    }
}

// SAFETY: read only, once it was made; loom stops the model otherwise.
unsafe impl Sync for Element {}
// SAFETY: it is never dropped, and never cleared under loom.
unsafe impl Blank for Element {}

/// A platform whose RAM is one piece.
#[derive(Clone)]
struct OnePiece(NonNull<u8>);

// SAFETY: the pointer is only handed on.
unsafe impl Sync for OnePiece {}
// SAFETY: as above.
unsafe impl Send for OnePiece {}

// SAFETY: `Pieces` keeps the room as long as anybody uses it.
unsafe impl Platform for OnePiece {
    const CPU_IS_EXCLUSIVE: bool = false;

    fn ram(&self, _: PhysAddr) -> NonNull<u8> {
        self.0
    }

    fn has_ram(&self, _: PhysRange) -> bool {
        true
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

/// A table for one section, which gets its piece while others look.
pub(super) struct Pieces {
    pub(super) table: Sectioned<Element, 3>,
    platform: OnePiece,
}

impl Pieces {
    pub(super) fn new() -> Self {
        // SAFETY: the layout has a size.
        let room = unsafe { alloc(ROOM) };
        Self {
            table: Sectioned::new(Table::leaked(1)),
            platform: OnePiece(NonNull::new(room).expect("a page")),
        }
    }

    /// Gives the section its piece, once.
    pub(super) fn give(&self) {
        let range = PhysRange::new(PhysAddr::ZERO, PhysAddr::new(ROOM.size() as u64));
        // SAFETY: the room is a page, is nobody else's and stays; it is not
        // said to be zero.
        unsafe { self.table.give(&self.platform, 0, range, Found::Garbage) };
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        // SAFETY: from `new`, of this layout; the elements need no end.
        unsafe { dealloc(self.platform.0.as_ptr(), ROOM) };
    }
}
