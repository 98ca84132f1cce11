//! The page of old system calls at the end of the address space.
//!
//! It belongs to no space: calling into it is a trap, and nothing is mapped.

use alloc::borrow::Cow;

use foliant_uapi::mman::Prot;
use foliant_uapi::text::{Device, MapsEntry, MapsPerms, Smaps, SmapsUsage, VmFlagNames};
use foliant_units::{VirtAddr, VirtRange};

/// `VSYSCALL_ADDR`.
const START: u64 = 0xffff_ffff_ff60_0000;
const END: u64 = START + 0x1000;

/// Its line of `/proc/PID/maps`: it can be executed and not read.
///
/// # Linux source concept
/// `gate_vma` with `vsyscall=xonly`.
pub(super) fn entry() -> MapsEntry<'static> {
    MapsEntry {
        range: VirtRange::new(VirtAddr::new(START), VirtAddr::new(END)),
        perms: MapsPerms {
            prot: Prot::EXEC,
            shared: false,
        },
        offset: 0,
        device: Device::default(),
        inode: 0,
        name: Cow::Borrowed(b"[vsyscall]"),
    }
}

/// Its record of `/proc/PID/smaps`.
pub(super) fn record() -> Smaps<'static> {
    Smaps {
        entry: entry(),
        size: 4,
        kernel_page_size: 4,
        mmu_page_size: 4,
        usage: SmapsUsage::of_zeroes(),
        thp_eligible: 0,
        protection_key: None,
        flags: VmFlagNames::EXEC,
    }
}
