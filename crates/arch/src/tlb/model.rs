//! Look-up, fill and the ways of forgetting.

use foliant_units::{PAGE_SHIFT, Pfn, PhysAddr, VirtAddr, Vpn, VpnRange};

use super::array::{Array, Replacement, Shape};
use super::stats::TlbStats;
use super::structure::{StructureShapes, Structures};
use crate::access::{Access, AccessKind, ErrorCode, PageFault};
use crate::format::{Entry, Format, Refusal};
use crate::level::Level;
use crate::walk::{Start, Translation};

/// The tag of an address space in a TLB (PCID, ASID).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Pcid(pub u16);

/// Sizes of a TLB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TlbConfig {
    /// For base pages.
    pub base: Shape,
    /// For pages that an entry of the PMD level maps.
    pub large: Shape,
    /// For pages that an entry of a higher level maps.
    pub huge: Shape,
    /// For links to tables (the paging-structure caches).
    pub links: StructureShapes,
    /// Which entry makes room.
    pub replacement: Replacement,
}

impl Default for TlbConfig {
    /// About a current core: 1536 base, 128 large, 16 huge entries.
    fn default() -> Self {
        Self {
            base: Shape { sets: 128, ways: 12 },
            large: Shape { sets: 32, ways: 4 },
            huge: Shape { sets: 4, ways: 4 },
            links: StructureShapes::default(),
            replacement: Replacement::InTurn,
        }
    }
}

/// A cached translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TlbEntry<F: Format> {
    /// The space it belongs to; of no meaning if `global`.
    pub tag: Pcid,
    /// Whether it serves all spaces.
    pub global: bool,
    /// First page.
    pub page: Vpn,
    /// First frame.
    pub frame: Pfn,
    /// Level of the leaf, which is the size.
    pub level: Level,
    /// What it allows.
    pub rights: F::Rights,
    /// Whether the leaf's dirty bit is known to be set: a write may pass.
    pub dirty: bool,
}

impl<F: Format> TlbEntry<F> {
    /// The pages that it translates.
    pub fn range(&self) -> VpnRange {
        F::GEOMETRY.entry_range(self.level, self.page)
    }

    /// The physical address of `at`, which lies inside.
    pub fn address(&self, at: VirtAddr) -> PhysAddr {
        self.frame.base() + (at - self.page.base())
    }

    fn serves(&self, tag: Pcid, page: Vpn) -> bool {
        (self.global || self.tag == tag) && self.range().contains(page)
    }
}

/// What a TLB says to an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer<F: Format> {
    /// It knows the translation and the translation allows the access.
    Hit(TlbEntry<F>),
    /// It does not know; walk from here.
    Miss(Start<F>),
    /// It knows and refuses. As in hardware the entry is dropped with the
    /// fault, so that a fault from an outdated entry happens only once.
    Refused(PageFault),
}

/// The TLB of one CPU.
#[derive(Debug)]
pub struct Tlb<F: Format> {
    base: Array<TlbEntry<F>>,
    large: Array<TlbEntry<F>>,
    huge: Array<TlbEntry<F>>,
    structures: Structures<F>,
    /// The level at which the walk for the last miss begins.
    walk_from: Level,
    stats: TlbStats,
}

impl<F: Format> Tlb<F> {
    /// An empty TLB.
    pub fn new(config: TlbConfig) -> Self {
        Self {
            base: Array::new(config.base, config.replacement),
            large: Array::new(config.large, config.replacement),
            huge: Array::new(config.huge, config.replacement),
            structures: Structures::new(config.links, config.replacement),
            walk_from: F::GEOMETRY.top(),
            stats: TlbStats::default(),
        }
    }

    /// What it did so far.
    pub fn stats(&self) -> TlbStats {
        self.stats
    }

    /// Everything that it holds, for checking and for show.
    pub fn entries(&self) -> impl Iterator<Item = &TlbEntry<F>> {
        self.base.iter().chain(self.large.iter()).chain(self.huge.iter())
    }

    /// The links to tables that it holds: whose, for which pages, to where.
    pub fn links(&self) -> impl Iterator<Item = (Pcid, VpnRange, Start<F>)> {
        self.structures.iter()
    }

    /// Asks for `at` in the space `tag` whose top table is at `root`.
    pub fn look_up(
        &mut self,
        tag: Pcid,
        root: PhysAddr,
        at: VirtAddr,
        access: Access,
        control: &F::Control,
    ) -> Answer<F> {
        let page = at.page();
        let Some(place) = self.find(tag, page) else {
            self.stats.misses += 1;
            return Answer::Miss(self.start(tag, root, page));
        };
        let Some(entry) = *place else {
            return Answer::Miss(Start::root(root));
        };
        if let Err(Refusal(reason)) = F::permit(entry.rights, access, control) {
            *place = None;
            self.stats.refusals += 1;
            let code = F::describe(access, control) | ErrorCode::PROTECTION | reason;
            return Answer::Refused(PageFault { at, code });
        }
        // A first write must walk, because the leaf's dirty bit is still to be set.
        if access.kind == AccessKind::Write && !entry.dirty {
            self.stats.misses += 1;
            return Answer::Miss(self.start(tag, root, page));
        }
        self.stats.hits += 1;
        Answer::Hit(entry)
    }

    fn find(&mut self, tag: Pcid, page: Vpn) -> Option<&mut Option<TlbEntry<F>>> {
        let is_it = |entry: &TlbEntry<F>| entry.serves(tag, page);
        self.base
            .find(number::<F>(Level::PTE, page), is_it)
            .or_else(|| self.large.find(number::<F>(Level::PMD, page), is_it))
            .or_else(|| self.huge.find(number::<F>(Level::PUD, page), is_it))
    }

    fn start(&mut self, tag: Pcid, root: PhysAddr, page: Vpn) -> Start<F> {
        let start = self.structures.start(tag, root, page);
        if start.level != F::GEOMETRY.top() {
            self.stats.short_walks += 1;
            self.stats.structure_hits[start.level.index()] += 1;
        }
        self.walk_from = start.level;
        start
    }

    /// Keeps the way to a table that a walk for `page` in the space `tag` came
    /// to before it [ended](Self::fill).
    pub fn pass(&mut self, tag: Pcid, page: Vpn, table: Start<F>) {
        self.structures.keep(tag, page, table);
    }

    /// Keeps what a walk for the space `tag` found.
    pub fn fill(&mut self, tag: Pcid, found: &Translation<F>) -> TlbEntry<F> {
        let entry = TlbEntry {
            tag,
            global: found.leaf.is_global(),
            page: found.page,
            frame: found.frame,
            level: found.level,
            rights: found.rights,
            dirty: found.leaf.is_dirty(),
        };
        let array = match found.level {
            Level::PTE => &mut self.base,
            Level::PMD => &mut self.large,
            _ => &mut self.huge,
        };
        let same = |other: &TlbEntry<F>| other.serves(tag, found.page);
        let evicted = array.insert(number::<F>(found.level, found.page), entry, same);
        self.stats.fills += 1;
        self.stats.walk_references += self.references(found.level);
        self.stats.evictions += u64::from(evicted.is_some());
        self.structures.keep(tag, found.page, found.via);
        entry
    }

    /// Entries between the beginning of the last walk and its leaf, both counted.
    fn references(&self, leaf: Level) -> u64 {
        let passed =
            |&level: &Level| leaf <= level && level <= self.walk_from && !F::GEOMETRY.is_folded(level);
        Level::all().filter(passed).count() as u64
    }

    /// Drops the translation of one page in the space `tag`, and every link of that
    /// space, for whatever addresses (INVLPG).
    pub fn flush_page(&mut self, tag: Pcid, page: Vpn) {
        self.stats.page_flushes += 1;
        while let Some(place) = self.find(tag, page) {
            *place = None;
            self.stats.dropped += 1;
        }
        self.structures.drop_tag(tag);
    }

    /// Drops the translation of one page in the space `tag`, unless it is
    /// global (INVPCID 0).
    pub fn flush_own_page(&mut self, tag: Pcid, page: Vpn) {
        self.stats.page_flushes += 1;
        self.drop_entries(|entry| !entry.global && entry.tag == tag && entry.range().contains(page));
        self.structures.drop_tag(tag);
    }

    /// Drops the translations of `pages` in the space `tag`; with `links`, also its links.
    pub fn flush_range(&mut self, tag: Pcid, pages: VpnRange, links: bool) {
        self.stats.range_flushes += 1;
        self.drop_entries(|entry| (entry.global || entry.tag == tag) && entry.range().overlaps(pages));
        if links {
            self.structures.drop_tag(tag);
        }
    }

    /// Drops the translations of `pages` in all spaces; with `links`, also all
    /// links: what a kernel does that changed mappings which every space has.
    pub fn flush_everywhere(&mut self, pages: VpnRange, links: bool) {
        self.stats.range_flushes += 1;
        self.drop_entries(|entry| entry.range().overlaps(pages));
        if links {
            self.structures.drop_all();
        }
    }

    /// Drops everything of the space `tag` but global entries (CR3, INVPCID 1).
    pub fn flush_tag(&mut self, tag: Pcid) {
        self.stats.tag_flushes += 1;
        self.drop_entries(|entry| !entry.global && entry.tag == tag);
        self.structures.drop_tag(tag);
    }

    /// Drops everything, global entries included (INVPCID 2).
    pub fn flush_all(&mut self) {
        self.stats.full_flushes += 1;
        self.drop_entries(|_| true);
        self.structures.drop_all();
    }

    /// Drops everything but global entries (INVPCID 3).
    pub fn flush_all_but_global(&mut self) {
        self.stats.full_flushes += 1;
        self.drop_entries(|entry| !entry.global);
        self.structures.drop_all();
    }

    fn drop_entries(&mut self, goes: impl Fn(&TlbEntry<F>) -> bool) {
        self.stats.dropped +=
            self.base.drop_where(&goes) + self.large.drop_where(&goes) + self.huge.drop_where(&goes);
    }
}

/// What spreads pages over the sets of the array for `level`.
fn number<F: Format>(level: Level, page: Vpn) -> u64 {
    page.raw() >> (F::GEOMETRY.levels[level.index()].shift - PAGE_SHIFT)
}
