//! The memory manager on machines with four and five levels of tables: who
//! asks for room above 47 bits gets it where there is any, and uses it.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use foliant_arch::Level;
use foliant_mm::{Env, Growth, Layout, Limits, MapRequest, Randomness, Space, TASK_END, TASK_END_FIVE};
use foliant_phys::boot::BootOptions;
use foliant_phys::testing::assert_all_free;
use foliant_platform::{CpuId, FiveLevels, FourLevels, Levels};
use foliant_soft::{SoftConfig, SoftMachineOf, Trap};
use foliant_uapi::{MapFlags, Prot};
use foliant_units::{Errno, PAGE_SIZE, VirtAddr};

type Soft<L> = Space<SoftMachineOf<L>>;

const PAGE: u64 = PAGE_SIZE as u64;
const ABOVE: VirtAddr = VirtAddr::new(0x0012_3456_7890_a000);

fn map<L: Levels>(space: &Soft<L>, at: VirtAddr, pages: u64, more: MapFlags) -> Result<VirtAddr, Errno> {
    space.mmap(&MapRequest {
        addr: at,
        len: pages * PAGE,
        prot: Prot::READ_WRITE,
        flags: more | MapFlags::PRIVATE | MapFlags::ANONYMOUS,
        offset: 0,
        file: None,
    })
}

/// Runs `program` in a new space, after which every frame must be back.
fn on<L: Levels>(program: impl FnOnce(&SoftMachineOf<L>, &Arc<Soft<L>>)) {
    let machine = SoftMachineOf::<L>::new(SoftConfig {
        ram: 8 << 20,
        cpus: 2,
        ..SoftConfig::default()
    });
    let phys = machine.boot(BootOptions::test()).unwrap();
    let env = Env::new(phys.clone()).unwrap();
    let layout = Layout::new(8 << 20, Growth::TopDown, Randomness::None);
    let space = Space::new(&env, layout, Limits::default()).unwrap();
    program(&machine, &space);
    assert_eq!(machine.audit(), []);
    drop(space);
    drop(env);
    assert_all_free(&phys);
}

#[test]
fn only_who_hints_above_47_bits_gets_there_and_can_use_it() {
    on::<FiveLevels>(|machine, space| {
        let none = MapFlags::empty();
        let low = map(space, VirtAddr::ZERO, 4, none).unwrap();
        assert!(low < TASK_END);
        assert_eq!(map(space, ABOVE, 4, none), Ok(ABOVE));
        let last = TASK_END_FIVE - PAGE;
        assert_eq!(map(space, last, 1, MapFlags::FIXED), Ok(last));
        machine.run_on(CpuId(0), |cpu| {
            let running = cpu.enter(&**space);
            for at in [low, ABOVE, ABOVE + 3 * PAGE, last] {
                assert_eq!(running.read_u64(at), Ok(0));
                running.write_u64(at, at.raw()).unwrap();
            }
            // Nothing is where a table with one level less would look.
            for at in [low, ABOVE, ABOVE + 3 * PAGE, last] {
                assert_eq!(running.read_u64(at), Ok(at.raw()));
            }
            let beyond = VirtAddr::new(1 << 56);
            assert!(matches!(running.read_u64(beyond), Err(Trap::NonCanonical(_))));
        });
        assert_eq!(space.tables().tables(Level::P4D), 3);

        // A child has it too, copies what it writes, and gives all back.
        let child = space.fork().unwrap();
        machine.run_on(CpuId(1), |cpu| {
            let running = cpu.enter(&*child);
            running.write_u64(ABOVE, 1).unwrap();
            assert_eq!(running.read_u64(last), Ok(last.raw()));
        });
        let mut seen = [0; 8];
        space.copy_in(ABOVE, &mut seen).unwrap();
        assert_eq!(u64::from_le_bytes(seen), ABOVE.raw());
        space.munmap(ABOVE, 4 * PAGE).unwrap();
        assert_eq!(space.tables().tables(Level::P4D), 2);
    });
}

#[test]
fn with_four_levels_there_is_nothing_above_47_bits() {
    on::<FourLevels>(|machine, space| {
        let hinted = map(space, ABOVE, 4, MapFlags::empty()).unwrap();
        assert!(hinted < TASK_END);
        assert_eq!(map(space, ABOVE, 4, MapFlags::FIXED), Err(Errno::NOMEM));
        assert_eq!(space.tables().tables(Level::P4D), 0);
        machine.run_on(CpuId(0), |cpu| {
            let running = cpu.enter(&**space);
            running.write_u64(hinted, 7).unwrap();
            assert!(matches!(running.read_u64(ABOVE), Err(Trap::NonCanonical(_))));
        });
        assert!(space.copy_out(ABOVE, &[1]).is_err());
    });
}

#[test]
fn each_level_above_the_leaves_is_cached_for_itself() {
    on::<FiveLevels>(|machine, space| {
        // The next page, and the same of the next 2 MiB, GiB and 512 GiB.
        let places = [0, PAGE, 2 << 20, 1 << 30, 512 << 30].map(|more| VirtAddr::new((1 << 50) + more));
        for at in places {
            let flags = MapFlags::FIXED | MapFlags::POPULATE;
            assert_eq!(map(space, at, 1, flags), Ok(at));
        }
        let stats = machine.run_on(CpuId(0), |cpu| {
            let running = cpu.enter(&**space);
            for at in places {
                assert_eq!(running.read_u64(at), Ok(0));
            }
            drop(running);
            cpu.tlb_stats()
        });
        assert_eq!((stats.misses, stats.structure_hits), (5, [1; 4]));
        assert_eq!(stats.walk_references, 5 + 1 + 2 + 3 + 4);
    });
}
