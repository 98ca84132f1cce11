//! Tables in frames of a machine's RAM: what fails fails cleanly, and every
//! frame comes back.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use foliant_arch::Level;
use foliant_arch::x86_64::{Pte, PteFlags};
use foliant_paging::{Gather, Missing, PageTables};
use foliant_phys::testing::{assert_all_free, audit, boot};
use foliant_phys::{AllocError, AllocRequest, Owner, Phys};
use foliant_platform::FlushKind;
use foliant_platform::testing::TestPlatform;
use foliant_units::{Errno, Vpn, VpnRange};

type Machine = TestPlatform;
type Tables = PageTables<Machine>;

const RW: PteFlags = PteFlags::PRESENT.union(PteFlags::WRITE).union(PteFlags::USER);
const PAGES: [u64; 5] = [3, 511, 600, 0x4_0000, 0x7_ffff_ffff];

fn map(tables: &Tables, page: Vpn) -> Result<(), AllocError> {
    let frame = tables.phys().alloc(AllocRequest::movable(Owner::Anonymous))?;
    let leaf = tables.lock_leaf(page, Missing::Allocate)?;
    if let Some(mut leaf) = leaf {
        leaf.set(page, Pte::new(frame.into_pfn(), RW));
    }
    Ok(())
}

fn unmap(tables: &Tables, pages: VpnRange) {
    let mut gather = Gather::new(tables);
    tables.edit_range(pages, &mut gather, |leaf, part, gather| {
        for page in part.iter() {
            if !gather.has_room() {
                return page;
            }
            let old = leaf.take(page);
            if old.is_present() {
                gather.frame(old.frame()).unwrap();
                gather.removed(VpnRange::new(page, page + 1));
            }
        }
        part.end
    });
    tables.free_range(pages, &mut gather);
    gather.finish();
}

fn all() -> VpnRange {
    VpnRange::new(Vpn::ZERO, Vpn::new(1 << 35))
}

fn clean(tables: &Tables, phys: &Phys<Machine>) {
    let mut wrong = Vec::new();
    tables.audit(&mut |violation| wrong.push(violation));
    assert_eq!(wrong, []);
    audit(phys);
}

/// Maps, splits nothing, unmaps; stops at the first failure.
fn script(phys: &Arc<Phys<Machine>>) -> Result<(), Errno> {
    let tables = Tables::new(phys)?;
    let outcome = PAGES.iter().try_for_each(|&page| {
        map(&tables, Vpn::new(page))?;
        clean(&tables, phys);
        Ok(())
    });
    clean(&tables, phys);
    unmap(&tables, all());
    clean(&tables, phys);
    assert_eq!(tables.table_bytes(), 0);
    outcome.map_err(|error: AllocError| error.errno())
}

#[test]
fn every_frame_comes_back() {
    let phys = boot(256);
    script(&phys).unwrap();
    assert_all_free(&phys);
}

#[test]
fn an_allocation_that_fails_at_any_place_leaves_everything_consistent() {
    let phys = boot(256);
    script(&phys).unwrap();
    let needed = phys.allocations();
    for nth in 1..=needed {
        phys.fail_at(nth);
        assert_eq!(script(&phys), Err(Errno::NOMEM), "allocation {nth} of {needed}");
        assert_all_free(&phys);
    }
    phys.fail_at(0);
    script(&phys).unwrap();
}

#[test]
fn an_exclusive_cursor_fails_cleanly_too() {
    let phys = boot(256);
    for nth in 1..=9 {
        let mut tables = Tables::new(&phys).unwrap();
        phys.fail_at(nth);
        let range = VpnRange::new(Vpn::new(0x3_fff0), Vpn::new(0x4_0010));
        let frame = phys.alloc(AllocRequest::kernel(Owner::Test).silent());
        let outcome = tables
            .exclusive()
            .fill(range, |_| Pte::new(foliant_units::Pfn::new(1), RW));
        phys.fail_at(0);
        drop(frame);
        clean(&tables, &phys);
        assert_eq!(outcome.is_ok(), nth == 1 || nth > 6, "allocation {nth}");
        drop(tables);
        assert_all_free(&phys);
    }
}

#[test]
fn one_flush_pays_for_many_pages() {
    let phys = boot(2048);
    let tables = Tables::new(&phys).unwrap();
    for page in 0..1000 {
        map(&tables, Vpn::new(page)).unwrap();
    }
    assert_eq!(tables.tables(Level::PTE), 2);
    unmap(&tables, VpnRange::new(Vpn::ZERO, Vpn::new(1024)));
    let flushes = tables.context().take_flushes();
    assert_eq!(
        flushes.len(),
        1,
        "neighbouring frames take one place of the gather"
    );
    assert!(flushes[0].kind == FlushKind::Removed && flushes[0].tables_freed);
    drop(tables);
    assert_all_free(&phys);
}

#[test]
fn a_full_machine_gets_the_tables_that_wait() {
    let phys = boot(16);
    let tables = Tables::new(&phys).unwrap();
    for round in 0..50u64 {
        drop(
            tables
                .lock_leaf(Vpn::new(round << 27), Missing::Allocate)
                .unwrap(),
        );
        let mut gather = Gather::new(&tables);
        tables.free_range(all(), &mut gather);
        gather.finish();
    }
    drop(tables);
    assert_all_free(&phys);
}
