//! Freed frames are overwritten, so that those who still use them notice.

use foliant_platform::Platform;
use foliant_units::{Order, PAGE_SIZE, Pfn};

use crate::audit::Violation;
use crate::boot::Poison;
use crate::phys::Phys;
use crate::record::FrameFlags;

/// The byte that freed frames are filled with.
///
/// # Linux source concept
/// `PAGE_POISON`.
pub const POISON: u8 = 0xaa;

impl<P: Platform> Phys<P> {
    /// Overwrites a folio that is being freed.
    #[cold]
    #[inline(never)]
    pub(crate) fn poison(&self, pfn: Pfn, order: Order) {
        if self.poisoning == Poison::Off {
            return;
        }
        for at in 0..order.frames() {
            self.content(pfn + at).fill(0, PAGE_SIZE, POISON);
            self.record(pfn + at).end(FrameFlags::POISONED);
        }
    }

    /// Looks whether someone wrote to a folio while it was free.
    pub(crate) fn check_and_unpoison(&self, pfn: Pfn, order: Order) {
        if self.poisoning == Poison::Off {
            return;
        }
        for at in 0..order.frames() {
            let poisoned = self
                .record(pfn + at)
                .clear(FrameFlags::POISONED)
                .contains(FrameFlags::POISONED);
            let look = poisoned && self.poisoning == Poison::Verify;
            if look && !self.content(pfn + at).is_filled(0, PAGE_SIZE, POISON) {
                self.violated(Violation::WrittenWhileFree(pfn + at));
            }
        }
    }
}
