//! A line as arm64 writes it.

use std::fmt::Write as _;

use foliant_arch::Level;

use super::super::describe::Describe;
use super::lines::{Line, amount};

/// Bits as Linux shows them: which, the text if all are set, if not.
const BITS: [(u64, &str, &str); 11] = [
    (1, " ", "F"),
    (1 << 6, "USR", "   "),
    (1 << 7, "ro", "RW"),
    (1 << 53, "NX", "x "),
    (3 << 8, "SHD", "   "),
    (1 << 10, "AF", "  "),
    (1 << 11, "NG", "  "),
    (1 << 52, "CON", "   "),
    (1 << 1, "   ", "BLK"),
    (1 << 54, "UXN", "   "),
    (1 << 50, "GP", "  "),
];

/// The index of the memory type.
const ATTRIBUTE: u64 = 7 << 2;

/// Memory types by the index that Linux gives them.
const MEMORY: [&str; 5] = [
    "MEM/NORMAL",
    "MEM/NORMAL-TAGGED",
    "MEM/NORMAL-NC",
    "DEVICE/nGnRnE",
    "DEVICE/nGnRE",
];

/// The bits that are shown; others make no line of their own.
pub(super) const SHOWN: u64 = {
    let mut all = ATTRIBUTE;
    let mut at = 0;
    while at < BITS.len() {
        all |= BITS[at].0;
        at += 1;
    }
    all
};

/// The line.
pub(super) fn line<F: Describe>(line: &Line, end: u64) -> String {
    let len = end.wrapping_sub(line.start);
    let amount = amount(len >> 10, "KMGTPE");
    // What a folded level would hold counts as the top's.
    let upper = [Level::PUD, Level::P4D].contains(&line.level);
    let level = if upper && F::GEOMETRY.is_folded(line.level) {
        Level::PGD
    } else {
        line.level
    };
    let name = level.name().to_uppercase();
    let mut text = format!("0x{:016x}-0x{end:016x}   {amount} {name}", line.start);
    if line.flags != 0 {
        for (mask, set, clear) in BITS {
            let shown = if line.flags & mask == mask { set } else { clear };
            let _infallible = write!(text, " {shown}");
        }
        if let Some(memory) = MEMORY.get(((line.flags & ATTRIBUTE) >> 2) as usize) {
            let _infallible = write!(text, " {memory}");
        }
    }
    text.push('\n');
    text
}
