//! The TLB's counts, against another simulator's for the same pages.
#![allow(clippy::unwrap_used)]

use foliant_arch::tlb::{Answer, Pcid, Replacement, Shape, StructureShapes, Tlb, TlbConfig};
use foliant_arch::x86_64::{Control, Pte, PteFlags, X86_64};
use foliant_arch::{Access, AccessKind, Level, Start, Translation};
use foliant_units::{Pfn, PhysAddr, Vpn};

const RECORD: &str = include_str!("data/page_run.txt");
const ROOT: PhysAddr = PhysAddr::new(0x1000);

/// A TLB of one array, over tables that map each page to the frame of its number.
struct Machine(Tlb<X86_64>);

impl Machine {
    fn new(sets: usize, ways: usize) -> Self {
        let none = Shape { sets: 0, ways: 0 };
        Self(Tlb::new(TlbConfig {
            base: Shape { sets, ways },
            large: none,
            huge: none,
            links: StructureShapes::only_pde(Shape { sets: 1, ways: 2 }),
            replacement: Replacement::LeastRecent,
        }))
    }

    /// Whether the TLB knew the page.
    fn touch(&mut self, page: u64) -> bool {
        let page = Vpn::new(page);
        let read = Access::user(AccessKind::Read);
        match self
            .0
            .look_up(Pcid(1), ROOT, page.base(), read, &Control::default())
        {
            Answer::Hit(_) => true,
            Answer::Miss(start) => {
                let flags = PteFlags::PRESENT | PteFlags::USER | PteFlags::ACCESSED;
                let found = Translation {
                    page,
                    frame: Pfn::new(page.raw()),
                    level: Level::PTE,
                    rights: start.rights,
                    leaf: Pte::new(Pfn::new(page.raw()), flags),
                    via: Start {
                        level: Level::PTE,
                        ..start
                    },
                };
                self.0.fill(Pcid(1), &found);
                false
            }
            Answer::Refused(fault) => panic!("{fault:?}"),
        }
    }
}

/// The pages of a part of the record: first, and how often; 0 for an access
/// that reaches into the next page.
fn pages(part: &str) -> Vec<(u64, u64)> {
    let hex = |text| u64::from_str_radix(text, 16).unwrap();
    let lines = RECORD
        .lines()
        .skip_while(|line| *line != format!("# {part}"))
        .skip(1);
    let lines = lines.take_while(|line| !line.starts_with('#'));
    lines
        .flat_map(str::split_whitespace)
        .map(|run| match run.split_once('*') {
            Some((page, times)) => (hex(page), hex(times)),
            None => (hex(run), 1),
        })
        .collect()
}

#[test]
fn hits_and_misses_are_those_of_cachegrind() {
    let mut checked = 0;
    for line in RECORD.lines() {
        let [what, part, numbers @ ..] = &line.split(' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        if *what != "count" {
            continue;
        }
        let numbers: Vec<u64> = numbers.iter().map(|number| number.parse().unwrap()).collect();
        let mut machine = Machine::new(numbers[0] as usize, numbers[1] as usize);
        let (mut references, mut misses, mut looks) = (0, 0, 0);
        for (page, times) in pages(part) {
            for _ in 0..times {
                misses += u64::from(!machine.touch(page));
            }
            if times == 0 {
                // One access, both of whose pages are looked up.
                let known = [machine.touch(page), machine.touch(page + 1)];
                misses += u64::from(known != [true; 2]);
                looks += 1;
            }
            references += times.max(1);
        }
        looks += references;
        assert_eq!((references, misses), (numbers[2], numbers[3]), "{line}");
        let stats = machine.0.stats();
        assert_eq!(stats.hits + stats.misses, looks);
        // Each walk reads four entries, or one if the way to the leaf table is known.
        let long = stats.misses - stats.short_walks;
        assert_eq!(stats.walk_references, long * 4 + stats.short_walks);
        checked += 1;
    }
    assert_eq!(checked, 8);
}
