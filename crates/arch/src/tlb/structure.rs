//! The caches of the tables' upper levels (Intel SDM volume 3, 4.10.3
//! "Paging-structure caches").

use foliant_units::{PhysAddr, Vpn, VpnRange};

use super::array::{Array, Replacement, Shape};
use super::model::Pcid;
use crate::format::Format;
use crate::level::Level;
use crate::walk::Start;

/// Sizes of the paging-structure caches, each named for the entries that it
/// holds, which link the tables of one level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StructureShapes {
    /// Entries that link leaf tables (PDE cache).
    pub pde: Shape,
    /// Entries that link tables of PDEs.
    pub pdpte: Shape,
    /// Entries that link tables of PDPTEs.
    pub pml4e: Shape,
    /// Entries that link tables of PML4Es, where there are five levels.
    pub pml5e: Shape,
}

impl StructureShapes {
    /// None is kept.
    pub const NONE: Self = Self::only_pde(Shape { sets: 0, ways: 0 });

    /// Only links to leaf tables are kept.
    pub const fn only_pde(pde: Shape) -> Self {
        let none = Shape { sets: 0, ways: 0 };
        Self {
            pde,
            pdpte: none,
            pml4e: none,
            pml5e: none,
        }
    }

    /// By the level of the tables that are linked.
    fn by_table(self) -> [Shape; CACHES] {
        [self.pde, self.pdpte, self.pml4e, self.pml5e]
    }
}

impl Default for StructureShapes {
    /// About a current core: 32 PDEs, 16 PDPTEs, and a few above.
    fn default() -> Self {
        Self {
            pde: Shape { sets: 8, ways: 4 },
            pdpte: Shape { sets: 4, ways: 4 },
            pml4e: Shape { sets: 1, ways: 4 },
            pml5e: Shape { sets: 1, ways: 2 },
        }
    }
}

/// All levels but the top have tables that something links.
const CACHES: usize = Level::COUNT - 1;

/// A cached way to a table: all upper entries on it in one, with their rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link<F: Format> {
    tag: Pcid,
    pages: VpnRange,
    start: Start<F>,
}

/// The caches of one CPU.
#[derive(Debug)]
pub(super) struct Structures<F: Format> {
    caches: [Array<Link<F>>; CACHES],
}

impl<F: Format> Structures<F> {
    pub(super) fn new(shapes: StructureShapes, replacement: Replacement) -> Self {
        Self {
            caches: shapes.by_table().map(|shape| Array::new(shape, replacement)),
        }
    }

    /// Where a walk for `page` begins: as far down as a link leads, which is
    /// what saves most.
    pub(super) fn start(&mut self, tag: Pcid, root: PhysAddr, page: Vpn) -> Start<F> {
        let is_it = |link: &Link<F>| link.tag == tag && link.pages.contains(page);
        let caches = self.caches.iter_mut().zip(Level::all());
        let mut found = caches.filter_map(|(cache, level)| {
            let number = number::<F>(level, page);
            cache.find(number, is_it).and_then(|place| *place)
        });
        found.next().map_or(Start::root(root), |link| link.start)
    }

    /// Keeps the way to a table that a walk for `page` came to.
    pub(super) fn keep(&mut self, tag: Pcid, page: Vpn, start: Start<F>) {
        // The root is not linked but loaded.
        let Some(cache) = self.caches.get_mut(start.level.index()) else {
            return;
        };
        let pages = F::GEOMETRY.table_range(start.level, page);
        let same = |other: &Link<F>| other.tag == tag && other.pages == pages;
        cache.insert(number::<F>(start.level, page), Link { tag, pages, start }, same);
    }

    /// Drops the links of a space, whatever addresses they are for.
    pub(super) fn drop_tag(&mut self, tag: Pcid) {
        for cache in &mut self.caches {
            cache.drop_where(|link| link.tag == tag);
        }
    }

    pub(super) fn drop_all(&mut self) {
        for cache in &mut self.caches {
            cache.drop_where(|_| true);
        }
    }

    /// All links: whose, for which pages, to where.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Pcid, VpnRange, Start<F>)> {
        let links = self.caches.iter().flat_map(Array::iter);
        links.map(|link| (link.tag, link.pages, link.start))
    }
}

/// What spreads links to tables of `level` over the sets.
fn number<F: Format>(level: Level, page: Vpn) -> u64 {
    page.raw() / F::GEOMETRY.table_pages(level)
}
