//! Entries that are alike become one line; headings stand between the parts of
//! the address space.

use std::io;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use foliant_arch::Level;

use super::super::describe::Describe;
use super::super::headings::Headings;
use super::sweep::Seen;
use super::{arm64, x86};

/// One line in the making.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) start: u64,
    pub(super) level: Level,
    /// The bits that decide about lines; zero for a hole.
    pub(super) flags: u64,
    rights: u64,
}

/// Writes lines.
pub(super) struct Lines<'a, F, W> {
    headings: &'a Headings,
    out: &'a mut W,
    line: Option<Line>,
    /// The heading that the line is under.
    part: usize,
    /// Lines under it so far.
    count: u64,
    failed: Option<io::Error>,
    format: PhantomData<F>,
}

impl<'a, F: Describe, W: io::Write> Lines<'a, F, W> {
    pub(super) fn new(headings: &'a Headings, out: &'a mut W) -> Self {
        Self {
            headings,
            out,
            line: None,
            part: 0,
            count: 0,
            failed: None,
            format: PhantomData,
        }
    }

    /// Takes the next entry.
    pub(super) fn note(&mut self, seen: &Seen) -> ControlFlow<()> {
        let next = Line {
            start: seen.at,
            level: seen.level,
            flags: seen.word & flags::<F>(),
            rights: if F::ARM_TEXT { 0 } else { seen.rights },
        };
        match self.line {
            None => {
                self.heading();
                self.line = Some(next);
            }
            Some(line) => {
                let alike = (line.level, line.flags, line.rights) == (next.level, next.flags, next.rights);
                if !alike || self.is_past(seen.at) {
                    self.put(line, seen.at);
                    self.line = Some(next);
                }
            }
        }
        // One heading at most goes by with each line, as in Linux; on arm64 one
        // with each entry, so that a part of two headings has both.
        if F::ARM_TEXT && self.is_past(seen.at) {
            self.next_part();
        }
        match self.failed {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    /// Ends the last line.
    pub(super) fn finish(&mut self, end: u64) {
        if let Some(line) = self.line.take() {
            self.put(line, end);
        }
    }

    /// What went wrong with writing.
    pub(super) fn failed(self) -> io::Result<()> {
        self.failed.map_or(Ok(()), Err)
    }

    fn is_past(&self, at: u64) -> bool {
        self.headings
            .get(self.part + 1)
            .is_some_and(|next| at >= next.start)
    }

    /// Writes a line that ends at `end`, and the heading of what follows.
    fn put(&mut self, line: Line, end: u64) {
        let most = self.headings.get(self.part).and_then(|part| part.most);
        if most.is_none_or(|most| self.count < most) {
            let text = if F::ARM_TEXT {
                arm64::line::<F>(&line, end)
            } else {
                x86::line::<F>(&line, end)
            };
            self.write(&text);
        }
        self.count += 1;
        if self.is_past(end) {
            if let Some(most) = most
                && self.count > most
            {
                let left = self.count - most;
                let word = if left == 1 { "entry" } else { "entries" };
                self.write(&format!("... {left} {word} skipped ... \n"));
            }
            self.next_part();
        }
    }

    fn next_part(&mut self) {
        self.part += 1;
        self.count = 0;
        self.heading();
    }

    fn heading(&mut self) {
        if let Some(part) = self.headings.get(self.part) {
            self.write(&format!("---[ {} ]---\n", part.name));
        }
    }

    fn write(&mut self, text: &str) {
        if let Err(why) = self.out.write_all(text.as_bytes()) {
            self.failed.get_or_insert(why);
        }
    }
}

/// The bits of an entry that decide whether it is like its neighbour.
fn flags<F: Describe>() -> u64 {
    if F::ARM_TEXT {
        return arm64::SHOWN;
    }
    // The lowest address bit of a large page is its PAT bit, but Linux takes it
    // for an address bit here.
    let address = ((1 << 52) - 1) & !0xfff;
    let narrow = F::GEOMETRY.entry_bytes == 4;
    if narrow { 0xfff } else { !address }
}

/// A length with the largest unit of `units` that divides it.
pub(super) fn amount(mut len: u64, units: &str) -> String {
    let mut units = units.chars().peekable();
    let mut unit = units.next();
    while len.is_multiple_of(1024) && units.peek().is_some() {
        len /= 1024;
        unit = units.next();
    }
    format!("{len:>9}{}", unit.unwrap_or(' '))
}
