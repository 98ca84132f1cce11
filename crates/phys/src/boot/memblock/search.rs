//! Finding what is free.

use foliant_units::{PAGE_SIZE, PhysAddr, PhysRange};

use super::lists::Memblock;
use super::region::{Attributes, Region};
use super::request::{BootRequest, Direction, NodeWish};

impl<P> Memblock<P> {
    /// RAM that nobody took, ascending; none that must not be mapped.
    pub fn free_ranges(&self) -> impl Iterator<Item = Region> {
        let taken = self.reserved_regions();
        let mut skip = 0;
        self.memory().iter().flat_map(move |&region| {
            while taken
                .get(skip)
                .is_some_and(|range| range.range.end <= region.range.start)
            {
                skip += 1;
            }
            let region = if region.attributes.contains(Attributes::NOMAP) {
                Region {
                    range: PhysRange::new(region.range.end, region.range.end),
                    ..region
                }
            } else {
                region
            };
            gaps(region, &taken[skip..])
        })
    }

    /// Where [`alloc`](Memblock::alloc) would put `request`. Never the first
    /// page, whose address zero means nothing.
    pub fn find(&self, request: BootRequest) -> Option<PhysRange> {
        let no_first_page = PhysRange::new(PhysAddr::new(PAGE_SIZE as u64), self.limit());
        let request = request.inside(request.within.intersect(no_first_page));
        let node = |wish: NodeWish| match wish {
            NodeWish::Any => None,
            NodeWish::Prefer(node) | NodeWish::Exactly(node) => Some(node),
        };
        let wanted = node(request.node);
        let ours = |region: &Region| wanted.is_none_or(|node| node == region.node);
        let mirrored = |region: &Region| !request.mirrored || region.attributes.contains(Attributes::MIRROR);
        let exact = matches!(request.node, NodeWish::Exactly(_));

        self.find_where(request, |region| ours(region) && mirrored(region))
            .or_else(|| self.find_where(request, ours))
            .or_else(|| {
                if exact {
                    return None;
                }
                self.find_where(request, mirrored)
                    .or_else(|| self.find_where(request, |_| true))
            })
    }

    fn find_where(&self, request: BootRequest, allowed: impl Fn(&Region) -> bool) -> Option<PhysRange> {
        let stays =
            |region: &Region| !self.avoids_hotpluggable() || !region.attributes.contains(Attributes::HOTPLUG);
        let mut fits = self
            .free_ranges()
            .filter(|region| stays(region) && allowed(region))
            .filter_map(|region| place(region.range.intersect(request.within), request));
        match request.direction {
            Direction::BottomUp => fits.next(),
            Direction::TopDown => fits.last(),
        }
    }
}

/// What of `region` none of `taken` covers; those before it are left out already.
fn gaps(region: Region, taken: &[Region]) -> impl Iterator<Item = Region> {
    let mut at = region.range.start;
    let mut taken = taken
        .iter()
        .map(|taken| taken.range)
        .take_while(move |range| range.start < region.range.end);
    core::iter::from_fn(move || {
        if at >= region.range.end {
            return None;
        }
        let (gap_end, next) = match taken.next() {
            Some(range) => (range.start, range.end),
            None => (region.range.end, region.range.end),
        };
        let gap = PhysRange::new(at, gap_end);
        at = at.max(next);
        Some(Region { range: gap, ..region })
    })
    .filter(|gap| !gap.range.is_empty())
}

/// Where in `gap` the request goes.
fn place(gap: PhysRange, request: BootRequest) -> Option<PhysRange> {
    let start = match request.direction {
        Direction::BottomUp => gap.start.align_up(request.align)?,
        Direction::TopDown => gap.end.checked_sub(request.size)?.align_down(request.align),
    };
    let range = PhysRange::sized(start, request.size)?;
    (gap.covers(range) && !range.is_empty()).then_some(range)
}
