//! The kernel's own mappings as CPUs see them: in every space, through TLBs
//! that forget only what they are told to, with tops that spaces lack at first.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foliant_arch::x86_64::X86_64;
use foliant_arch::{CacheMode, ErrorCode, Format, KernelProt, Level, PageFault};
use foliant_kvirt::vmalloc::{BadAccess, Purging, Vmalloc, VmallocRequest};
use foliant_paging::PageTables;
use foliant_phys::testing::assert_all_free;
use foliant_phys::{AllocRequest, BootOptions, Owner, Phys};
use foliant_platform::CpuId;
use foliant_soft::{AddressSpace, Forget, SoftConfig, SoftContext, SoftMachine, Trap, Violation};
use foliant_units::{PAGE_SIZE, Pfn, PhysAddr, PhysRange, VirtAddr, VirtRange};

const START: VirtAddr = VirtAddr::new(0xffff_c900_0000_0000);
const KERNEL_HALF: VirtAddr = VirtAddr::new(0xffff_8000_0000_0000);
const PAGE: u64 = PAGE_SIZE as u64;
/// What one top entry covers.
const TOP: u64 = 1 << 39;

struct Kernel {
    vmalloc: Vmalloc<SoftMachine>,
    tables: Arc<PageTables<SoftMachine>>,
    phys: Arc<Phys<SoftMachine>>,
    machine: SoftMachine,
}

/// A space of its own below, the kernel's above.
struct Process<'k> {
    tables: PageTables<SoftMachine>,
    kernel: &'k Kernel,
    repaired: AtomicU64,
}

impl AddressSpace for Process<'_> {
    type Refusal = BadAccess;

    fn context(&self) -> &SoftContext {
        self.tables.context()
    }

    fn resolve(&self, fault: PageFault) -> Result<(), BadAccess> {
        self.kernel.vmalloc.fault(fault, &self.tables)?;
        self.repaired.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Kernel {
    fn new(cpus: u32, purging: Purging) -> Self {
        let machine = SoftMachine::new(SoftConfig {
            ram: 32 << 20,
            cpus,
            ..SoftConfig::default()
        });
        let phys = machine.boot(BootOptions::test()).unwrap();
        let tables = Arc::new(PageTables::new_kernel(&phys).unwrap());
        let range = VirtRange::new(START, START + (32 << 40));
        Self {
            vmalloc: Vmalloc::new(&tables, range, purging),
            tables,
            phys,
            machine,
        }
    }

    fn process(&self) -> Process<'_> {
        let tables = PageTables::new(&self.phys).unwrap();
        Process {
            tables: tables.sharing_from(KERNEL_HALF.page()),
            kernel: self,
            repaired: AtomicU64::new(0),
        }
    }

    fn end(self) {
        self.vmalloc.purge();
        assert_eq!(self.machine.audit(), []);
        drop((self.vmalloc, self.tables));
        assert_all_free(&self.phys);
    }
}

fn message(trap: Trap<BadAccess>) -> String {
    match trap {
        Trap::Refused(_, bad) => bad.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fault_in_an_unsynchronised_top_is_repaired_once_per_space() {
    let kernel = Kernel::new(2, Purging::Lazy);
    let (one, other) = (kernel.process(), kernel.process());
    let at = kernel
        .vmalloc
        .alloc(&VmallocRequest::new(4 * PAGE).zeroed())
        .unwrap();
    kernel.machine.run_on(CpuId(0), |cpu| {
        let running = cpu.enter(&one).as_kernel();
        running.write(at + 100, &[7; 9000]).unwrap();
        running.read_u64(at).unwrap();
    });
    kernel.machine.run_on(CpuId(1), |cpu| {
        let running = cpu.enter(&other).as_kernel();
        let mut bytes = [0; 9002];
        running.read(at + 99, &mut bytes).unwrap();
        assert_eq!((bytes[0], bytes[1], bytes[9000], bytes[9001]), (0, 7, 7, 0));
    });
    // Everything of 512 GiB came with the one entry.
    let next = kernel.vmalloc.alloc(&VmallocRequest::new(PAGE)).unwrap();
    kernel.machine.run_on(CpuId(1), |cpu| {
        cpu.enter(&other).as_kernel().write_u64(next, 1).unwrap();
    });
    assert_eq!(one.repaired.load(Ordering::Relaxed), 1);
    assert_eq!(other.repaired.load(Ordering::Relaxed), 1);
    // Another 512 GiB have another entry.
    let far = kernel
        .vmalloc
        .alloc(&VmallocRequest::new(PAGE).align(TOP))
        .unwrap();
    kernel.machine.run_on(CpuId(1), |cpu| {
        cpu.enter(&other).as_kernel().write_u64(far, 1).unwrap();
    });
    let expected = 1 + u64::from(far.raw() / TOP != at.raw() / TOP);
    assert_eq!(other.repaired.load(Ordering::Relaxed), expected);
    drop((one, other));
    kernel.end();
}

#[test]
fn cpus_that_fault_at_once_in_one_space_all_go_on() {
    let kernel = Kernel::new(4, Purging::Lazy);
    for _ in 0..20 {
        let process = kernel.process();
        let at = kernel.vmalloc.alloc(&VmallocRequest::new(PAGE).zeroed()).unwrap();
        kernel.machine.run(4, |cpu| {
            let number = u64::from(cpu.id().0);
            cpu.enter(&process)
                .as_kernel()
                .write_u64(at + number * 8, number)
                .unwrap();
        });
        kernel.vmalloc.free(at).unwrap();
    }
    kernel.end();
}

#[test]
fn a_program_sees_nothing_of_the_kernel() {
    let kernel = Kernel::new(1, Purging::Lazy);
    let process = kernel.process();
    let at = kernel.vmalloc.alloc(&VmallocRequest::new(PAGE)).unwrap();
    kernel.machine.run_on(CpuId(0), |cpu| {
        let trap = cpu.enter(&process).read_u64(at).unwrap_err();
        assert!(message(trap).starts_with("bad user read"));
        cpu.enter(&process).as_kernel().read_u64(at).unwrap();
        let Trap::Refused(fault, _) = cpu.enter(&process).read_u64(at).unwrap_err() else {
            panic!("a program reads kernel memory");
        };
        assert_eq!(fault.code, ErrorCode::USER | ErrorCode::PROTECTION);
    });
    drop(process);
    kernel.end();
}

#[test]
fn an_access_past_the_end_or_after_the_end_names_the_area() {
    let kernel = Kernel::new(1, Purging::AtOnce);
    let process = kernel.process();
    let request = VmallocRequest::new(2 * PAGE - 8).zeroed();
    let at = kernel.vmalloc.alloc(&request).unwrap();
    kernel.machine.run_on(CpuId(0), |cpu| {
        let running = cpu.enter(&process).as_kernel();
        running.write_u64(at + 2 * PAGE - 8, 1).unwrap();
        let said = message(running.write_u64(at + 2 * PAGE + 24, 1).unwrap_err());
        let area = format!(
            "vmalloc area {:#018x}-{:#018x} of 8192 bytes, from ",
            at.raw(),
            at.raw() + 2 * PAGE
        );
        let expected = format!(
            "bad kernel write at {:#018x}: guard page, 24 bytes past the end of {area}",
            at.raw() + 2 * PAGE + 24
        );
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.contains("kernel_half.rs:"), "{said}");
        let said = message(running.exec(at).unwrap_err());
        assert!(said.contains(&format!("not permitted in {area}")), "{said}");

        kernel.vmalloc.free(at).unwrap();
        let said = message(running.read_u64(at).unwrap_err());
        assert!(said.contains(&format!("use after free of {area}")), "{said}");
        let said = message(running.read_u64(at + (1 << 30)).unwrap_err());
        assert!(said.ends_with("no area is there"), "{said}");
    });
    drop(process);
    kernel.end();
}

#[test]
fn a_read_only_map_of_large_and_small_pages_is_read_only() {
    let kernel = Kernel::new(1, Purging::Lazy);
    let process = kernel.process();
    let request = VmallocRequest::new(2 << 20).large().zeroed();
    let large = kernel.vmalloc.alloc(&request).unwrap();
    let frames: Vec<Pfn> = (0..3)
        .map(|page| kernel.vmalloc.physical(large + page * PAGE).unwrap().frame())
        .collect();
    let shown = kernel.vmalloc.map(&frames, KernelProt::READ_ONLY).unwrap();
    kernel.machine.run_on(CpuId(0), |cpu| {
        let running = cpu.enter(&process).as_kernel();
        running.write_u64(large + PAGE, 42).unwrap();
        assert_eq!(running.read_u64(shown + PAGE), Ok(42));
        let said = message(running.write_u64(shown + PAGE, 1).unwrap_err());
        assert!(said.contains("not permitted in vmap area"), "{said}");
    });
    assert_eq!(kernel.tables.look_up(large.page()).1, Level::PMD);
    kernel.vmalloc.unmap(shown).unwrap();
    drop(process);
    kernel.end();
}

#[test]
fn devices_are_out_of_ram_and_keep_their_mode() {
    let kernel = Kernel::new(1, Purging::Lazy);
    let process = kernel.process();
    let device = PhysRange::new(PhysAddr::new(0xfee0_0000), PhysAddr::new(0xfee0_1000));
    let at = kernel.vmalloc.ioremap(device, CacheMode::UncachedMinus).unwrap();
    kernel.machine.run_on(CpuId(0), |cpu| {
        // No memory answers there.
        assert_eq!(cpu.enter(&process).as_kernel().read_u64(at), Ok(u64::MAX));
    });
    let (leaf, level) = kernel.tables.look_up(at.page());
    assert_eq!(
        <X86_64 as foliant_arch::KernelFormat>::cache_mode(leaf, level),
        CacheMode::UncachedMinus
    );
    assert_eq!(level, X86_64::GEOMETRY.below(Level::PMD).unwrap());
    kernel.vmalloc.iounmap(at).unwrap();
    drop(process);
    kernel.end();
}

/// CPUs in three spaces allocate, write, check, map and free, while all of
/// them read what the others have. Returns what the audits found.
fn storm(cpus: u32, rounds: u64, forget: Forget) -> Vec<Violation> {
    let kernel = Kernel::new(cpus, Purging::Pages(40));
    let processes: Vec<Process<'_>> = (0..3).map(|_| kernel.process()).collect();
    kernel.machine.forget(forget);
    let mut found = Vec::new();
    for round in 0..rounds {
        kernel
            .machine
            .run(cpus, |cpu| work(&kernel, &processes, cpu, round));
        // What waits for a flush may be in TLBs, no harm done.
        kernel.vmalloc.purge();
        found = kernel.machine.audit();
        if !found.is_empty() {
            break;
        }
    }
    kernel.machine.forget(Forget::Nothing);
    drop(processes);
    if found.is_empty() {
        kernel.end();
    }
    found
}

fn work(kernel: &Kernel, processes: &[Process<'_>], cpu: &mut foliant_soft::Cpu<'_>, round: u64) {
    let me = u64::from(cpu.id().0);
    let mut seed = round * 31 + me;
    let mut held: Vec<(VirtAddr, u64)> = Vec::new();
    for step in 0..30u64 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let running = cpu.enter(&processes[(seed >> 40) as usize % 3]).as_kernel();
        let pages = 1 + (seed >> 33) % 12;
        let at = kernel.vmalloc.alloc(&VmallocRequest::new(pages * PAGE)).unwrap();
        for page in 0..pages {
            running.write_u64(at + page * PAGE, seed ^ page).unwrap();
        }
        if step % 3 == 0 {
            let frames: Vec<Pfn> = (0..pages)
                .map(|page| kernel.vmalloc.physical(at + page * PAGE).unwrap().frame())
                .collect();
            let map = kernel.vmalloc.map_ram(&frames, KernelProt::DATA).unwrap();
            assert_eq!(running.read_u64(map.start()), Ok(seed));
            kernel.vmalloc.unmap_ram(map);
        }
        for &(at, value) in &held {
            assert_eq!(running.read_u64(at), Ok(value), "another area shows through");
        }
        held.push((at, seed));
        if held.len() == 4 {
            let (at, _) = held.remove(step as usize % 4);
            kernel.vmalloc.free(at).unwrap();
        }
    }
    held.into_iter()
        .for_each(|(at, _)| kernel.vmalloc.free(at).unwrap());
}

#[test]
fn a_storm_leaves_no_stale_translation_and_no_frame() {
    assert_eq!(storm(3, 8, Forget::Nothing), []);
}

#[test]
fn a_lost_flush_of_the_kernel_is_noticed() {
    let outcome = std::panic::catch_unwind(|| storm(3, 8, Forget::Removed));
    assert!(!matches!(&outcome, Ok(found) if found.is_empty()));
}

#[test]
fn a_machine_has_one_kernel_at_a_time() {
    let kernel = Kernel::new(1, Purging::Lazy);
    assert!(PageTables::<SoftMachine>::new_kernel(&kernel.phys).is_err());
    let (machine, phys) = (kernel.machine.clone(), kernel.phys.clone());
    kernel.end();
    assert!(PageTables::<SoftMachine>::new_kernel(&phys).is_ok());
    let frame = phys.alloc(AllocRequest::kernel(Owner::Test)).unwrap();
    drop(frame);
    assert_eq!(machine.audit(), []);
}
