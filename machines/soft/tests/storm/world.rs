//! A machine, a space that all CPUs run in, and its children.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use foliant_mm::{Env, Growth, Layout, Limits, MapRequest, Randomness, SizeSetting, Space};
use foliant_phys::boot::{BootOptions, OnViolation};
use foliant_phys::{Event, Phys};
use foliant_soft::{Forget, SoftConfig, SoftMachine};
use foliant_uapi::{MapFlags, Prot};
use foliant_units::{Order, PAGE_SIZE, VirtAddr, Vpn};

use crate::files::File;
use crate::model::{Expected, Region, Rights};

/// Pages of a region. Regions lie side by side, so that leaf tables are shared.
pub(crate) const REGION: usize = 96;
/// First page of the first region.
const BASE: u64 = 0x10_0000;
/// First page of the memory that all spaces share, and how many there are.
const SHARED: u64 = 0x20_0000;
/// First page of the places where each CPU has a leaf table to itself.
const LONELY: u64 = 0x30_0000;
pub(crate) const SHARED_PAGES: u64 = 8;

pub(crate) type Soft = Space<SoftMachine>;

/// A copy of the space, and what the region of who made it must show.
pub(crate) struct Child {
    pub(crate) space: Arc<Soft>,
    pub(crate) region: usize,
    pub(crate) pages: Vec<Expected>,
}

pub(crate) struct World {
    pub(crate) space: Arc<Soft>,
    pub(crate) regions: Vec<Region>,
    pub(crate) files: Vec<File>,
    pub(crate) children: Mutex<Vec<Child>>,
    /// How often each shared page was counted up.
    pub(crate) counted: Vec<AtomicU64>,
    pub(crate) machine: SoftMachine,
    pub(crate) phys: Arc<Phys<SoftMachine>>,
    /// Frames that were moved.
    pub(crate) migrated: AtomicU64,
    /// Whether allocations fail now and then.
    pub(crate) scarce: bool,
}

pub(crate) fn page_of(region: usize, page: usize) -> Vpn {
    Vpn::new(BASE + (region * REGION + page) as u64)
}

pub(crate) fn lonely_page(cpu: usize) -> Vpn {
    Vpn::new(LONELY + 512 * cpu as u64)
}

pub(crate) fn shared_page(page: u64) -> VirtAddr {
    Vpn::new(SHARED + page).base()
}

pub(crate) fn map_request(at: Vpn, pages: u64, prot: Prot, flags: MapFlags) -> MapRequest<SoftMachine> {
    MapRequest {
        addr: at.base(),
        len: pages * PAGE_SIZE as u64,
        prot,
        flags: flags | MapFlags::FIXED | MapFlags::ANONYMOUS,
        offset: 0,
        file: None,
    }
}

pub(crate) fn prot_of(rights: Rights) -> Prot {
    match rights {
        Rights::None => Prot::NONE,
        Rights::Read => Prot::READ,
        Rights::ReadWrite => Prot::READ_WRITE,
    }
}

impl World {
    pub(crate) fn new(cpus: u32, forget: Forget, scarce: bool) -> Self {
        let machine = SoftMachine::new(SoftConfig {
            ram: 128 << 20,
            cpus,
            ..SoftConfig::default()
        });
        // A violation is found by asking: a panic in the middle of freeing
        // would bring the whole test down.
        let options = BootOptions {
            on_violation: OnViolation::Record,
            ..BootOptions::test()
        };
        let phys = machine.boot(options).unwrap();
        let env = Env::new(phys.clone()).unwrap();
        if scarce {
            // Faults fill blocks, where there is memory in one piece.
            for order in [2, 4].into_iter().filter_map(Order::new) {
                env.thp().set_size(order, SizeSetting::Always);
            }
        }
        let layout = Layout::new(8 << 20, Growth::TopDown, Randomness::None);
        let space = Space::new(&env, layout, Limits::default()).unwrap();
        let shared = map_request(Vpn::new(SHARED), SHARED_PAGES, Prot::READ_WRITE, MapFlags::SHARED);
        space.mmap(&shared).unwrap();
        let files = (0..cpus as usize)
            .map(|cpu| File::new(&env, &space, cpu))
            .collect();
        machine.forget(forget);
        Self {
            space,
            files,
            regions: (0..cpus).map(|_| Region::new(REGION)).collect(),
            children: Mutex::default(),
            counted: (0..SHARED_PAGES).map(|_| AtomicU64::new(0)).collect(),
            machine,
            phys,
            migrated: AtomicU64::new(0),
            scarce,
        }
    }

    /// Everything that can be checked while nobody runs.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.phys.fail_at(0);
        let stale = self.machine.audit();
        if let Some(first) = stale.first() {
            return Err(format!("{} stale translations, such as {first:?}", stale.len()));
        }
        let children = self.children.lock().unwrap();
        for space in children.iter().map(|child| &child.space).chain([&self.space]) {
            check_space(space)?;
        }
        self.check_counts()?;
        if self.scarce && self.phys.events(Event::Fail) == 0 {
            return Err("no allocation failed".to_owned());
        }
        match self.phys.last_violation() {
            Some(violation) => Err(format!("{violation}")),
            None => Ok(()),
        }
    }

    /// The shared words say how often they were counted up.
    fn check_counts(&self) -> Result<(), String> {
        for page in 0..SHARED_PAGES {
            let mut bytes = [0; 8];
            self.space
                .copy_in(shared_page(page), &mut bytes)
                .map_err(|error| format!("{error:?}"))?;
            let counted = self.counted[page as usize].load(Ordering::SeqCst);
            if u64::from_ne_bytes(bytes) != counted {
                return Err(format!("shared page {page} lost stores: {bytes:?} for {counted}"));
            }
        }
        Ok(())
    }

    /// Ends everything; no frame may be left.
    pub(crate) fn end(self) -> Result<(), String> {
        let Self {
            space,
            children,
            phys,
            machine,
            files,
            ..
        } = self;
        drop(files);
        drop(children);
        drop(space);
        let mut violations = Vec::new();
        let census = phys.audit(&mut |violation| violations.push(violation));
        drop(machine);
        if census.allocated != 0 || !violations.is_empty() {
            return Err(format!("at the end: {census:?} {violations:?}"));
        }
        Ok(())
    }
}

fn check_space(space: &Soft) -> Result<(), String> {
    let mut wrong = Vec::new();
    space
        .tables()
        .audit(&mut |violation| wrong.push(format!("{violation:?}")));
    space.audit(&mut |violation| wrong.push(format!("{violation:?}")));
    match wrong.first() {
        Some(first) => Err(format!("{} violations, such as {first}", wrong.len())),
        None => Ok(()),
    }
}
