//! A kernel's global allocator, in one line.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::{NonNull, null_mut};

use foliant_phys::{Effort, Fill};
use foliant_platform::Platform;
use foliant_platform::sync::atomic::{AtomicBool, Ordering};

use super::early::EarlyCursor;
use super::installed::Installed;
use super::kmalloc::Slab;
use super::spec::How;

/// Bytes for what is allocated before there is memory to allocate: enough to
/// bring the frame allocator and the slab allocator up.
const EARLY: usize = 64 << 10;

/// The global allocator of a kernel: a few bytes of its image until memory is
/// up, then the slab allocator.
///
/// ```
/// # use foliant_platform::testing::TestPlatform as Machine;
/// use foliant_kvirt::slab::Heap;
///
/// // In a kernel: #[global_allocator]
/// static HEAP: Heap<Machine> = Heap::new();
/// ```
///
/// What was allocated early is never given back; it is little, and lives long.
/// Allocations are [`How::NOWAIT`] unless [`install`](Heap::install) was told
/// otherwise, because `alloc` does not say whether its caller may sleep.
pub struct Heap<P: Platform> {
    slab: Installed<Slab<P>>,
    /// How many early bytes are taken.
    early: EarlyCursor,
    may_sleep: AtomicBool,
    bytes: UnsafeCell<EarlyBytes>,
}

/// Aligned for whatever a table of the boot needs.
#[repr(C, align(4096))]
struct EarlyBytes([u8; EARLY]);

// SAFETY: each early byte is handed out once, by an atomic addition; the rest
// are atomics, and a `Slab` may be shared.
unsafe impl<P: Platform> Sync for Heap<P> {}

impl<P: Platform> Heap<P> {
    /// A heap with nothing but its early bytes.
    pub const fn new() -> Self {
        Self {
            slab: Installed::nothing(),
            early: EarlyCursor::new(),
            may_sleep: AtomicBool::new(false),
            bytes: UnsafeCell::new(EarlyBytes([0; EARLY])),
        }
    }

    /// From now on, memory is from `slab`, for as long as the kernel runs.
    /// With an `effort` that may sleep, nothing may allocate with a spin lock
    /// held or from an interrupt handler. Returns the slab allocator, of which
    /// more can be asked; a second call changes nothing and returns the first.
    pub fn install(&self, slab: Slab<P>, effort: Effort) -> &Slab<P> {
        let (there, is_this) = self.slab.install(slab);
        if is_this {
            self.may_sleep.store(effort.may_sleep(), Ordering::Relaxed);
        }
        there
    }

    /// The slab allocator, once there is one.
    #[inline]
    pub fn installed(&self) -> Option<&Slab<P>> {
        self.slab.get()
    }

    /// How many bytes were taken before memory was up.
    pub fn early_bytes(&self) -> usize {
        self.early.taken().min(EARLY)
    }

    fn how(&self) -> How {
        if self.may_sleep.load(Ordering::Relaxed) {
            How::KERNEL
        } else {
            How::NOWAIT
        }
    }

    /// The next early bytes, if enough are left.
    #[cold]
    fn alloc_early(&self, layout: Layout) -> *mut u8 {
        if layout.align() > align_of::<EarlyBytes>() {
            return null_mut();
        }
        let start: *mut u8 = self.bytes.get().cast();
        match self.early.take(layout, EARLY) {
            // SAFETY: `from` lies inside the early bytes.
            Some(from) => unsafe { start.add(from) },
            None => null_mut(),
        }
    }

    #[inline]
    fn is_early(&self, at: *mut u8) -> bool {
        at.addr().wrapping_sub(self.bytes.get().addr()) < EARLY
    }

    /// The most frequent case, short enough to be inlined.
    #[inline]
    fn get(&self, layout: Layout, fill: Fill) -> *mut u8 {
        if let Some(slab) = self.installed()
            && fill == Fill::Any
            && let Some(at) = slab.at_hand(layout.size(), layout.align())
        {
            return at.as_ptr();
        }
        self.get_slowly(layout, fill)
    }

    #[cold]
    #[inline(never)]
    fn get_slowly(&self, layout: Layout, fill: Fill) -> *mut u8 {
        match self.installed() {
            Some(slab) => {
                let how = How { fill, ..self.how() };
                match slab.kmalloc_aligned(layout.size(), layout.align(), how) {
                    Ok(at) => at.as_ptr(),
                    Err(_) => null_mut(),
                }
            }
            // Bytes of the image are zero, and handed out once.
            None => self.alloc_early(layout),
        }
    }
}

impl<P: Platform> Default for Heap<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Platform> fmt::Debug for Heap<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap")
            .field("slab", &self.installed())
            .field("early_bytes", &self.early_bytes())
            .finish_non_exhaustive()
    }
}

// SAFETY: memory that is handed out is as large and as aligned as asked for and
// nobody else's until it is given back, when it goes where it came from; no
// method unwinds unless a rule is broken that a test wants to panic about.
unsafe impl<P: Platform> GlobalAlloc for Heap<P> {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.get(layout, Fill::Any)
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.get(layout, Fill::Zeroes)
    }

    #[inline(always)]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if let Some(slab) = self.installed()
            && !self.is_early(at)
        {
            // SAFETY: from `alloc`, which did not return null.
            let object = unsafe { NonNull::new_unchecked(at) };
            // SAFETY: from `alloc` with this layout (the trait's contract), and
            // not from the early bytes, so from the slab allocator.
            unsafe { slab.kfree_sized(object, layout.size(), layout.align()) }
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let fits = NonNull::new(at)
            .filter(|_| !self.is_early(at))
            .zip(self.installed())
            .is_some_and(|(object, slab)| slab.fits(object, layout, size));
        if fits {
            return at;
        }
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else {
            return null_mut();
        };
        let new = self.get(wanted, Fill::Any);
        if !new.is_null() {
            // SAFETY: both are at least as long, and the new one is nobody's yet.
            unsafe { core::ptr::copy_nonoverlapping(at, new, layout.size().min(size)) };
            // SAFETY: the trait's contract.
            unsafe { self.dealloc(at, layout) };
        }
        new
    }
}
