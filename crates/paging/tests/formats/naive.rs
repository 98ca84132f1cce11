//! What is mapped, as a list.

use std::collections::BTreeMap;

use foliant_arch::{Format, Level};
use foliant_units::{Pfn, Vpn, VpnRange};

/// One mapping of a page of some size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mapped {
    pub(crate) level: Level,
    pub(crate) frame: Pfn,
    pub(crate) write: bool,
    /// Whether the frame is one of the machine's, with a reference to give back.
    pub(crate) owned: bool,
}

/// Mappings by their first page.
#[derive(Default)]
pub(crate) struct Naive(BTreeMap<Vpn, Mapped>);

fn pages<F: Format>(at: Vpn, mapped: &Mapped) -> VpnRange {
    VpnRange::new(at, at + F::GEOMETRY.entry_pages(mapped.level))
}

impl Naive {
    /// The mapping that `page` is in, and its first page.
    pub(crate) fn find<F: Format>(&self, page: Vpn) -> Option<(Vpn, Mapped)> {
        let (&at, &mapped) = self.0.range(..=page).next_back()?;
        pages::<F>(at, &mapped).contains(page).then_some((at, mapped))
    }

    pub(crate) fn is_free<F: Format>(&self, range: VpnRange) -> bool {
        self.find::<F>(range.start).is_none() && self.0.range(range.start..range.end).next().is_none()
    }

    pub(crate) fn map(&mut self, page: Vpn, mapped: Mapped) {
        self.0.insert(page, mapped);
    }

    /// Splits the mapping at `page` into those of the level below.
    pub(crate) fn split<F: Format>(&mut self, at: Vpn) {
        let Some(large) = self.0.remove(&at) else { return };
        let Some(level) = F::GEOMETRY.below(large.level) else {
            return;
        };
        let step = F::GEOMETRY.entry_pages(level);
        for part in 0..F::GEOMETRY.entries(level) as u64 {
            let frame = large.frame + part * step;
            self.0.insert(
                at + part * step,
                Mapped {
                    level,
                    frame,
                    ..large
                },
            );
        }
    }

    pub(crate) fn unmap(&mut self, range: VpnRange) {
        self.0.retain(|at, _| !range.contains(*at));
    }

    pub(crate) fn protect(&mut self, range: VpnRange) {
        let inside = self.0.range_mut(range.start..range.end);
        inside.for_each(|(_, mapped)| mapped.write = false);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Vpn, Mapped)> {
        self.0.iter().map(|(at, mapped)| (*at, *mapped))
    }
}
