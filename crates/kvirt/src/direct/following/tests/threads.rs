//! Memory comes and goes while others use the same tables.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use foliant_platform::CpuId;
use foliant_units::VirtRange;

use super::*;
use crate::vmalloc::{Purging, Vmalloc, VmallocRequest};

#[test]
fn areas_next_to_the_map_live_in_its_last_table_while_memory_comes_and_goes() {
    let mut world = World::<X86Pae>::new(low());
    // Right behind low memory, which ends in the middle of a leaf table.
    let start = LOW + (LOWMEM + 8).base().raw();
    let range = VirtRange::new(start, start + (1 << 20));
    let vmalloc = Vmalloc::new(&world.tables, range, Purging::AtOnce);
    let (platform, over) = (world.phys.platform().clone(), AtomicBool::new(false));
    thread::scope(|scope| {
        let user = scope.spawn(|| {
            platform.on_cpu(CpuId(1), || {
                let mut rounds = 0;
                while !over.load(Ordering::Relaxed) || rounds < 10 {
                    let area = vmalloc.alloc(&VmallocRequest::new(3 << 12)).unwrap();
                    let frames = [0, 1, 2].map(|page| vmalloc.physical(area + (page << 12)));
                    assert!(frames.iter().all(Option::is_some), "{frames:?}");
                    vmalloc.free(area).unwrap();
                    rounds += 1;
                }
                rounds
            })
        });
        for _ in 0..30 {
            world.add(NewMemory::new(sections(6, 8))).unwrap();
            world.remove(sections(6, 8)).unwrap();
        }
        over.store(true, Ordering::Relaxed);
        assert!(user.join().unwrap() >= 10);
    });
    drop(vmalloc);
    world.end();
}
