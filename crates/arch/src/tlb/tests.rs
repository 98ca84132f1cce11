//! What is kept, and what each way of forgetting takes.

use foliant_units::{Pfn, PhysAddr, VirtAddr, Vpn, VpnRange};

use super::*;
use crate::access::{Access, AccessKind, ErrorCode};
use crate::format::Format;
use crate::level::Level;
use crate::walk::{Start, Translation};
use crate::x86_64::{Control, Pte, PteFlags, Rights, X86_64, X86_64La57};

const ROOT: PhysAddr = PhysAddr::new(0x1000);
const ONE: Pcid = Pcid(1);
const TWO: Pcid = Pcid(2);
const READ: Access = Access::user(AccessKind::Read);
const WRITE: Access = Access::user(AccessKind::Write);

fn found(level: Level, page: u64, flags: PteFlags) -> Translation<X86_64> {
    let flags = flags | PteFlags::PRESENT | PteFlags::USER | PteFlags::ACCESSED;
    let rights = Rights {
        write: flags.contains(PteFlags::WRITE),
        user: true,
        execute: true,
        key: 0,
    };
    let page = X86_64::GEOMETRY.entry_range(level, Vpn::new(page)).start;
    Translation {
        page,
        frame: Pfn::new(0x8000),
        level,
        rights,
        leaf: Pte::new(Pfn::new(0x8000), flags),
        via: Start {
            table: PhysAddr::new(0x5000),
            level,
            rights: X86_64::OPEN,
        },
    }
}

fn ask(tlb: &mut Tlb<X86_64>, tag: Pcid, page: u64, access: Access) -> Answer<X86_64> {
    tlb.look_up(tag, ROOT, VirtAddr::new(page << 12), access, &Control::default())
}

fn knows(tlb: &mut Tlb<X86_64>, tag: Pcid, page: u64) -> bool {
    matches!(ask(tlb, tag, page, READ), Answer::Hit(_))
}

fn filled() -> Tlb<X86_64> {
    let mut tlb = Tlb::new(TlbConfig::default());
    tlb.fill(ONE, &found(Level::PTE, 7, PteFlags::empty()));
    tlb.fill(TWO, &found(Level::PTE, 8, PteFlags::empty()));
    tlb.fill(ONE, &found(Level::PMD, 0x400, PteFlags::LARGE));
    tlb.fill(ONE, &found(Level::PTE, 9, PteFlags::GLOBAL));
    tlb
}

#[test]
fn tags_keep_spaces_apart_and_global_entries_serve_all() {
    let mut tlb = filled();
    assert!(knows(&mut tlb, ONE, 7) && !knows(&mut tlb, TWO, 7));
    assert!(knows(&mut tlb, ONE, 9) && knows(&mut tlb, TWO, 9));
    assert!(knows(&mut tlb, ONE, 0x5ff) && !knows(&mut tlb, ONE, 0x600));
}

#[test]
fn a_first_write_walks_for_the_dirty_bit() {
    let mut tlb = Tlb::new(TlbConfig::default());
    tlb.fill(ONE, &found(Level::PTE, 7, PteFlags::WRITE));
    assert!(matches!(ask(&mut tlb, ONE, 7, WRITE), Answer::Miss(_)));
    tlb.fill(ONE, &found(Level::PTE, 7, PteFlags::WRITE | PteFlags::DIRTY));
    assert!(matches!(ask(&mut tlb, ONE, 7, WRITE), Answer::Hit(_)));
    assert_eq!(tlb.entries().count(), 1);
}

#[test]
fn an_outdated_refusal_happens_once() {
    let mut tlb = filled();
    match ask(&mut tlb, ONE, 7, WRITE) {
        Answer::Refused(fault) => {
            assert_eq!(
                fault.code,
                ErrorCode::PROTECTION | ErrorCode::WRITE | ErrorCode::USER
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(ask(&mut tlb, ONE, 7, WRITE), Answer::Miss(_)));
}

#[test]
fn each_flush_takes_what_it_names() {
    let mut tlb = filled();
    tlb.flush_page(ONE, Vpn::new(0x432));
    assert!(!knows(&mut tlb, ONE, 0x400) && knows(&mut tlb, ONE, 7));

    let mut tlb = filled();
    tlb.flush_range(ONE, VpnRange::new(Vpn::new(7), Vpn::new(9)), false);
    assert!(!knows(&mut tlb, ONE, 7) && knows(&mut tlb, TWO, 8) && knows(&mut tlb, ONE, 9));

    let mut tlb = filled();
    tlb.flush_tag(ONE);
    assert!(!knows(&mut tlb, ONE, 7) && knows(&mut tlb, TWO, 8) && knows(&mut tlb, ONE, 9));

    let mut tlb = filled();
    tlb.flush_all_but_global();
    assert!(!knows(&mut tlb, TWO, 8) && knows(&mut tlb, ONE, 9));
    tlb.flush_all();
    assert!(!knows(&mut tlb, ONE, 9));
}

#[test]
fn links_shorten_walks_until_they_are_flushed() {
    let mut tlb = filled();
    let short = |answer| matches!(answer, Answer::Miss(start) if start.level == Level::PTE);
    assert!(short(ask(&mut tlb, ONE, 10, READ)));
    tlb.flush_range(ONE, VpnRange::new(Vpn::new(7), Vpn::new(8)), false);
    assert!(short(ask(&mut tlb, ONE, 10, READ)));
    tlb.flush_page(ONE, Vpn::new(0x9999));
    assert!(!short(ask(&mut tlb, ONE, 10, READ)));
}

/// Which table of `page` a walk of space `tag` begins at.
fn begins(tlb: &mut Tlb<X86_64La57>, tag: Pcid, page: u64) -> (Level, u64) {
    let at = VirtAddr::new(page << 12);
    match tlb.look_up(tag, ROOT, at, READ, &Control::default()) {
        Answer::Miss(start) => (start.level, start.table.raw()),
        other => panic!("{other:?}"),
    }
}

/// Five levels: the tables on the way to page 7, at 0x5000 (leaf table) to
/// 0x2000, in the space `tag`.
fn pass_all(tlb: &mut Tlb<X86_64La57>, tag: Pcid) {
    for level in Level::all().take(4) {
        let start = Start {
            table: PhysAddr::new((5 - level.index() as u64) << 12),
            level,
            rights: X86_64La57::OPEN,
        };
        tlb.pass(tag, Vpn::new(7), start);
    }
}

#[test]
fn a_walk_begins_as_far_down_as_a_cached_entry_leads() {
    let mut tlb = Tlb::new(TlbConfig::default());
    pass_all(&mut tlb, ONE);
    // In the same 2 MiB, GiB, 512 GiB, 256 TiB, and in none of them.
    let pages = [9, 1 << 9, 1 << 18, 1 << 27, 1 << 36];
    let found = pages.map(|page| begins(&mut tlb, ONE, page));
    let expected = [
        (Level::PTE, 0x5000),
        (Level::PMD, 0x4000),
        (Level::PUD, 0x3000),
        (Level::P4D, 0x2000),
        (Level::PGD, ROOT.raw()),
    ];
    assert_eq!(found, expected);
    let stats = tlb.stats();
    assert_eq!(
        (stats.structure_hits, stats.short_walks, stats.misses),
        ([1; 4], 4, 5)
    );
    assert_eq!(begins(&mut tlb, TWO, 9), (Level::PGD, ROOT.raw()), "tagged");
}

#[test]
fn invlpg_of_any_page_takes_all_cached_entries_of_its_space() {
    let far = Vpn::new(1 << 40);
    let after = |what| {
        let mut tlb = Tlb::new(TlbConfig::default());
        pass_all(&mut tlb, ONE);
        pass_all(&mut tlb, TWO);
        tlb.invalidate(ONE, what);
        let left = |tag| tlb.links().filter(|link| link.0 == tag).count();
        [left(ONE), left(TWO)]
    };
    assert_eq!(after(Invalidate::Page(far)), [0, 4]);
    assert_eq!(after(Invalidate::OwnPage(TWO, far)), [4, 0]);
    assert_eq!(after(Invalidate::Space(TWO)), [4, 0]);
    assert_eq!(after(Invalidate::AllButGlobal), [0, 0]);
    assert_eq!(after(Invalidate::All), [0, 0]);
    let load = |keep| Invalidate::LoadRoot { space: ONE, keep };
    assert_eq!([after(load(false)), after(load(true))], [[0, 4], [4, 4]]);
}

#[test]
fn caches_of_upper_levels_have_the_sizes_they_are_given() {
    let one = Shape { sets: 1, ways: 1 };
    let links = StructureShapes {
        pdpte: one,
        ..StructureShapes::NONE
    };
    let mut tlb = Tlb::new(TlbConfig {
        links,
        ..TlbConfig::default()
    });
    pass_all(&mut tlb, ONE);
    assert_eq!(begins(&mut tlb, ONE, 9), (Level::PMD, 0x4000));
    pass_all(&mut tlb, TWO);
    assert_eq!(begins(&mut tlb, ONE, 9), (Level::PGD, ROOT.raw()));
    assert_eq!(tlb.links().count(), 1);
}

#[test]
fn a_full_set_pushes_out_the_oldest_way() {
    let one = Shape { sets: 1, ways: 2 };
    let mut tlb = Tlb::new(TlbConfig {
        base: one,
        large: one,
        huge: one,
        links: StructureShapes::only_pde(one),
        replacement: Replacement::InTurn,
    });
    for page in 0..3 {
        tlb.fill(ONE, &found(Level::PTE, page, PteFlags::empty()));
    }
    assert!(!knows(&mut tlb, ONE, 0) && knows(&mut tlb, ONE, 1) && knows(&mut tlb, ONE, 2));
    assert_eq!(tlb.stats().evictions, 1);
}

#[test]
fn what_was_used_last_stays_if_use_decides() {
    let one = Shape { sets: 1, ways: 2 };
    let mut tlb = Tlb::new(TlbConfig {
        base: one,
        replacement: Replacement::LeastRecent,
        ..TlbConfig::default()
    });
    for page in [0, 1] {
        tlb.fill(ONE, &found(Level::PTE, page, PteFlags::empty()));
    }
    assert!(knows(&mut tlb, ONE, 0));
    tlb.fill(ONE, &found(Level::PTE, 2, PteFlags::empty()));
    assert!(knows(&mut tlb, ONE, 0) && !knows(&mut tlb, ONE, 1) && knows(&mut tlb, ONE, 2));
}

#[test]
fn each_instruction_takes_what_the_manual_says() {
    // What is left of: page 7 of space one, page 8 of space two, a large page
    // of space one, global page 9.
    let left = |what| {
        let mut tlb = filled();
        tlb.invalidate(ONE, what);
        let asked = [(ONE, 7), (TWO, 8), (ONE, 0x400), (TWO, 9)];
        asked.map(|(tag, page)| knows(&mut tlb, tag, page))
    };
    let page = Vpn::new;
    assert_eq!(left(Invalidate::Page(page(7))), [false, true, true, true]);
    assert_eq!(left(Invalidate::Page(page(9))), [true, true, true, false]);
    assert_eq!(left(Invalidate::Page(page(0x5ff))), [true, true, false, true]);
    assert_eq!(left(Invalidate::OwnPage(TWO, page(8))), [true, false, true, true]);
    assert_eq!(left(Invalidate::OwnPage(ONE, page(9))), [true; 4]);
    assert_eq!(left(Invalidate::Space(ONE)), [false, true, false, true]);
    assert_eq!(left(Invalidate::All), [false; 4]);
    assert_eq!(left(Invalidate::AllButGlobal), [false, false, false, true]);
    let load = |keep| Invalidate::LoadRoot { space: TWO, keep };
    assert_eq!(left(load(false)), [true, false, true, true]);
    assert_eq!(left(load(true)), [true; 4]);
    assert_eq!(left(Invalidate::ChangePaging), [false; 4]);
}
