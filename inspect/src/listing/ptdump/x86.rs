//! A line as x86 writes it.

use foliant_arch::Level;

use super::super::describe::Describe;
use super::lines::{Line, amount};

/// The line, with the end of all addresses as zero, as in the kernel's words.
pub(super) fn line<F: Describe>(line: &Line, end: u64) -> String {
    let narrow = F::GEOMETRY.address_bits == 32;
    let width = if narrow { 8 } else { 16 };
    let fit = |at: u64| if narrow { at & u64::from(u32::MAX) } else { at };
    let mut text = format!(
        "0x{:0width$x}-0x{:0width$x}   {} ",
        line.start,
        fit(end),
        amount(fit(end.wrapping_sub(line.start)), "BKMGTPE")
    );
    let word = line.flags;
    if word & 1 == 0 {
        text.push_str(&" ".repeat(30));
    } else {
        let large = line.level != Level::PTE;
        let mut column = |is: bool, yes: &str, no: &str| text.push_str(if is { yes } else { no });
        column(word >> 2 & 1 != 0, "USR ", "    ");
        column(word >> 1 & 1 != 0, "RW ", "ro ");
        column(word >> 3 & 1 != 0, "PWT ", "    ");
        column(word >> 4 & 1 != 0, "PCD ", "    ");
        column(large && word >> 7 & 1 != 0, "PSE ", "    ");
        column(!large && word >> 7 & 1 != 0, "PAT ", "    ");
        column(word >> 8 & 1 != 0, "GLB ", "    ");
        column(word >> 63 & 1 != 0, "NX ", "x  ");
    }
    text.push_str(line.level.name());
    text.push('\n');
    text
}
