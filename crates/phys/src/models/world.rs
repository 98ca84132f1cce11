//! What the models are made of: words that loom watches, and a CPU to share.

use core::ptr::NonNull;

use foliant_platform::sync::UnsafeCell;
use foliant_platform::{CpuId, Nanos, Platform};
use foliant_units::{PhysAddr, PhysRange};

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
