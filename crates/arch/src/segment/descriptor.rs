//! Descriptors as they stand in a GDT or LDT (SDM 3, 3.4.5 "Segment descriptors").

/// Which descriptor, and with what right.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Selector(pub u16);

impl Selector {
    /// The number of the descriptor in its table.
    pub const fn index(self) -> u16 {
        self.0 >> 3
    }

    /// Whether the table is the LDT.
    pub const fn is_local(self) -> bool {
        self.0 & 4 != 0
    }

    /// The privilege that is asked for.
    pub const fn requested_privilege(self) -> u8 {
        (self.0 & 3) as u8
    }

    /// Whether it names nothing: the first descriptor of the GDT.
    pub const fn is_null(self) -> bool {
        self.0 & !3 == 0
    }
}

/// What a descriptor describes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Data, or a stack.
    Data {
        /// It can be written.
        writable: bool,
        /// Valid offsets are those above the limit.
        expand_down: bool,
    },
    /// Code.
    Code {
        /// It can be read as data.
        readable: bool,
        /// Less privileged code may call it and keeps its privilege.
        conforming: bool,
    },
    /// Something of the processor's own.
    System(SystemKind),
}

/// Descriptors of the processor's own structures (table 3-2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SystemKind {
    /// A task state segment of 16 bits, free or busy.
    Tss16,
    /// A local descriptor table.
    Ldt,
    /// A call gate of 16 bits.
    CallGate16,
    /// A task gate.
    TaskGate,
    /// An interrupt gate of 16 bits.
    InterruptGate16,
    /// A trap gate of 16 bits.
    TrapGate16,
    /// A task state segment, free.
    TssAvailable,
    /// A task state segment, busy.
    TssBusy,
    /// A call gate.
    CallGate,
    /// An interrupt gate.
    InterruptGate,
    /// A trap gate.
    TrapGate,
    /// A value that means nothing.
    Reserved,
}

/// The eight bytes of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Descriptor(pub u64);

impl Descriptor {
    const fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 != 0
    }

    /// The first byte, 32 bits of it; see [`base_with`](Self::base_with).
    pub const fn base(self) -> u32 {
        (self.0 >> 16 & 0xff_ffff | self.0 >> 56 << 24) as u32
    }

    /// The first byte of a system segment in long mode, whose descriptor has
    /// eight more bytes.
    pub const fn base_with(self, upper: Self) -> u64 {
        self.base() as u64 | upper.0 << 32
    }

    /// The limit in bytes: the last valid offset, or the last invalid one of a
    /// segment that expands down.
    pub const fn limit(self) -> u32 {
        let raw = (self.0 & 0xffff | self.0 >> 32 & 0xf_0000) as u32;
        if self.is_page_granular() {
            raw << 12 | 0xfff
        } else {
            raw
        }
    }

    /// Whether the limit counts pages (G).
    pub const fn is_page_granular(self) -> bool {
        self.bit(55)
    }

    /// What it describes.
    pub const fn kind(self) -> Kind {
        let kind = self.0 >> 40 & 0xf;
        if !self.bit(44) {
            return Kind::System(match kind {
                1 | 3 => SystemKind::Tss16,
                2 => SystemKind::Ldt,
                4 => SystemKind::CallGate16,
                5 => SystemKind::TaskGate,
                6 => SystemKind::InterruptGate16,
                7 => SystemKind::TrapGate16,
                9 => SystemKind::TssAvailable,
                11 => SystemKind::TssBusy,
                12 => SystemKind::CallGate,
                14 => SystemKind::InterruptGate,
                15 => SystemKind::TrapGate,
                _ => SystemKind::Reserved,
            });
        }
        if kind & 8 == 0 {
            Kind::Data {
                writable: kind & 2 != 0,
                expand_down: kind & 4 != 0,
            }
        } else {
            Kind::Code {
                readable: kind & 2 != 0,
                conforming: kind & 4 != 0,
            }
        }
    }

    /// Whether the segment was used since the bit was last cleared.
    pub const fn is_accessed(self) -> bool {
        self.bit(44) && self.bit(40)
    }

    /// The privilege needed (DPL).
    pub const fn privilege(self) -> u8 {
        (self.0 >> 45 & 3) as u8
    }

    /// Whether the segment is there (P).
    pub const fn is_present(self) -> bool {
        self.bit(47)
    }

    /// Whether code is 64-bit (L).
    pub const fn is_long(self) -> bool {
        self.bit(53)
    }

    /// Whether operands, stack pointers and upper bounds have 32 bits (D/B).
    pub const fn is_big(self) -> bool {
        self.bit(54)
    }

    /// Whether software's bit is set (AVL).
    pub const fn is_marked(self) -> bool {
        self.bit(52)
    }

    /// Whether the descriptor takes two places in long mode.
    pub const fn is_double(self) -> bool {
        matches!(
            self.kind(),
            Kind::System(
                SystemKind::Ldt | SystemKind::TssAvailable | SystemKind::TssBusy | SystemKind::CallGate
            )
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_of_linux_are_decoded() {
        let kernel_code = Descriptor(0x00af_9b00_0000_ffff);
        assert!(kernel_code.is_present() && kernel_code.is_long() && !kernel_code.is_big());
        assert_eq!((kernel_code.base(), kernel_code.limit()), (0, 0xffff_ffff));
        assert_eq!(kernel_code.privilege(), 0);
        assert_eq!(
            kernel_code.kind(),
            Kind::Code {
                readable: true,
                conforming: false
            }
        );
        let user_data = Descriptor(0x00cf_f300_0000_ffff);
        assert_eq!((user_data.privilege(), user_data.is_big()), (3, true));
        let tss = Descriptor(0x0000_8b00_3000_4087);
        assert_eq!(tss.kind(), Kind::System(SystemKind::TssBusy));
        assert_eq!((tss.base(), tss.limit()), (0x3000, 0x4087));
        assert_eq!(tss.base_with(Descriptor(0xffff_fe00)), 0xffff_fe00_0000_3000);
    }

    #[test]
    fn scattered_base_and_limit_are_put_together() {
        let descriptor = Descriptor(0x124f_9334_5678_abcd);
        assert_eq!(descriptor.base(), 0x1234_5678);
        assert_eq!(descriptor.limit(), 0xf_abcd);
        let pages = Descriptor(descriptor.0 | 1 << 55);
        assert_eq!(pages.limit(), 0xfabc_dfff);
    }
}
