//! The one place where a table is reached without asking whether it is RAM.
#![allow(unsafe_code)]

use core::sync::atomic::AtomicU64;

use foliant_phys::WORDS;
use foliant_platform::Platform;
use foliant_units::Pfn;

/// The entries of `table`.
///
/// # Safety
/// 1. `table` is a frame of `platform`'s RAM.
/// 2. For as long as the result is used, the frame is accessed as atomic words
///    or by the machine only.
#[inline]
pub(crate) unsafe fn words<P: Platform>(platform: &P, table: Pfn) -> &[AtomicU64; WORDS] {
    // SAFETY: condition 1 makes the pointer valid while the platform lives;
    // frames are aligned, every bit pattern is a word, and by condition 2
    // nobody has a reference to them that is not atomic.
    unsafe { platform.ram(table.base()).cast().as_ref() }
}
