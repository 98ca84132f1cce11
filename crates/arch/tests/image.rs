//! The tables of a real Linux, walked as QEMU's MMU walks them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use foliant_arch::x86_64::{Control, Pte, PteFlags, X86_64};
use foliant_arch::{Access, AccessKind, Entry, EntryMemory, Format, Level, Mode, peek, walk};
use foliant_units::{PhysAddr, VirtAddr};

const TABLES: &str = include_str!("data/x86_64-4level.tables");
const LEAVES: &str = include_str!("data/x86_64-4level.leaves");

/// The entries of an image; reading is all that works.
struct Image {
    root: PhysAddr,
    words: BTreeMap<PhysAddr, u64>,
}

impl EntryMemory for Image {
    fn load(&self, at: PhysAddr, _bytes: u64) -> u64 {
        self.words.get(&at).copied().unwrap_or(0)
    }

    fn compare_exchange(&self, _at: PhysAddr, _bytes: u64, _old: u64, _new: u64) -> Result<(), u64> {
        Ok(())
    }
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

impl Image {
    fn parse(text: &str) -> Self {
        let mut image = Self {
            root: PhysAddr::ZERO,
            words: BTreeMap::new(),
        };
        let mut table = PhysAddr::ZERO;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match *line.split(' ').collect::<Vec<_>>() {
                ["root", at] => image.root = PhysAddr::new(hex(at)),
                ["table", at] => table = PhysAddr::new(hex(at)),
                [index, entry] => image.put(table, hex(index), hex(entry)),
                [index, count, first, step] => {
                    for nth in 0..hex(count) {
                        image.put(table, hex(index) + nth, hex(first) + nth * hex(step));
                    }
                }
                _ => panic!("{line}"),
            }
        }
        image
    }

    fn put(&mut self, table: PhysAddr, index: u64, entry: u64) {
        self.words.insert(table + index * 8, entry);
    }

    /// How many leaves there are, found without the walk.
    fn leaves(&self, table: PhysAddr, level: Level) -> usize {
        let entries = (0..512).map(|index| Pte::from_raw(self.load(table + index * 8, 8)));
        let present = entries.filter(|entry| entry.is_present());
        let below = X86_64::GEOMETRY.below(level);
        present
            .map(|entry| match below {
                Some(below) if entry.is_table(level) => self.leaves(entry.target(level), below),
                _ => 1,
            })
            .sum()
    }
}

/// The letters of `info tlb`, in its order.
const LETTERS: [(char, PteFlags); 9] = [
    ('X', PteFlags::NO_EXECUTE),
    ('G', PteFlags::GLOBAL),
    ('P', PteFlags::LARGE),
    ('D', PteFlags::DIRTY),
    ('A', PteFlags::ACCESSED),
    ('C', PteFlags::CACHE_DISABLE),
    ('T', PteFlags::WRITE_THROUGH),
    ('U', PteFlags::USER),
    ('W', PteFlags::WRITE),
];

fn letters(leaf: Pte) -> String {
    let letter = |(letter, flag)| if leaf.flags().contains(flag) { letter } else { '-' };
    LETTERS.into_iter().map(letter).collect()
}

/// Page, frame and flags of every leaf that QEMU found.
fn truth() -> Vec<(VirtAddr, PhysAddr, &'static str)> {
    let mut all = Vec::new();
    for line in LEAVES.lines().filter(|line| !line.starts_with('#')) {
        let [page, frame, flags, count, step] = *line.split(' ').collect::<Vec<_>>() else {
            panic!("{line}")
        };
        for nth in 0..hex(count) {
            let further = nth * hex(step);
            all.push((
                VirtAddr::new(hex(page) + further),
                PhysAddr::new(hex(frame) + further),
                flags,
            ));
        }
    }
    all
}

#[test]
fn every_leaf_is_what_the_mmu_of_qemu_found() {
    let image = Image::parse(TABLES);
    let truth = truth();
    assert_eq!(image.leaves(image.root, Level::PGD), truth.len());
    for (page, frame, flags) in truth {
        let found = peek::<X86_64>(&image, image.root, page, &Control::default()).unwrap();
        assert_eq!((found.page.base(), found.frame.base()), (page, frame));
        assert_eq!(letters(found.leaf), flags, "at {page:?}");
    }
}

#[test]
fn programs_reach_their_half_and_the_kernel_the_other() {
    let image = Image::parse(TABLES);
    let control = Control::default();
    for (page, _, flags) in truth() {
        let reach = |mode| {
            let access = Access {
                kind: AccessKind::Read,
                mode,
            };
            walk::<X86_64>(&image, image.root, page, access, &control).is_ok()
        };
        // Fixed by SMAP: each page belongs to one of the two.
        assert_eq!(reach(Mode::User), flags.contains('U'), "at {page:?}");
        assert_eq!(reach(Mode::Supervisor), !flags.contains('U'), "at {page:?}");
    }
}
