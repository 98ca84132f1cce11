//! The operations of the memory-mapping system calls on the VMAs of a space.
//!
//! Each is exact to the order in which Linux looks for errors and to the
//! state that a failure leaves behind. What remains to be done with pages
//! after the lock is open comes back as a value.

mod advise;
mod brk;
mod grow;
mod lock;
mod map;
mod mapped;
mod mremap;
mod name;
pub(crate) mod place;
mod protect;
mod remap_file;
mod seal;
mod sync;
mod unmap;

pub use advise::Advised;
pub use map::{FileMap, FilePlacement, MapRequest, Mapped};
pub use mremap::{MoveRequest, Moved};
pub use protect::ProtectRest;
pub use sync::SyncPlan;

use foliant_units::{Errno, PAGE_SIZE, VirtAddr, VirtRange, VpnRange};

/// Rounds a length up to whole pages; wraps to zero like Linux's `PAGE_ALIGN`.
const fn page_align(bytes: u64) -> u64 {
    bytes.wrapping_add(PAGE_SIZE as u64 - 1) & foliant_units::PAGE_MASK
}

/// The pages from aligned `start` over `len` bytes rounded up; `Ok(None)` if
/// there is none.
///
/// # Errors
/// `INVAL` if `start` is not aligned, the length wraps when rounded, or the
/// end wraps.
fn pages_of(start: VirtAddr, len: u64) -> Result<Option<VpnRange>, Errno> {
    let rounded = page_align(len);
    if !start.is_aligned() || (len != 0 && rounded == 0) {
        return Err(Errno::INVAL);
    }
    let range = VirtRange::sized(start, rounded).ok_or(Errno::INVAL)?;
    Ok((!range.is_empty()).then(|| range.pages()))
}
