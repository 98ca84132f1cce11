//! Drawn tests of the bookkeeping: one letter a page, no pages behind it.
//!
//! `A` to `Z` are VMAs in order of address, `.` is free. Neighbours with
//! different letters did not merge.

use alloc::sync::Arc;
use alloc::vec;
use std::prelude::v1::*;

use foliant_uapi::{Advice, MapFlags, MlockFlags, MremapFlags, Prot};
use foliant_units::{Errno, PAGE_SHIFT, VirtAddr, VirtRange, Vpn, VpnRange};

use crate::book::{Limits, Usage};
use crate::flags::VmFlags;
use crate::layout::{Growth, Layout, Randomness};
use crate::map::{AddressMap, Change};
use crate::ops::{MapRequest, MoveRequest};
use crate::tree::Tree;
use crate::vma::{Backing, Lineage, Mapping, Vma};
use crate::work::{PageWork, Treatment, Zap};

mod wide;

struct Drawn;

struct Family {
    child: bool,
}

impl Lineage for Family {
    fn is_fork_child(&self) -> bool {
        self.child
    }
}

impl Backing for Drawn {
    type Object = ();
    type Family = Family;
}

/// Pages that nobody looks at.
struct Blank;

impl PageWork<Drawn> for Blank {
    fn shared_memory(&mut self, _: u64, _: VmFlags) -> Result<Arc<Mapping<Drawn>>, Errno> {
        Err(Errno::NOSYS)
    }
    fn prepare(&mut self, _: &Tree<Vma<Drawn>>, vma: &Vma<Drawn>) {
        vma.family_or(Arc::new(Family { child: false }));
    }
    fn link(&mut self, _: &Arc<Vma<Drawn>>) -> Result<(), Errno> {
        Ok(())
    }
    fn unlink(&mut self, _: &Arc<Vma<Drawn>>) {}
    fn zap(&mut self, _: &Vma<Drawn>, _: VpnRange, _: Zap) {}
    fn free_tables(&mut self, _: VpnRange) {}
    fn protect(&mut self, _: &Vma<Drawn>, _: VpnRange) {}
    fn relocate(&mut self, _: &Vma<Drawn>, _: VpnRange, _: &Vma<Drawn>, _: Vpn) -> Result<(), Errno> {
        Ok(())
    }
    fn locked(&mut self, _: &Vma<Drawn>, _: VpnRange) {}
    fn treat(&self, _: &Arc<Vma<Drawn>>, _: VpnRange, _: Treatment) -> Result<(), Errno> {
        Ok(())
    }
    fn may_commit(&self, pages: u64) -> bool {
        pages < 1 << 20
    }
    fn settled(&mut self, _: &Usage) {}
}

/// First page of the drawings.
const FIRST: u64 = 0x1000_0000;

struct Paper {
    map: AddressMap<Drawn>,
}

fn at(page: u64) -> VirtAddr {
    Vpn::new(FIRST + page).base()
}

fn bytes(pages: u64) -> u64 {
    pages << PAGE_SHIFT
}

impl Paper {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let mut layout = Layout::new(limits.stack, Growth::TopDown, Randomness::None);
        layout.heap = VirtRange::new(at(0), at(0));
        Self {
            map: AddressMap::new(layout, limits),
        }
    }

    fn change<R>(&self, operation: impl FnOnce(&mut Change<'_, Drawn, Blank>) -> R) -> R {
        operation(&mut self.map.change(&mut Blank))
    }

    /// Private anonymous memory at exactly these pages.
    fn map(&self, page: u64, pages: u64) -> &Self {
        assert_eq!(self.try_map(page, pages, MapFlags::FIXED), Ok(at(page)));
        self
    }

    fn try_map(&self, page: u64, pages: u64, flags: MapFlags) -> Result<VirtAddr, Errno> {
        let request = MapRequest {
            addr: at(page),
            len: bytes(pages),
            prot: Prot::READ_WRITE,
            flags: flags | MapFlags::PRIVATE | MapFlags::ANONYMOUS,
            offset: 0,
            file: None,
        };
        self.change(|change| change.mmap(&request))
            .map(|mapped| mapped.range.start)
    }

    fn unmap(&self, page: u64, pages: u64) -> Result<(), Errno> {
        self.change(|change| change.munmap(at(page), bytes(pages)))
    }

    fn protect(&self, page: u64, pages: u64, prot: Prot) -> Result<(), Errno> {
        self.change(|change| change.mprotect(at(page), bytes(pages), prot))
            .map(|_| ())
    }

    fn advise(&self, page: u64, pages: u64, advice: Advice) -> Result<(), Errno> {
        self.map
            .madvise(&mut Blank, at(page), bytes(pages), advice)
            .map(|_| ())
    }

    fn lock(&self, page: u64, pages: u64) -> Result<(), Errno> {
        self.change(|change| change.mlock(at(page), bytes(pages), MlockFlags::empty()))
            .map(|_| ())
    }

    fn remap(&self, page: u64, old: u64, new: u64, flags: MremapFlags, to: u64) -> Result<VirtAddr, Errno> {
        let request = MoveRequest {
            addr: at(page),
            old_len: bytes(old),
            new_len: bytes(new),
            flags,
            new_addr: at(to),
        };
        self.change(|change| change.mremap(request))
            .map(|moved| moved.addr)
    }

    /// Writes a page for the first time.
    fn touch(&self, page: u64) -> &Self {
        self.found(page, false)
    }

    fn found(&self, page: u64, child: bool) -> &Self {
        if let Some(vma) = self.map.find(Vpn::new(FIRST + page)) {
            vma.family_or(Arc::new(Family { child }));
        }
        self
    }

    fn draw(&self) -> String {
        let tree = self.map.snapshot();
        let end = tree.iter().last().map_or(0, |vma| vma.range.end.raw() - FIRST);
        let mut drawing = vec!['.'; end as usize];
        for (vma, letter) in tree.iter().zip('A'..) {
            let start = (vma.range.start.raw() - FIRST) as usize;
            drawing[start..start + vma.range.len() as usize].fill(letter);
        }
        drawing.into_iter().collect()
    }
}

const MOVE: MremapFlags = MremapFlags::MAYMOVE.union(MremapFlags::FIXED);

#[test]
fn filling_a_hole_merges_both_neighbours() {
    let paper = Paper::new();
    paper.map(0, 2).map(3, 2);
    assert_eq!(paper.draw(), "AA.BB");
    paper.map(2, 1);
    assert_eq!(paper.draw(), "AAAAA");
}

#[test]
fn between_two_families_a_filling_joins_the_left_one() {
    let paper = Paper::new();
    paper.map(0, 2).map(3, 2).touch(0).touch(3).map(2, 1);
    assert_eq!(paper.draw(), "AAABB");
}

#[test]
fn an_untouched_right_neighbour_joins_too() {
    let paper = Paper::new();
    paper.map(0, 2).map(3, 2).touch(0).map(2, 1);
    assert_eq!(paper.draw(), "AAAAA");
}

#[test]
fn what_was_split_by_rights_merges_when_they_are_equal_again() -> Result<(), Errno> {
    let paper = Paper::new();
    paper.map(0, 5).touch(0);
    paper.protect(1, 2, Prot::READ)?;
    assert_eq!(paper.draw(), "ABBCC");
    paper.protect(2, 1, Prot::READ_WRITE)?;
    assert_eq!(paper.draw(), "ABCCC");
    paper.protect(0, 5, Prot::READ_WRITE)?;
    assert_eq!(paper.draw(), "AAAAA");
    Ok(())
}

#[test]
fn a_touched_mapping_that_moved_keeps_its_offset_and_its_distance() -> Result<(), Errno> {
    let paper = Paper::new();
    paper.map(0, 2).map(4, 2).touch(0);
    assert_eq!(paper.remap(0, 2, 2, MOVE, 2), Ok(at(2)));
    assert_eq!(paper.draw(), "..AABB");
    // Home again, it fits where it came from.
    paper.unmap(4, 2)?;
    paper.map(1, 1).unmap(1, 1)?;
    assert_eq!(paper.remap(2, 2, 2, MOVE, 0), Ok(at(0)));
    paper.map(2, 1);
    assert_eq!(paper.draw(), "AAA");
    Ok(())
}

#[test]
fn an_untouched_mapping_merges_where_it_goes() {
    let paper = Paper::new();
    paper.map(0, 2).map(4, 2);
    assert_eq!(paper.remap(0, 2, 2, MOVE, 2), Ok(at(2)));
    assert_eq!(paper.draw(), "..AAAA");
}

#[test]
fn what_a_fork_copied_does_not_widen() {
    let paper = Paper::new();
    paper.map(0, 2).found(0, true).map(2, 2);
    assert_eq!(paper.draw(), "AABB");
}

#[test]
fn locked_memory_stands_apart_until_it_is_unlocked() -> Result<(), Errno> {
    let paper = Paper::new();
    paper.map(0, 4);
    paper.lock(1, 2)?;
    assert_eq!(
        (paper.draw().as_str(), paper.map.book().usage.locked),
        ("ABBC", 2)
    );
    paper.change(|change| change.munlock(at(0), bytes(4)))?;
    assert_eq!(
        (paper.draw().as_str(), paper.map.book().usage.locked),
        ("AAAA", 0)
    );
    Ok(())
}

#[test]
fn protecting_over_a_hole_changes_what_is_before_it() {
    let paper = Paper::new();
    paper.map(0, 2).map(4, 2);
    assert_eq!(paper.protect(1, 5, Prot::READ), Err(Errno::NOMEM));
    assert_eq!(paper.draw(), "AB..CC");
}

#[test]
fn advising_over_a_hole_changes_both_sides() {
    let paper = Paper::new();
    paper.map(0, 2).map(4, 2);
    assert_eq!(paper.advise(1, 4, Advice::DontFork), Err(Errno::NOMEM));
    assert_eq!(paper.draw(), "AB..CD");
}

#[test]
fn sealed_memory_keeps_a_whole_range_mapped() -> Result<(), Errno> {
    let paper = Paper::new();
    paper.map(0, 6);
    paper.change(|change| change.mseal(at(3), bytes(1)))?;
    assert_eq!(paper.unmap(1, 5), Err(Errno::PERM));
    // The first cut stays, as in Linux.
    assert_eq!(paper.draw(), "ABBCDD");
    assert_eq!(paper.try_map(2, 3, MapFlags::FIXED), Err(Errno::PERM));
    Ok(())
}

#[test]
fn several_mappings_move_with_their_holes() -> Result<(), Errno> {
    let paper = Paper::new();
    paper.map(0, 1).map(2, 1);
    paper.protect(2, 1, Prot::READ)?;
    assert_eq!(paper.remap(0, 3, 3, MOVE, 5), Ok(at(5)));
    assert_eq!(paper.draw(), ".....A.B");
    assert_eq!(paper.remap(5, 3, 4, MOVE, 0), Err(Errno::FAULT));
    Ok(())
}

#[test]
fn one_more_mapping_than_the_limit_can_exist() -> Result<(), Errno> {
    let limits = Limits {
        vmas: 3,
        ..Limits::default()
    };
    let paper = Paper::with(limits);
    paper.map(0, 3).map(4, 1).map(6, 1).map(8, 1);
    assert_eq!(paper.try_map(9, 1, MapFlags::FIXED), Err(Errno::NOMEM));
    assert_eq!(paper.unmap(1, 1), Err(Errno::NOMEM));
    assert_eq!(paper.protect(1, 1, Prot::READ), Err(Errno::NOMEM));
    assert_eq!(paper.advise(1, 1, Advice::DontDump), Err(Errno::AGAIN));
    // Trimming makes no mapping more.
    paper.unmap(2, 1)?;
    assert_eq!(paper.draw(), "AA..B.C.D");
    Ok(())
}

#[test]
fn the_limit_on_locked_memory_answers_each_call_its_way() {
    let limits = Limits {
        memlock: 2 << PAGE_SHIFT,
        ..Limits::default()
    };
    let paper = Paper::with(limits);
    paper.map(0, 4);
    assert_eq!(paper.lock(0, 3), Err(Errno::NOMEM));
    assert_eq!(paper.lock(0, 2), Ok(()));
    assert_eq!(paper.lock(0, 2), Ok(()), "relocking is free");
    assert_eq!(
        paper.try_map(8, 1, MapFlags::FIXED | MapFlags::LOCKED),
        Err(Errno::AGAIN)
    );
    assert_eq!(paper.remap(0, 2, 3, MremapFlags::MAYMOVE, 0), Err(Errno::AGAIN));
    paper.map.book().limits.memlock = 0;
    assert_eq!(paper.lock(0, 1), Err(Errno::PERM));
}

#[test]
fn a_replacement_counts_only_what_it_adds() {
    let limits = Limits {
        address_space: 4 << PAGE_SHIFT,
        ..Limits::default()
    };
    let paper = Paper::with(limits);
    paper.map(0, 4).map(1, 2);
    assert_eq!(paper.try_map(4, 1, MapFlags::FIXED), Err(Errno::NOMEM));
    assert_eq!(paper.map.book().usage.total, 4);
}

#[test]
fn the_heap_keeps_a_page_free_below_the_next_mapping() {
    let paper = Paper::new();
    paper.map(4, 1);
    let brk = |page| paper.change(|change| change.brk(at(page))).0;
    assert_eq!(brk(3), at(3));
    assert_eq!(brk(4), at(3));
    assert_eq!(brk(1), at(1));
    assert_eq!(paper.draw(), "A...B");
}

#[test]
fn a_stack_grows_to_the_guard_gap_and_no_further() {
    let paper = Paper::new();
    let stack = 600;
    assert!(
        paper
            .try_map(stack, 2, MapFlags::FIXED | MapFlags::GROWSDOWN)
            .is_ok()
    );
    paper.map(0, 10);
    let grow = |page| {
        paper.change(|change| {
            change
                .grow_stack(Vpn::new(FIRST + page))
                .map(|vma| vma.range.len())
        })
    };
    assert_eq!(grow(590), Ok(12));
    assert_eq!(grow(10 + 255), Err(Errno::NOMEM));
    assert_eq!(grow(10 + 256), Ok(602 - 266));
    // What cannot be touched needs no distance.
    assert_eq!(paper.protect(0, 10, Prot::NONE), Ok(()));
    assert_eq!(grow(10), Ok(592));
}

#[test]
fn two_megabytes_go_to_an_aligned_place() -> Result<(), Errno> {
    let paper = Paper::new();
    let place = |len| {
        let request = MapRequest {
            addr: VirtAddr::ZERO,
            len,
            prot: Prot::READ_WRITE,
            flags: MapFlags::PRIVATE | MapFlags::ANONYMOUS,
            offset: 0,
            file: None,
        };
        paper
            .change(|change| change.mmap(&request))
            .map(|mapped| mapped.range.start.raw())
    };
    assert_eq!(place(2 << 20)?, 0x7fff_f7c0_0000);
    // The gap above is used by the next small one.
    assert_eq!(place(4096)?, 0x7fff_f7ff_e000);
    assert_eq!(place((2 << 20) + 4096)?, 0x7fff_f79f_f000);
    Ok(())
}
