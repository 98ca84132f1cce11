//! Sections of the physical address space: which have RAM, and where what is
//! known of their frames lies.

use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_units::{Pfn, PfnRange};

use crate::boot::NodeId;
use crate::mutant::{Mutant, ordering};
use crate::ram::Table;

/// Frames of a section: 128 MiB, the unit in which memory comes, goes and is
/// taken out of use.
pub const SECTION: u64 = 1 << SECTION_SHIFT;

/// The same as a power of two.
pub(crate) const SECTION_SHIFT: u32 = 15;

/// The section of a frame.
#[inline]
pub(crate) const fn section_of(pfn: Pfn) -> usize {
    (pfn.raw() >> SECTION_SHIFT) as usize
}

/// All frames of a section, RAM or not.
pub(crate) const fn frames_of(section: usize) -> PfnRange {
    let start = (section as u64) << SECTION_SHIFT;
    PfnRange::new(Pfn::new(start), Pfn::new(start + SECTION))
}

/// One range of RAM, written once.
#[derive(Debug, Default)]
pub(crate) struct PresentRange {
    start: AtomicU64,
    end: AtomicU64,
}

impl PresentRange {
    #[inline]
    fn get(&self) -> PfnRange {
        let number = |of: &AtomicU64| Pfn::new(of.load(Ordering::Relaxed));
        PfnRange::new(number(&self.start), number(&self.end))
    }
}

/// What is in a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Origin {
    /// No RAM.
    #[default]
    Absent,
    /// RAM that was there at boot, perhaps not everywhere.
    Boot,
    /// RAM that was added later, everywhere.
    Added,
    /// No RAM, but memory of a device somewhere.
    Device,
}

/// What is known of a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SectionInfo {
    pub(crate) origin: Origin,
    /// Whether the allocator does not have its frames.
    pub(crate) offline: bool,
    /// Whether its records lie in its own first frames.
    pub(crate) on_itself: bool,
    pub(crate) node: NodeId,
}

const ORIGIN: u64 = 0b11;
const OFFLINE: u64 = 1 << 2;
const ON_ITSELF: u64 = 1 << 3;
const NODE_SHIFT: u32 = 8;

impl SectionInfo {
    fn from_word(word: u64) -> Self {
        Self {
            origin: match word & ORIGIN {
                0 => Origin::Absent,
                1 => Origin::Boot,
                2 => Origin::Added,
                _ => Origin::Device,
            },
            offline: word & OFFLINE != 0,
            on_itself: word & ON_ITSELF != 0,
            node: NodeId((word >> NODE_SHIFT) as u8),
        }
    }

    fn word(self) -> u64 {
        let flag = |on: bool, bit: u64| if on { bit } else { 0 };
        self.origin as u64
            | flag(self.offline, OFFLINE)
            | flag(self.on_itself, ON_ITSELF)
            | u64::from(self.node.0) << NODE_SHIFT
    }
}

/// What of a section lies where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(crate) enum Part {
    /// Its frame records.
    Records,
    /// The lines of its blocks.
    Lines,
    /// The lines of what was used.
    Used,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Records, Self::Lines, Self::Used];
}

/// A section: what is in it, and the frames where its parts lie.
#[derive(Debug, Default)]
pub(crate) struct SectionWord {
    info: AtomicU64,
    homes: [AtomicU64; Part::ALL.len()],
}

/// All sections up to the end of the memory that a machine can have.
///
/// # Locking
/// Changes come one at a time: at boot, or under the lock of
/// [`Phys::plugging`](crate::Phys).
#[derive(Debug)]
pub(crate) struct Sections {
    words: Table<SectionWord>,
    /// The RAM of boot, ascending and apart.
    ranges: Table<PresentRange>,
    nodes: u8,
}

impl Sections {
    /// `ranges` ascending and apart, as many as the table has room for.
    pub(crate) fn new(
        words: Table<SectionWord>,
        table: Table<PresentRange>,
        ranges: impl Iterator<Item = PfnRange>,
        nodes: u8,
    ) -> Self {
        for (slot, range) in table.iter().zip(ranges) {
            slot.start.store(range.start.raw(), Ordering::Relaxed);
            slot.end.store(range.end.raw(), Ordering::Relaxed);
        }
        let sections = Self {
            words,
            ranges: table,
            nodes,
        };
        for range in sections.ranges.iter().map(PresentRange::get) {
            for section in section_of(range.start)..=section_of(Pfn::new(range.end.raw() - 1)) {
                sections.set(
                    section,
                    SectionInfo {
                        origin: Origin::Boot,
                        ..SectionInfo::default()
                    },
                );
            }
        }
        sections
    }

    /// How many there can be.
    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    #[inline]
    pub(crate) fn nodes(&self) -> u8 {
        self.nodes
    }

    pub(crate) fn info(&self, section: usize) -> SectionInfo {
        let word = self.words.get(section);
        SectionInfo::from_word(word.map_or(0, |word| word.info.load(Ordering::Acquire)))
    }

    pub(crate) fn set(&self, section: usize, info: SectionInfo) {
        // Release: who is told of the section sees its parts.
        let right = ordering(Mutant::SectionRelaxed, Ordering::Release);
        self.words[section].info.store(info.word(), right);
    }

    /// Where a part of a section lies; nothing if nowhere.
    pub(crate) fn home(&self, section: usize, part: Part) -> PfnRange {
        let word = self.words[section].homes[part as usize].load(Ordering::Relaxed);
        let start = Pfn::new(word >> 16);
        PfnRange::new(start, start + (word & 0xffff))
    }

    pub(crate) fn set_home(&self, section: usize, part: Part, frames: PfnRange) {
        let word = frames.start.raw() << 16 | frames.len();
        self.words[section].homes[part as usize].store(word, Ordering::Relaxed);
    }

    /// The RAM of one section.
    pub(crate) fn in_section(&self, section: usize) -> impl Iterator<Item = PfnRange> {
        let whole = frames_of(section);
        let origin = self.info(section).origin;
        let added = (origin == Origin::Added).then_some(whole);
        let first = self
            .ranges
            .partition_point(|range| range.get().end <= whole.start);
        let boot = self.ranges[first..].iter().map(PresentRange::get);
        let boot = boot
            .take_while(move |range| origin == Origin::Boot && range.start < whole.end)
            .map(move |range| range.intersect(whole));
        added.into_iter().chain(boot)
    }

    /// All RAM, ascending and apart.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = PfnRange> {
        let mut parts = (0..self.len())
            .flat_map(|section| self.in_section(section))
            .peekable();
        core::iter::from_fn(move || {
            let mut range = parts.next()?;
            while let Some(next) = parts.next_if(|next| next.start == range.end) {
                range.end = next.end;
            }
            Some(range)
        })
    }

    /// Up to which of its frames a section has RAM, counted from its first.
    pub(crate) fn reach(&self, section: usize) -> usize {
        let last = self.in_section(section).last();
        last.map_or(0, |range| (range.end - frames_of(section).start) as usize)
    }

    /// Whether a frame is RAM.
    pub(crate) fn contains(&self, pfn: Pfn) -> bool {
        match self.info(section_of(pfn)).origin {
            Origin::Absent | Origin::Device => false,
            Origin::Added => true,
            Origin::Boot => self.in_section(section_of(pfn)).any(|range| range.contains(pfn)),
        }
    }
}
