//! Walks over small tables.

extern crate std;

use core::cell::RefCell;
use std::collections::BTreeMap;

use foliant_units::{Pfn, PhysAddr, VirtAddr};

use super::*;
use crate::access::Mode;
use crate::x86_64::{Control, Pkru, Pte, PteFlags, X86_64};

const RW: PteFlags = PteFlags::PRESENT.union(PteFlags::WRITE).union(PteFlags::USER);
const ROOT: PhysAddr = PhysAddr::new(0x1000);
const AT: VirtAddr = VirtAddr::new(0x1234_5678_9abc);

/// Words of memory; what was never written reads as zero.
#[derive(Default)]
struct Words {
    words: RefCell<BTreeMap<PhysAddr, u64>>,
    /// How many exchanges fail from now on, as if another CPU were faster.
    spoil: RefCell<u32>,
}

impl EntryMemory for Words {
    fn load(&self, at: PhysAddr, _bytes: u64) -> u64 {
        self.words.borrow().get(&at).copied().unwrap_or(0)
    }

    fn compare_exchange(&self, at: PhysAddr, bytes: u64, old: u64, new: u64) -> Result<(), u64> {
        let mut spoil = self.spoil.borrow_mut();
        if *spoil > 0 {
            *spoil -= 1;
            self.words
                .borrow_mut()
                .insert(at, old | PteFlags::SOFT_DIRTY.bits());
        }
        match self.load(at, bytes) {
            now if now == old => {
                self.words.borrow_mut().insert(at, new);
                Ok(())
            }
            now => Err(now),
        }
    }
}

impl Words {
    /// Tables for `AT`, one entry each, down to `leaf` at `level`; links have `links`.
    fn with_leaf(level: Level, leaf: Pte, links: PteFlags) -> Self {
        let words = Self::default();
        let (mut at, mut table) = (Level::PGD, ROOT);
        while at != level {
            let next = table + 0x1000;
            words.put(at, table, Pte::new(next.frame(), links));
            at = X86_64::GEOMETRY.below(at).unwrap();
            table = next;
        }
        words.put(level, table, leaf);
        words
    }

    fn put(&self, level: Level, table: PhysAddr, entry: Pte) {
        let slot = X86_64::GEOMETRY.slot(table, X86_64::GEOMETRY.index(level, AT.page()));
        self.words.borrow_mut().insert(slot, entry.raw());
    }

    fn entries(&self) -> std::vec::Vec<Pte> {
        self.words
            .borrow()
            .values()
            .map(|&word| Pte::from_raw(word))
            .collect()
    }

    fn go(&self, access: Access, control: &Control) -> Result<Translation<X86_64>, Fault> {
        walk::<X86_64>(self, ROOT, AT, access, control)
    }
}

fn code(result: Result<Translation<X86_64>, Fault>) -> ErrorCode {
    match result {
        Err(Fault::Page(fault)) => fault.code,
        other => panic!("no page fault but {other:?}"),
    }
}

const READ: Access = Access::user(AccessKind::Read);
const WRITE: Access = Access::user(AccessKind::Write);
const FETCH: Access = Access::user(AccessKind::Execute);
const KERNEL_READ: Access = Access::supervisor(AccessKind::Read);
const KERNEL_WRITE: Access = Access::supervisor(AccessKind::Write);

#[test]
fn a_walk_finds_pages_of_all_sizes() {
    for (level, frame) in [(Level::PTE, 0x777), (Level::PMD, 0x40200), (Level::PUD, 0x80000)] {
        let large = if level == Level::PTE {
            PteFlags::empty()
        } else {
            PteFlags::LARGE
        };
        let words = Words::with_leaf(level, Pte::new(Pfn::new(frame), RW | large), RW);
        let found = words.go(READ, &Control::default()).unwrap();
        let size = X86_64::GEOMETRY.entry_span(level);
        assert_eq!(found.level, level);
        assert_eq!(found.address(AT), Pfn::new(frame).base() + AT.raw() % size);
    }
}

#[test]
fn a_read_sets_accessed_and_a_write_sets_dirty_on_the_leaf_only() {
    let words = Words::with_leaf(Level::PTE, Pte::new(Pfn::new(9), RW), RW);
    words.go(READ, &Control::default()).unwrap();
    assert!(
        words
            .entries()
            .iter()
            .all(|entry| entry.is_accessed() && !entry.is_dirty())
    );
    words.go(WRITE, &Control::default()).unwrap();
    let dirty: std::vec::Vec<bool> = words.entries().iter().map(|entry| entry.is_dirty()).collect();
    assert_eq!(dirty, [false, false, false, true]);
}

#[test]
fn a_refused_write_leaves_no_trace() {
    let read_only = RW.difference(PteFlags::WRITE);
    let words = Words::with_leaf(Level::PTE, Pte::new(Pfn::new(9), read_only), RW);
    let before = words.entries();
    let refused = code(words.go(WRITE, &Control::default()));
    assert_eq!(
        refused,
        ErrorCode::PROTECTION | ErrorCode::WRITE | ErrorCode::USER
    );
    assert_eq!(words.entries(), before);
}

#[test]
fn an_entry_that_changes_under_the_walk_is_read_again() {
    let words = Words::with_leaf(Level::PTE, Pte::new(Pfn::new(9), RW), RW);
    *words.spoil.borrow_mut() = 2;
    let found = words.go(WRITE, &Control::default()).unwrap();
    assert!(found.leaf.is_dirty() && found.leaf.is_accessed());
}

#[test]
fn a_level_above_can_take_rights_but_not_give_them() {
    let control = Control::default();
    let leaf = Pte::new(Pfn::new(9), RW);
    let no_write = Words::with_leaf(Level::PTE, leaf, RW.difference(PteFlags::WRITE));
    assert!(code(no_write.go(WRITE, &control)).contains(ErrorCode::PROTECTION));
    let no_user = Words::with_leaf(Level::PTE, leaf, RW.difference(PteFlags::USER));
    assert!(code(no_user.go(READ, &control)).contains(ErrorCode::PROTECTION));
    let no_exec = Words::with_leaf(Level::PTE, leaf, RW | PteFlags::NO_EXECUTE);
    assert!(code(no_exec.go(FETCH, &control)).contains(ErrorCode::FETCH | ErrorCode::PROTECTION));
}

#[test]
fn nothing_there_is_told_apart_from_forbidden() {
    let words = Words::with_leaf(Level::PTE, Pte::EMPTY, RW);
    assert_eq!(
        code(words.go(WRITE, &Control::default())),
        ErrorCode::WRITE | ErrorCode::USER
    );
}

#[test]
fn the_kernel_obeys_wp_smep_and_smap() {
    let user_page = Words::with_leaf(Level::PTE, Pte::new(Pfn::new(9), RW), RW);
    let read_only = RW.difference(PteFlags::WRITE);
    let user_read_only = Words::with_leaf(Level::PTE, Pte::new(Pfn::new(9), read_only), RW);
    let on = Control::default();
    let no_smap = Control { smap: false, ..on };
    let bare = Control {
        smap: false,
        smep: false,
        write_protect: false,
        ..on
    };
    let kernel_fetch = Access {
        kind: AccessKind::Execute,
        mode: Mode::Supervisor,
    };

    assert!(code(user_page.go(KERNEL_READ, &on)).contains(ErrorCode::PROTECTION));
    assert!(user_page.go(KERNEL_WRITE, &no_smap).is_ok());
    assert!(code(user_read_only.go(KERNEL_WRITE, &no_smap)).contains(ErrorCode::PROTECTION));
    assert!(user_read_only.go(KERNEL_WRITE, &bare).is_ok());
    assert!(code(user_page.go(kernel_fetch, &no_smap)).contains(ErrorCode::PROTECTION | ErrorCode::FETCH));
    assert!(user_page.go(kernel_fetch, &bare).is_ok());
}

#[test]
fn reserved_bits_fault_whatever_the_access() {
    let control = Control {
        physical_bits: 40,
        ..Control::default()
    };
    let reserved = ErrorCode::PROTECTION | ErrorCode::RESERVED | ErrorCode::USER;
    let beyond = Words::with_leaf(Level::PTE, Pte::new(Pfn::new(1 << 30), RW), RW);
    assert_eq!(code(beyond.go(READ, &control)), reserved);
    let skewed = Words::with_leaf(Level::PMD, Pte::new(Pfn::new(0x2_0002), RW | PteFlags::LARGE), RW);
    assert_eq!(code(skewed.go(READ, &control)), reserved);
    let top = Words::with_leaf(Level::PGD, Pte::new(Pfn::new(0x40000), RW | PteFlags::LARGE), RW);
    assert_eq!(code(top.go(READ, &control)), reserved);
    let no_nx = Control {
        no_execute: false,
        ..control
    };
    let nx = Words::with_leaf(Level::PTE, Pte::new(Pfn::new(9), RW | PteFlags::NO_EXECUTE), RW);
    assert_eq!(code(nx.go(READ, &no_nx)), reserved);
}

#[test]
fn protection_keys_bind_data_but_not_fetches() {
    let words = Words::with_leaf(Level::PTE, Pte::new(Pfn::new(9), RW).with_key(2), RW);
    let keys = |bits: u32| Control {
        pkru: Some(Pkru(bits << 4)),
        ..Control::default()
    };
    let refused = ErrorCode::PROTECTION | ErrorCode::USER | ErrorCode::KEY;
    assert!(words.go(WRITE, &keys(0)).is_ok());
    assert_eq!(code(words.go(WRITE, &keys(2))), refused | ErrorCode::WRITE);
    assert!(words.go(READ, &keys(2)).is_ok());
    assert_eq!(code(words.go(READ, &keys(1))), refused);
    assert!(words.go(FETCH, &keys(3)).is_ok());
}

#[test]
fn a_hole_in_the_address_space_is_not_a_page_fault() {
    let words = Words::default();
    let hole = VirtAddr::new(0x8000_0000_0000);
    let result = walk::<X86_64>(&words, ROOT, hole, READ, &Control::default());
    assert_eq!(result, Err(Fault::NonCanonical(hole)));
}
