//! Memory for what is known of each section's frames.

use foliant_platform::Platform;
use foliant_units::{PAGE_SIZE, PfnRange, PhysAddr, PhysRange};

use super::memblock::{BootRequest, Memblock, MemblockError};
use super::options::BootError;
use crate::alloc::{BLOCK, Blocks, Lines};
use crate::parts::GivePart;
use crate::ram::Found;
use crate::record::{FrameRecord, Records};
use crate::sectioned::Sectioned;
use crate::sections::{Part, SECTION, SECTION_SHIFT, Sections};

type RecordPiece = Sectioned<FrameRecord, SECTION_SHIFT>;

/// Sections side by side, all but the last of which need whole pieces.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: usize,
    sections: usize,
    /// Frames of the last one that need records.
    reach: usize,
}

impl Run {
    /// Its first `sections` sections, and the rest.
    fn split(self, sections: usize) -> (Self, Self) {
        let head = Self {
            sections,
            reach: SECTION as usize,
            ..self
        };
        let tail = Self {
            first: self.first + sections,
            sections: self.sections - sections,
            ..self
        };
        (head, tail)
    }

    /// Bytes of a part of one of its sections.
    fn bytes_of(self, section: usize, part: Part) -> u64 {
        let last = section + 1 == self.first + self.sections;
        let reach = if last { self.reach } else { SECTION as usize };
        match part {
            Part::Records => RecordPiece::bytes(reach),
            Part::Lines | Part::Used => Lines::bytes(reach.div_ceil(BLOCK)),
        }
    }

    /// Its sections and their parts, in the order in which they lie.
    fn parts(self) -> impl Iterator<Item = (usize, Part, u64)> {
        Part::ALL.into_iter().flat_map(move |part| {
            let sections = self.first..self.first + self.sections;
            sections.map(move |section| (section, part, self.bytes_of(section, part)))
        })
    }
}

/// Gives every section with RAM its records and lines.
pub(super) struct Pieces<'a, P: Platform> {
    pub(super) platform: &'a P,
    pub(super) memblock: &'a mut Memblock<P>,
    pub(super) sections: &'a Sections,
    pub(super) records: &'a Records,
    pub(super) blocks: &'a Blocks,
    /// Below this, if that is possible.
    pub(super) limit: PhysAddr,
    pub(super) found: Found,
    /// Whether every section's pieces are whole, so that other memory can come
    /// to the same section.
    pub(super) whole: bool,
}

impl<P: Platform> Pieces<'_, P> {
    /// Sections side by side get memory side by side, as far as there is such.
    pub(super) fn give_all(mut self) -> Result<(), BootError> {
        let mut section = 0;
        while section < self.sections.len() {
            let mut run = Run {
                first: section,
                sections: 0,
                reach: 0,
            };
            // A piece that is not whole ends the run.
            while run.reach.is_multiple_of(SECTION as usize) {
                let reach = self.reach(run.first + run.sections);
                if reach == 0 {
                    break;
                }
                run.sections += 1;
                run.reach = reach;
            }
            if run.sections > 0 {
                self.give(run)?;
            }
            section += run.sections.max(1);
        }
        Ok(())
    }

    fn reach(&self, section: usize) -> usize {
        let end = section < self.sections.len();
        match if end { self.sections.reach(section) } else { 0 } {
            0 => 0,
            _ if self.whole => SECTION as usize,
            reach => reach,
        }
    }

    fn give(&mut self, run: Run) -> Result<(), BootError> {
        let bytes = run.parts().map(|(_, _, bytes)| bytes).sum();
        match self.reserve(bytes) {
            Ok(range) => {
                self.hand_out(run, range);
                Ok(())
            }
            Err(MemblockError::NoRoom) if run.sections > 1 => {
                let (head, tail) = run.split(run.sections.div_ceil(2));
                self.give(head)?;
                self.give(tail)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// In whole blocks, so that what is left of memory is.
    fn reserve(&mut self, bytes: u64) -> Result<PhysRange, MemblockError> {
        const BLOCK_BYTES: u64 = (BLOCK * PAGE_SIZE) as u64;
        let align = if bytes >= BLOCK_BYTES {
            BLOCK_BYTES
        } else {
            PAGE_SIZE as u64
        };
        let below = PhysRange::new(PhysAddr::ZERO, self.limit);
        let request = BootRequest::new(bytes, align);
        let anywhere = BootRequest::new(bytes, PAGE_SIZE as u64);
        let mut tries = [request.inside(below), request, anywhere].into_iter();
        let mut last = Err(MemblockError::NoRoom);
        while let (Err(MemblockError::NoRoom), Some(request)) = (last, tries.next()) {
            last = self.memblock.alloc(request);
        }
        last
    }

    fn hand_out(&self, run: Run, range: PhysRange) {
        let mut at = range.start;
        for (section, part, bytes) in run.parts() {
            let range = PhysRange::new(at, at + bytes);
            at = range.end;
            let frames = PfnRange::new(range.start.frame(), range.end.frame());
            self.sections.set_home(section, part, frames);
            let give = GivePart {
                platform: self.platform,
                records: self.records,
                blocks: self.blocks,
            };
            // SAFETY:
            // 1. Memblock knows only RAM that the machine handed over, and
            //    `bytes_of` measured the piece.
            // 2. Memblock gave the range to nobody else, and each part of it is
            //    handed out once.
            // 3. `Phys`, whose tables these are, keeps the platform and drops
            //    it last.
            // 4. `Found::Zeroes` is the machine's word that nobody wrote to its RAM.
            unsafe { give.give(section, part, range, self.found) };
        }
    }
}
