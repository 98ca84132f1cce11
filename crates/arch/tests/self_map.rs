//! Walks through tables that map themselves: the entry that the self-map
//! promises at an address is the entry that a walk finds there.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use foliant_arch::arm64::Arm64;
use foliant_arch::x86_64::{X86_64, X86_64La57};
use foliant_arch::x86_legacy::X86Legacy;
use foliant_arch::x86_pae::X86Pae;
use foliant_arch::{Above, Entry, EntryMemory, Format, Level, SelfMap, peek};
use foliant_units::{PhysAddr, VirtAddr};

/// Tables on demand: each is a page of its own.
#[derive(Default)]
struct Tables {
    words: RefCell<BTreeMap<PhysAddr, u64>>,
    next: RefCell<u64>,
}

impl EntryMemory for Tables {
    fn load(&self, at: PhysAddr, _bytes: u64) -> u64 {
        self.words.borrow().get(&at).copied().unwrap_or(0)
    }

    fn compare_exchange(&self, _at: PhysAddr, _bytes: u64, _old: u64, _new: u64) -> Result<(), u64> {
        Ok(())
    }
}

const ROOT: PhysAddr = PhysAddr::new(0x1000);

impl Tables {
    fn fresh(&self) -> PhysAddr {
        *self.next.borrow_mut() += 1;
        PhysAddr::new(ROOT.raw() + *self.next.borrow() * 0x1000)
    }

    fn put<F: Format>(&self, slot: PhysAddr, entry: F::Entry) {
        self.words.borrow_mut().insert(slot, entry.raw());
    }

    /// The slots of the entries that translate `at`, from the top; tables that
    /// are missing are made.
    fn slots<F: Format>(&self, at: VirtAddr) -> Vec<(Level, PhysAddr)> {
        let geometry = F::GEOMETRY;
        let (mut table, mut level, mut slots) = (ROOT, geometry.top(), Vec::new());
        loop {
            let slot = geometry.slot(table, geometry.index(level, at.page()));
            slots.push((level, slot));
            let Some(below) = geometry.below(level) else {
                return slots;
            };
            let mut entry = F::Entry::from_raw(self.load(slot, geometry.entry_bytes));
            if !entry.is_present() {
                entry = F::Entry::link(self.fresh(), level);
                self.put::<F>(slot, entry);
            }
            (table, level) = (entry.target(level), below);
        }
    }
}

fn some_addresses<F: Format>() -> Vec<VirtAddr> {
    let mask = (1u64 << F::GEOMETRY.address_bits) - 1;
    let spread = |nth: u64| nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask;
    (0..12)
        .map(|nth| F::GEOMETRY.extend(VirtAddr::new(spread(nth))))
        .collect()
}

/// Every entry on the way to some addresses is where `map` says.
fn check<F: Format>(tables: &Tables, map: SelfMap, avoid: usize)
where
    F::Control: Default,
{
    for at in some_addresses::<F>() {
        if F::GEOMETRY.index(Level::PGD, at.page()) == avoid {
            continue;
        }
        for (level, slot) in tables.slots::<F>(at) {
            let Some(entry) = map.entry_address(level, at) else {
                continue;
            };
            let found = peek::<F>(tables, ROOT, entry, &F::Control::default()).unwrap();
            assert_eq!(found.address(entry), slot, "{level} of {at:?} at {entry:?}");
        }
    }
}

fn every_slot<F: Format>()
where
    F::Control: Default,
{
    for slot in 0..F::GEOMETRY.entries(Level::PGD) {
        let tables = Tables::default();
        let own = F::Entry::link(ROOT, Level::PGD);
        tables.put::<F>(F::GEOMETRY.slot(ROOT, slot), own);
        check::<F>(&tables, SelfMap::new(F::GEOMETRY, slot).unwrap(), slot);
    }
}

#[test]
fn every_slot_of_four_and_five_levels_can_be_walked_through() {
    every_slot::<X86_64>();
    every_slot::<X86_64La57>();
}

#[test]
fn every_slot_of_two_levels_can_be_walked_through() {
    every_slot::<X86Legacy>();
}

#[test]
fn the_directories_of_pae_can_be_walked_through() {
    for slot in (0..2048).step_by(4) {
        let tables = Tables::default();
        let directories: Vec<PhysAddr> = (0..4).map(|_| tables.fresh()).collect();
        for (nth, &directory) in directories.iter().enumerate() {
            let link = <X86Pae as Format>::Entry::link(directory, Level::PMD);
            let top = <X86Pae as Format>::Entry::from_raw(directory.raw() | 1);
            tables.put::<X86Pae>(X86Pae::GEOMETRY.slot(ROOT, nth), top);
            let at = directories[slot / 512];
            tables.put::<X86Pae>(X86Pae::GEOMETRY.slot(at, slot % 512 + nth), link);
        }
        let map = SelfMap::of_directories(X86Pae::GEOMETRY, slot).unwrap();
        for at in some_addresses::<X86Pae>() {
            // The self-map's own addresses are entries, not pages.
            if (at.raw() >> 21) as usize & !3 != slot {
                check_one(&tables, map, at);
            }
        }
    }
}

fn check_one(tables: &Tables, map: SelfMap, at: VirtAddr) {
    for (level, slot) in tables.slots::<X86Pae>(at) {
        let Some(entry) = map.entry_address(level, at) else {
            continue;
        };
        let found = peek::<X86Pae>(tables, ROOT, entry, &Default::default()).unwrap();
        assert_eq!(found.address(entry), slot, "{level} of {at:?} at {entry:?}");
    }
}

#[test]
fn formats_with_two_roots_have_self_maps_in_each() {
    assert_eq!(Arm64::<12, 48>::GEOMETRY.above, Above::Half);
    let map = SelfMap::new(Arm64::<12, 48>::GEOMETRY, 0x1ed).unwrap();
    assert_eq!(map.base(Level::PTE), Some(VirtAddr::new(0xf680_0000_0000)));
}
