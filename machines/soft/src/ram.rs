//! RAM that costs nothing until it is touched, however much of it there is.

use core::ffi::c_void;
use std::ptr::{self, NonNull};

use foliant_platform::testing::TestPlatform;
use foliant_units::PAGE_SIZE;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// RAM starts at a multiple of this, so that large pages of the host can back it.
const ALIGN: usize = 2 << 20;

/// Addresses of this process.
struct Mapping {
    first: NonNull<c_void>,
    bytes: usize,
}

// SAFETY: nothing is read through a mapping; it is only unmapped.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `machine` with this length, unmapped once, and by
        // `TestPlatform::over` nobody uses the RAM any more.
        let _gone = unsafe { munmap(self.first.as_ptr(), self.bytes) };
    }
}

/// A machine with zeroed RAM at physical `0..bytes` (rounded up to frames),
/// without a promise of the host that it has so much.
///
/// # Errors
/// What the host says: mostly that addresses have run out.
pub(crate) fn machine(bytes: u64, cpus: u32) -> Result<TestPlatform<true>, Errno> {
    let bytes = (bytes as usize)
        .max(1)
        .checked_next_multiple_of(PAGE_SIZE)
        .ok_or(Errno::NOMEM)?;
    let all = bytes.checked_add(ALIGN).ok_or(Errno::NOMEM)?;
    let (rights, flags) = (
        ProtFlags::READ | ProtFlags::WRITE,
        MapFlags::PRIVATE | MapFlags::NORESERVE,
    );
    // SAFETY: a new mapping anywhere touches nobody's memory.
    let first = unsafe { mmap_anonymous(ptr::null_mut(), all, rights, flags)? };
    let first = NonNull::new(first).ok_or(Errno::NOMEM)?;
    let owner = Box::new(Mapping { first, bytes: all });
    let first: NonNull<u8> = first.cast();
    // SAFETY: the offset is below `ALIGN`, which the mapping has to spare.
    let ram = unsafe { first.add(first.align_offset(ALIGN)) };
    // SAFETY: `bytes` bytes from there are mapped and ours, until the owner goes.
    Ok(unsafe { TestPlatform::over(ram, bytes, cpus, owner) })
}
