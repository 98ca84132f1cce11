//! Many threads in one space, each with pages of its own and one file for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use foliant_platform::CpuId;
use foliant_uapi::{Advice, MapFlags, Prot};
use foliant_units::Order;

use super::world::{P, PAGE, RW, TestFile, World, addr, map, open, rss};
use crate::{Mapping, Object, SizeSetting, Space};

const THREADS: u64 = 4;
/// Pages of one thread.
const OWN: u64 = 24;
/// Where the file is mapped.
const FILE: u64 = 4096;
const FILE_PAGES: u64 = 32;
const ROUNDS: u64 = 300;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// One thread's pages and what it knows to be in them.
struct Owner {
    space: Arc<Space<P>>,
    first: u64,
    bytes: [u8; OWN as usize],
    dice: Dice,
}

impl Owner {
    fn round(&mut self) {
        let at = self.dice.roll(OWN);
        let pages = 1 + self.dice.roll(OWN - at);
        let (page, len) = (addr(self.first + at), pages * PAGE);
        match self.dice.roll(12) {
            0 => {
                self.space.munmap(page, len).expect("munmap");
                map(&self.space, self.first + at, pages, RW, MapFlags::PRIVATE, None);
                self.forget(at, pages);
            }
            1 => {
                self.space
                    .madvise(page, len, Advice::DontNeed.raw())
                    .expect("discard");
                self.forget(at, pages);
            }
            2 => {
                self.space.mprotect(page, len, Prot::READ).expect("mprotect");
                self.space.mprotect(page, len, RW).expect("mprotect");
            }
            3 => self.fork(),
            4 => self.file(),
            _ => {
                let byte = 1 + self.dice.roll(255) as u8;
                self.space.copy_out(page, &[byte]).expect("writable");
                self.bytes[at as usize] = byte;
            }
        }
        self.look(&self.space);
    }

    fn forget(&mut self, at: u64, pages: u64) {
        self.bytes[at as usize..(at + pages) as usize].fill(0);
    }

    /// The pages hold what was written, here and in every copy.
    fn look(&self, space: &Space<P>) {
        for (at, &byte) in (self.first..).zip(&self.bytes) {
            let mut found = [0];
            space.copy_in(addr(at), &mut found).expect("readable");
            assert_eq!(found, [byte], "page {at}");
        }
    }

    fn fork(&mut self) {
        let child = self.space.fork().expect("room");
        self.look(&child);
        let at = self.dice.roll(OWN);
        child.copy_out(addr(self.first + at), &[0xcc]).expect("writable");
        self.look(&self.space);
    }

    /// The file is cut and extended by somebody all the time: a page of it is
    /// what it was, or zero, or not there.
    fn file(&mut self) {
        let at = self.dice.roll(FILE_PAGES);
        let mut found = [0];
        for area in [FILE, FILE + FILE_PAGES] {
            if self.space.copy_in(addr(area + at), &mut found).is_ok() {
                assert!([0, at as u8 + 1, 0xdd].contains(&found[0]), "{found:?}");
            }
            let _ = self.space.copy_out(addr(area + at), &[0xdd]);
        }
    }
}

fn cut(mapping: &Mapping<P>, stop: &AtomicBool) {
    let mut dice = Dice(99);
    while !stop.load(Ordering::Relaxed) {
        mapping
            .object
            .set_size(dice.roll(FILE_PAGES) * PAGE + dice.roll(PAGE))
            .expect("cut");
        mapping.object.set_size(FILE_PAGES * PAGE).expect("extended");
        let _ = mapping.object.write_back(0..u64::MAX);
        if dice.roll(4) == 0 {
            mapping.object.invalidate();
        }
        thread::yield_now();
    }
}

#[test]
fn threads_fault_map_fork_and_truncate_at_once() {
    race(&[]);
}

#[test]
fn threads_do_the_same_where_faults_fill_blocks() {
    // A block of sixteen reaches into two owners' pages.
    race(&[2, 4]);
}

/// Runs the threads on a machine that fills blocks of these orders.
fn race(orders: &[u8]) {
    let world = World::with_cpus(4096, THREADS as u32 + 1);
    for &order in orders {
        let order = Order::new(order).expect("an order");
        world.env.thp().set_size(order, SizeSetting::Always);
    }
    let space = world.space();
    let object = Object::file(&world.env, TestFile::of_pages(FILE_PAGES as u8));
    let mapping = open(&object);
    map(&space, FILE, FILE_PAGES, RW, MapFlags::SHARED, Some(&mapping));
    map(
        &space,
        FILE + FILE_PAGES,
        FILE_PAGES,
        RW,
        MapFlags::PRIVATE,
        Some(&mapping),
    );
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let owners: Vec<_> = (0..THREADS)
            .map(|number| {
                let (space, phys) = (space.clone(), &world.phys);
                // Neighbours share leaf tables.
                let first = number * OWN;
                map(&space, first, OWN, RW, MapFlags::PRIVATE, None);
                scope.spawn(move || {
                    phys.platform().on_cpu(CpuId(number as u32), || {
                        let mut owner = Owner {
                            space,
                            first,
                            bytes: [0; OWN as usize],
                            dice: Dice(number),
                        };
                        (0..ROUNDS).for_each(|_| owner.round());
                    });
                })
            })
            .collect();
        let cutter = scope.spawn(|| {
            let cpu = CpuId(THREADS as u32);
            world.phys.platform().on_cpu(cpu, || cut(&mapping, &stop));
        });
        let results: Vec<_> = owners.into_iter().map(|owner| owner.join()).collect();
        stop.store(true, Ordering::Relaxed);
        cutter.join().expect("the cutter");
        results.into_iter().for_each(|result| result.expect("an owner"));
    });
    rss(&space);
    drop((space, mapping, object));
    world.check();
}
