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
    /// Where the array of last-level entries begins, without sign.
    base: u64,
    /// The highest level whose entries appear.
    top: Level,
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
        let top = Level::PGD;
        let base = (slot as u64) << geometry.levels[top.index()].shift;
        (uniform && slot < geometry.entries(top)).then_some(Self { geometry, base, top })
    }

    /// The self-map of tables whose top is smaller than the rest, as PAE's: the
    /// four page directories are entered in neighbouring slots, the first
    /// of which is slot `slot` of all directories counted through. The top
    /// table itself does not appear.
    ///
    /// `None` if there is no such slot, or if it is not the first of as many
    /// as there are directories.
    pub fn of_directories(geometry: Geometry, slot: usize) -> Option<Self> {
        let top = geometry.below(geometry.top())?;
        let directories = geometry.entries(Level::PGD);
        let slots = geometry.entries(top) * directories;
        let base = (slot as u64) << geometry.levels[top.index()].shift;
        let fits = slot < slots && slot.is_multiple_of(directories) && geometry.entries(top) >= directories;
        fits.then_some(Self { geometry, base, top })
    }

    /// Where the entry of `level` that translates `at` appears; `None` for a folded level.
    pub fn entry_address(&self, level: Level, at: VirtAddr) -> Option<VirtAddr> {
        if self.geometry.is_folded(level) || level > self.top {
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
        let index = (at.raw() & translated) >> self.geometry.levels[Level::PTE.index()].shift;
        let raw = self.base + index * self.geometry.entry_bytes;
        self.geometry.extend(VirtAddr::new(raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::x86_64::X86_64;
    use crate::x86_legacy::X86Legacy;
    use crate::x86_pae::X86Pae;

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
    fn the_well_known_bases_of_i386_come_out() {
        let two = SelfMap::new(X86Legacy::GEOMETRY, 0x300).unwrap();
        assert_eq!(two.base(Level::PTE), Some(VirtAddr::new(0xc000_0000)));
        assert_eq!(two.base(Level::PGD), Some(VirtAddr::new(0xc030_0000)));
        assert_eq!(SelfMap::new(X86Pae::GEOMETRY, 3), None);
        let pae = SelfMap::of_directories(X86Pae::GEOMETRY, 0x600).unwrap();
        assert_eq!(pae.base(Level::PTE), Some(VirtAddr::new(0xc000_0000)));
        assert_eq!(pae.base(Level::PMD), Some(VirtAddr::new(0xc060_0000)));
        assert_eq!(pae.base(Level::PGD), None);
        assert_eq!(SelfMap::of_directories(X86Pae::GEOMETRY, 0x601), None);
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
