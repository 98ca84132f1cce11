//! The text of Linux's /sys/kernel/debug page-table dumps.

use std::fmt::Write as _;
use std::io;
use std::ops::ControlFlow;

use foliant_arch::arm64::Half;
use foliant_arch::{Ended, Entry, EntryMemory, Format, Found, Level, survey};
use foliant_units::VirtAddr;

use super::describe::Describe;
use super::mapping::{ListError, flags, in_half};
use super::tables::Tables;
use crate::with_format;

/// One line in the making.
struct Line {
    start: u64,
    level: Level,
    /// The bits that are shown; `None` for a hole.
    word: Option<u64>,
}

impl<M: EntryMemory> Tables<'_, M> {
    /// Writes what is mapped as Linux's ptdump does: holes too, runs with equal
    /// flags in one line, wherever their memory is.
    ///
    /// # Errors
    /// If `out` fails; in the result, if tables lead in circles.
    ///
    /// # Linux source concept
    /// `note_page()` of arch/x86/mm/dump_pagetables.c and arch/arm64/mm/ptdump.c.
    /// Differs: without the headings that name parts of the address space.
    pub fn ptdump(&self, out: &mut impl io::Write) -> io::Result<Result<(), ListError>> {
        let (root, half) = (self.root, self.half);
        with_format!(root, F, control => {
            let end = match (F::GEOMETRY.above, F::GEOMETRY.address_bits) {
                (foliant_arch::Above::Sign, _) => 0,
                (_, bits) => in_half::<F>(VirtAddr::new(0), half).raw().wrapping_add(1 << bits),
            };
            let mut dump = Dump::<F, _> {
                out,
                line: None,
                at: in_half::<F>(VirtAddr::ZERO, half).raw(),
                end,
                failed: None,
                format: std::marker::PhantomData,
            };
            let ended = survey::<F>(self.memory, root.table, control, self.most, |found| dump.see(found, half));
            if ended == Ended::Complete {
                dump.finish();
            }
            if let Some(why) = dump.failed {
                return Err(why);
            }
            Ok(if ended == Ended::TooMany { Err(ListError::Circles) } else { Ok(()) })
        })
    }
}

struct Dump<'a, F: Describe, W> {
    out: &'a mut W,
    line: Option<Line>,
    /// Where the next thing seen would begin if there were no hole.
    at: u64,
    /// One past the last address, zero at the end of all addresses.
    end: u64,
    failed: Option<io::Error>,
    format: std::marker::PhantomData<F>,
}

impl<F: Describe, W: io::Write> Dump<'_, F, W> {
    fn see(&mut self, found: Found<F>, half: Half) -> ControlFlow<()> {
        let (at, level, word) = match found {
            Found::Leaf(leaf) => (leaf.page.base(), leaf.level, leaf.leaf.raw()),
            Found::Reserved { at, level, entry } => (at, level, entry.raw()),
            Found::Nowhere { .. } => return ControlFlow::Continue(()),
        };
        let at = in_half::<F>(at, half).raw();
        self.hole(at);
        let span = F::GEOMETRY.entry_span(level);
        self.note(at, F::linux_level(level, true), Some(word & flags::<F>(level)));
        self.at = at.wrapping_add(span);
        if self.failed.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// What is not mapped up to `to`: at each level as far as its entries reach.
    fn hole(&mut self, to: u64) {
        while self.at != to {
            // Addresses between the halves of x86-64 belong to nobody.
            if F::GEOMETRY.above == foliant_arch::Above::Sign && !F::GEOMETRY.accepts(VirtAddr::new(self.at))
            {
                self.at = F::GEOMETRY.extend(VirtAddr::new(self.at)).raw();
                // Linux has a heading there, and counts the gap with what is below.
                self.put(self.at);
                continue;
            }
            let level = self.widest(to);
            self.note(self.at, F::linux_level(level, false), None);
            self.at = self.at.wrapping_add(F::GEOMETRY.entry_span(level));
        }
    }

    /// The highest level of which an entry begins here and ends before `to`.
    fn widest(&self, to: u64) -> Level {
        let room = to.wrapping_sub(self.at);
        let fits = |level: &Level| {
            let span = F::GEOMETRY.entry_span(*level);
            !F::GEOMETRY.is_folded(*level) && self.at.is_multiple_of(span) && (span <= room || room == 0)
        };
        Level::all().rev().find(fits).unwrap_or(Level::PTE)
    }

    fn note(&mut self, at: u64, level: Level, word: Option<u64>) {
        let same = |line: &Line| line.level == level && line.word == word;
        if !self.line.as_ref().is_some_and(same) {
            self.put(at);
            self.line = Some(Line {
                start: at,
                level,
                word,
            });
        }
    }

    fn put(&mut self, end: u64) {
        let Some(line) = self.line.take() else { return };
        let text = if F::ARM_TEXT {
            arm_line(&line, end)
        } else {
            x86_line(
                &line,
                end,
                F::GEOMETRY.entry_bytes == 4 || F::GEOMETRY.address_bits == 32,
            )
        };
        if let Err(why) = self.out.write_all(text.as_bytes()) {
            self.failed.get_or_insert(why);
        }
    }

    fn finish(&mut self) {
        self.hole(self.end);
        self.put(self.end);
    }
}

/// A length with the largest unit that divides it, from `units`.
fn amount(mut len: u64, units: &str) -> String {
    let mut units = units.chars().peekable();
    let mut unit = units.next();
    while len.is_multiple_of(1024) && units.peek().is_some() {
        len /= 1024;
        unit = units.next();
    }
    format!("{len:>9}{}", unit.unwrap_or(' '))
}

fn x86_line(line: &Line, end: u64, narrow: bool) -> String {
    let width = if narrow { 8 } else { 16 };
    let len = end.wrapping_sub(line.start);
    // The end of all addresses is zero in the kernel's own words.
    let end = if narrow { end & u64::from(u32::MAX) } else { end };
    let mut text = format!(
        "0x{:0width$x}-0x{end:0width$x}   {} ",
        line.start,
        amount(len, "BKMGTPE")
    );
    match line.word {
        None => text.push_str(&" ".repeat(30)),
        Some(word) => {
            let large = line.level != Level::PTE;
            let pat = if large { 12 } else { 7 };
            let mut column = |is: bool, yes: &str, no: &str| text.push_str(if is { yes } else { no });
            column(word >> 2 & 1 != 0, "USR ", "    ");
            column(word >> 1 & 1 != 0, "RW ", "ro ");
            column(word >> 3 & 1 != 0, "PWT ", "    ");
            column(word >> 4 & 1 != 0, "PCD ", "    ");
            column(large && word >> 7 & 1 != 0, "PSE ", "    ");
            column(word >> pat & 1 != 0, "PAT ", "    ");
            column(word >> 8 & 1 != 0, "GLB ", "    ");
            column(word >> 63 & 1 != 0, "NX ", "x  ");
        }
    }
    text.push_str(line.level.name());
    text.push('\n');
    text
}

/// Bits of arm64 as Linux shows them: which, the text if set, if clear.
const ARM: [(u64, &str, &str); 11] = [
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
    (0, "", ""),
];

/// Memory types by the index that Linux gives them.
const ARM_MEMORY: [&str; 5] = [
    "MEM/NORMAL",
    "MEM/NORMAL-TAGGED",
    "MEM/NORMAL-NC",
    "DEVICE/nGnRnE",
    "DEVICE/nGnRE",
];

fn arm_line(line: &Line, end: u64) -> String {
    let len = end.wrapping_sub(line.start);
    let amount = amount(len / 1024, "KMGTPE");
    let name = line.level.name().to_uppercase();
    let mut text = format!("0x{:016x}-0x{end:016x}   {amount} {name}", line.start);
    if let Some(word) = line.word {
        text.push_str(if word & 1 != 0 { "  " } else { " F" });
        for (mask, set, clear) in ARM.iter().take_while(|(mask, ..)| *mask != 0) {
            let _infallible = write!(text, " {}", if word & mask == *mask { set } else { clear });
        }
        if let Some(memory) = ARM_MEMORY.get((word >> 2 & 7) as usize) {
            let _infallible = write!(text, " {memory}");
        }
    }
    text.push('\n');
    text
}
