//! Putting kernel mappings into tables and taking them out.
//!
//! Whoever maps owns the addresses, so no two calls here meet in an entry.
//! Tables stay when their last entry goes: the next area will want them.

use core::convert::Infallible;
use core::ops::ControlFlow;

use foliant_arch::{Entry, Format, KernelFormat, KernelProt, Level};
use foliant_paging::{GatherOf, Missing, Store, Tree};
use foliant_phys::AllocError;
use foliant_units::{Pfn, Vpn, VpnRange};

/// How often an empty table is taken out of the way of a large page.
const TRIES: u32 = 3;

/// Maps the frames that `frame_of` says for `pages`, one by one.
///
/// # Errors
/// No memory for a table. Some pages may be mapped.
pub(crate) fn map_each<S: Store, F: KernelFormat>(
    tables: &Tree<S, F>,
    pages: VpnRange,
    prot: KernelProt,
    frame_of: impl Fn(Vpn) -> Pfn,
) -> Result<(), AllocError> {
    let visited = tables.for_each_leaf(pages, Missing::Allocate, |leaf, part| {
        for page in part.iter() {
            leaf.set(page, F::kernel_leaf(frame_of(page), Level::PTE, prot));
        }
        ControlFlow::<Infallible>::Continue(())
    })?;
    match visited {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(never) => match never {},
    }
}

/// Maps consecutive frames from `frame` on, with pages up to those of `largest`.
///
/// # Errors
/// No memory for a table. Some pages may be mapped.
pub(crate) fn map_run<S: Store, F: KernelFormat>(
    tables: &Tree<S, F>,
    pages: VpnRange,
    frame: Pfn,
    prot: KernelProt,
    largest: Level,
) -> Result<(), AllocError> {
    let mut at = pages.start;
    while at < pages.end {
        let here = frame + (at - pages.start);
        let left = pages.end - at;
        let level = largest_level::<F>(at, here, left, largest);
        if level != Level::PTE && map_large(tables, at, level, F::kernel_leaf(here, level, prot))? {
            at += F::GEOMETRY.entry_pages(level);
            continue;
        }
        // Up to where a large page may begin, or the end.
        let end = next_chance::<F>(at, largest).min(pages.end);
        map_each(tables, VpnRange::new(at, end), prot, |page| {
            frame + (page - pages.start)
        })?;
        at = end;
    }
    Ok(())
}

/// The level whose entry maps as much as alignment, length and format allow.
/// Never the top: what is mapped there, other spaces would not see.
fn largest_level<F: Format>(at: Vpn, frame: Pfn, left: u64, largest: Level) -> Level {
    let fits = |level: Level| {
        let pages = F::GEOMETRY.entry_pages(level);
        !F::GEOMETRY.is_folded(level)
            && level != F::GEOMETRY.top()
            && F::GEOMETRY.can_be_leaf(level)
            && at.is_aligned_to(pages)
            && frame.is_aligned_to(pages)
            && left >= pages
    };
    let levels = Level::all()
        .rev()
        .filter(|level| level.index() <= largest.index());
    let mut above_base = levels.filter(|&level| level != Level::PTE);
    above_base.find(|&level| fits(level)).unwrap_or(Level::PTE)
}

/// Where the next large page could begin.
fn next_chance<F: Format>(at: Vpn, largest: Level) -> Vpn {
    match largest {
        Level::PTE => Vpn::new(u64::MAX),
        _ => (at + 1).align_up(F::GEOMETRY.entry_pages(Level::PMD)),
    }
}

/// Maps one large page; `false` if a table stays in the way.
fn map_large<S: Store, F: Format>(
    tables: &Tree<S, F>,
    at: Vpn,
    level: Level,
    entry: F::Entry,
) -> Result<bool, AllocError> {
    for _ in 0..TRIES {
        let Some(mut guard) = tables.lock_level(at, level, Missing::Allocate)? else {
            return Ok(false);
        };
        if guard.level() != level {
            return Ok(false);
        }
        if !guard.is_link() {
            guard.set(at, entry);
            return Ok(true);
        }
        // What small mappings left behind; other CPUs may have cached the link.
        drop(guard);
        let mut gather = GatherOf::new(tables);
        tables.free_range(F::GEOMETRY.entry_range(level, at), &mut gather);
        gather.finish();
    }
    Ok(false)
}

/// Takes every entry of `pages` out. CPUs may still have them cached: the
/// caller flushes before the addresses or the frames are used again. Large
/// pages are mapped and unmapped as a whole.
pub(crate) fn unmap<S: Store, F: Format>(tables: &Tree<S, F>, pages: VpnRange) {
    // Without allocation nothing can fail.
    let _visited = tables.for_each_leaf(pages, Missing::Skip, |leaf, part| {
        if leaf.level() == Level::PTE {
            for page in part.iter() {
                leaf.take(page);
            }
        } else {
            debug_assert!(pages.covers(leaf.range()), "half of a large page is unmapped");
            leaf.take(part.start);
        }
        ControlFlow::<Infallible>::Continue(())
    });
}

/// The frame behind `page`, if it is mapped.
pub(crate) fn frame_at<S: Store, F: Format>(tables: &Tree<S, F>, page: Vpn) -> Option<Pfn> {
    let entry = tables.get(page);
    entry.is_present().then(|| entry.target(Level::PTE).frame())
}
