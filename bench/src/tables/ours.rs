//! Foliant's tables.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

use foliant_arch::x86_64::{Pte, PteFlags};
use foliant_paging::{Gather, Missing, PageTables};
use foliant_phys::Phys;
use foliant_units::{Pfn, Vpn, VpnRange};

use super::PAGES;
use crate::machine::{self, Machine};

const RW: PteFlags = PteFlags::PRESENT.union(PteFlags::WRITE).union(PteFlags::USER);

/// One space's tables.
pub(super) struct Ours(pub(super) PageTables<Machine>);

pub(super) fn boot() -> Arc<Phys<Machine>> {
    Arc::new(machine::boot())
}

fn all() -> VpnRange {
    VpnRange::new(Vpn::ZERO, Vpn::new(PAGES))
}

fn leaf(page: Vpn) -> Pte {
    Pte::new(Pfn::new(page.raw()), RW)
}

impl Ours {
    pub(super) fn new(phys: &Arc<Phys<Machine>>) -> Self {
        match PageTables::new(phys) {
            Ok(tables) => Self(tables),
            Err(errno) => panic!("{errno}"),
        }
    }

    pub(super) fn map_exclusive(&mut self) {
        let mapped = self.0.exclusive().fill(all(), leaf);
        debug_assert!(mapped.is_ok());
    }

    pub(super) fn protect_exclusive(&mut self) {
        self.0
            .exclusive()
            .update(all(), |_, entry| entry.without(PteFlags::WRITE));
    }

    pub(super) fn unmap_exclusive(&mut self) {
        self.0.exclusive().update(all(), |_, _| Pte::EMPTY);
    }

    pub(super) fn map(&self, pages: VpnRange) {
        let _ = self.0.for_each_leaf(pages, Missing::Allocate, |table, part| {
            part.iter().for_each(|page| table.set(page, leaf(page)));
            ControlFlow::<()>::Continue(())
        });
    }

    pub(super) fn protect(&self) {
        let _ = self.0.for_each_leaf(all(), Missing::Skip, |table, part| {
            for page in part.iter() {
                table.update(page, |entry| entry.without(PteFlags::WRITE));
            }
            ControlFlow::<()>::Continue(())
        });
    }

    pub(super) fn unmap(&self, pages: VpnRange) {
        let mut gather = Gather::new(&self.0);
        let _ = self.0.for_each_leaf(pages, Missing::Skip, |table, part| {
            for page in part.iter() {
                table.take(page);
            }
            ControlFlow::<()>::Continue(())
        });
        gather.removed(pages);
        gather.finish();
    }

    /// Takes all entries and tables away, as the end of a program does.
    pub(super) fn clear(&mut self) {
        self.unmap_exclusive();
        let mut gather = Gather::new(&self.0);
        self.0.free_range(all(), &mut gather);
        gather.finish();
    }

    pub(super) fn everything(&self) -> VpnRange {
        all()
    }

    /// Translates pages under one pin.
    pub(super) fn translate(&self, pages: &[u64]) {
        let reader = self.0.reader();
        for &page in pages {
            black_box(reader.get(Vpn::new(page)));
        }
    }

    /// Maps pages one after the other, as peers do: nobody else is there.
    pub(super) fn map_each_exclusive(&mut self, pages: &[u64]) {
        let mut cursor = self.0.exclusive();
        for &page in pages {
            let page = Vpn::new(page);
            let mapped = cursor.set(page, leaf(page));
            debug_assert!(mapped.is_ok());
        }
    }

    /// Maps pages one after the other as faults do, under the lock of each leaf table.
    pub(super) fn map_each(&self, pages: &[u64]) {
        for &page in pages {
            let page = Vpn::new(page);
            if let Ok(Some(mut table)) = self.0.lock_leaf(page, Missing::Allocate)
                && table.get(page).is_empty()
            {
                table.set(page, leaf(page));
            }
        }
    }
}
