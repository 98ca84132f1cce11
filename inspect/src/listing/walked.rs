//! One translation, told step by step in the architecture's words.

use foliant_arch::arm64::{Arm64, ArmControl, FaultKind, fault_status};
use foliant_arch::{Access, EntryMemory, ErrorCode, Explanation, Format, Next, Stop, explain};
use foliant_arch::{Entry, Level};
use foliant_units::{PhysAddr, VirtAddr};

use super::describe::Describe;
use crate::root::{Root, TableFormat};
use crate::with_format;

/// One entry that a walk read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WalkStep {
    /// What the architecture calls it.
    pub entry: &'static str,
    /// Which entry of its table.
    pub index: usize,
    /// Where it lies.
    pub slot: PhysAddr,
    /// Its bits.
    pub word: u64,
    /// Bytes of an entry.
    pub bytes: u64,
    /// What they say.
    pub says: String,
}

/// How a walk ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WalkEnd {
    /// At memory.
    Memory {
        /// Where the address is in memory.
        at: PhysAddr,
        /// Where its page begins.
        frame: PhysAddr,
        /// Bytes of the page.
        page: u64,
    },
    /// With a fault, or without tables; in words.
    Fault(String),
}

/// A walk, as people read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Walked {
    /// The entries read, from the top.
    pub steps: Vec<WalkStep>,
    /// How it ended.
    pub end: WalkEnd,
}

impl Walked {
    /// Walks the tables at `root` for an access at `at`, leaving no trace.
    pub fn new(memory: &impl EntryMemory, root: Root, at: VirtAddr, access: Access) -> Self {
        with_format!(root, F, control => {
            let told = explain::<F>(memory, root.table, at, access, control);
            let end = match (told.stop, told.found) {
                (None, Some(found)) => {
                    let page = F::GEOMETRY.entry_span(found.level);
                    WalkEnd::Memory {
                        at: found.frame.base() + (at.raw() & (page - 1)),
                        frame: found.frame.base(),
                        page,
                    }
                }
                (Some(stop), _) if F::ARM_TEXT => WalkEnd::Fault(arm_fault(memory, root, at, access, stop)),
                (Some(stop), _) => WalkEnd::Fault(x86_fault::<F>(at, stop)),
                (None, None) => WalkEnd::Fault("nothing: the walk found no leaf".to_owned()),
            };
            Self { steps: steps(&told, control), end }
        })
    }

    /// Whether the access is allowed.
    pub fn is_allowed(&self) -> bool {
        matches!(self.end, WalkEnd::Memory { .. })
    }
}

/// Where addresses of the kernel begin in tables of this format.
pub fn kernel_begins(format: TableFormat) -> VirtAddr {
    VirtAddr::new(match format {
        TableFormat::X86Legacy | TableFormat::X86Pae => 0xc000_0000,
        _ => 1 << 63,
    })
}

fn steps<F: Describe>(told: &Explanation<F>, control: &F::Control) -> Vec<WalkStep> {
    let step = |step: &foliant_arch::Step<F>| {
        let says = if step.entry.is_present() {
            let words = F::words(step.entry, step.level);
            match F::follow(step.entry, step.level, control) {
                Next::Table(table) => format!("table {:#x}  {words}", table.raw()),
                Next::Memory(memory) => format!("memory {:#x}  {words}", memory.raw()),
            }
        } else {
            "not present".to_owned()
        };
        WalkStep {
            entry: F::entry_name(step.level),
            index: step.index,
            slot: step.slot,
            word: step.entry.raw(),
            bytes: F::GEOMETRY.entry_bytes,
            says,
        }
    };
    told.steps().map(step).collect()
}

fn x86_fault<F: Describe>(at: VirtAddr, stop: Stop) -> String {
    let entry = |level: Level| F::entry_name(level);
    match stop {
        Stop::NonCanonical => format!(
            "general protection: {:#x} is not an address of {} bits",
            at.raw(),
            F::GEOMETRY.address_bits
        ),
        Stop::Nowhere(level) => format!(
            "nothing: there is no memory where the table of {}s should be",
            entry(level)
        ),
        Stop::Absent(level, code) => page_fault(code, &format!("the {} is not present", entry(level))),
        Stop::Reserved(level, code) => {
            page_fault(code, &format!("the {} has a reserved bit set", entry(level)))
        }
        Stop::Refused(_, code) => page_fault(code, "the entries forbid it"),
    }
}

fn page_fault(code: ErrorCode, why: &str) -> String {
    let names: Vec<String> = code.iter_names().map(|(name, _)| name.to_lowercase()).collect();
    let names = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ").replace('_', " ")
    };
    format!("page fault, error code {:#x} ({names}): {why}", code.bits())
}

fn arm_fault(memory: &impl EntryMemory, root: Root, at: VirtAddr, access: Access, stop: Stop) -> String {
    let Some((kind, level, code)) = arm_status(memory, root, at, access) else {
        return format!("{stop:?}");
    };
    let kind = match kind {
        FaultKind::AddressSize => "address size fault",
        FaultKind::Translation => "translation fault",
        FaultKind::AccessFlag => "access flag fault",
        FaultKind::Permission => "permission fault",
    };
    format!("{kind}, level {level} (status code {code:#04x} of ESR_EL1)")
}

/// The walk again, with the type that arm64's syndrome wants.
fn arm_status(
    memory: &impl EntryMemory,
    root: Root,
    at: VirtAddr,
    access: Access,
) -> Option<(FaultKind, i8, u8)> {
    use TableFormat as T;
    fn go<const G: u32, const B: u32>(
        memory: &impl EntryMemory,
        root: Root,
        at: VirtAddr,
        access: Access,
    ) -> Option<(FaultKind, i8, u8)> {
        let control: &ArmControl = &root.controls.arm;
        let told = explain::<Arm64<G, B>>(memory, root.table, at, access, control);
        fault_status(&told, control)
    }
    match root.format {
        T::Arm4K39 => go::<12, 39>(memory, root, at, access),
        T::Arm4K48 => go::<12, 48>(memory, root, at, access),
        T::Arm4K52 => go::<12, 52>(memory, root, at, access),
        T::Arm16K47 => go::<14, 47>(memory, root, at, access),
        T::Arm16K48 => go::<14, 48>(memory, root, at, access),
        T::Arm16K52 => go::<14, 52>(memory, root, at, access),
        T::Arm64K42 => go::<16, 42>(memory, root, at, access),
        T::Arm64K48 => go::<16, 48>(memory, root, at, access),
        T::Arm64K52 => go::<16, 52>(memory, root, at, access),
        T::X86Legacy | T::X86Pae | T::X86_64 | T::X86_64La57 | T::Ept | T::Npt => None,
    }
}
