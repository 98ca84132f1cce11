//! A space without a memory manager: anonymous frames on demand, everything writable.
#![allow(clippy::unwrap_used)]

use foliant_arch::PageFault;
use foliant_arch::x86_64::{Pte, PteFlags};
use foliant_paging::{Gather, Missing, PageTables};
use foliant_phys::{AllocRequest, BootOptions, Owner, Phys};
use foliant_soft::{AddressSpace, SoftConfig, SoftContext, SoftMachine};
use foliant_units::{Vpn, VpnRange};
use std::sync::Arc;

pub(crate) const RW: PteFlags = PteFlags::PRESENT.union(PteFlags::WRITE).union(PteFlags::USER);

pub(crate) struct Demand {
    pub(crate) tables: PageTables<SoftMachine>,
}

impl Demand {
    pub(crate) fn new(phys: &Arc<Phys<SoftMachine>>) -> Self {
        Self {
            tables: PageTables::new(phys).unwrap(),
        }
    }

    pub(crate) fn unmap(&self, pages: VpnRange) {
        let mut gather = Gather::new(&self.tables);
        self.tables.edit_range(pages, &mut gather, |leaf, part, gather| {
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
        self.tables.free_range(pages, &mut gather);
        gather.finish();
    }

    pub(crate) fn protect(&self, pages: VpnRange) {
        let mut gather = Gather::new(&self.tables);
        self.tables.edit_range(pages, &mut gather, |leaf, part, gather| {
            for page in part.iter() {
                leaf.update(page, |old| {
                    if old.is_present() {
                        old.without(PteFlags::WRITE)
                    } else {
                        old
                    }
                });
            }
            gather.demoted(part);
            part.end
        });
        gather.finish();
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        self.unmap(VpnRange::new(Vpn::ZERO, Vpn::new(1 << 35)));
    }
}

impl AddressSpace for Demand {
    type Refusal = ();

    fn context(&self) -> &SoftContext {
        self.tables.context()
    }

    fn resolve(&self, fault: PageFault) -> Result<(), ()> {
        let page = fault.at.page();
        let frame = self
            .tables
            .phys()
            .alloc(AllocRequest::movable(Owner::Anonymous).zeroed())
            .map_err(drop)?;
        let mut leaf = self
            .tables
            .lock_leaf(page, Missing::Allocate)
            .map_err(drop)?
            .ok_or(())?;
        let (old, _) = leaf.update(page, |old| match old.is_present() {
            true => old.with(PteFlags::WRITE),
            false => Pte::new(frame.pfn(), RW),
        });
        if old.is_empty() {
            frame.into_pfn();
        }
        Ok(())
    }
}

pub(crate) fn boot(cpus: u32) -> (SoftMachine, Arc<Phys<SoftMachine>>) {
    let machine = SoftMachine::new(SoftConfig {
        ram: 8 << 20,
        cpus,
        ..SoftConfig::default()
    });
    let phys = machine.boot(BootOptions::test()).unwrap();
    (machine, phys)
}

pub(crate) fn pages(start: u64, end: u64) -> VpnRange {
    VpnRange::new(Vpn::new(start), Vpn::new(end))
}
