//! Tables of one format in a machine's RAM, beside the list.

use std::sync::Arc;

use foliant_arch::{Access, AccessKind, Entry, EntryMemory, Level, leaf_table, walk};
use foliant_paging::{Gather, Missing, PageTables};
use foliant_phys::testing::audit;
use foliant_phys::{AllocError, AllocRequest, Owner, Phys};
use foliant_platform::testing::TestPlatform;
use foliant_units::{Errno, Order, Pfn, PhysAddr, VirtAddr, Vpn, VpnRange};

use crate::naive::{Mapped, Naive};
use crate::sample::Sample;

pub(crate) type Machine = TestPlatform;

/// RAM as the hardware's walk sees it.
pub(crate) struct Ram<'a>(pub(crate) &'a Phys<Machine>);

impl EntryMemory for Ram<'_> {
    fn load(&self, at: PhysAddr, bytes: u64) -> u64 {
        let content = self.0.content(at.frame());
        let offset = (at - at.frame().base()) as usize;
        match bytes {
            4 => content.load_u32(offset).into(),
            _ => content.load_u64(offset),
        }
    }

    fn compare_exchange(&self, at: PhysAddr, bytes: u64, old: u64, new: u64) -> Result<(), u64> {
        let content = self.0.content(at.frame());
        let offset = (at - at.frame().base()) as usize;
        match bytes {
            4 => content
                .cmpxchg_u32(offset, old as u32, new as u32)
                .map(drop)
                .map_err(u64::from),
            _ => content.cmpxchg_u64(offset, old, new).map(drop),
        }
    }
}

/// Writes the leaf entry of `page` as the hardware would.
pub(crate) fn write_entry<F: Sample>(memory: &Ram<'_>, root: PhysAddr, page: Vpn, word: u64) {
    let table = leaf_table::<F>(memory, root, page).expect("it has a table");
    let slot = F::GEOMETRY.slot(table, F::GEOMETRY.index(Level::PTE, page));
    let old = memory.load(slot, F::GEOMETRY.entry_bytes);
    assert_eq!(
        memory.compare_exchange(slot, F::GEOMETRY.entry_bytes, old, word),
        Ok(())
    );
}

pub(crate) struct World<F: Sample> {
    pub(crate) phys: Arc<Phys<Machine>>,
    pub(crate) tables: PageTables<Machine, F>,
    pub(crate) naive: Naive,
}

/// Base pages of one leaf.
pub(crate) fn step<F: Sample>(level: Level) -> u64 {
    F::GEOMETRY.entry_pages(level)
}

/// All pages that the format translates.
pub(crate) fn everything<F: Sample>() -> VpnRange {
    VpnRange::new(Vpn::ZERO, Vpn::new(1 << (F::GEOMETRY.address_bits - 12)))
}

impl<F: Sample> World<F> {
    pub(crate) fn new(phys: &Arc<Phys<Machine>>) -> Result<Self, Errno> {
        Ok(Self {
            phys: phys.clone(),
            tables: PageTables::new(phys)?,
            naive: Naive::default(),
        })
    }

    /// Maps `page`, aligned to a leaf of `level`, unless something is there.
    /// The smallest pages get frames of the machine.
    pub(crate) fn map(&mut self, page: Vpn, level: Level, number: u64) -> Result<(), AllocError> {
        let range = VpnRange::new(page, page + step::<F>(level));
        if !self.naive.is_free::<F>(range) {
            return Ok(());
        }
        let owned = level == Level::PTE;
        let frame = if owned {
            let order = Order::covering(step::<F>(level)).unwrap();
            Some(
                self.phys
                    .alloc(AllocRequest::movable(Owner::Anonymous).order(order))?,
            )
        } else {
            None
        };
        let pfn = frame
            .as_ref()
            .map_or(Pfn::new(number * step::<F>(level)), |frame| frame.pfn());
        self.set(page, level, F::leaf(pfn, level))?;
        if let Some(frame) = frame {
            frame.into_pfn();
        }
        let mapped = Mapped {
            level,
            frame: pfn,
            write: true,
            owned,
        };
        self.naive.map(page, mapped);
        Ok(())
    }

    /// Writes the leaf of `page`, where nothing is mapped; takes empty tables
    /// out of the way of a large one.
    fn set(&self, page: Vpn, level: Level, leaf: F::Entry) -> Result<(), AllocError> {
        loop {
            let mut guard = self
                .tables
                .lock_level(page, level, Missing::Allocate)?
                .expect("it was to be made");
            assert_eq!(guard.level(), level);
            if !guard.is_link() || level == Level::PTE {
                guard.set(page, leaf);
                return Ok(());
            }
            drop(guard);
            let mut gather = Gather::new(&self.tables);
            let covered = F::GEOMETRY.entry_range(level, page);
            self.tables.free_range(covered, &mut gather);
            gather.finish();
        }
    }

    /// Splits what reaches across `page`, until nothing does.
    fn cut(&mut self, page: Vpn) -> Result<(), AllocError> {
        while let Some((at, mapped)) = self.naive.find::<F>(page)
            && at != page
        {
            let mut gather = Gather::new(&self.tables);
            assert!(self.tables.split(page, mapped.level, &mut gather)?);
            gather.finish();
            self.naive.split::<F>(at);
        }
        Ok(())
    }

    pub(crate) fn unmap(&mut self, range: VpnRange) -> Result<(), AllocError> {
        self.cut(range.start)?;
        self.cut(range.end)?;
        self.take_all(range);
        self.naive.unmap(range);
        Ok(())
    }

    fn take_all(&self, range: VpnRange) {
        let mut gather = Gather::new(&self.tables);
        self.tables.edit_range(range, &mut gather, |leaf, part, gather| {
            let step = step::<F>(leaf.level());
            let mut at = part.start;
            while at < part.end {
                if !gather.has_room() {
                    return at;
                }
                let old = leaf.take(at);
                if old.is_present() {
                    let frame = old.target(leaf.level()).frame();
                    let ours = self.naive.find::<F>(at).is_some_and(|(_, mapped)| mapped.owned);
                    assert!(!ours || gather.frame(frame).is_ok());
                    gather.removed(VpnRange::new(at, at + step));
                }
                at += step;
            }
            part.end
        });
        self.tables.free_range(range, &mut gather);
        gather.finish();
    }

    pub(crate) fn protect(&mut self, range: VpnRange) -> Result<(), AllocError> {
        self.cut(range.start)?;
        self.cut(range.end)?;
        let mut gather = Gather::new(&self.tables);
        self.tables.edit_range(range, &mut gather, |leaf, part, gather| {
            let step = step::<F>(leaf.level());
            for nth in 0..part.len() / step {
                leaf.update(part.start + nth * step, |old| match old.is_present() {
                    true => F::read_only(old),
                    false => old,
                });
            }
            gather.demoted(part);
            part.end
        });
        gather.finish();
        self.naive.protect(range);
        Ok(())
    }

    /// Whether tables and walk say of `page` what the list says.
    pub(crate) fn check_page(&self, page: Vpn) {
        let expected = self.naive.find::<F>(page);
        let (entry, level) = self.tables.look_up(page);
        let found = entry.is_present().then(|| (level, entry.target(level).frame()));
        let wanted = expected.map(|(_, mapped)| (mapped.level, mapped.frame));
        assert_eq!(found, wanted, "{page:?} of {:?}", F::default());
        let at = F::GEOMETRY.extend(VirtAddr::new(page.raw() << 12));
        for kind in [AccessKind::Read, AccessKind::Write] {
            let control = F::Control::default();
            let walked = walk::<F>(
                &Ram(&self.phys),
                self.tables.root(),
                at,
                Access::user(kind),
                &control,
            );
            let walked = walked.ok().map(|found| found.address(at));
            let allowed = expected.filter(|(_, mapped)| kind == AccessKind::Read || mapped.write);
            let wanted = allowed.map(|(first, mapped)| mapped.frame.base() + ((page - first) << 12));
            assert_eq!(walked, wanted, "{kind:?} of {page:?} of {:?}", F::default());
        }
    }

    /// Checks the structure, all mappings, and `pages`.
    pub(crate) fn check(&self, pages: impl Iterator<Item = Vpn>) {
        self.clean();
        for (at, mapped) in self.naive.iter().take(64) {
            self.check_page(at);
            self.check_page(at + (step::<F>(mapped.level) - 1));
        }
        pages.for_each(|page| self.check_page(page));
    }

    pub(crate) fn clean(&self) {
        let mut wrong = Vec::new();
        self.tables.audit(&mut |violation| wrong.push(violation));
        assert_eq!(wrong, [], "{:?}", F::default());
        audit(&self.phys);
    }

    /// Takes everything out without any further table.
    pub(crate) fn end(mut self) {
        let everything = everything::<F>();
        self.take_all(everything);
        self.naive.unmap(everything);
        self.clean();
        assert_eq!(self.tables.table_bytes(), 0, "{:?}", F::default());
    }
}
