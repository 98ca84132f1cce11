//! What an entry says about its page, and what a new entry is to say.

use foliant_arch::x86_64::{Absent, Markers, Pte, PteFlags};
use foliant_phys::{FrameFlags, Owner};
use foliant_platform::Mmu;
use foliant_units::Pfn;

use crate::counters::Resident;
use crate::env::Env;
use crate::fault::{Backed, Shows, SlotState};
use crate::flags::VmFlags;
use crate::vma::Vma;

/// The flags of a fresh entry of `vma`: what Linux calls `vm_page_prot`.
///
/// Stores are let through only where every store goes to the object and
/// nobody needs to notice the first one; private pages become writable one by
/// one. The accessed bit is set, since an entry is made because of an access.
pub(crate) fn fresh_flags<P: Mmu>(vma: &Vma<P>) -> PteFlags {
    if !vma.flags.intersects(VmFlags::ACCESS) {
        return PteFlags::PROT_NONE | PteFlags::ACCESSED;
    }
    let mut flags = PteFlags::PRESENT | PteFlags::USER | PteFlags::ACCESSED;
    if !vma.flags.contains(VmFlags::EXEC) {
        flags |= PteFlags::NO_EXECUTE;
    }
    let stores_pass = vma.flags.contains(VmFlags::SHARED | VmFlags::WRITE)
        && vma.object().is_some_and(|object| !object.notices_writes());
    if stores_pass {
        flags |= PteFlags::WRITE;
    }
    flags
}

/// The entry for `frame` in `vma`.
pub(crate) fn fresh<P: Mmu>(vma: &Vma<P>, frame: Pfn) -> Pte {
    Pte::new(frame, fresh_flags(vma)).with_key(protection_key(vma))
}

/// The protection key of a VMA.
pub(crate) fn protection_key<P: Mmu>(vma: &Vma<P>) -> u8 {
    // The four bits lie side by side.
    (vma.flags.bits() >> VmFlags::PKEY_BIT0.bits().trailing_zeros()) as u8 & 0xf
}

/// What stands behind a VMA, as a fault sees it.
pub(crate) fn backed<P: Mmu>(vma: &Vma<P>) -> Backed {
    match (vma.is_anonymous(), vma.is_shared()) {
        (true, _) => Backed::Anonymous,
        (false, false) => Backed::PrivateObject,
        (false, true) => Backed::SharedObject,
    }
}

/// How the frame of an entry counts in a space: `None` for the frame of
/// zeroes and for what has no frame.
pub(crate) fn counted<P: Mmu>(env: &Env<P>, entry: Pte) -> Option<(Pfn, Resident)> {
    if !entry.has_frame() || entry.is_special() {
        return None;
    }
    let frame = entry.frame();
    Some((frame, sort_of(env, frame)))
}

fn sort_of<P: Mmu>(env: &Env<P>, frame: Pfn) -> Resident {
    match env.phys().record(frame).owner() {
        Owner::Anonymous => Resident::Anon,
        Owner::Shmem => Resident::Shmem,
        _ => Resident::File,
    }
}

/// As [`counted`], and also the frame of an entry that is being moved: it keeps
/// its reference and its counts meanwhile.
pub(crate) fn held<P: Mmu>(env: &Env<P>, entry: Pte) -> Option<(Pfn, Resident)> {
    match moving(entry) {
        Some(frame) => Some((frame, sort_of(env, frame))),
        None => counted(env, entry),
    }
}

/// The frame that a migration entry stands for.
pub(crate) fn moving(entry: Pte) -> Option<Pfn> {
    if !entry.is_absent() {
        return None;
    }
    match Absent::decode(entry) {
        Some(Absent::Migration { frame, .. }) => Some(frame),
        _ => None,
    }
}

/// What the slot that holds `entry` holds.
///
/// Without the lock of its table the answer may be out of date; whoever acts
/// on it compares the entry again.
pub(crate) fn state<P: Mmu>(env: &Env<P>, entry: Pte) -> SlotState {
    if entry.is_empty() {
        return SlotState::Empty;
    }
    if entry.has_frame() {
        let shows = match counted(env, entry) {
            None => Shows::Zero,
            Some((frame, Resident::Anon)) => {
                let exclusive = env.phys().record(frame).has(FrameFlags::ANON_EXCLUSIVE);
                if exclusive {
                    Shows::Exclusive
                } else {
                    Shows::Shared
                }
            }
            Some((_, Resident::File | Resident::Shmem)) => Shows::Object,
        };
        return SlotState::Present {
            shows,
            writable: entry.is_writable(),
            executable: entry.is_executable(),
        };
    }
    match Absent::decode(entry) {
        Some(Absent::Swap(_) | Absent::Private { .. }) => SlotState::Swapped,
        Some(Absent::Migration { .. }) => SlotState::Migrating,
        Some(Absent::HwPoison(_)) => SlotState::Poison,
        Some(Absent::Marker(markers)) if markers.contains(Markers::GUARD) => SlotState::Guard,
        Some(Absent::Marker(markers)) if markers.contains(Markers::POISONED) => SlotState::Poison,
        // A write-protection marker says nothing about contents.
        Some(Absent::Marker(_)) | None => SlotState::Empty,
    }
}

/// Whether `entry` is a guard marker.
pub(crate) fn is_guard(entry: Pte) -> bool {
    matches!(Absent::decode(entry), Some(Absent::Marker(markers)) if markers.contains(Markers::GUARD))
}

/// The guard marker.
pub(crate) const fn guard() -> Pte {
    Absent::Marker(Markers::GUARD).encode()
}
