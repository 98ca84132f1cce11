//! One cursor for every format: pages of every size are mapped, walked,
//! protected, split and unmapped, and a list says what must be found.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod groups;
mod naive;
mod sample;
mod world;

use foliant_arch::arm64::Arm64;
use foliant_arch::ept::Ept;
use foliant_arch::npt::Npt;
use foliant_arch::x86_64::{X86_64, X86_64La57};
use foliant_arch::x86_legacy::X86Legacy;
use foliant_arch::x86_pae::X86Pae;
use foliant_arch::{Entry, EntryMemory, Level};
use foliant_paging::PageTables;
use foliant_phys::AllocError;
use foliant_phys::testing::{assert_all_free, boot};
use foliant_units::{Errno, Pfn, Vpn, VpnRange};

use sample::Sample;
use world::{Machine, World, everything, step};

/// A generator of numbers, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// A page near one of a few places, so that things meet.
    fn page<F: Sample>(&mut self, align: u64) -> Vpn {
        let all = everything::<F>().end.raw();
        let place = self.of(&[0, all / 2, all - all / 4, all - 1]);
        let near = self.of(&[1, 40, 3000]) * step::<F>(Level::PTE);
        let page = (place + self.below(near)).min(all - 1);
        Vpn::new(page - page % align)
    }
}

/// The levels at which the format maps memory.
fn leaf_levels<F: Sample>() -> Vec<Level> {
    Level::all()
        .filter(|&level| F::GEOMETRY.can_be_leaf(level))
        .collect()
}

fn one_step<F: Sample>(world: &mut World<F>, numbers: &mut Numbers) -> Result<(), AllocError> {
    let base = step::<F>(Level::PTE);
    let level = numbers.of(&leaf_levels::<F>());
    let page = numbers.page::<F>(step::<F>(level));
    let end = page.raw() + (1 + numbers.below(700)) * base;
    let range = VpnRange::new(page, Vpn::new(end.min(everything::<F>().end.raw())));
    match numbers.below(6) {
        0..=2 => world.map(page, level, 1 + numbers.below(3)),
        3 => world.unmap(range),
        4 => world.protect(range),
        // All of a large page, wherever the range ends.
        _ => world.unmap(F::GEOMETRY.entry_range(level, page)),
    }
}

fn agrees_with_a_list<F: Sample>() {
    for seed in 0..2 {
        let phys = boot(3000);
        let mut numbers = Numbers(seed);
        let mut world = World::<F>::new(&phys).unwrap();
        for _ in 0..50 {
            // Memory may be short of a large granule.
            let _full = one_step(&mut world, &mut numbers);
            let pages: Vec<_> = (0..20).map(|_| numbers.page::<F>(1)).collect();
            world.check(pages.into_iter());
        }
        world.end();
        assert_all_free(&phys);
    }
}

/// Maps at every size, cuts each mapping in the middle, and takes all out.
fn script<F: Sample>(world: &mut World<F>) -> Result<(), AllocError> {
    for (nth, level) in leaf_levels::<F>().into_iter().enumerate() {
        let pages = step::<F>(level);
        let at = match level == F::GEOMETRY.top() {
            true => Vpn::new((1 + nth as u64) * pages),
            false => Vpn::new((2 + nth as u64) << (F::GEOMETRY.address_bits - 12 - 3)),
        };
        world.map(at, level, 1)?;
        world.protect(VpnRange::new(
            at,
            at + pages.div_ceil(2).max(step::<F>(Level::PTE)),
        ))?;
        world.unmap(VpnRange::new(at, at + step::<F>(Level::PTE)))?;
    }
    Ok(())
}

fn fails_cleanly<F: Sample>() {
    let phys = boot(1500);
    let run = || -> Result<(), Errno> {
        let mut world = World::<F>::new(&phys)?;
        let outcome = script(&mut world);
        world.check(core::iter::empty());
        world.end();
        outcome.map_err(|error| error.errno())
    };
    run().unwrap();
    assert_all_free(&phys);
    let needed = phys.allocations();
    for nth in 1..=needed {
        phys.fail_at(nth);
        assert_eq!(run(), Err(Errno::NOMEM), "{:?}: {nth} of {needed}", F::default());
        assert_all_free(&phys);
    }
}

/// The exclusive cursor over the end of a table, and into a large page.
fn exclusive_agrees<F: Sample>() {
    let phys = boot(1000);
    let mut tables = PageTables::<Machine, F>::new(&phys).unwrap();
    let base = step::<F>(Level::PTE);
    let end = F::GEOMETRY.table_pages(Level::PTE);
    let pages = VpnRange::new(Vpn::new(end - 5 * base), Vpn::new(end + 5 * base));
    let leaf = |page: Vpn| F::leaf(Pfn::new(page.raw() + 64 * base), Level::PTE);
    let mut cursor = tables.exclusive();
    cursor.fill(pages, leaf).unwrap();
    cursor.update(pages, |page, old| match (page.raw() / base) % 3 {
        0 => F::Entry::EMPTY,
        1 => F::read_only(old),
        _ => old,
    });
    assert_eq!(
        cursor.get(Vpn::new(everything::<F>().end.raw() - base)),
        F::Entry::EMPTY
    );
    for nth in 0..10 {
        let page = pages.start + nth * base;
        let expected = match (page.raw() / base) % 3 {
            0 => F::Entry::EMPTY,
            1 => F::read_only(leaf(page)),
            _ => leaf(page),
        };
        assert_eq!(tables.get(page), expected);
    }

    // A page into a large one, whose other parts stay.
    let Some(level) = leaf_levels::<F>().get(1).copied() else {
        return;
    };
    let (at, large) = (Vpn::new(4 * step::<F>(level)), step::<F>(level));
    let mut guard = tables
        .lock_level(at, level, foliant_paging::Missing::Allocate)
        .unwrap()
        .unwrap();
    guard.set(at, F::leaf(Pfn::new(large), level));
    drop(guard);
    tables.exclusive().set(at + base, F::Entry::EMPTY).unwrap();
    assert_eq!(tables.get(at + base), F::Entry::EMPTY);
    let last = tables.get(at + (large - base));
    assert_eq!(last.target(Level::PTE).frame(), Pfn::new(2 * large - base));
    let mut wrong = Vec::new();
    tables.audit(&mut |violation| wrong.push(violation));
    assert_eq!(wrong, []);
    drop(tables);
    assert_all_free(&phys);
}

fn all_of<F: Sample>() {
    agrees_with_a_list::<F>();
    fails_cleanly::<F>();
    exclusive_agrees::<F>();
}

#[test]
fn four_levels_are_edited_at_every_size() {
    all_of::<X86_64>();
}

#[test]
fn five_levels_are_edited_at_every_size() {
    all_of::<X86_64La57>();
}

#[test]
fn two_levels_of_i386_are_edited_at_every_size() {
    all_of::<X86Legacy>();
}

#[test]
fn pae_is_edited_at_every_size() {
    all_of::<X86Pae>();
}

#[test]
fn the_top_of_pae_has_only_what_cr3_accepts() {
    let phys = boot(100);
    let mut tables = PageTables::<Machine, X86Pae>::new(&phys).unwrap();
    let leaf = X86Pae::leaf(Pfn::new(7), Level::PTE);
    tables.exclusive().set(Vpn::new(5), leaf).unwrap();
    let top = world::Ram(&phys).load(tables.root(), 8);
    let top = foliant_arch::x86_64::Pte::from_raw(top);
    assert!(top.is_present() && X86Pae::accepts_top(top, &Default::default()));
}

#[test]
fn small_granules_of_arm64_are_edited_at_every_size() {
    all_of::<Arm64<12, 39>>();
    all_of::<Arm64<12, 48>>();
    all_of::<Arm64<12, 52>>();
}

#[test]
fn middle_granules_of_arm64_are_edited_at_every_size() {
    all_of::<Arm64<14, 47>>();
    all_of::<Arm64<14, 48>>();
    all_of::<Arm64<14, 52>>();
}

#[test]
fn large_granules_of_arm64_are_edited_at_every_size() {
    all_of::<Arm64<16, 42>>();
    all_of::<Arm64<16, 48>>();
    all_of::<Arm64<16, 52>>();
}

#[test]
fn tables_of_guests_memory_are_edited_at_every_size() {
    all_of::<Ept<false>>();
    all_of::<Ept<true>>();
    all_of::<Npt<false>>();
    all_of::<Npt<true>>();
}
