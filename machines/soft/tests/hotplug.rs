//! Memory that comes and goes while CPUs look at it: through the direct map,
//! in every space, through TLBs that forget only what they are told to.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use foliant_arch::layout::{Paging, Version, X86_64Bases};
use foliant_arch::{Level, PageFault};
use foliant_kvirt::direct::{FollowingConfig, FollowingMap};
use foliant_paging::PageTables;
use foliant_phys::boot::Poison;
use foliant_phys::testing::assert_all_free;
use foliant_phys::{
    AllocRequest, BootOptions, Effort, MemoryMap, Migrator, Moved, NewMemory, OnlineTo, Owner, Phys,
    RecordsIn, Run, SECTION,
};
use foliant_platform::{CpuId, FiveLevels, FourLevels, Levels};
use foliant_soft::{
    AddressSpace, Cpu, Forget, Running, SoftConfig, SoftContext, SoftMachineOf, Trap, Violation,
};
use foliant_units::{Pfn, PfnRange, PhysAddr, PhysRange, VirtAddr};

const GIB: u64 = 1 << 30;

struct Kernel<L: Levels> {
    map: Arc<FollowingMap<SoftMachineOf<L>>>,
    phys: Arc<Phys<SoftMachineOf<L>>>,
    machine: SoftMachineOf<L>,
}

/// A space of its own below, the kernel's above.
struct Process<'k, L: Levels> {
    tables: PageTables<SoftMachineOf<L>>,
    kernel: &'k Kernel<L>,
    repaired: AtomicU64,
}

impl<L: Levels> AddressSpace<L> for Process<'_, L> {
    type Refusal = ();

    fn context(&self) -> &SoftContext<L> {
        self.tables.context()
    }

    fn resolve(&self, fault: PageFault) -> Result<(), ()> {
        let repaired = self.kernel.map.fault(fault, &self.tables);
        self.repaired.fetch_add(u64::from(repaired), Ordering::Relaxed);
        repaired.then_some(()).ok_or(())
    }
}

struct Nobody;

impl Migrator for Nobody {
    fn migrate(&self, _: Pfn, _: Pfn) -> Moved {
        Moved::No
    }
}

fn section(at: u64) -> Pfn {
    Pfn::new(at * SECTION)
}

fn sections(first: u64, end: u64) -> PfnRange {
    PfnRange::new(section(first), section(end))
}

impl<L: Levels> Kernel<L> {
    /// Boots with 256 MiB of a machine that may have `gib` GiB.
    fn new(gib: u64) -> Self {
        let machine = SoftMachineOf::<L>::new(SoftConfig {
            ram: gib * GIB,
            cpus: 2,
            tags: 8,
            ..SoftConfig::default()
        });
        let options = BootOptions {
            hotplug_below: gib * GIB,
            poison: Poison::Off,
            ..BootOptions::test()
        };
        let map = MemoryMap::ram(PhysRange::new(PhysAddr::ZERO, section(2).base()));
        let phys = machine.boot_map(&map, options).unwrap();
        let tables = Arc::new(PageTables::new_kernel(&phys).unwrap());
        let paging = if L::FIVE { Paging::Five } else { Paging::Four };
        let bases = X86_64Bases::fixed(paging, Version::Linux618);
        Self {
            map: FollowingMap::of_ram(&tables, FollowingConfig::x86_64(&bases)).unwrap(),
            phys,
            machine,
        }
    }

    fn process(&self) -> Process<'_, L> {
        let half = if L::FIVE { 0xff00 } else { 0xffff_8000 };
        let shift = if L::FIVE { 48 } else { 32 };
        let tables = PageTables::new(&self.phys).unwrap();
        Process {
            tables: tables.sharing_from(VirtAddr::new(half << shift).page()),
            kernel: self,
            repaired: AtomicU64::new(0),
        }
    }

    fn add(&self, frames: PfnRange, records: RecordsIn) {
        let new = NewMemory {
            records,
            is_zeroed: true,
            ..NewMemory::new(frames)
        };
        self.phys.add_memory(new).unwrap();
    }

    fn online(&self, frames: PfnRange) {
        for pfn in frames.iter().step_by(SECTION as usize) {
            self.phys.online_section(pfn, OnlineTo::Movable).unwrap();
        }
    }

    fn remove(&self, frames: PfnRange) {
        for pfn in frames.iter().step_by(SECTION as usize) {
            self.phys.offline_section(pfn, &Nobody).unwrap();
        }
        self.phys.remove_memory(frames).unwrap();
    }

    /// Takes the frame, so that it is somebody's.
    fn hold(&self, pfn: Pfn) -> Run<'_, SoftMachineOf<L>> {
        let frames = PfnRange::new(pfn, pfn + 1);
        self.phys
            .alloc_contig_range(frames, Owner::Test, &Nobody)
            .unwrap()
    }

    fn end(self) {
        assert_eq!(self.machine.audit(), []);
        drop(self.map);
        assert_all_free(&self.phys);
    }
}

/// Frames of added memory are used by name and by address.
fn is_reached<L: Levels>() {
    let kernel = Kernel::<L>::new(4);
    let (one, other) = (kernel.process(), kernel.process());
    for records in [RecordsIn::OldMemory, RecordsIn::NewMemory] {
        kernel.add(sections(16, 18), records);
        kernel.online(sections(16, 17));
        let request = AllocRequest::movable(Owner::Test).effort(Effort::NoWait);
        let frame = kernel.phys.alloc(request).unwrap();
        assert!(sections(16, 17).contains(frame.pfn()));
        frame.content().store_u64(8, 0x1234);
        let at = kernel.map.virt(frame.pfn().base()).unwrap();
        let record = kernel.map.record(frame.pfn()).unwrap();
        let words = |running: &Running<'_, Process<'_, L>, L>| {
            let mut words = [0; 64];
            running.read(record, &mut words).unwrap();
            words
        };
        let used = kernel.machine.run_on(CpuId(0), |cpu| {
            let running = cpu.enter(&one).as_kernel();
            assert_eq!(running.read_u64(at + 8), Ok(0x1234));
            running.write_u64(at + 4088, 0x5678).unwrap();
            words(&running)
        });
        assert_eq!(frame.content().load_u64(4088), 0x5678);
        kernel.machine.run_on(CpuId(1), |cpu| {
            let running = cpu.enter(&other).as_kernel();
            assert_eq!(running.read_u64(at + 4088), Ok(0x5678));
            assert_eq!(words(&running), used);
            drop(running);
            assert!(cpu.enter(&other).read_u64(at).is_err(), "a program reads memory");
        });
        drop(frame);
        kernel.phys.drain_all();
        kernel.machine.run_on(CpuId(1), |cpu| {
            // That nobody has the frame stands where the record is shown.
            assert_ne!(words(&cpu.enter(&other).as_kernel()), used);
        });
        kernel.phys.offline_section(section(16), &Nobody).unwrap();
        kernel.phys.remove_memory(sections(16, 18)).unwrap();
        for (number, process) in [(0, &one), (1, &other)] {
            kernel.machine.run_on(CpuId(number), |cpu| {
                let running = cpu.enter(process).as_kernel();
                let gone = [at, record].map(|at| running.read_u64(at));
                assert!(gone.iter().all(|read| matches!(read, Err(Trap::Refused(_, ())))));
            });
        }
        assert_eq!(kernel.machine.audit(), []);
    }
    // One top entry for memory and one for records, in each space.
    let repaired = [&one, &other].map(|process| process.repaired.load(Ordering::Relaxed));
    assert_eq!(repaired, [2, 2]);
    drop((one, other));
    kernel.end();
}

#[test]
fn memory_that_was_added_is_read_and_written_through_the_direct_map() {
    is_reached::<FourLevels>();
    is_reached::<FiveLevels>();
}

#[test]
fn memory_behind_a_new_top_entry_is_found_by_who_lacks_it_or_was_told() {
    let kernel = Kernel::<FourLevels>::new(1024);
    let (early, late) = (kernel.process(), kernel.process());
    kernel.map.sync(&early.tables);
    let far = PfnRange::new(Pfn::new(600 << 18), Pfn::new(602 << 18));
    kernel.add(far, RecordsIn::NewMemory);
    assert_eq!(kernel.map.mapped(Level::PUD), 2 * GIB);
    assert_eq!(kernel.map.max_pfn(), far.end);
    kernel.map.sync(&late.tables);
    let inside = far.start + 0x3fff0;
    kernel.online(PfnRange::new(
        inside.align_down(SECTION),
        inside.align_up(SECTION),
    ));
    let frame = kernel.hold(inside);
    let at = kernel.map.virt(inside.base()).unwrap();
    for process in [&early, &late] {
        kernel.machine.run_on(CpuId(0), |cpu| {
            cpu.enter(process).as_kernel().write_u64(at, 7).unwrap();
        });
    }
    let repaired = [&early, &late].map(|process| process.repaired.load(Ordering::Relaxed));
    assert_eq!(repaired, [1, 0]);
    drop((early, late, frame));
    kernel.phys.offline_section(inside, &Nobody).unwrap();
    kernel.phys.remove_memory(far).unwrap();
    kernel.end();
}

/// CPUs have a part of a huge page cached, and its tables' links; then it
/// goes, and nothing that was next to it.
fn cut_out(forget: Forget) -> Vec<Violation> {
    let kernel = Kernel::<FourLevels>::new(4);
    let process = kernel.process();
    kernel.add(sections(16, 24), RecordsIn::OldMemory);
    kernel.online(sections(16, 24));
    let frames = [16, 19, 20, 23].map(|number| section(number) + 5);
    let addresses = frames.map(|frame| kernel.map.virt(frame.base()).unwrap());
    let mut held = frames.map(|frame| Some(kernel.hold(frame)));
    let look = |cpu: u32| {
        kernel.machine.run_on(CpuId(cpu), |cpu| {
            let running = cpu.enter(&process).as_kernel();
            addresses.map(|at| running.read_u64(at).is_ok())
        })
    };
    assert_eq!([look(0), look(1)], [[true; 4]; 2]);
    kernel.machine.forget(forget);
    held[1] = None;
    kernel.remove(sections(19, 20));
    let seen = [look(0), look(1)];
    drop(held);
    kernel.remove(sections(16, 19));
    kernel.remove(sections(20, 24));
    let gone = [look(0), look(1)];
    let found = kernel.machine.audit();
    kernel.machine.forget(Forget::Nothing);
    if matches!(forget, Forget::Nothing) {
        assert_eq!(seen, [[true, false, true, true]; 2]);
        assert_eq!(gone, [[false; 4]; 2]);
        drop(process);
        kernel.end();
    } else if matches!(forget, Forget::Removed) {
        assert_eq!(seen, [[true; 4]; 2], "nothing else makes them forget");
    }
    found
}

#[test]
fn what_is_removed_is_gone_from_every_tlb_and_its_neighbours_stay() {
    assert_eq!(cut_out(Forget::Nothing), []);
}

#[test]
fn a_lost_flush_of_removed_memory_is_noticed() {
    let found = cut_out(Forget::Removed);
    let stale = found.iter().any(|found| matches!(found, Violation::Stale { .. }));
    assert!(stale, "{found:?}");
    let found = cut_out(Forget::FreedTables);
    let links = found
        .iter()
        .any(|found| matches!(found, Violation::StaleLink { .. }));
    assert!(links, "{found:?}");
}

/// One CPU has pages of 1 GiB cut and sections of them come and go, while the
/// others read and write what is next to them.
#[test]
fn cpus_go_on_in_the_neighbours_of_memory_that_comes_and_goes() {
    let kernel = Kernel::<FourLevels>::new(6);
    let processes = [kernel.process(), kernel.process()];
    let shown: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];
    let over = AtomicBool::new(false);
    let plug = || {
        let mut held = Vec::new();
        for gib in 1..6 {
            let all = sections(8 * gib, 8 * gib + 8);
            kernel.add(all, RecordsIn::OldMemory);
            kernel.online(all);
            let frame = section(8 * gib + 1) + 7;
            held.push(kernel.hold(frame));
            let at = kernel.map.virt(frame.base()).unwrap();
            shown[gib as usize].store(at.raw(), Ordering::Release);
            for number in [3, 4, 0, 3] {
                let part = sections(8 * gib + number, 8 * gib + number + 1);
                kernel.remove(part);
                kernel.add(part, RecordsIn::NewMemory);
                kernel.online(part);
            }
        }
        over.store(true, Ordering::Release);
        held
    };
    let look = |cpu: &mut Cpu<'_>| {
        let me = u64::from(cpu.id().0);
        let mut rounds = 0u64;
        while !over.load(Ordering::Acquire) || rounds < 3 {
            rounds += 1;
            let running = cpu.enter(&processes[(rounds % 2) as usize]).as_kernel();
            for at in shown
                .iter()
                .map(|at| at.load(Ordering::Acquire))
                .filter(|&at| at != 0)
            {
                let mine = VirtAddr::new(at) + me * 8;
                running.write_u64(mine, rounds).unwrap();
                assert_eq!(running.read_u64(mine), Ok(rounds));
            }
        }
        Vec::new()
    };
    let held = kernel.machine.run(2, |cpu| match cpu.id() {
        CpuId(0) => plug(),
        _ => look(cpu),
    });
    assert_eq!(kernel.machine.audit(), []);
    drop((held, processes));
    kernel.phys.drain_all();
    for gib in 1..6 {
        kernel.remove(sections(8 * gib, 8 * gib + 8));
    }
    kernel.end();
}
