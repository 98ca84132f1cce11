//! Sorted lists of regions.

use foliant_units::PhysRange;

use super::array::RamArray;
use super::region::Region;

/// How many regions a list holds before it needs memory.
pub(super) const FIRST: usize = 128;

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is no heap to box into")]
enum Storage {
    First([Region; FIRST]),
    Grown(RamArray),
}

/// Sorted regions that do not overlap; neighbours that agree are one.
///
/// Whoever changes a list makes sure of room for the new regions first, so
/// that no change stops half-way.
#[derive(Debug)]
pub(super) struct Regions {
    storage: Storage,
    len: usize,
}

impl Regions {
    pub(super) const fn new() -> Self {
        Self {
            storage: Storage::First([Region::EMPTY; FIRST]),
            len: 0,
        }
    }

    pub(super) fn as_slice(&self) -> &[Region] {
        &self.all()[..self.len]
    }

    pub(super) fn spare(&self) -> usize {
        self.all().len() - self.len
    }

    pub(super) fn capacity(&self) -> usize {
        self.all().len()
    }

    /// The memory of a list that has grown.
    pub(super) fn memory(&self) -> Option<PhysRange> {
        match &self.storage {
            Storage::First(_) => None,
            Storage::Grown(array) => Some(array.range()),
        }
    }

    /// Moves to a larger array and returns the old one if it was memory.
    pub(super) fn move_to(&mut self, mut array: RamArray) -> Option<RamArray> {
        array.as_mut_slice()[..self.len].copy_from_slice(self.as_slice());
        match core::mem::replace(&mut self.storage, Storage::Grown(array)) {
            Storage::First(_) => None,
            Storage::Grown(old) => Some(old),
        }
    }

    /// Empties the list and clears its memory.
    pub(super) fn retire(self) {
        if let Storage::Grown(array) = self.storage {
            array.wipe();
        }
    }

    /// How many regions [`fill`](Self::fill) will put in, before it joins them.
    pub(super) fn gaps(&self, range: PhysRange) -> usize {
        let (mut at, mut gaps) = (range.start, 0);
        for region in &self.as_slice()[self.first_reaching(range)..] {
            if region.range.start >= range.end {
                break;
            }
            gaps += usize::from(at < region.range.start);
            at = region.range.end;
        }
        gaps + usize::from(at < range.end)
    }

    /// Puts in what of a region is in no other yet; those that are there stay
    /// what they are. Needs room for its [`gaps`](Self::gaps).
    pub(super) fn fill(&mut self, region: Region) {
        let first = self.first_reaching(region.range);
        let (mut at, mut place) = (region.range.start, first);
        while at < region.range.end {
            let next = self.as_slice().get(place).map(|next| next.range);
            match next {
                Some(next) if next.start <= at => at = next.end,
                _ => {
                    let end = next.map_or(region.range.end, |next| next.start.min(region.range.end));
                    self.open(place);
                    self.all_mut()[place] = Region {
                        range: PhysRange::new(at, end),
                        ..region
                    };
                    at = end;
                }
            }
            place += 1;
        }
        self.join_all(first, place);
    }

    /// Removes `range` from every region. Needs room for one.
    pub(super) fn cut(&mut self, range: PhysRange) {
        if range.is_empty() {
            return;
        }
        let mut at = self.first_reaching(range);
        while at < self.len && self.as_slice()[at].range.start < range.end {
            let region = self.as_slice()[at];
            let below = PhysRange::new(region.range.start, range.start);
            let above = PhysRange::new(range.end, region.range.end);
            match (region.range.start < range.start, range.end < region.range.end) {
                (false, false) => {
                    self.close(at);
                    continue;
                }
                (true, false) => self.all_mut()[at].range = below,
                (false, true) => self.all_mut()[at].range = above,
                (true, true) => {
                    self.open(at + 1);
                    self.all_mut()[at].range = below;
                    self.all_mut()[at + 1] = Region {
                        range: above,
                        ..region
                    };
                    return;
                }
            }
            at += 1;
        }
    }

    /// Changes what is known of the parts inside `range`. Needs room for two.
    pub(super) fn change(&mut self, range: PhysRange, change: impl Fn(&mut Region)) {
        if range.is_empty() {
            return;
        }
        self.split(range.start.raw());
        self.split(range.end.raw());
        let first = self.first_reaching(range);
        let mut at = first;
        while at < self.len && self.as_slice()[at].range.start < range.end {
            change(&mut self.all_mut()[at]);
            at += 1;
        }
        self.join_all(first, at);
    }

    /// Reports a list that is out of order.
    pub(super) fn is_sound(&self) -> bool {
        let list = self.as_slice();
        let ordered = |pair: &[Region]| {
            let touch = pair[0].range.end == pair[1].range.start;
            pair[0].range.end <= pair[1].range.start && !(touch && pair[0].agrees(&pair[1]))
        };
        list.iter().all(|region| !region.range.is_empty()) && list.windows(2).all(ordered)
    }

    /// The first region that ends after the start of `range`.
    fn first_reaching(&self, range: PhysRange) -> usize {
        self.as_slice()
            .partition_point(|region| region.range.end <= range.start)
    }

    /// Makes a border at `at`, which may stand inside a region.
    fn split(&mut self, at: u64) {
        let place = self
            .as_slice()
            .partition_point(|region| region.range.end.raw() <= at);
        let Some(&region) = self.as_slice().get(place) else {
            return;
        };
        if region.range.start.raw() < at {
            let border = foliant_units::PhysAddr::new(at);
            self.open(place + 1);
            self.all_mut()[place].range = PhysRange::new(region.range.start, border);
            self.all_mut()[place + 1] = Region {
                range: PhysRange::new(border, region.range.end),
                ..region
            };
        }
    }

    /// Joins what can be joined of the regions from `first` up to `end` and
    /// their neighbours.
    fn join_all(&mut self, first: usize, end: usize) {
        // From the end, so that joining does not move what is still to join.
        for at in (first.saturating_sub(1)..end).rev() {
            self.join(at);
        }
    }

    /// Joins the region at `at` with the next if they touch and agree.
    fn join(&mut self, at: usize) {
        if at + 1 >= self.len {
            return;
        }
        let (this, next) = (self.as_slice()[at], self.as_slice()[at + 1]);
        if this.range.end == next.range.start && this.agrees(&next) {
            self.all_mut()[at].range.end = next.range.end;
            self.close(at + 1);
        }
    }

    fn open(&mut self, at: usize) {
        let len = self.len;
        self.all_mut().copy_within(at..len, at + 1);
        self.len += 1;
    }

    fn close(&mut self, at: usize) {
        let len = self.len;
        self.all_mut().copy_within(at + 1..len, at);
        self.len -= 1;
    }

    fn all(&self) -> &[Region] {
        match &self.storage {
            Storage::First(list) => list,
            Storage::Grown(array) => array.as_slice(),
        }
    }

    fn all_mut(&mut self) -> &mut [Region] {
        match &mut self.storage {
            Storage::First(list) => list,
            Storage::Grown(array) => array.as_mut_slice(),
        }
    }
}
