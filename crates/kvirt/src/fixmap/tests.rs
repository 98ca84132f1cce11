//! Slots on a machine without TLBs.
#![allow(clippy::unwrap_used)]

use alloc::sync::Arc;

use foliant_arch::x86_64::X86_64;
use foliant_arch::{CacheMode, KernelFormat, KernelProt, Level};
use foliant_paging::PageTables;
use foliant_phys::testing::{assert_all_free, boot};
use foliant_platform::testing::TestPlatform;
use foliant_units::{Pfn, VirtAddr};

use super::*;

const APIC: FixSlot = X86_64_FIXMAP.slot("apic");
const FRAME: Pfn = Pfn::new(0xfee00);

fn fixmap(frames: u64) -> (Fixmap<TestPlatform>, Arc<PageTables<TestPlatform>>) {
    let phys = boot(frames);
    let tables = Arc::new(PageTables::new_kernel(&phys).unwrap());
    (Fixmap::new(&tables, X86_64_FIXMAP).unwrap(), tables)
}

#[test]
fn addresses_are_known_when_compiled_and_found_again() {
    const AT: VirtAddr = APIC.address();
    assert_eq!(AT, VirtAddr::new(0xffff_ffff_ff5f_d000));
    assert_eq!(X86_64_FIXMAP.find(AT + 5), Some((APIC, "apic")));
    assert_eq!(X86_64_FIXMAP.find(X86_64_FIXMAP.top), None);
    assert_eq!(
        X86_64_FIXMAP.find(APIC.after(2).address()).map(|(_, name)| name),
        Some("io_apic")
    );
}

#[test]
fn a_slot_is_set_and_cleared_with_every_cache_mode() {
    let (fixmap, tables) = fixmap(64);
    for cache in CacheMode::ALL {
        let at = fixmap.set_io(APIC, FRAME, cache).unwrap();
        let (leaf, level) = tables.look_up(at.page());
        assert_eq!(leaf.frame(), FRAME);
        assert_eq!(X86_64::cache_mode(leaf, level), cache);
    }
    // Each change but the first was flushed.
    assert_eq!(tables.context().take_flushes().len(), CacheMode::ALL.len() - 1);
    fixmap.clear(APIC).unwrap();
    assert!(tables.get(APIC.page()).is_empty());
    let phys = tables.phys().clone();
    drop((fixmap, tables));
    assert_all_free(&phys);
}

#[test]
fn setting_a_slot_takes_no_memory() {
    let (fixmap, tables) = fixmap(64);
    let before = tables.phys().allocations();
    for index in 0..X86_64_FIXMAP.slots() - 511 {
        let slot = X86_64_FIXMAP.slot("vsyscall").after(index);
        fixmap
            .set(slot, FRAME + u64::from(index), KernelProt::DATA)
            .unwrap();
    }
    assert_eq!(tables.phys().allocations(), before);
    assert_eq!(tables.tables(Level::PTE), 3);
    let beyond = X86_64_FIXMAP.slot("btmaps").after(512);
    assert_eq!(fixmap.set(beyond, FRAME, KernelProt::DATA), Err(FixError::NoSlot));
}

#[test]
fn every_failing_allocation_leaves_nothing_behind() {
    for nth in 1..5 {
        let phys = boot(64);
        let tables: Arc<PageTables<TestPlatform>> = Arc::new(PageTables::new_kernel(&phys).unwrap());
        phys.fail_at(nth);
        assert!(Fixmap::new(&tables, X86_64_FIXMAP).is_err(), "{nth}");
        phys.fail_at(0);
        drop(tables);
        assert_all_free(&phys);
    }
}
