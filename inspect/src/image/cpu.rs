//! Registers of a processor as far as they say how memory is translated.

use foliant_units::{PhysAddr, VirtAddr};

use super::fields::array;

/// One x86 processor, as QEMU's note of its state has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cpu {
    /// CR0.
    pub cr0: u64,
    /// CR3: the top table, and the address space's tag.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// The instruction pointer.
    pub ip: VirtAddr,
    /// Where the GDT lies, in virtual memory.
    pub gdt: VirtAddr,
    /// The GDT's last byte, counted from its first.
    pub gdt_limit: u32,
}

impl Cpu {
    /// Whether paging is on (CR0.PG).
    pub const fn has_paging(&self) -> bool {
        self.cr0 >> 31 & 1 != 0
    }

    /// Whether entries have eight bytes (CR4.PAE).
    pub const fn has_pae(&self) -> bool {
        self.cr4 >> 5 & 1 != 0
    }

    /// Whether there are five levels in long mode (CR4.LA57).
    pub const fn has_five_levels(&self) -> bool {
        self.cr4 >> 12 & 1 != 0
    }

    /// The page that CR3 names.
    pub const fn root(&self) -> PhysAddr {
        PhysAddr::new(self.cr3)
    }
}

const VERSION: u32 = 1;
/// After the version and the size: 16 registers, then RIP and RFLAGS.
const IP_AT: u64 = 8 + 16 * 8;
/// Ten segments of 24 bytes: CS DS ES FS GS SS LDT TR GDT IDT.
const SEGMENTS_AT: u64 = IP_AT + 16;
const SEGMENT: u64 = 24;
const GDT: u64 = 8;
const CR_AT: u64 = SEGMENTS_AT + 10 * SEGMENT;

/// Reads QEMU's `QEMUCPUState`; `None` if it is of another version.
pub(crate) fn from_qemu(note: &[u8]) -> Option<Cpu> {
    let word = |at| array(note, at).map(u64::from_le_bytes);
    let half = |at| array(note, at).map(u32::from_le_bytes);
    if half(0)? != VERSION {
        return None;
    }
    let gdt = SEGMENTS_AT + GDT * SEGMENT;
    Some(Cpu {
        cr0: word(CR_AT)?,
        cr3: word(CR_AT + 24)?,
        cr4: word(CR_AT + 32)?,
        ip: VirtAddr::new(word(IP_AT)?),
        gdt: VirtAddr::new(word(gdt + 16)?),
        gdt_limit: half(gdt + 4)?,
    })
}
