//! The contiguous bit of arm64: all of a group say it or none.

use foliant_arch::arm64::{Arm64, ArmControl, DescriptorFlags};
use foliant_arch::{Entry, Format, Level};
use foliant_paging::{Gather, Missing, PageTables};
use foliant_phys::testing::{assert_all_free, boot};
use foliant_units::{Pfn, Vpn};

use crate::sample::Sample;
use crate::world::{Machine, step};

/// A group of leaves of `level` at its first place but one, with the hint.
fn grouped<F: Sample>(tables: &PageTables<Machine, F>, level: Level, dirty: bool) -> Vec<Vpn> {
    let (count, step) = (F::group(level) as u64, step::<F>(level));
    let pages: Vec<_> = (count..2 * count).map(|nth| Vpn::new(nth * step)).collect();
    for &page in &pages {
        let mut guard = tables
            .lock_level(page, level, Missing::Allocate)
            .unwrap()
            .unwrap();
        assert!(
            guard.level() == level && !guard.join_group(page),
            "not all are there"
        );
        let leaf = F::leaf(Pfn::new(4 * count * step + page.raw()), level);
        guard.set(page, if dirty { leaf } else { F::read_only(leaf) });
    }
    let mut guard = tables
        .lock_level(pages[1], level, Missing::Skip)
        .unwrap()
        .unwrap();
    assert!(guard.join_group(pages[1]));
    drop(guard);
    assert_eq!(hints(tables, &pages), pages.len());
    pages
}

/// How many of `pages` say that they are of a group.
fn hints<F: Sample>(tables: &PageTables<Machine, F>, pages: &[Vpn]) -> usize {
    let entries = pages.iter().map(|&page| tables.look_up(page).0);
    entries.filter(|entry| entry.is_grouped()).count()
}

fn whoever_changes_one_ends_the_group<F: Sample>(level: Level) {
    let phys = boot(600);
    let mut tables = PageTables::<Machine, F>::new(&phys).unwrap();
    for change in 0..4 {
        let pages = grouped(&tables, level, true);
        let victim = pages[pages.len() / 2];
        let mut guard = tables.lock_level(victim, level, Missing::Skip).unwrap().unwrap();
        match change {
            0 => drop(guard.take(victim)),
            1 => drop(guard.update(victim, F::read_only)),
            2 => {
                let old = guard.get(victim);
                let Err(seen) = guard.compare_exchange(victim, old, F::Entry::EMPTY) else {
                    panic!("the hint was still there");
                };
                assert_eq!(guard.compare_exchange(victim, seen, F::Entry::EMPTY), Ok(()));
            }
            // What changes nothing leaves the hint alone.
            _ => drop(guard.update(victim, |old| old)),
        }
        drop(guard);
        let left = if change == 3 { pages.len() } else { 0 };
        assert_eq!(hints(&tables, &pages), left, "{:?} {level:?}", F::default());
        for &page in pages.iter().filter(|&&page| page != victim) {
            let (entry, found) = tables.look_up(page);
            let frame = Pfn::new(4 * F::group(level) as u64 * step::<F>(level) + page.raw());
            assert_eq!((entry.target(level).frame(), found), (frame, level));
            assert!(entry.is_present() && entry.is_dirty());
        }
        for &page in &pages {
            let mut guard = tables.lock_level(page, level, Missing::Skip).unwrap().unwrap();
            guard.take(page);
        }
    }
    if level == Level::PTE {
        let pages = grouped(&tables, level, true);
        tables.exclusive().set(pages[3], F::Entry::EMPTY).unwrap();
        assert_eq!(hints(&tables, &pages), 0);
        tables.exclusive().update(
            foliant_units::VpnRange::new(pages[0], pages[pages.len() - 1] + 1),
            |_, _| F::Entry::EMPTY,
        );
    } else {
        let pages = grouped(&tables, level, true);
        let mut gather = Gather::new(&tables);
        assert_eq!(tables.split(pages[2], level, &mut gather), Ok(true));
        gather.finish();
        assert_eq!(hints(&tables, &pages), 0);
    }
    let mut wrong = Vec::new();
    tables.audit(&mut |violation| wrong.push(violation));
    assert_eq!(wrong, []);
    drop(tables);
    assert_all_free(&phys);
}

#[test]
fn a_change_to_one_of_a_group_takes_the_hint_from_all() {
    whoever_changes_one_ends_the_group::<Arm64<12, 48>>(Level::PTE);
    whoever_changes_one_ends_the_group::<Arm64<12, 48>>(Level::PMD);
    whoever_changes_one_ends_the_group::<Arm64<14, 48>>(Level::PTE);
    whoever_changes_one_ends_the_group::<Arm64<14, 48>>(Level::PMD);
    whoever_changes_one_ends_the_group::<Arm64<16, 48>>(Level::PTE);
    whoever_changes_one_ends_the_group::<Arm64<16, 48>>(Level::PMD);
}

#[test]
fn what_the_hardware_marked_for_one_counts_for_the_group() {
    type Small = Arm64<12, 48>;
    let phys = boot(100);
    let tables = PageTables::<Machine, Small>::new(&phys).unwrap();
    let pages: Vec<_> = (16..32).map(Vpn::new).collect();
    let clean = |page: Vpn| {
        let writable = Small::read_only(Small::leaf(Pfn::new(page.raw()), Level::PTE)).raw()
            | DescriptorFlags::DIRTY_MODIFIER.bits();
        <Small as Format>::Entry::from_raw(writable & !DescriptorFlags::ACCESSED.bits())
    };
    let mut guard = tables.lock_leaf(pages[0], Missing::Allocate).unwrap().unwrap();
    pages.iter().for_each(|&page| guard.set(page, clean(page)));
    assert!(guard.join_group(pages[0]));
    // A write through any of them is noted in one.
    let control = ArmControl {
        hardware_access: true,
        hardware_dirty: true,
        ..ArmControl::default()
    };
    let noted = Small::touch(guard.get(pages[9]), Level::PTE, true, &control);
    drop(guard);
    let memory = crate::world::Ram(&phys);
    crate::world::write_entry::<Small>(&memory, tables.root(), pages[9], noted.raw());

    let mut guard = tables.lock_leaf(pages[0], Missing::Skip).unwrap().unwrap();
    let taken = guard.take(pages[0]);
    assert!(taken.is_dirty() && taken.is_accessed() && !taken.is_grouped());
    assert!(pages[1..].iter().all(|&page| guard.get(page).is_dirty()));
}

#[test]
fn what_is_not_contiguous_or_not_alike_makes_no_group() {
    type Small = Arm64<12, 48>;
    let phys = boot(100);
    let tables = PageTables::<Machine, Small>::new(&phys).unwrap();
    let mut guard = tables.lock_leaf(Vpn::ZERO, Missing::Allocate).unwrap().unwrap();
    let mut fill = |frame: u64, odd: Option<u64>| {
        for nth in 0..16 {
            let leaf = Small::leaf(Pfn::new(frame + nth), Level::PTE);
            let leaf = if odd == Some(nth) {
                Small::read_only(leaf)
            } else {
                leaf
            };
            guard.replace(Vpn::new(nth), leaf);
        }
        guard.join_group(Vpn::new(8))
    };
    assert!(fill(0x40, None));
    assert!(!fill(0x48, None), "unaligned");
    assert!(!fill(0x40, Some(15)), "one is read-only");
    assert!(fill(0x40, None));
}
