//! Tables that map themselves: one slot of the top table points to the top table.

use foliant_units::VirtAddr;

use crate::geometry::Geometry;
use crate::level::Level;

/// A self-map at one slot of the top table.
///
/// Through it the entries of all tables appear as one array in virtual memory:
/// Windows calls their bases `PTE_BASE`, `PDE_BASE`, `PPE_BASE`, `PXE_BASE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SelfMap {
    geometry: Geometry,
    slot: usize,
    bits: u32,
}

impl SelfMap {
    /// The self-map of tables shaped like `geometry` at slot `slot`.
    ///
    /// `None` if there is no such slot, or if the levels are not all of one
    /// size: a self-map turns each level into the next, so they must be.
    pub fn new(geometry: Geometry, slot: usize) -> Option<Self> {
        let bits = geometry.levels[Level::PGD.index()].bits;
        let uniform = geometry
            .levels
            .iter()
            .all(|level| level.bits == bits || level.bits == 0);
        (uniform && slot < geometry.entries(Level::PGD)).then_some(Self { geometry, slot, bits })
    }

    /// Where the entry of `level` that translates `at` appears; `None` for a folded level.
    pub fn entry_address(&self, level: Level, at: VirtAddr) -> Option<VirtAddr> {
        if self.geometry.is_folded(level) {
            return None;
        }
        let mut address = self.one_level(at);
        let mut below = Level::PTE;
        while below < level {
            below = below.up()?;
            if !self.geometry.is_folded(below) {
                address = self.one_level(address);
            }
        }
        Some(address)
    }

    /// Where the array of all entries of `level` begins; `None` for a folded level.
    pub fn base(&self, level: Level) -> Option<VirtAddr> {
        self.entry_address(level, VirtAddr::ZERO)
    }

    /// The address of the entry that the hardware reads last for `at`.
    fn one_level(&self, at: VirtAddr) -> VirtAddr {
        let translated = (1u64 << self.geometry.address_bits) - 1;
        let top_shift = self.geometry.levels[Level::PGD.index()].shift;
        let index = (at.raw() & translated) >> self.geometry.levels[Level::PTE.index()].shift;
        let raw = ((self.slot as u64) << top_shift) + index * self.geometry.entry_bytes;
        debug_assert!(
            self.bits + self.geometry.entry_bytes.trailing_zeros() == self.geometry.levels[0].shift
        );
        self.geometry.extend(VirtAddr::new(raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::x86_64::X86_64;

    #[test]
    fn the_well_known_bases_of_slot_1ed_come_out() {
        let map = SelfMap::new(X86_64::GEOMETRY, 0x1ed).unwrap();
        assert_eq!(map.base(Level::PTE), Some(VirtAddr::new(0xffff_f680_0000_0000)));
        assert_eq!(map.base(Level::PMD), Some(VirtAddr::new(0xffff_f6fb_4000_0000)));
        assert_eq!(map.base(Level::PUD), Some(VirtAddr::new(0xffff_f6fb_7da0_0000)));
        assert_eq!(map.base(Level::P4D), None);
        assert_eq!(map.base(Level::PGD), Some(VirtAddr::new(0xffff_f6fb_7dbe_d000)));
    }

    #[test]
    fn every_slot_finds_its_own_top_entry() {
        for slot in 0..512 {
            let map = SelfMap::new(X86_64::GEOMETRY, slot).unwrap();
            let own = map.base(Level::PGD).unwrap() + slot as u64 * 8;
            // The entry that maps the array of top entries is the self entry.
            assert_eq!(map.entry_address(Level::PGD, own), Some(own));
        }
        assert_eq!(SelfMap::new(X86_64::GEOMETRY, 512), None);
    }
}
