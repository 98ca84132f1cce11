//! Cutting a range into parts that large pages fit.

use foliant_arch::{Geometry, Level};
use foliant_phys::boot::Memblock;
use foliant_units::{PAGE_SIZE, PhysAddr, PhysRange};

/// Most parts of a range: small, large, huge, large, small.
pub const PIECES: usize = 5;

/// A part of a range and the largest pages that it is mapped with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapPiece {
    /// The bytes.
    pub range: PhysRange,
    /// The level of the leaves.
    pub level: Level,
}

/// The parts of one range.
#[derive(Clone, Copy, Debug)]
pub struct MapPieces {
    pieces: [MapPiece; PIECES],
    len: usize,
}

impl MapPieces {
    /// The parts, ascending.
    pub fn as_slice(&self) -> &[MapPiece] {
        &self.pieces[..self.len]
    }

    fn push(&mut self, start: PhysAddr, end: PhysAddr, level: Level) {
        if start < end
            && let Some(slot) = self.pieces.get_mut(self.len)
        {
            *slot = MapPiece {
                range: PhysRange::new(start, end),
                level,
            };
            self.len += 1;
        }
    }

    /// Joins neighbours with pages of one size.
    fn join(&mut self) {
        let mut kept: usize = 0;
        for at in 1..self.len {
            let next = self.pieces[at];
            let last = &mut self.pieces[kept];
            if last.level == next.level && last.range.end == next.range.start {
                last.range.end = next.range.end;
            } else {
                kept += 1;
                self.pieces[kept] = next;
            }
        }
        self.len = self.len.min(kept + 1);
    }
}

/// The levels above the leaf level that map memory, smallest first; at most two.
fn large_levels(geometry: &Geometry, largest: Level) -> impl Iterator<Item = Level> {
    let can = move |level: &Level| {
        *level != Level::PTE
            && *level <= largest
            && !geometry.is_folded(*level)
            && geometry.can_be_leaf(*level)
    };
    Level::all().filter(can).take(2)
}

/// Cuts `range`, whole frames, into parts for the largest pages up to
/// `largest` that fit. Where small pages would be used at an edge and all of
/// the large page around is RAM, a large one is used all the same. With
/// `first_small`, what the first large page would show is mapped with small
/// ones: it has memory of many kinds.
///
/// # Linux source concept
/// `split_mem_range()` and `adjust_range_page_size_mask()`.
pub fn split_range<P>(
    geometry: &Geometry,
    memblock: &Memblock<P>,
    range: PhysRange,
    largest: Level,
    first_small: bool,
) -> MapPieces {
    let nothing = MapPiece {
        range: PhysRange::default(),
        level: Level::PTE,
    };
    let mut pieces = MapPieces {
        pieces: [nothing; PIECES],
        len: 0,
    };
    let mut levels = large_levels(geometry, largest);
    let (large, huge) = (levels.next(), levels.next());
    let Some(large) = large else {
        pieces.push(range.start, range.end, Level::PTE);
        return pieces;
    };
    let span = |level: Level| geometry.entry_span(level);
    let up = |at: PhysAddr, level: Level| at.align_up(span(level)).unwrap_or(range.end).min(range.end);
    let last_large = range.end.align_down(span(large)).max(range.start);

    // To the first border of a large page.
    let mut at = range.start;
    let border = match first_small && at == PhysAddr::ZERO {
        true => PhysAddr::new(span(large)).min(range.end),
        false => up(at, large),
    };
    pieces.push(at, border, Level::PTE);
    at = border;
    if let Some(huge) = huge {
        // To the first border of a huge page, and over all huge pages.
        let border = up(at, huge).min(last_large).max(at);
        pieces.push(at, border, large);
        at = border;
        let last_huge = range.end.align_down(span(huge));
        if at.is_aligned_to(span(huge)) && at < last_huge {
            pieces.push(at, last_huge, huge);
            at = last_huge;
        }
    }
    let border = last_large.max(at);
    pieces.push(at, border, large);
    pieces.push(border, range.end, Level::PTE);

    enlarge(&mut pieces, geometry, memblock, large, huge, first_small);
    pieces.join();
    pieces
}

fn enlarge<P>(
    pieces: &mut MapPieces,
    geometry: &Geometry,
    memblock: &Memblock<P>,
    large: Level,
    huge: Option<Level>,
    first_small: bool,
) {
    for piece in &mut pieces.pieces[..pieces.len] {
        for level in [Some(large), huge].into_iter().flatten() {
            let span = geometry.entry_span(level);
            let start = piece.range.start.align_down(span);
            let end = piece.range.end.align_up(span).unwrap_or(piece.range.end);
            let around = PhysRange::new(start, end);
            let special = first_small && start == PhysAddr::ZERO;
            if piece.level < level && !special && memblock.is_memory(around) {
                piece.level = level;
            }
        }
    }
    debug_assert!(
        pieces
            .as_slice()
            .iter()
            .all(|piece| piece.range.start.is_aligned_to(PAGE_SIZE as u64))
    );
}
