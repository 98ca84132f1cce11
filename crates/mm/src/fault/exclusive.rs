//! Whether a private frame is its entry's alone.

use foliant_phys::{FrameFlags, FrameRecord};
use foliant_platform::sync::atomic::{Ordering, fence};

use crate::mutant::{Mutant, is_on};

/// Makes a private frame exclusive, so that stores may pass to it, if `held`
/// references are all that it has; whether it is. The caller has the lock of
/// the table whose entry maps the frame, and holds all of those but the entry's.
///
/// # Linux source concept
/// `wp_can_reuse_anon_folio()`.
pub(super) fn claim(record: &FrameRecord, held: u32) -> bool {
    let alone = record.refs.get() == held || is_on(Mutant::NotCounted);
    if alone {
        // Acquire: what others did with the frame came before they put it.
        if !is_on(Mutant::ClaimUnfenced) {
            fence(Ordering::Acquire);
        }
        record.set(FrameFlags::ANON_EXCLUSIVE);
    }
    alone
}
