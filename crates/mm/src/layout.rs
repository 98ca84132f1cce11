//! Where things go in an address space.

use foliant_platform::{Levels, Mmu};
use foliant_units::{PAGE_SIZE, VirtAddr, VirtRange};

/// First address that a program has only if it asked for it, and with four
/// levels of tables not even then (`DEFAULT_MAP_WINDOW`).
pub const TASK_END: VirtAddr = VirtAddr::new(0x7fff_ffff_f000);
/// First address that a program cannot have with five levels (`TASK_SIZE_MAX`).
pub const TASK_END_FIVE: VirtAddr = VirtAddr::new(0x00ff_ffff_ffff_f000);

/// First address that a program cannot have on `P` (`TASK_SIZE_MAX`).
pub const fn task_end<P: Mmu>() -> VirtAddr {
    match P::Levels::FIVE {
        true => TASK_END_FIVE,
        false => TASK_END,
    }
}

/// Pages between a growing stack and what is below it, in bytes (`stack_guard_gap`).
pub const STACK_GUARD: u64 = 256 * PAGE_SIZE as u64;

/// The smallest room that is left for the main stack.
const STACK_ROOM_MIN: u64 = 128 << 20;
/// How far the top of the stack may be moved down (`__STACK_RND_MASK`), in pages.
const STACK_SHIFT_PAGES: u64 = 0x3f_ffff;
/// Bits of randomness of the mmap area, in pages (`vm.mmap_rnd_bits`).
const MMAP_SHIFT_BITS: u32 = 28;
/// How far the heap may be moved up.
const BRK_SHIFT: u64 = 1 << 30;

/// Whether addresses are random.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Randomness {
    /// Every run has the same addresses (`setarch -R`).
    None,
    /// Random, but the same for the same seed.
    Seed(u64),
}

/// Which way the mmap area grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Growth {
    /// Down from below the stack.
    TopDown,
    /// Up from a third of the space (`ADDR_COMPAT_LAYOUT`).
    BottomUp,
}

/// The places of one address space.
#[derive(Clone, Debug)]
pub struct Layout {
    /// First address past the space.
    pub end: VirtAddr,
    /// Which way the mmap area grows.
    pub growth: Growth,
    /// Where the mmap area starts growing down.
    pub mmap_base: VirtAddr,
    /// Where it starts growing up.
    pub mmap_base_up: VirtAddr,
    /// The heap: from its fixed start to the current break, unaligned. Set by exec.
    pub heap: VirtRange,
    /// Start and end of the initialised data, which `RLIMIT_DATA` counts with the heap.
    pub data: VirtRange,
    /// Address of the arguments on the first stack: the VMA around it is `[stack]`.
    pub stack_start: VirtAddr,
    /// `READ_IMPLIES_EXEC` personality.
    pub read_implies_exec: bool,
    /// Whether file systems are asked for 2 MiB alignment of shared memory
    /// (`shmem_enabled` is not `never`).
    pub huge_shmem: bool,
    /// Addresses that the machine keeps for itself: nothing is ever mapped there.
    pub reserved: VirtRange,
    random: Option<u64>,
}

impl Layout {
    /// The layout of a fresh space whose stack may have `stack_limit` bytes.
    ///
    /// # Linux source concept
    /// `arch_pick_mmap_layout()`.
    pub fn new(stack_limit: u64, growth: Growth, randomness: Randomness) -> Self {
        let mut layout = Self {
            end: TASK_END,
            growth,
            mmap_base: TASK_END,
            mmap_base_up: TASK_END,
            heap: VirtRange::default(),
            data: VirtRange::default(),
            stack_start: VirtAddr::ZERO,
            read_implies_exec: false,
            huge_shmem: false,
            reserved: VirtRange::default(),
            random: match randomness {
                Randomness::None => None,
                Randomness::Seed(seed) => Some(seed),
            },
        };
        let task = TASK_END.raw();
        let shift = layout.random_pages(MMAP_SHIFT_BITS);
        let pad = STACK_GUARD + layout.random.map_or(0, |_| STACK_SHIFT_PAGES * PAGE_SIZE as u64);
        let gap = stack_limit.checked_add(pad).unwrap_or(stack_limit);
        let gap = gap.clamp(STACK_ROOM_MIN, task / 6 * 5);
        layout.mmap_base = page_up(task - gap - shift);
        layout.mmap_base_up = VirtAddr::new(page_up(task / 3).raw() + shift);
        layout
    }

    /// The same on a machine with five levels of tables: there is more room, but
    /// only for those who [hint](Self::end_for) at it.
    #[must_use]
    pub fn with_five_levels(mut self) -> Self {
        self.end = TASK_END_FIVE;
        self
    }

    /// Where the room ends for somebody who hints at `hint`. Programs use the
    /// upper bits of pointers for themselves, so what lies above 47 bits goes
    /// only to those who name such an address.
    ///
    /// # Linux source concept
    /// `task_size_64bit()`.
    pub fn end_for(&self, hint: VirtAddr) -> VirtAddr {
        if hint > TASK_END {
            self.end
        } else {
            TASK_END.min(self.end)
        }
    }

    /// Whether `len` bytes at `hint` lie on one side of the border, inside the
    /// space: a mapping across it was asked for by nobody.
    ///
    /// # Linux source concept
    /// `mmap_address_hint_valid()`.
    pub fn accepts_hint(&self, hint: VirtAddr, len: u64) -> bool {
        hint.checked_add(len)
            .is_some_and(|end| end <= self.end && (hint > TASK_END) == (end > TASK_END))
    }

    /// The top of the first stack.
    pub fn stack_top(&mut self) -> VirtAddr {
        let shift = if self.random.is_some() {
            self.random() & STACK_SHIFT_PAGES
        } else {
            0
        };
        TASK_END - shift * PAGE_SIZE as u64
    }

    /// Where the heap starts behind a program that ends at `end_of_bss`.
    pub fn heap_start(&mut self, end_of_bss: VirtAddr) -> VirtAddr {
        match self.random {
            Some(_) => page_up(end_of_bss.raw() + self.random() % BRK_SHIFT),
            None => end_of_bss,
        }
    }

    /// Bytes that a position-independent program or interpreter is moved up
    /// from its usual place, a multiple of the page size.
    pub fn program_shift(&mut self) -> u64 {
        self.random_pages(MMAP_SHIFT_BITS)
    }

    /// A number of [`Randomness`]; zero without it. For what exec places by itself.
    pub fn random(&mut self) -> u64 {
        let Some(state) = &mut self.random else { return 0 };
        // SplitMix64: every seed gives a good sequence, zero included.
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn random_pages(&mut self, bits: u32) -> u64 {
        (self.random() & ((1 << bits) - 1)) * PAGE_SIZE as u64
    }
}

fn page_up(raw: u64) -> VirtAddr {
    VirtAddr::new(raw.next_multiple_of(PAGE_SIZE as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_randomness_the_area_ends_where_linux_ends_it() {
        let layout = Layout::new(8 << 20, Growth::TopDown, Randomness::None);
        assert_eq!(layout.mmap_base, VirtAddr::new(0x7fff_f7ff_f000));
    }

    #[test]
    fn an_unlimited_stack_leaves_a_sixth_to_mappings() {
        let layout = Layout::new(u64::MAX, Growth::TopDown, Randomness::None);
        assert_eq!(
            layout.mmap_base,
            page_up(0x7fff_ffff_f000 - 0x7fff_ffff_f000 / 6 * 5)
        );
    }

    #[test]
    fn a_hint_is_on_one_side_of_the_border() {
        let layout = Layout::new(8 << 20, Growth::TopDown, Randomness::None);
        let border = TASK_END.raw();
        let accepts = |layout: &Layout, at: u64, len| layout.accepts_hint(VirtAddr::new(at), len);
        assert!(accepts(&layout, border - 0x2000, 0x2000) && !accepts(&layout, border - 0x1000, 0x2000));
        assert!(!accepts(&layout, 1 << 47, 0x1000));
        let layout = layout.with_five_levels();
        assert!(accepts(&layout, border - 0x2000, 0x2000) && !accepts(&layout, border - 0x1000, 0x2000));
        assert!(accepts(&layout, 1 << 47, 0x1000) && !accepts(&layout, 1 << 56, 0x1000));
        assert!(accepts(&layout, TASK_END_FIVE.raw() - 0x1000, 0x1000));
    }

    #[test]
    fn one_seed_gives_one_layout() {
        let make = |seed| {
            let mut layout = Layout::new(8 << 20, Growth::TopDown, Randomness::Seed(seed));
            (layout.mmap_base, layout.stack_top())
        };
        assert_eq!(make(7), make(7));
        assert_ne!(make(7), make(8));
    }
}
