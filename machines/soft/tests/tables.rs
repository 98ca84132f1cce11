//! Tables, TLBs and shoot-downs, with no memory manager in between.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Demand, boot, pages};
use foliant_arch::x86_64::X86_64;
use foliant_arch::{Entry, Format, Level, SelfMap};
use foliant_paging::Missing;
use foliant_phys::testing::assert_all_free;
use foliant_platform::CpuId;
use foliant_soft::{Forget, StaleKind, Trap, Violation};
use foliant_units::{VirtAddr, Vpn};

const AT: VirtAddr = VirtAddr::new(0x7000_1000);

#[test]
fn a_program_reads_what_it_wrote_across_pages() {
    let (machine, phys) = boot(1);
    let space = Demand::new(&phys);
    machine.run_on(CpuId(0), |cpu| {
        let program = cpu.enter(&space);
        let text = [7u8; 10_000];
        program.write(AT + 100, &text).unwrap();
        let mut back = [0; 10_002];
        program.read(AT + 99, &mut back).unwrap();
        assert_eq!((back[0], back[1], back[10_000], back[10_001]), (0, 7, 7, 0));
        assert_eq!(program.compare_exchange_u64(AT, 0, 5), Ok(0));
        assert_eq!(program.exec(AT), Ok(5));
        let hole = VirtAddr::new(0x8000_0000_0000);
        assert_eq!(program.read_u64(hole), Err(Trap::NonCanonical(hole)));
    });
    assert_eq!(machine.audit(), []);
    assert!(machine.tlb_stats(CpuId(0)).hits > 0);
    drop(space);
    assert_all_free(&phys);
}

#[test]
fn a_translation_lives_until_it_is_flushed() {
    let (machine, phys) = boot(2);
    let space = Demand::new(&phys);
    machine.run_on(CpuId(0), |cpu| {
        let program = cpu.enter(&space);
        program.write_u64(AT, 1).unwrap();
        // An entry is taken out without a word to the CPUs.
        let mut leaf = space.tables.lock_leaf(AT.page(), Missing::Skip).unwrap().unwrap();
        let old = leaf.take(AT.page());
        drop(leaf);
        assert_eq!(program.read_u64(AT), Ok(1));
        let stale = Violation::Stale {
            cpu: CpuId(0),
            page: AT.page(),
            frame: old.frame(),
            kind: StaleKind::Gone,
        };
        assert_eq!(machine.audit(), [stale]);
        drop(phys.adopt(old.frame()));
        assert_ne!(program.read_u64(AT), Ok(1));
        assert!(matches!(machine.audit()[0], Violation::UseAfterFree { .. }));
        space.unmap(pages(AT.page().raw(), AT.page().raw() + 1));
    });
}

#[test]
fn a_cpu_that_was_spared_catches_up_when_it_comes_back() {
    let (machine, phys) = boot(2);
    let space = Demand::new(&phys);
    machine.run_on(CpuId(0), |cpu| cpu.enter(&space).write_u64(AT, 1).unwrap());
    machine.run_on(CpuId(1), |cpu| {
        let program = cpu.enter(&space);
        program.write_u64(AT, 2).unwrap();
        space.unmap(pages(0, 1 << 20));
        assert_eq!(program.read_u64(AT), Ok(0));
    });
    let stats = machine.flush_stats();
    assert_eq!((stats.dropped, stats.deferred), (1, 1));
    assert_eq!(machine.audit(), []);
    machine.run_on(CpuId(0), |cpu| assert_eq!(cpu.enter(&space).read_u64(AT), Ok(0)));
    drop(space);
    assert_all_free(&phys);
}

#[test]
fn tags_are_used_again_without_the_old_translations() {
    let (machine, phys) = boot(1);
    for value in 1..20 {
        let space = Demand::new(&phys);
        machine.run_on(CpuId(0), |cpu| {
            let program = cpu.enter(&space);
            assert_eq!(program.read_u64(AT), Ok(0));
            program.write_u64(AT, value).unwrap();
        });
        drop(space);
        assert_eq!(machine.audit(), []);
    }
    assert_all_free(&phys);
}

#[test]
fn tables_that_map_themselves_are_readable() {
    let (machine, phys) = boot(1);
    let space = Demand::new(&phys);
    machine.run_on(CpuId(0), |cpu| {
        let program = cpu.enter(&space);
        program.write_u64(AT, 42).unwrap();
        for slot in [0x0ff, 0x1ed] {
            let map = SelfMap::new(X86_64::GEOMETRY, slot).unwrap();
            let top = map.base(Level::PGD).unwrap().page();
            let mut root = space
                .tables
                .lock_level(top, Level::PGD, Missing::Skip)
                .unwrap()
                .unwrap();
            root.set(top, Entry::link(space.tables.root(), Level::PGD));
            drop(root);
            // What is read through the mapping is what a walk reads.
            let at = map.entry_address(Level::PTE, AT).unwrap();
            assert_eq!(program.read_u64(at), Ok(space.tables.get(AT.page()).raw()));
            let own = map.base(Level::PGD).unwrap() + slot as u64 * 8;
            assert_eq!(
                program.read_u64(own).map(|word| word & !0xfff),
                Ok(space.tables.root().raw())
            );
            let mut root = space
                .tables
                .lock_level(top, Level::PGD, Missing::Skip)
                .unwrap()
                .unwrap();
            root.take(top);
        }
    });
    drop(space);
    assert_all_free(&phys);
}

/// CPUs write and read their own pages while all of them unmap and protect.
/// Returns what the audits between rounds found.
fn storm(cpus: u32, rounds: u32, forget: Forget) -> Vec<Violation> {
    let (machine, phys) = boot(cpus);
    let space = Demand::new(&phys);
    machine.forget(forget);
    let mut found = Vec::new();
    for round in 0..rounds {
        machine.run(cpus, |cpu| {
            let me = u64::from(cpu.id().0);
            let program = cpu.enter(&space);
            let mut number = u64::from(round) * 977 + me * 31 + 1;
            for step in 0..60 {
                number = number
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let page = (number >> 33) % 700 + 0x200 - 30;
                match step % 5 {
                    // Now and then a whole table goes.
                    0 if number % 7 == 0 => space.unmap(pages(0x200, 0x400)),
                    0 => space.unmap(pages(page, page + 20)),
                    1 => space.protect(pages(page, page + 20)),
                    2 => drop(
                        program
                            .read_u64(Vpn::new(page).base() + me * 8)
                            .expect("resolved"),
                    ),
                    _ => program
                        .write_u64(Vpn::new(page).base() + me * 8, number)
                        .expect("resolved"),
                }
            }
        });
        found.extend(machine.audit());
        if !found.is_empty() {
            return found;
        }
        let mut wrong = Vec::new();
        space.tables.audit(&mut |violation| wrong.push(violation));
        assert_eq!(wrong, []);
    }
    drop(space);
    assert_all_free(&phys);
    found
}

#[test]
fn a_storm_leaves_no_stale_translation_and_no_frame() {
    assert_eq!(storm(4, 30, Forget::Nothing), []);
}

#[test]
fn lost_flushes_are_noticed() {
    for forget in [
        Forget::Removed,
        Forget::Demoted,
        Forget::FreedTables,
        Forget::LaterRanges,
    ] {
        let outcome = std::panic::catch_unwind(|| storm(4, 40, forget));
        assert!(
            !matches!(&outcome, Ok(found) if found.is_empty()),
            "{forget:?} was not noticed"
        );
    }
}
