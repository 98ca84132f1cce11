//! Applying a segment to an offset.

use foliant_units::VirtAddr;

use super::descriptor::{Descriptor, Kind, Selector};
use crate::access::AccessKind;

/// Through which register an access goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Register {
    /// Code.
    Cs,
    /// The stack: its faults are stack faults.
    Ss,
    /// DS or ES.
    Data,
    /// FS or GS, whose base counts in 64-bit mode.
    Based,
}

/// How wide addresses are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Width {
    /// Protected and compatibility mode: 32-bit linear addresses.
    Narrow,
    /// 64-bit mode with linear addresses of this many bits, 48 or 57: flat.
    Long(u32),
}

/// The hidden part of a segment register: what was loaded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Segment {
    /// The descriptor; `None` after a null selector.
    pub descriptor: Option<Descriptor>,
    /// The base, which in 64-bit mode comes from FS_BASE or GS_BASE instead.
    pub base: u64,
}

/// What the processor raises instead of translating.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SegmentFault {
    /// #GP with this error code.
    GeneralProtection(u16),
    /// #SS with this error code.
    Stack(u16),
    /// #NP with this error code.
    NotPresent(u16),
}

impl Segment {
    /// A register loaded with `descriptor`.
    pub const fn loaded(descriptor: Descriptor) -> Self {
        Self {
            descriptor: Some(descriptor),
            base: descriptor.base() as u64,
        }
    }

    /// A register loaded with a null selector.
    pub const NULL: Self = Self {
        descriptor: None,
        base: 0,
    };

    /// The linear address of the `bytes` bytes at `offset` (SDM 3, 5.3 "Limit
    /// checking" and 5.5 "Privilege and type checking"; 3.4.4 for 64-bit mode).
    ///
    /// # Errors
    /// What the processor raises. Error codes of accesses are zero.
    pub fn linear(
        &self,
        register: Register,
        offset: u64,
        bytes: u64,
        kind: AccessKind,
        width: Width,
    ) -> Result<VirtAddr, SegmentFault> {
        let refused = if register == Register::Ss {
            SegmentFault::Stack(0)
        } else {
            SegmentFault::GeneralProtection(0)
        };
        match width {
            Width::Long(bits) => {
                // Only FS and GS have a base, and nothing has a limit.
                let base = if register == Register::Based { self.base } else { 0 };
                let at = VirtAddr::new(base.wrapping_add(offset));
                let last = VirtAddr::new(at.raw().wrapping_add(bytes.saturating_sub(1)));
                if at.is_canonical(bits) && last.is_canonical(bits) {
                    Ok(at)
                } else {
                    Err(refused)
                }
            }
            Width::Narrow => {
                let descriptor = self.descriptor.ok_or(SegmentFault::GeneralProtection(0))?;
                let offset = offset & u64::from(u32::MAX);
                if !permits(descriptor, kind) || !covers(descriptor, offset, bytes) {
                    return Err(refused);
                }
                // Linear addresses wrap at 4 GiB.
                Ok(VirtAddr::new(
                    self.base.wrapping_add(offset) & u64::from(u32::MAX),
                ))
            }
        }
    }
}

/// Whether the type allows the access.
const fn permits(descriptor: Descriptor, kind: AccessKind) -> bool {
    match (descriptor.kind(), kind) {
        (Kind::Data { .. }, AccessKind::Read) | (Kind::Code { .. }, AccessKind::Execute) => true,
        (Kind::Data { writable, .. }, AccessKind::Write) => writable,
        (Kind::Code { readable, .. }, AccessKind::Read) => readable,
        (Kind::Data { .. }, AccessKind::Execute) | (Kind::Code { .. }, AccessKind::Write) => false,
        (Kind::System(_), _) => false,
    }
}

/// Whether all of `bytes` bytes at `offset` are inside the limit.
const fn covers(descriptor: Descriptor, offset: u64, bytes: u64) -> bool {
    let last = offset + bytes.saturating_sub(1);
    let limit = descriptor.limit() as u64;
    match descriptor.kind() {
        Kind::Data {
            expand_down: true, ..
        } => {
            let top = if descriptor.is_big() {
                u32::MAX as u64
            } else {
                u16::MAX as u64
            };
            offset > limit && last <= top
        }
        _ => last <= limit,
    }
}

/// Whether code of privilege `current` may load `descriptor`, which `selector`
/// named, into DS, ES, FS or GS (SDM 3, 5.6 "Privilege level checking when
/// accessing data segments").
///
/// # Errors
/// What the processor raises, with the selector as its error code.
pub const fn load_data(
    selector: Selector,
    descriptor: Descriptor,
    current: u8,
) -> Result<Segment, SegmentFault> {
    if selector.is_null() {
        return Ok(Segment::NULL);
    }
    let code = selector.0 & !3;
    let asked = selector.requested_privilege();
    let weakest = if asked > current { asked } else { current };
    let allowed = match descriptor.kind() {
        Kind::Data { .. } => descriptor.privilege() >= weakest,
        Kind::Code {
            readable: true,
            conforming,
        } => conforming || descriptor.privilege() >= weakest,
        Kind::Code { readable: false, .. } | Kind::System(_) => false,
    };
    if !allowed {
        return Err(SegmentFault::GeneralProtection(code));
    }
    if !descriptor.is_present() {
        return Err(SegmentFault::NotPresent(code));
    }
    Ok(Segment::loaded(descriptor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use AccessKind::{Execute, Read, Write};

    const FLAT_DATA: Descriptor = Descriptor(0x00cf_f300_0000_ffff);
    const FLAT_CODE: Descriptor = Descriptor(0x00cf_fb00_0000_ffff);
    /// Base 0x1000, limit 0xfff, data.
    const SMALL: Descriptor = Descriptor(0x0040_f300_1000_0fff);
    /// The same, expanding down.
    const DOWN: Descriptor = Descriptor(0x0040_f700_1000_0fff);

    fn go(
        descriptor: Descriptor,
        offset: u64,
        bytes: u64,
        kind: AccessKind,
    ) -> Result<VirtAddr, SegmentFault> {
        Segment::loaded(descriptor).linear(Register::Data, offset, bytes, kind, Width::Narrow)
    }

    const GP: Result<VirtAddr, SegmentFault> = Err(SegmentFault::GeneralProtection(0));

    #[test]
    fn the_limit_is_the_last_valid_byte() {
        assert_eq!(go(SMALL, 0xffc, 4, Read), Ok(VirtAddr::new(0x1ffc)));
        assert_eq!(go(SMALL, 0xffd, 4, Read), GP);
        assert_eq!(go(SMALL, 0x1000, 1, Read), GP);
    }

    #[test]
    fn expanding_down_turns_the_limit_over() {
        assert_eq!(go(DOWN, 0xfff, 1, Read), GP);
        assert_eq!(go(DOWN, 0x1000, 1, Read), Ok(VirtAddr::new(0x2000)));
        assert_eq!(go(DOWN, 0xffff_fffc, 4, Write), Ok(VirtAddr::new(0xffc)));
        assert_eq!(go(DOWN, 0xffff_fffd, 4, Write), GP);
        let narrow = Descriptor(DOWN.0 & !(1 << 54));
        assert_eq!(go(narrow, 0x1_0000, 1, Read), GP);
        assert_eq!(go(narrow, 0xffff, 1, Read), Ok(VirtAddr::new(0x1_0fff)));
    }

    #[test]
    fn types_allow_what_they_say() {
        assert_eq!(go(FLAT_CODE, 5, 1, Write), GP);
        assert_eq!(go(FLAT_CODE, 5, 1, Execute), Ok(VirtAddr::new(5)));
        assert_eq!(go(FLAT_CODE, 5, 1, Read), Ok(VirtAddr::new(5)));
        assert_eq!(go(FLAT_DATA, 5, 1, Execute), GP);
        let read_only = Descriptor(FLAT_DATA.0 & !(1 << 41));
        assert_eq!(go(read_only, 5, 1, Write), GP);
    }

    #[test]
    fn the_stack_has_its_own_fault() {
        let refused = Segment::loaded(SMALL).linear(Register::Ss, 0x1000, 1, Read, Width::Narrow);
        assert_eq!(refused, Err(SegmentFault::Stack(0)));
        let high = Segment::NULL.linear(Register::Ss, 1 << 47, 8, Read, Width::Long(48));
        assert_eq!(high, Err(SegmentFault::Stack(0)));
    }

    #[test]
    fn long_mode_is_flat_but_for_fs_and_gs() {
        let based = Segment {
            base: 0x7e1_4380,
            ..Segment::NULL
        };
        let go = |register, offset, bits| based.linear(register, offset, 8, Read, Width::Long(bits));
        assert_eq!(go(Register::Data, 0x10, 48), Ok(VirtAddr::new(0x10)));
        assert_eq!(go(Register::Based, 0x10, 48), Ok(VirtAddr::new(0x7e1_4390)));
        assert_eq!(go(Register::Data, 1 << 47, 48), GP);
        assert_eq!(go(Register::Data, 1 << 47, 57), Ok(VirtAddr::new(1 << 47)));
        assert_eq!(go(Register::Data, (1 << 47) - 4, 48), GP, "half of it");
    }

    #[test]
    fn loading_asks_for_privilege_type_and_presence() {
        let kernel = Descriptor(0x00cf_9300_0000_ffff);
        let code = |raw| Err(SegmentFault::GeneralProtection(raw));
        assert_eq!(load_data(Selector(0x18), kernel, 0), Ok(Segment::loaded(kernel)));
        assert_eq!(load_data(Selector(0x18), kernel, 3), code(0x18));
        assert_eq!(load_data(Selector(0x1b), kernel, 0), code(0x18));
        assert_eq!(
            load_data(Selector(0x2b), FLAT_DATA, 3),
            Ok(Segment::loaded(FLAT_DATA))
        );
        let gone = Descriptor(FLAT_DATA.0 & !(1 << 47));
        assert_eq!(
            load_data(Selector(0x2b), gone, 3),
            Err(SegmentFault::NotPresent(0x28))
        );
        let unreadable = Descriptor(FLAT_CODE.0 & !(1 << 41));
        assert_eq!(load_data(Selector(0x23), unreadable, 3), code(0x20));
        assert_eq!(load_data(Selector(3), Descriptor(0), 3), Ok(Segment::NULL));
    }
}
