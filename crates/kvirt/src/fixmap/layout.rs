//! Which slots there are, as constants.

use foliant_units::{PAGE_SIZE, VirtAddr, VirtRange, Vpn};

/// One slot: a page with a fixed address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FixSlot {
    /// Counted down from the top page, which is slot zero.
    index: u32,
    top: VirtAddr,
}

impl FixSlot {
    /// The number of the slot (`enum fixed_addresses`).
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The address of its first byte (`fix_to_virt()`).
    pub const fn address(self) -> VirtAddr {
        VirtAddr::new(self.top.raw() - self.index as u64 * PAGE_SIZE as u64)
    }

    /// Its page.
    pub const fn page(self) -> Vpn {
        self.address().page()
    }

    /// The slot `count` further: at a lower address.
    #[must_use]
    pub const fn after(self, count: u32) -> Self {
        Self {
            index: self.index + count,
            ..self
        }
    }
}

/// Some slots with a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FixRun {
    /// What they are for.
    pub name: &'static str,
    /// The number of the first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// The fixmap of a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FixLayout {
    /// The address of slot zero (`FIXADDR_TOP`).
    pub top: VirtAddr,
    /// The slots, ascending and without overlap.
    pub runs: &'static [FixRun],
}

impl FixLayout {
    /// The first slot of the run called `name`. In a constant, a name that is
    /// not there is a compile error.
    ///
    /// # Panics
    /// There is no such run.
    pub const fn slot(&self, name: &str) -> FixSlot {
        let mut at = 0;
        while at < self.runs.len() {
            if same(self.runs[at].name, name) {
                return FixSlot {
                    index: self.runs[at].first,
                    top: self.top,
                };
            }
            at += 1;
        }
        panic!("the fixmap has no such slot")
    }

    /// How many slots there are room for, unnamed ones between runs included.
    pub const fn slots(&self) -> u32 {
        match self.runs.last() {
            Some(run) => run.first + run.count,
            None => 0,
        }
    }

    /// All addresses.
    pub const fn range(&self) -> VirtRange {
        let end = self.top.raw() + PAGE_SIZE as u64;
        let start = end - self.slots() as u64 * PAGE_SIZE as u64;
        VirtRange::new(VirtAddr::new(start), VirtAddr::new(end))
    }

    /// The slot that `at` lies in, if it is a named one (`virt_to_fix()`).
    pub fn find(&self, at: VirtAddr) -> Option<(FixSlot, &'static str)> {
        let below = self.top.raw().checked_sub(at.page().base().raw())?;
        let index = u32::try_from(below / PAGE_SIZE as u64).ok()?;
        let run = self
            .runs
            .iter()
            .find(|run| run.first <= index && index - run.first < run.count)?;
        Some((FixSlot { index, top: self.top }, run.name))
    }
}

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn run(name: &'static str, first: u32, count: u32) -> FixRun {
    FixRun { name, first, count }
}

/// The fixmap of a 64-bit kernel: the vsyscall page at its well-known address,
/// then what follows it.
///
/// # Linux source concept
/// `enum fixed_addresses`, arch/x86/include/asm/fixmap.h.
pub const X86_64_FIXMAP: FixLayout = FixLayout {
    top: VirtAddr::new(0xffff_ffff_ff7f_f000),
    runs: &[
        run("vsyscall", 511, 1),
        run("dbgp", 512, 1),
        run("earlycon", 513, 1),
        run("apic", 514, 1),
        run("io_apic", 515, 128),
        run("text_poke", 643, 2),
        // 8 slots of 256 KiB, aligned so that they share one table.
        run("btmaps", 1024, 512),
    ],
};

/// The fixmap of a 32-bit kernel for up to 8 CPUs, with local maps of frames
/// above the direct map: 16 slots for each CPU.
///
/// # Linux source concept
/// `enum fixed_addresses` with `CONFIG_X86_32` and `CONFIG_HIGHMEM`.
pub const I386_FIXMAP: FixLayout = FixLayout {
    top: VirtAddr::new(0xffff_f000),
    runs: &[
        run("hole", 0, 1),
        run("dbgp", 1, 1),
        run("earlycon", 2, 1),
        run("apic", 3, 1),
        run("io_apic", 4, 128),
        run("kmap", 132, 128),
        run("text_poke", 260, 2),
        run("btmaps", 512, 512),
    ],
};

const _: () = assert!(
    X86_64_FIXMAP.slot("vsyscall").address().raw() == 0xffff_ffff_ff60_0000,
    "programs call this address"
);
