//! How a virtual address is cut into indices.

use foliant_units::{Order, PhysAddr, VirtAddr, Vpn, VpnRange};

use crate::level::Level;

/// What one level of tables looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LevelShape {
    /// log2 of the bytes that one entry covers; of a folded level, what an
    /// entry of the next level above covers.
    pub shift: u32,
    /// log2 of the entries in a table; zero where the level is folded.
    pub bits: u32,
    /// Whether an entry can map memory itself.
    pub leaf: bool,
}

/// The shape of a format's tables: a constant, so that loops over its levels
/// unroll and folded levels leave no trace in the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// From [`Level::PTE`] to [`Level::PGD`].
    pub levels: [LevelShape; Level::COUNT],
    /// Bytes of one entry, 4 or 8.
    pub entry_bytes: u64,
    /// Bits of an address that take part in translation.
    pub address_bits: u32,
    /// What the bits above must be.
    pub above: Above,
}

/// What the bits of an address must be that no table translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Above {
    /// Clear: addresses end there (32-bit modes, guest-physical addresses).
    Clear,
    /// Repetitions of the highest translated bit (x86-64).
    Sign,
    /// All clear or all set, which says under which of two roots to look; the
    /// highest translated bit is free (arm64's TTBR0 and TTBR1).
    Half,
}

impl LevelShape {
    /// A level whose entries cover `1 << shift` bytes, with `1 << bits` of them in a table.
    pub const fn new(shift: u32, bits: u32, leaf: bool) -> Self {
        Self { shift, bits, leaf }
    }

    /// A level without tables, below one whose entries cover `1 << shift` bytes.
    pub const fn folded(shift: u32) -> Self {
        Self {
            shift,
            bits: 0,
            leaf: false,
        }
    }
}

impl Geometry {
    #[inline]
    const fn shape(&self, level: Level) -> LevelShape {
        self.levels[level.index()]
    }

    /// Whether `level` has no tables of its own.
    #[inline]
    pub const fn is_folded(&self, level: Level) -> bool {
        self.shape(level).bits == 0
    }

    /// The level of the root table.
    #[inline]
    pub const fn top(&self) -> Level {
        Level::PGD
    }

    /// The level that an entry of `level` points to tables of; `None` for the leaf level.
    #[inline]
    pub const fn below(&self, level: Level) -> Option<Level> {
        let mut at = level.down();
        while let Some(candidate) = at {
            if !self.is_folded(candidate) {
                return at;
            }
            at = candidate.down();
        }
        None
    }

    /// Entries of a table at `level`.
    #[inline]
    pub const fn entries(&self, level: Level) -> usize {
        1 << self.shape(level).bits
    }

    /// The size of a table, the same for all levels: as many frames as the
    /// largest needs.
    #[inline]
    pub const fn table_size(&self) -> Order {
        let (mut bits, mut at) = (0, 0);
        while at < Level::COUNT {
            if self.levels[at].bits > bits {
                bits = self.levels[at].bits;
            }
            at += 1;
        }
        let frames = (self.entry_bytes << bits) >> foliant_units::PAGE_SHIFT;
        match Order::covering(frames) {
            Some(order) => order,
            None => panic!("no format has tables of more than 4 MiB"),
        }
    }

    /// Whether an entry of `level` can map memory itself.
    #[inline]
    pub const fn can_be_leaf(&self, level: Level) -> bool {
        self.shape(level).leaf
    }

    /// Bytes that one entry of `level` covers.
    #[inline]
    pub const fn entry_span(&self, level: Level) -> u64 {
        1 << self.shape(level).shift
    }

    /// Base pages that one entry of `level` covers.
    #[inline]
    pub const fn entry_pages(&self, level: Level) -> u64 {
        self.entry_span(level) >> foliant_units::PAGE_SHIFT
    }

    /// Base pages that a table of `level` covers.
    #[inline]
    pub const fn table_pages(&self, level: Level) -> u64 {
        self.entry_pages(level) << self.shape(level).bits
    }

    /// Which entry of a table at `level` translates `page`.
    #[inline]
    pub const fn index(&self, level: Level, page: Vpn) -> usize {
        let shape = self.shape(level);
        ((page.raw() >> (shape.shift - foliant_units::PAGE_SHIFT)) & ((1 << shape.bits) - 1)) as usize
    }

    /// The pages that the table of `level` which translates `page` covers.
    #[inline]
    pub const fn table_range(&self, level: Level, page: Vpn) -> VpnRange {
        let pages = self.table_pages(level);
        let start = page.align_down(pages);
        VpnRange::new(start, Vpn::new(start.raw() + pages))
    }

    /// The pages that the entry of `level` which translates `page` covers.
    #[inline]
    pub const fn entry_range(&self, level: Level, page: Vpn) -> VpnRange {
        let pages = self.entry_pages(level);
        let start = page.align_down(pages);
        VpnRange::new(start, Vpn::new(start.raw() + pages))
    }

    /// Where entry `index` of the table at `table` lies.
    #[inline]
    pub const fn slot(&self, table: PhysAddr, index: usize) -> PhysAddr {
        PhysAddr::new(table.raw() + index as u64 * self.entry_bytes)
    }

    /// Whether the processor translates `at` at all.
    #[inline]
    pub const fn accepts(&self, at: VirtAddr) -> bool {
        match self.above {
            Above::Clear => at.raw() >> self.address_bits == 0,
            Above::Sign => at.is_canonical(self.address_bits),
            Above::Half => at.is_canonical(self.address_bits + 1),
        }
    }

    /// Repeats the highest translated bit upwards where the format asks for
    /// it; where there are two halves, the address of the lower one.
    #[inline]
    pub const fn extend(&self, at: VirtAddr) -> VirtAddr {
        let unused = 64 - self.address_bits;
        match self.above {
            Above::Sign => VirtAddr::new((((at.raw() << unused) as i64) >> unused) as u64),
            Above::Clear | Above::Half => VirtAddr::new(at.raw() << unused >> unused),
        }
    }
}
