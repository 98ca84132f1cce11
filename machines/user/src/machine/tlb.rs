//! The host mappings of one space, which are its TLB.

use std::collections::{BTreeMap, VecDeque};

use foliant_units::{PAGE_SHIFT, Pfn, VirtAddr, Vpn, VpnRange};

use crate::host::{AREA_END, OPS_MAX, Op, Rights, STUB_BASE, USER_END};

/// Pages shown by one host mapping, or by a part of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// The pages.
    pub(crate) pages: VpnRange,
    /// The frame of the first; the others follow.
    pub(crate) frame: Pfn,
    /// What guest code may do there.
    pub(crate) rights: Rights,
}

impl Run {
    /// The operation that shows it.
    pub(crate) fn op(&self) -> Op {
        let len = self.pages.len() << PAGE_SHIFT;
        Op::map_ram(
            self.pages.start.base().raw(),
            len,
            self.frame.base().raw(),
            self.rights,
        )
    }

    fn continues(&self, before: &Self) -> bool {
        before.pages.end == self.pages.start
            && before.rights == self.rights
            && before.frame + before.pages.len() == self.frame
    }

    /// The part of it that lies in `pages`.
    fn part(&self, pages: VpnRange) -> Self {
        let pages = self.pages.intersect(pages);
        Self {
            pages,
            frame: self.frame + (pages.start - self.pages.start),
            rights: self.rights,
        }
    }
}

/// Mappings of the host that the tables no longer back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stale {
    /// To be unmapped.
    Gone(VpnRange),
    /// To be made read-only; not executable.
    ReadOnly(VpnRange),
    /// Everything is to be unmapped.
    All,
}

/// The pages of the machine itself, which stay mapped whatever is taken away.
fn area() -> VpnRange {
    VpnRange::new(VirtAddr::new(STUB_BASE).page(), VirtAddr::new(AREA_END).page())
}

impl Stale {
    /// What lies below and above the machine's area, if a range spans it.
    fn around_the_area(self) -> Option<[Self; 2]> {
        let split = |pages: VpnRange| {
            let area = area();
            pages.overlaps(area).then(|| {
                [
                    VpnRange::new(pages.start.min(area.start), area.start),
                    VpnRange::new(area.end, pages.end.max(area.end)),
                ]
            })
        };
        match self {
            Self::Gone(pages) => split(pages).map(|parts| parts.map(Self::Gone)),
            Self::ReadOnly(pages) => split(pages).map(|parts| parts.map(Self::ReadOnly)),
            Self::All => None,
        }
    }

    /// Appends the operations that remove the staleness.
    pub(crate) fn ops(self, out: &mut Vec<Op>) {
        let bytes = |pages: VpnRange| (pages.start.base().raw(), pages.len() << PAGE_SHIFT);
        match self {
            Self::Gone(pages) => {
                let (at, len) = bytes(pages);
                out.push(Op::unmap(at, len));
            }
            Self::ReadOnly(pages) => {
                let (at, len) = bytes(pages);
                out.push(Op::write_protect(at, len, false));
            }
            Self::All => {
                out.push(Op::unmap(0, STUB_BASE));
                out.push(Op::unmap(AREA_END, USER_END - AREA_END));
            }
        }
    }
}

/// What the host shows of one space, and what is to be taken away before guest
/// code runs there again.
#[derive(Debug, Default)]
pub(crate) struct Tlb {
    /// By first page; runs that continue each other are one.
    runs: BTreeMap<Vpn, Shown>,
    /// Fills so far.
    fills: u64,
    /// Staleness with its number, ascending.
    stale: VecDeque<(u64, Stale)>,
    numbered: u64,
}

/// A run, and when the latest part of it was filled.
#[derive(Clone, Copy, Debug)]
struct Shown {
    run: Run,
    filled: u64,
}

/// Parts in which a full TLB is looked at; the older half of them goes. Each
/// part that goes is one operation of the host.
const PARTS: usize = 32;
const _: () = assert!(PARTS / 2 + 2 < STALE_MAX, "what goes is kept apart");

/// Staleness kept one by one; beyond it the nearest ranges are unmapped with
/// what lies between them.
const STALE_MAX: usize = 40;
const _: () = assert!(STALE_MAX + 8 < OPS_MAX, "all fits in one order");

impl Tlb {
    /// How many runs there are, at least as many as mappings of the host.
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// The run that shows `page`.
    pub(crate) fn find(&self, page: Vpn) -> Option<&Run> {
        let (_, shown) = self.runs.range(..=page).next_back()?;
        shown.run.pages.contains(page).then_some(&shown.run)
    }

    /// Notes that `run` is shown from now on, whatever was there.
    pub(crate) fn insert(&mut self, mut run: Run) {
        self.cut(run.pages, |_| {});
        if let Some((&at, before)) = self.runs.range(..run.pages.start).next_back()
            && run.continues(&before.run)
        {
            run = Run {
                pages: VpnRange::new(before.run.pages.start, run.pages.end),
                ..before.run
            };
            self.runs.remove(&at);
        }
        if let Some(&Shown { run: after, .. }) = self.runs.get(&run.pages.end)
            && after.continues(&run)
        {
            self.runs.remove(&after.pages.start);
            run.pages.end = after.pages.end;
        }
        self.fills += 1;
        let filled = self.fills;
        self.runs.insert(run.pages.start, Shown { run, filled });
    }

    /// What is to go when the TLB is full: of parts of the address space with
    /// equally many runs each, the half in which nothing was filled for longest.
    ///
    /// Going by parts keeps the number of operations small, however many runs
    /// go. Which mappings are in use the host does not tell.
    pub(crate) fn oldest_half(&self) -> Vec<VpnRange> {
        let shown: Vec<&Shown> = self.runs.values().collect();
        let mut parts: Vec<(u64, VpnRange)> = shown
            .chunks(shown.len().div_ceil(PARTS).max(1))
            .filter_map(|part| {
                let (first, last) = (part.first()?, part.last()?);
                let newest = part.iter().map(|shown| shown.filled).max()?;
                Some((newest, VpnRange::new(first.run.pages.start, last.run.pages.end)))
            })
            .collect();
        parts.sort_unstable_by_key(|&(newest, _)| newest);
        parts.truncate(parts.len().div_ceil(2));
        parts.into_iter().map(|(_, pages)| pages).collect()
    }

    /// Forgets what is shown of `pages` and calls `each` for every part of it.
    pub(crate) fn cut(&mut self, pages: VpnRange, mut each: impl FnMut(Run)) {
        let first = self
            .runs
            .range(..pages.start)
            .next_back()
            .map_or(pages.start, |(&at, _)| at);
        let touched: Vec<Shown> = self
            .runs
            .range(first..pages.end)
            .map(|(_, &shown)| shown)
            .filter(|shown| shown.run.pages.overlaps(pages))
            .collect();
        for Shown { run, filled } in touched {
            self.runs.remove(&run.pages.start);
            each(run.part(pages));
            for rest in [
                VpnRange::new(run.pages.start, pages.start),
                VpnRange::new(pages.end, run.pages.end),
            ] {
                if rest.start < rest.end {
                    let run = run.part(rest);
                    self.runs.insert(run.pages.start, Shown { run, filled });
                }
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        self.note(Stale::All);
    }

    /// Remembers staleness, to be removed before guest code runs. Returns its number.
    pub(crate) fn note(&mut self, stale: Stale) -> u64 {
        if let Some(parts) = stale.around_the_area() {
            return parts.map(|part| self.note(part)).into_iter().fold(0, u64::max);
        }
        self.numbered += 1;
        if stale == Stale::All {
            self.runs.clear();
            self.stale.clear();
        }
        self.stale.push_back((self.numbered, stale));
        if self.stale.len() > STALE_MAX {
            self.join_nearest();
        }
        self.numbered
    }

    /// Makes one of two stale ranges, those with the least between them; what is
    /// shown there is filled again.
    fn join_nearest(&mut self) {
        let mut ranges: Vec<(VpnRange, usize)> = Vec::with_capacity(self.stale.len());
        for (at, (_, stale)) in self.stale.iter().enumerate() {
            match stale {
                Stale::Gone(pages) | Stale::ReadOnly(pages) => ranges.push((*pages, at)),
                Stale::All => {}
            }
        }
        ranges.sort_unstable_by_key(|(pages, _)| pages.start);
        let gap = |pair: &[(VpnRange, usize)]| pair[1].0.start.raw().saturating_sub(pair[0].0.end.raw());
        // There is always such a pair: on one side of the area there are two.
        let on_one_side =
            |pair: &&[(VpnRange, usize)]| !VpnRange::new(pair[0].0.start, pair[1].0.end).overlaps(area());
        let Some(&[(one, first), (other, second)]) = ranges
            .windows(2)
            .filter(on_one_side)
            .min_by_key(|pair| gap(pair))
            .and_then(|pair| pair.first_chunk())
        else {
            return;
        };
        let joined = VpnRange::new(one.start, one.end.max(other.end));
        self.stale.remove(first.max(second));
        self.stale.remove(first.min(second));
        self.cut(joined, |_| {});
        // The newest number: whoever removed only one of them is not done.
        self.stale.push_back((self.numbered, Stale::Gone(joined)));
    }

    /// The latest staleness after `done` that concerns a page of a range: the
    /// host may still show it, although the book does not.
    pub(crate) fn stale_in(&self, range: VpnRange, done: u64) -> Option<u64> {
        let concerns = |stale: &Stale| match *stale {
            Stale::Gone(pages) | Stale::ReadOnly(pages) => pages.overlaps(range),
            Stale::All => true,
        };
        let later = self.stale.iter().filter(|(number, _)| *number > done);
        later
            .filter(|(_, stale)| concerns(stale))
            .map(|&(number, _)| number)
            .max()
    }

    /// The number of the latest staleness.
    pub(crate) fn latest(&self) -> u64 {
        self.numbered
    }

    /// Operations that remove all staleness but that up to `done`, which has
    /// been removed. Returns how many entries of the log were dropped for it.
    pub(crate) fn pending(&mut self, done: u64, out: &mut Vec<Op>) {
        while self.stale.front().is_some_and(|&(number, _)| number <= done) {
            self.stale.pop_front();
        }
        for &(_, stale) in &self.stale {
            stale.ops(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Rights = Rights {
        write: false,
        execute: false,
    };
    const WRITE: Rights = Rights {
        write: true,
        execute: false,
    };

    fn run(start: u64, pages: u64, frame: u64, rights: Rights) -> Run {
        let pages = VpnRange::new(Vpn::new(start), Vpn::new(start + pages));
        Run {
            pages,
            frame: Pfn::new(frame),
            rights,
        }
    }

    fn drawn(tlb: &Tlb) -> Vec<(u64, u64, u64)> {
        tlb.runs
            .values()
            .map(|shown| shown.run)
            .map(|run| (run.pages.start.raw(), run.pages.len(), run.frame.raw()))
            .collect()
    }

    #[test]
    fn neighbours_with_neighbouring_frames_are_one_run() {
        let mut tlb = Tlb::default();
        tlb.insert(run(10, 1, 100, WRITE));
        tlb.insert(run(12, 1, 102, WRITE));
        tlb.insert(run(11, 1, 101, WRITE));
        assert_eq!(drawn(&tlb), [(10, 3, 100)]);
    }

    #[test]
    fn other_rights_or_frames_keep_runs_apart() {
        let mut tlb = Tlb::default();
        tlb.insert(run(10, 1, 100, WRITE));
        tlb.insert(run(11, 1, 101, READ));
        tlb.insert(run(12, 1, 200, READ));
        assert_eq!(drawn(&tlb), [(10, 1, 100), (11, 1, 101), (12, 1, 200)]);
    }

    #[test]
    fn cutting_the_middle_leaves_both_ends() {
        let mut tlb = Tlb::default();
        tlb.insert(run(10, 10, 100, WRITE));
        let mut cut = Vec::new();
        tlb.cut(VpnRange::new(Vpn::new(13), Vpn::new(15)), |run| cut.push(run));
        assert_eq!(cut, [run(13, 2, 103, WRITE)]);
        assert_eq!(drawn(&tlb), [(10, 3, 100), (15, 5, 105)]);
        assert!(tlb.find(Vpn::new(14)).is_none());
        assert!(tlb.find(Vpn::new(19)).is_some());
    }

    #[test]
    fn a_new_run_replaces_what_it_covers() {
        let mut tlb = Tlb::default();
        tlb.insert(run(10, 4, 100, WRITE));
        tlb.insert(run(11, 2, 500, READ));
        assert_eq!(drawn(&tlb), [(10, 1, 100), (11, 2, 500), (13, 1, 103)]);
    }

    #[test]
    fn staleness_is_pending_until_it_was_removed() {
        let mut tlb = Tlb::default();
        let pages = VpnRange::new(Vpn::new(1), Vpn::new(2));
        let first = tlb.note(Stale::Gone(pages));
        tlb.note(Stale::ReadOnly(pages));
        let mut ops = Vec::new();
        tlb.pending(0, &mut ops);
        assert_eq!(ops.len(), 2);
        ops.clear();
        tlb.pending(first, &mut ops);
        assert_eq!(ops, [Op::write_protect(0x1000, 0x1000, false)]);
    }

    #[test]
    fn what_spans_the_machines_area_leaves_it_alone() {
        let mut tlb = Tlb::default();
        let (below, above) = (area().start - 1, area().end + 1);
        tlb.note(Stale::Gone(VpnRange::new(below, above)));
        for at in 1..STALE_MAX as u64 {
            tlb.note(Stale::Gone(VpnRange::new(
                area().end + 10 * at,
                area().end + 10 * at + 1,
            )));
        }
        let mut ops = Vec::new();
        tlb.pending(0, &mut ops);
        assert!(ops.contains(&Op::unmap(STUB_BASE - 0x1000, 0x1000)));
        assert!(ops.contains(&Op::unmap(AREA_END, 0xb000)), "{ops:x?}");
        assert_eq!(ops.len(), STALE_MAX);
    }

    #[test]
    fn a_full_tlb_loses_what_was_filled_longest_ago() {
        let mut tlb = Tlb::default();
        // Old below, new above; none continues another.
        for at in 0..1000u64 {
            tlb.insert(run(0x1000 + 2 * at, 1, 10 * at + 7, WRITE));
        }
        // What is filled anew is new again, with its surroundings.
        tlb.insert(run(0x1000, 1, 3, WRITE));
        let going = tlb.oldest_half();
        assert!(going.len() <= PARTS / 2, "{}", going.len());
        for pages in going {
            tlb.cut(pages, |_| {});
            tlb.note(Stale::Gone(pages));
        }
        assert!((450..=550).contains(&tlb.len()), "{}", tlb.len());
        assert!(tlb.find(Vpn::new(0x1000)).is_some());
        assert!(tlb.find(Vpn::new(0x1000 + 2 * 200)).is_none());
        assert!(tlb.find(Vpn::new(0x1000 + 2 * 999)).is_some());
        assert!(Tlb::default().oldest_half().is_empty());
    }

    #[test]
    fn what_the_book_forgot_is_stale_until_it_was_removed() {
        let pages = |at: u64| VpnRange::new(Vpn::new(at), Vpn::new(at + 2));
        let mut tlb = Tlb::default();
        let gone = tlb.note(Stale::Gone(pages(10)));
        assert_eq!(tlb.stale_in(pages(11), 0), Some(gone));
        assert_eq!(tlb.stale_in(pages(12), 0), None);
        assert_eq!(tlb.stale_in(pages(11), gone), None);
        let all = tlb.note(Stale::All);
        assert_eq!(tlb.stale_in(pages(12), gone), Some(all));
    }

    #[test]
    fn too_much_staleness_joins_what_is_nearest() {
        let page = |at: u64| VpnRange::new(Vpn::new(at), Vpn::new(at + 1));
        let mut tlb = Tlb::default();
        tlb.insert(run(5, 1, 100, WRITE));
        tlb.insert(run(1, 1, 200, WRITE));
        tlb.note(Stale::Gone(page(4)));
        tlb.note(Stale::ReadOnly(page(6)));
        for at in 1..STALE_MAX as u64 {
            tlb.note(Stale::Gone(page(1000 * at)));
        }
        let mut ops = Vec::new();
        tlb.pending(0, &mut ops);
        assert_eq!(ops.len(), STALE_MAX);
        assert!(ops.contains(&Op::unmap(0x4000, 0x3000)));
        assert_eq!(drawn(&tlb), [(1, 1, 200)]);
        // Who has removed all but the latest has not removed the joined one.
        ops.clear();
        let latest = tlb.latest();
        tlb.pending(latest - 1, &mut ops);
        assert!(ops.contains(&Op::unmap(0x4000, 0x3000)));
    }
}
