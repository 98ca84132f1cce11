//! Frames for page tables before there are zones.
#![allow(unsafe_code)]

use alloc::collections::BTreeSet;
use alloc::sync::Arc;

use foliant_arch::{Entry, EntryMemory, Format, Level};
use foliant_paging::PageTables;
use foliant_phys::boot::{BootRequest, Memblock};
use foliant_phys::{FrameFlags, Phys};
use foliant_platform::{Mmu, Platform};
use foliant_units::{Errno, PAGE_SIZE, Pfn, PfnRange, PhysAddr, PhysRange};

use super::error::EarlyError;
use super::words::TableWords;

/// Frames for page tables: first from a buffer that was set aside, then from
/// memory that is mapped already.
///
/// # Linux source concept
/// `alloc_low_pages()`, with `pgt_buf_start`, `pgt_buf_end` and `pgt_buf_top`.
#[derive(Debug)]
pub struct EarlyTables<P> {
    words: TableWords<P>,
    /// What of the buffer is left.
    buffer: PfnRange,
    /// Where frames may come from when the buffer is used up.
    window: PhysRange,
    /// All frames that were given out.
    given: Memblock<P>,
}

impl<P: Platform> EarlyTables<P> {
    /// With a buffer of `frames` frames, which are taken as low as possible
    /// above the first megabyte: memory that the boot loader has mapped.
    ///
    /// # Errors
    /// [`EarlyError`].
    pub fn new(platform: &P, memblock: &mut Memblock<P>, frames: u64) -> Result<Self, EarlyError> {
        let size = frames.max(1) * PAGE_SIZE as u64;
        let above = PhysRange::new(PhysAddr::new(1 << 20), PhysAddr::new(u64::MAX));
        let request = BootRequest::new(size, PAGE_SIZE as u64).bottom_up();
        let buffer = memblock
            .alloc(request.inside(above))
            .or_else(|_| memblock.alloc(request))?;
        Ok(Self {
            // SAFETY:
            // 1. Only frames in `given` are asked for (`checked`), which come
            //    from memblock, which knows only the machine's RAM.
            // 2. Memblock gave them to nobody else.
            words: unsafe { TableWords::new(platform.clone()) },
            buffer: buffer.whole_frames(),
            window: PhysRange::default(),
            given: Memblock::new(),
        })
    }

    /// From now on frames may come from `window`, which is mapped.
    pub fn set_window(&mut self, window: PhysRange) {
        self.window = window;
    }

    /// `count` consecutive empty tables.
    ///
    /// # Errors
    /// [`EarlyError`].
    pub fn take(&mut self, memblock: &mut Memblock<P>, count: u64) -> Result<PfnRange, EarlyError> {
        let frames = if self.buffer.len() >= count {
            let first = self.buffer.start;
            self.buffer.start = first + count;
            PfnRange::new(first, first + count)
        } else {
            let request = BootRequest::new(count * PAGE_SIZE as u64, PAGE_SIZE as u64);
            memblock.alloc(request.inside(self.window))?.whole_frames()
        };
        self.given.reserve(frames.bytes())?;
        frames.iter().for_each(|frame| self.words.clear(frame));
        Ok(frames)
    }

    /// One empty table.
    ///
    /// # Errors
    /// [`EarlyError`].
    pub fn take_one(&mut self, memblock: &mut Memblock<P>) -> Result<Pfn, EarlyError> {
        Ok(self.take(memblock, 1)?.start)
    }

    /// Frames that are tables now.
    pub fn taken(&self) -> u64 {
        self.given.total_reserved() / PAGE_SIZE as u64
    }

    /// Entry `index` of the table of any level at `table`.
    pub fn entry<F: Format>(&self, table: PhysAddr, index: usize) -> F::Entry {
        let at = F::GEOMETRY.slot(table, index);
        F::Entry::from_raw(self.load(at, F::GEOMETRY.entry_bytes))
    }

    /// Changes an entry.
    pub fn set_entry<F: Format>(&self, table: PhysAddr, index: usize, entry: F::Entry) {
        let at = self.checked(F::GEOMETRY.slot(table, index));
        self.words.store(at, F::GEOMETRY.entry_bytes, entry.raw());
    }

    /// A new table in an empty entry.
    ///
    /// # Errors
    /// [`EarlyError`].
    pub fn link<F: Format>(
        &mut self,
        memblock: &mut Memblock<P>,
        table: PhysAddr,
        index: usize,
        level: Level,
    ) -> Result<PhysAddr, EarlyError> {
        let below = self.take_one(memblock)?.base();
        self.set_entry::<F>(table, index, F::link(below, level));
        Ok(below)
    }

    /// Makes the tables at `root` the kernel's own, as they are, now that there
    /// are frames to allocate. Other roots that were made early stay as they
    /// are: they link only what is right below the root, or the image's.
    ///
    /// # Errors
    /// `INVAL` if `root` and what is linked from it are not tables of format `F`
    /// that were taken here, each linked once, in memory that `phys` took over; what [`Mmu::kernel_context`] says.
    ///
    /// # Linux source concept
    /// `swapper_pg_dir` as the root of `init_mm`.
    pub fn kernel_tables<F: Format>(
        self,
        phys: &Arc<Phys<P>>,
        root: PhysAddr,
    ) -> Result<PageTables<P, F>, Errno>
    where
        P: Mmu,
    {
        let mut seen = BTreeSet::new();
        let ours = self.are_ours::<F>(root, F::GEOMETRY.top(), &mut seen);
        let stays = |&at: &PhysAddr| {
            let range = PhysRange::new(at, at + PAGE_SIZE as u64);
            let record = phys.find_record(at.frame());
            phys.platform().has_ram(range)
                && self.words.is_of(phys.platform(), at)
                && record.is_some_and(|record| record.has(FrameFlags::RESERVED))
        };
        if !ours || !seen.iter().all(stays) {
            return Err(Errno::INVAL);
        }
        // SAFETY:
        // 1. All of them were looked at just now: frames of the machine's RAM
        //    that memblock gave and that are reserved still, linked once.
        // 2. This value was the right to change them, and it ends here; it lent
        //    it to nobody and gives nothing back.
        unsafe { PageTables::adopt_kernel(phys, root) }
    }

    /// Whether a table and those below it were taken here, and not seen yet.
    fn are_ours<F: Format>(&self, table: PhysAddr, level: Level, seen: &mut BTreeSet<PhysAddr>) -> bool {
        let frame = PhysRange::new(table, table + PAGE_SIZE as u64);
        if !self.given.is_reserved(frame) || !seen.insert(table) {
            return false;
        }
        let Some(below) = F::GEOMETRY.below(level) else {
            return true;
        };
        (0..F::GEOMETRY.entries(level)).all(|index| {
            let entry = self.entry::<F>(table, index);
            !entry.is_table(level) || self.are_ours::<F>(entry.target(level), below, seen)
        })
    }

    /// An address in a frame that was not given out is a bug of the caller.
    fn checked(&self, at: PhysAddr) -> PhysAddr {
        let here = PhysRange::new(at, at + 4);
        assert!(self.given.is_reserved(here), "{at:?} is in no early table");
        at
    }
}

/// For walks: what is no early table reads as all ones.
impl<P: Platform> EntryMemory for EarlyTables<P> {
    fn load(&self, at: PhysAddr, bytes: u64) -> u64 {
        if !self.given.is_reserved(PhysRange::new(at, at + 4)) {
            return u64::MAX;
        }
        self.words.load(at, bytes)
    }

    fn compare_exchange(&self, at: PhysAddr, bytes: u64, old: u64, new: u64) -> Result<(), u64> {
        self.words.compare_exchange(self.checked(at), bytes, old, new)
    }
}
