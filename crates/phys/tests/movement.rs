//! Folios that are moved to make room: contiguous ranges, areas, compaction.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use foliant_phys::boot::Poison;
use foliant_phys::{
    AllocRequest, BlockKind, BootOptions, CmaArea, CmaError, Compacted, ContigError, Effort, Event, Migrator,
    Mobility, Moved, NodeId, Owner, Phys, testing,
};
use foliant_platform::testing::TestPlatform;
use foliant_units::{Order, Pfn, PfnRange};

type Machine = Arc<Phys<TestPlatform>>;

const BLOCK: u64 = 512;

/// Stands for page tables: knows every frame that is used, and what is in it.
struct Tables {
    phys: Machine,
    /// The value in each frame.
    used: Mutex<BTreeMap<Pfn, u64>>,
    calls: AtomicU64,
    /// Which call answers that the folio is busy for good; zero for none.
    refuse: AtomicU64,
    /// Whether nothing moves at all.
    stuck: AtomicBool,
    woken: Mutex<Vec<NodeId>>,
}

impl Tables {
    fn new(phys: &Machine) -> Arc<Self> {
        Arc::new(Self {
            phys: phys.clone(),
            used: Mutex::default(),
            calls: AtomicU64::new(0),
            refuse: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            woken: Mutex::default(),
        })
    }

    /// Uses frames until there are none; returns how many.
    fn fill(&self, request: AllocRequest) -> usize {
        let mut count = 0;
        while let Ok(frame) = self.phys.alloc(request.silent()) {
            self.own(frame.into_pfn());
            count += 1;
        }
        count
    }

    fn own(&self, pfn: Pfn) {
        let value = pfn.raw() ^ 0x5a5a;
        self.phys.content(pfn).write(8, &value.to_le_bytes());
        self.used.lock().unwrap().insert(pfn, value);
    }

    /// Stops using all frames that `choose` names.
    fn free(&self, choose: impl Fn(Pfn) -> bool) {
        let mut used = self.used.lock().unwrap();
        let gone: Vec<Pfn> = used.keys().copied().filter(|&pfn| choose(pfn)).collect();
        for pfn in gone {
            used.remove(&pfn);
            drop(self.phys.adopt(pfn));
        }
    }

    fn check(&self) {
        for (&pfn, &value) in &*self.used.lock().unwrap() {
            let mut bytes = [0; 8];
            self.phys.content(pfn).read(8, &mut bytes);
            assert_eq!(u64::from_le_bytes(bytes), value, "what was in {pfn:?} is lost");
        }
    }
}

impl Migrator for Tables {
    fn wake(&self, node: NodeId) {
        self.woken.lock().unwrap().push(node);
    }

    fn migrate(&self, from: Pfn, to: Pfn) -> Moved {
        if self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.refuse.load(Ordering::Relaxed) {
            return Moved::No;
        }
        if self.stuck.load(Ordering::Relaxed) {
            return Moved::Busy;
        }
        let mut used = self.used.lock().unwrap();
        let Some(value) = used.remove(&from) else {
            return Moved::No;
        };
        let mut bytes = [0; 4096];
        self.phys.content(from).read(0, &mut bytes);
        self.phys.content(to).write(0, &bytes);
        used.insert(to, value);
        drop(self.phys.adopt(from));
        Moved::Yes
    }
}

fn block(number: u64) -> PfnRange {
    PfnRange::new(Pfn::new(number * BLOCK), Pfn::new((number + 1) * BLOCK))
}

fn movable() -> AllocRequest {
    AllocRequest::movable(Owner::Test)
}

#[test]
fn a_range_is_taken_from_those_who_use_it() {
    let phys = testing::boot(16 * BLOCK);
    let tables = Tables::new(&phys);
    tables.fill(movable());
    tables.free(|pfn| pfn.raw() % 2 == 0);
    let frames = PfnRange::new(Pfn::new(3 * BLOCK + 100), Pfn::new(5 * BLOCK + 7));
    let run = phys.alloc_contig_range(frames, Owner::Buffer, &*tables).unwrap();
    assert_eq!(run.frames(), frames);
    tables.check();
    let census = testing::audit(&phys);
    assert_eq!(
        census.allocated,
        tables.used.lock().unwrap().len() as u64 + frames.len()
    );
    assert_eq!(
        phys.block_kind(frames.start),
        Some(BlockKind::Of(Mobility::Movable))
    );
    drop(run);
    tables.free(|_| true);
    testing::assert_all_free(&phys);
}

#[test]
fn what_cannot_move_is_named_and_nothing_is_lost() {
    let phys = testing::boot(16 * BLOCK);
    let tables = Tables::new(&phys);
    tables.fill(movable());
    tables.free(|pfn| pfn.raw() % 2 == 0);
    let frames = PfnRange::new(block(3).start, block(3).start + 64);
    let mut failures = 0;
    for nth in 1..40 {
        tables.calls.store(0, Ordering::Relaxed);
        tables.refuse.store(nth, Ordering::Relaxed);
        let run = phys.alloc_contig_range(frames, Owner::Buffer, &*tables);
        testing::audit(&phys);
        tables.check();
        match run {
            Err(ContigError::Busy(pfn) | ContigError::InUse(pfn)) => assert!(frames.contains(pfn)),
            // What moved before a failure stays away, so it gets easier.
            other => {
                assert!(other.is_ok(), "{other:?}");
                break;
            }
        }
        failures += 1;
    }
    assert!((1..39).contains(&failures), "{failures}");
    tables.free(|_| true);
    testing::assert_all_free(&phys);
}

#[test]
fn a_range_outside_of_ram_is_refused() {
    let phys = testing::boot(4 * BLOCK);
    let tables = Tables::new(&phys);
    let far = PfnRange::new(Pfn::new(1 << 20), Pfn::new((1 << 20) + 1));
    for frames in [far, PfnRange::new(Pfn::new(600), Pfn::new(600))] {
        assert_eq!(
            phys.alloc_contig_range(frames, Owner::Buffer, &*tables).err(),
            Some(ContigError::NotRam)
        );
    }
}

#[test]
fn contiguous_frames_are_found_wherever_they_can_be_made() {
    let phys = testing::boot(16 * BLOCK);
    let tables = Tables::new(&phys);
    let pin = phys.alloc(AllocRequest::kernel(Owner::Test)).unwrap();
    tables.fill(movable());
    tables.free(|pfn| pfn.raw() % 3 == 0);
    let run = phys.alloc_contig(1500, 4, Owner::Buffer, &*tables).unwrap();
    assert_eq!(run.frames().len(), 1500);
    assert!(!run.frames().contains(pin.pfn()));
    tables.check();
    testing::audit(&phys);
    drop((run, pin));
    tables.free(|_| true);
    testing::assert_all_free(&phys);
}

#[test]
fn an_area_is_lent_to_movable_frames_and_taken_back() {
    let phys = testing::boot(16 * BLOCK);
    let area = CmaArea::reserve(&phys, PfnRange::new(block(4).start, block(6).start)).unwrap();
    let tables = Tables::new(&phys);

    // Frames that stay are never put there.
    let mut kernel = Vec::new();
    while let Ok(frame) = phys.alloc(AllocRequest::kernel(Owner::Test).silent()) {
        assert!(!area.frames().contains(frame.pfn()), "{frame:?}");
        kernel.push(frame);
    }
    // Movable ones are.
    let lent = tables.fill(movable());
    assert_eq!(lent as u64, area.frames().len());
    let zones = phys.zones().iter();
    assert_eq!(zones.map(|(_, zone)| zone.free_cma()).sum::<u64>(), 0);

    // There must be room elsewhere before they can be moved.
    assert_eq!(area.alloc(&phys, 300, 1, &*tables), Err(ContigError::NoRoom));
    kernel.truncate(kernel.len() - 600);
    // Blocks of frames that stay are taken for movable ones when there is nothing else.
    let frames = area.alloc(&phys, 300, 1, &*tables).unwrap();
    assert_eq!((frames.start, area.given()), (area.frames().start, 300));
    tables.check();
    let second = area.alloc(&phys, 100, 64, &*tables).unwrap();
    assert_eq!(second.start, area.frames().start + 320);

    area.release(&phys, frames);
    area.release(&phys, second);
    assert_eq!(area.given(), 0);
    kernel.clear();
    tables.free(|_| true);
    testing::assert_all_free(&phys);
    let free: u64 = phys.zones().iter().map(|(_, zone)| zone.free_cma()).sum();
    assert_eq!(free, area.frames().len());
    assert!(phys.events(Event::CmaSuccess) >= 400 && phys.events(Event::CmaFail) > 0);
}

#[test]
fn an_area_is_made_of_free_whole_blocks() {
    let phys = testing::boot(16 * BLOCK);
    let odd = PfnRange::new(Pfn::new(BLOCK + 1), Pfn::new(2 * BLOCK));
    assert_eq!(CmaArea::reserve(&phys, odd).err(), Some(CmaError::Unaligned));
    let held = phys.alloc(movable()).unwrap();
    let used = held.pfn().align_down(BLOCK);
    let frames = PfnRange::new(used, used + BLOCK);
    assert_eq!(CmaArea::reserve(&phys, frames).err(), Some(CmaError::NotFree));
    let area = CmaArea::reserve(&phys, block(5)).unwrap();
    assert_eq!(
        CmaArea::reserve(&phys, area.frames()).err(),
        Some(CmaError::NotFree)
    );
}

/// Memory full of movable frames of which every third is then freed.
fn fragmented() -> (Machine, Arc<Tables>) {
    let phys = testing::boot(32 * BLOCK);
    let tables = Tables::new(&phys);
    tables.fill(movable());
    tables.free(|pfn| pfn.raw() % 3 == 0);
    phys.drain_all();
    (phys, tables)
}

#[test]
fn a_huge_folio_is_had_after_fragmentation() {
    let (phys, tables) = fragmented();
    let huge = movable().order(Order::PMD).silent();
    assert!(phys.alloc(huge).is_err(), "nobody can move anything");
    phys.set_migrator(Some(tables.clone()));
    let mut held = Vec::new();
    while let Ok(frame) = phys.alloc(huge) {
        held.push(frame);
        testing::audit(&phys);
        tables.check();
    }
    // A third of 32 blocks is free; what is left of it is less than a few blocks.
    assert!(held.len() >= 7, "{} huge folios", held.len());
    assert!(phys.events(Event::CompactSuccess) >= held.len() as u64 - 1);
    assert!(phys.events(Event::Migrated) > 0);
    drop(held);
    phys.set_migrator(None);
    tables.free(|_| true);
    testing::assert_all_free(&phys);
}

#[test]
fn whichever_migration_fails_nothing_is_lost() {
    for nth in [1, 2, 3, 5, 17, 100, 341, 342, 700] {
        let (phys, tables) = fragmented();
        tables.refuse.store(nth, Ordering::Relaxed);
        let came_to = phys.compact_node(NodeId(0), Order::PMD, &*tables);
        assert_ne!(came_to, Compacted::Skipped);
        tables.check();
        testing::audit(&phys);
        tables.free(|_| true);
        testing::assert_all_free(&phys);
    }
}

/// A few blocks full of movable folios of an order, every second of which was
/// then freed; not poisoned, because many are made.
fn small_and_fragmented(order: Order) -> (Machine, Arc<Tables>) {
    let options = BootOptions {
        poison: Poison::Off,
        ..BootOptions::test()
    };
    let phys = testing::boot_with(3 * BLOCK, 1, options);
    let tables = Tables::new(&phys);
    tables.fill(movable().order(order));
    tables.free(|pfn| (pfn.raw() >> order.raw()).is_multiple_of(2));
    phys.drain_all();
    (phys, tables)
}

#[test]
fn every_migration_may_fail_once() {
    let half_a_block = Order::new(8).unwrap();
    let mut nth = 0;
    loop {
        nth += 1;
        let (phys, tables) = small_and_fragmented(Order::ZERO);
        tables.refuse.store(nth, Ordering::Relaxed);
        let came_to = phys.compact_node(NodeId(0), half_a_block, &*tables);
        assert_ne!(came_to, Compacted::Skipped);
        tables.check();
        testing::audit(&phys);
        let calls = tables.calls.load(Ordering::Relaxed);
        assert_eq!(phys.events(Event::NotMigrated), u64::from(calls >= nth));
        tables.free(|_| true);
        testing::assert_all_free(&phys);
        if calls < nth {
            break;
        }
    }
    assert!(nth > 100, "{nth}");
}

#[test]
fn every_folio_to_move_to_may_be_missing() {
    let order = Order::new(2).unwrap();
    let half_a_block = Order::new(8).unwrap();
    let mut nth = 0;
    loop {
        nth += 1;
        let (phys, tables) = small_and_fragmented(order);
        let failed = phys.events(Event::Fail);
        phys.fail_at(nth);
        phys.compact_node(NodeId(0), half_a_block, &*tables);
        phys.fail_at(0);
        tables.check();
        testing::audit(&phys);
        let hit = phys.events(Event::Fail) != failed;
        tables.free(|_| true);
        testing::assert_all_free(&phys);
        if !hit {
            break;
        }
    }
    assert!(nth > 30, "{nth}");
}

#[test]
fn a_fragmented_node_is_compacted_before_anybody_asks() {
    let (phys, tables) = fragmented();
    let before = phys.fragmentation_score(NodeId(0));
    assert!(before > 90, "{before}");
    assert_eq!(
        phys.compact_proactively(NodeId(0), 0, &*tables),
        Compacted::Skipped
    );
    assert!(phys.may_be_fragmented(NodeId(0)));
    let came_to = phys.compact_proactively(NodeId(0), 60, &*tables);
    let after = phys.fragmentation_score(NodeId(0));
    assert!(after <= 50, "{before} became {after}");
    assert_eq!(came_to, Compacted::Success);
    assert!(!phys.may_be_fragmented(NodeId(0)));
    assert_eq!(
        phys.events(Event::CompactDaemonWake),
        0,
        "nobody asked, and Linux counts those"
    );
    assert!(phys.events(Event::CompactDaemonMigrateScanned) > 0);
    tables.check();
    testing::audit(&phys);
    assert_eq!(
        phys.compact_proactively(NodeId(0), 20, &*tables),
        Compacted::Skipped
    );
    tables.free(|_| true);
    testing::assert_all_free(&phys);
}

#[test]
fn compaction_ahead_of_need_tells_when_it_made_nothing_better() {
    let (phys, tables) = fragmented();
    tables.stuck.store(true, Ordering::Relaxed);
    let before = phys.fragmentation_score(NodeId(0));
    let came_to = phys.compact_proactively(NodeId(0), 60, &*tables);
    assert_eq!(came_to, Compacted::Complete);
    assert_eq!(phys.fragmentation_score(NodeId(0)), before);
    phys.set_proactiveness(0);
    assert!(!phys.may_be_fragmented(NodeId(0)), "nobody is to know");
    tables.check();
    tables.free(|_| true);
    testing::assert_all_free(&phys);
}

#[test]
fn who_may_not_wait_wakes_the_node_and_its_thread_makes_room() {
    let (phys, tables) = fragmented();
    phys.set_migrator(Some(tables.clone()));
    let huge = movable().order(Order::PMD).effort(Effort::NoWait).silent();
    assert!(phys.alloc(huge).is_err() && phys.alloc(huge).is_err());
    assert_eq!(
        *tables.woken.lock().unwrap(),
        [NodeId(0)],
        "once, while it has not run"
    );
    assert_eq!(
        phys.compaction_daemon(NodeId(0), &*tables),
        Some(Compacted::Success)
    );
    assert_eq!(phys.compaction_daemon(NodeId(0), &*tables), None);
    assert!(phys.alloc(huge).is_ok());
    let scanned = phys.events(Event::CompactDaemonMigrateScanned);
    assert!(scanned > 0 && scanned == phys.events(Event::CompactMigrateScanned));
    assert!(phys.events(Event::CompactDaemonFreeScanned) > 0 && phys.events(Event::CompactIsolated) > 0);
    assert_eq!(
        (
            phys.events(Event::CompactDaemonWake),
            phys.events(Event::CompactStall)
        ),
        (1, 0)
    );
    tables.check();
    phys.set_migrator(None);
    tables.free(|_| true);
    testing::assert_all_free(&phys);
}

#[test]
fn what_failed_lately_is_not_tried_again_at_once() {
    let (phys, tables) = fragmented();
    phys.set_migrator(Some(tables.clone()));
    tables.stuck.store(true, Ordering::Relaxed);
    let huge = movable().order(Order::PMD).silent();
    for _ in 0..64 {
        assert!(phys.alloc(huge).is_err());
    }
    // Tried at once, and then after 2, 4, 8, 16 and 32 requests.
    let zones = phys.zones().iter().count() as u64;
    let stalls = phys.events(Event::CompactStall);
    assert!((5..=7 * zones).contains(&stalls), "{stalls}");
    assert_eq!(stalls, phys.events(Event::CompactFail));
    tables.stuck.store(false, Ordering::Relaxed);
    let mut requests = 0;
    while phys.alloc(huge).is_err() {
        requests += 1;
        assert!(requests < 65);
    }
    assert!(phys.events(Event::CompactSuccess) > 0);
    phys.set_migrator(None);
    tables.free(|_| true);
    testing::assert_all_free(&phys);
}

#[test]
fn the_threshold_says_from_which_fragmentation_on_moving_helps() {
    let (phys, tables) = fragmented();
    phys.set_fragmentation_threshold(1000);
    let skipped = phys.compact_node(NodeId(0), Order::PMD, &*tables);
    assert_eq!(skipped, Compacted::Skipped);
    phys.set_fragmentation_threshold(500);
    let done = phys.compact_node(NodeId(0), Order::PMD, &*tables);
    assert_eq!(done, Compacted::Success);
    tables.free(|_| true);
}

#[test]
fn memory_that_is_not_fragmented_is_left_alone() {
    let phys = testing::boot(8 * BLOCK);
    let tables = Tables::new(&phys);
    assert_eq!(
        phys.compact_node(NodeId(0), Order::PMD, &*tables),
        Compacted::Skipped
    );
    tables.fill(movable());
    assert_eq!(
        phys.compact_node(NodeId(0), Order::PMD, &*tables),
        Compacted::Skipped
    );
    assert_eq!(tables.calls.load(Ordering::Relaxed), 0);
    tables.free(|_| true);
}
