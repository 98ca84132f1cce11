//! The same steps here and on the kernel that runs the test: equal faults,
//! equal residency, equal bytes.
//!
//! A step changes one area of 64 pages, which stays mapped all the time. After
//! each, the sums of `/proc/self/smaps` over the area, `mincore` and the bits
//! of `/proc/self/pagemap` must be equal, and so must the minor faults that
//! the step took. Left out is what even Linux does not repeat: references,
//! LRU, lazily freed pages, and when a disk file becomes clean.

mod linux;
mod ours;
mod sizes;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use foliant_uapi::{Advice, Prot};

use self::linux::Live;
use self::ours::Ours;
use self::sizes::Sizes;
use super::world::{PAGE, RW, World};
use crate::{Orders, ThpEvent};

pub(super) const AREA: u64 = 64;
pub(super) const FILE_PAGES: u8 = 40;

/// What a step maps.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Anonymous,
    Shmem,
    Disk,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Map(u64, u64, What, bool, Prot),
    Read(u64),
    Write(u64),
    Protect(u64, u64, Prot),
    Advise(u64, u64, Advice),
    Truncate(What, u64),
    Move(u64, u64, u64),
    Lock(u64, u64),
    Unlock(u64, u64),
    Fork,
    Exit,
    ChildRead(u64),
    ChildWrite(u64),
}

struct Dice {
    state: u64,
    /// Whether advice on huge pages is among the steps.
    blocks: bool,
}

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % sides
    }

    fn range(&mut self) -> (u64, u64) {
        let at = self.roll(AREA);
        let pages = 1 + self.roll((AREA - at).min(24));
        (at, pages)
    }

    fn prot(&mut self) -> Prot {
        [
            Prot::READ,
            RW,
            RW,
            Prot::empty(),
            Prot::READ | Prot::EXEC,
            Prot::WRITE,
        ][self.roll(6) as usize]
    }

    fn step(&mut self) -> Step {
        let (at, pages) = self.range();
        let what = [What::Anonymous, What::Shmem, What::Disk][self.roll(3) as usize];
        let kinds = if self.blocks { 28 } else { 24 };
        match self.roll(kinds) {
            24 => Step::Advise(at, pages, Advice::NoHugePage),
            25..=27 => Step::Advise(0, AREA, Advice::HugePage),
            0 | 1 => Step::Map(at, pages, what, self.roll(2) == 0, RW),
            2 | 3 => Step::Protect(at, pages, self.prot()),
            4 => Step::Advise(at, pages, Advice::DontNeed),
            5 => Step::Advise(at, pages, Advice::PopulateRead),
            6 => Step::Advise(at, pages, Advice::PopulateWrite),
            7 => Step::Advise(at, pages, Advice::GuardInstall),
            8 => Step::Advise(at, pages, Advice::GuardRemove),
            9 => Step::Truncate(what, self.roll(u64::from(FILE_PAGES) + 8) * PAGE),
            10 => {
                // To a place that does not overlap.
                let pages = pages.min(AREA / 2);
                let from = at.min(AREA / 2 - 1).min(AREA - pages);
                let pages = pages.min(AREA / 2 - from);
                Step::Move(from, pages, AREA / 2 + self.roll(AREA / 2 - pages + 1))
            }
            11 => Step::Lock(at, pages),
            12 | 13 => Step::Unlock(at, AREA - at),
            14 => Step::Fork,
            15 => Step::Exit,
            16 => Step::ChildRead(at),
            17 | 18 => Step::ChildWrite(at),
            19 | 20 => Step::Read(at),
            _ => Step::Write(at),
        }
    }
}

/// What is compared after each step.
#[derive(PartialEq, Debug)]
pub(super) struct Seen {
    pub(super) error: i32,
    pub(super) faults: u64,
    pub(super) smaps: BTreeMap<&'static str, u64>,
    pub(super) mincore: Vec<bool>,
    pub(super) pagemap: Vec<u64>,
    pub(super) child: Option<(BTreeMap<&'static str, u64>, Vec<u64>)>,
    pub(super) byte: Option<u8>,
}

pub(super) const FIELDS: [&str; 9] = [
    "Rss",
    "Pss",
    "Pss_Dirty",
    "Shared_Clean",
    "Shared_Dirty",
    "Private_Clean",
    "Private_Dirty",
    "Anonymous",
    "Swap",
];
pub(super) const PRESENT: u64 = 1 << 63;
pub(super) const FILE: u64 = 1 << 61;
pub(super) const GUARD: u64 = 1 << 58;
pub(super) const EXCLUSIVE: u64 = 1 << 56;

/// A fork shares the pages of the whole process, so one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs one sequence; how many faults filled more than a page.
fn run(seed: u64, steps: usize, blocks: bool) -> u64 {
    let world = World::new(4096);
    let live = Live::new();
    let ours = Ours::new(&world);
    let mut dice = Dice { state: seed, blocks };
    let mut done = vec![Step::Map(0, AREA, What::Anonymous, false, RW)];
    if blocks {
        sizes::enable(world.env.thp());
        done.push(Step::Advise(0, AREA, Advice::HugePage));
    }
    // What a disk file gains is read from the disk, which takes major faults there.
    let mut disk = u64::from(FILE_PAGES) * PAGE;
    done.extend((0..steps).map(|_| match dice.step() {
        Step::Truncate(What::Disk, size) => {
            disk = disk.min(size);
            Step::Truncate(What::Disk, disk)
        }
        step => step,
    }));
    for at in 0..done.len() {
        let here = ours.step(done[at]);
        let allowed = here.error != libc::EFAULT;
        let there = live.step(done[at], allowed);
        assert!(
            here == there,
            "seed {seed}, after\n{}\nours: {here:?}\nlive: {there:?}",
            done[..=at]
                .iter()
                .map(|step| std::format!("  {step:?}\n"))
                .collect::<std::string::String>()
        );
    }
    drop(ours);
    let thp = world.env.thp();
    let filled = |order| thp.events(order, ThpEvent::Filled);
    let filled = Orders::ANONYMOUS.descending().map(filled).sum();
    world.check();
    filled
}

#[test]
fn random_steps_look_the_same_on_linux() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for seed in 1..=std::env::var("FOLIANT_SEEDS").map_or(12, |seeds| seeds.parse().unwrap_or(12)) {
        run(seed, 40, false);
    }
}

#[test]
fn faults_that_fill_blocks_look_the_same_on_linux() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(sizes) = Sizes::enable_live() else {
        return;
    };
    let mut filled = 0;
    for seed in 1..=std::env::var("FOLIANT_SEEDS").map_or(24, |seeds| seeds.parse().unwrap_or(24)) {
        let before = sizes.fallbacks();
        let result = std::panic::catch_unwind(|| run(seed, 60, true));
        match result {
            _ if sizes.fallbacks() != before => {
                std::eprintln!("seed {seed} says nothing: the kernel had no memory in one piece");
            }
            Ok(blocks) => filled += blocks,
            Err(failure) => std::panic::resume_unwind(failure),
        }
    }
    assert!(filled > 0, "no fault filled a block");
}
