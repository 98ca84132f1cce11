//! Where the machine's own pages lie in a guest's address space.
//!
//! One area belongs to the machine: half a gibibyte, 16 TiB below the top,
//! where neither Linux's layouts nor the shadows of sanitizers lie. Nothing of
//! the guest is ever shown there; to its kernel the area is a hole.
//!
//! ```text
//! STUB_BASE      one page of code, read and execute
//! CONTROL_BASE   slot 0, slot 1, ... of 32 KiB, one per host thread; a space
//!                maps only the slots of its own threads
//!   +0x0000        operations: the guest reads, only the supervisor writes
//!   +0x1000        the signal stack, readable and writable
//! ```

/// Start of the area, and address of the stub's code page.
pub const STUB_BASE: u64 = 0x6fff_e000_0000;
/// Address of slot 0.
pub(super) const CONTROL_BASE: u64 = 0x6fff_e800_0000;
/// End of the area.
pub const AREA_END: u64 = 0x7000_0000_0000;
/// End of user addresses with four levels.
pub const USER_END: u64 = 0x7fff_ffff_f000;
/// log2 of a slot's size.
pub(super) const SLOT_SHIFT: u32 = 15;
/// Bytes of a slot.
pub(super) const SLOT_SIZE: u64 = 1 << SLOT_SHIFT;
/// Bytes of a slot that hold operations.
pub(super) const OPS_SIZE: u64 = 0x1000;
/// How many slots there are; the zygote has number 0.
pub const SLOTS: u16 = 8192;
/// Bytes before the first operation.
pub(super) const OPS_HEADER: usize = 64;
/// Operations that fit in one reply.
pub const OPS_MAX: usize = (OPS_SIZE as usize - OPS_HEADER) / size_of::<super::op::Op>();

/// Number of a slot of the control area.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u16);

impl Slot {
    /// The zygote's.
    pub const ZYGOTE: Self = Self(0);

    /// Where the guest sees it.
    pub const fn address(self) -> u64 {
        CONTROL_BASE + self.offset()
    }

    /// Where it lies in the control file.
    pub const fn offset(self) -> u64 {
        (self.0 as u64) << SLOT_SHIFT
    }

    /// Its signal stack, in the guest.
    pub const fn stack(self) -> u64 {
        self.address() + OPS_SIZE
    }

    /// Bytes of the signal stack.
    pub const STACK_SIZE: u64 = SLOT_SIZE - OPS_SIZE;
}

const _: () = assert!(
    CONTROL_BASE + ((SLOTS as u64) << SLOT_SHIFT) < AREA_END,
    "the slots fit in the area"
);
const _: () = assert!(
    STUB_BASE >> 32 == (AREA_END - 1) >> 32,
    "the filter compares the upper half once"
);
