//! What kind of machine boots, and whose log it writes.

use foliant_units::{PAGE_SHIFT, Pfn};

/// Whose words the log uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dialect {
    /// Linux 4.4.
    Linux44,
    /// Linux 6.18.
    #[default]
    Linux618,
}

impl Dialect {
    /// What stands before some lines.
    pub(super) const fn e820(self) -> &'static str {
        match self {
            Dialect::Linux44 => "e820: ",
            Dialect::Linux618 => "",
        }
    }
}

/// How a machine reaches its RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MachineKind {
    /// 64 bits: all RAM is mapped.
    X86_64 {
        /// Bits of a physical address: 46 with four levels, 52 with five.
        physical_bits: u32,
    },
    /// 32 bits: RAM above `lowmem` is high memory.
    I386 {
        /// Whether entries have 8 bytes and reach 64 GiB.
        pae: bool,
        /// The first frame that the kernel's part of the address space has no room for.
        lowmem: Pfn,
    },
}

impl MachineKind {
    /// The first frame that no entry of its page tables reaches.
    pub const fn max_arch_pfn(self) -> Pfn {
        let bits = match self {
            MachineKind::X86_64 { physical_bits } => physical_bits,
            MachineKind::I386 { pae: true, .. } => 36,
            MachineKind::I386 { pae: false, .. } => 32,
        };
        Pfn::new(1 << (bits - PAGE_SHIFT))
    }
}
