//! The bytes of a frame.
//!
//! RAM is shared with CPUs, devices and other processes that the borrow
//! checker knows nothing of, so no reference to plain bytes is ever made:
//! everything here copies through raw pointers or goes through atomics.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use foliant_platform::Platform;
use foliant_units::{PAGE_SIZE, Pfn};

use crate::alloc::block_of;
use crate::phys::{Phys, not_ram};

/// 64-bit words in a frame.
pub const WORDS: usize = PAGE_SIZE / 8;

/// Access to the bytes of one frame. Offsets are in bytes from the frame's
/// start; going past its end is a bug of the caller and panics.
#[derive(Clone, Copy)]
pub struct Content<'a> {
    base: NonNull<u8>,
    ram: PhantomData<&'a [AtomicU64; WORDS]>,
}

// SAFETY: every access is a copy through a raw pointer or an atomic operation.
unsafe impl Send for Content<'_> {}
// SAFETY: as above.
unsafe impl Sync for Content<'_> {}

impl<P: Platform> Phys<P> {
    /// The bytes of a frame. A number that is not a frame's is a bug of the
    /// caller, and panics; see [`find_content`](Phys::find_content).
    pub fn content(&self, pfn: Pfn) -> Content<'_> {
        match self.find_content(pfn) {
            Some(content) => content,
            None => not_ram(pfn),
        }
    }

    /// The bytes of a frame, if there is one of this number.
    pub fn find_content(&self, pfn: Pfn) -> Option<Content<'_>> {
        let tag = self.blocks.tags.get(block_of(pfn))?;
        let reachable = || self.is_ram(pfn) || tag.is_reachable_device();
        if !tag.is_plain() && (!reachable() || self.is_table(pfn)) {
            return None;
        }
        // SAFETY: the frame is RAM, and none of those that this crate keeps its
        // own tables in; so it is valid and nobody makes references to it.
        Some(unsafe { Content::new(self.platform.ram(pfn.base())) })
    }
}

impl<'a> Content<'a> {
    /// # Safety
    /// For all of `'a`, `base` is the page-aligned start of a frame of RAM
    /// that is accessed only through `Content` or by the machine.
    unsafe fn new(base: NonNull<u8>) -> Self {
        Self {
            base,
            ram: PhantomData,
        }
    }

    /// Where the frame lies in this process or kernel: for system calls and
    /// devices that fill it. Reading or writing through it is up to the caller.
    pub fn as_ptr(self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Copies bytes out of the frame.
    pub fn read(self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        // SAFETY: `at` checked the range; `into` is a Rust reference and so not
        // RAM of the machine.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), into.as_mut_ptr(), into.len()) }
    }

    /// Copies bytes into the frame.
    pub fn write(self, offset: usize, from: &[u8]) {
        let into = self.at(offset, from.len());
        // SAFETY: as in `read`.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), into.as_ptr(), from.len()) }
    }

    /// Sets `len` bytes.
    pub fn fill(self, offset: usize, len: usize, byte: u8) {
        let into = self.at(offset, len);
        // SAFETY: `at` checked the range.
        unsafe { into.write_bytes(byte, len) }
    }

    /// Clears the frame.
    pub fn zero(self) {
        self.fill(0, PAGE_SIZE, 0);
    }

    /// Makes this frame a copy of `other`.
    pub fn copy_from(self, other: Content<'_>) {
        // SAFETY: both are whole frames; `copy` allows them to be the same one.
        unsafe { ptr::copy(other.base.as_ptr(), self.base.as_ptr(), PAGE_SIZE) }
    }

    /// The frame as atomic words: how page tables are read and written.
    pub fn words(self) -> &'a [AtomicU64; WORDS] {
        // SAFETY: the frame is aligned, lives for `'a` and is never borrowed as
        // anything but atomics; every bit pattern is a word.
        unsafe { self.base.cast().as_ref() }
    }

    /// The 64-bit word at `offset`, a multiple of 8.
    pub fn word(self, offset: usize) -> &'a AtomicU64 {
        assert!(offset.is_multiple_of(8), "unaligned 64-bit access at {offset}");
        &self.words()[offset / 8]
    }

    /// The 32-bit word at `offset`, a multiple of 4.
    pub fn half_word(self, offset: usize) -> &'a AtomicU32 {
        assert!(offset.is_multiple_of(4), "unaligned 32-bit access at {offset}");
        let at = self.at(offset, 4);
        // SAFETY: in range (`at`), aligned, and shared only as atomics.
        unsafe { at.cast().as_ref() }
    }

    /// Reads the 64-bit word at `offset`, a multiple of 8.
    pub fn load_u64(self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Acquire)
    }

    /// Writes the 64-bit word at `offset`, a multiple of 8.
    pub fn store_u64(self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Release);
    }

    /// Replaces the 64-bit word at `offset` if it is `expected`.
    ///
    /// # Errors
    /// What was there instead.
    pub fn cmpxchg_u64(self, offset: usize, expected: u64, new: u64) -> Result<u64, u64> {
        self.word(offset)
            .compare_exchange(expected, new, Ordering::AcqRel, Ordering::Acquire)
    }

    /// Reads the 32-bit word at `offset`, a multiple of 4.
    pub fn load_u32(self, offset: usize) -> u32 {
        self.half_word(offset).load(Ordering::Acquire)
    }

    /// Writes the 32-bit word at `offset`, a multiple of 4.
    pub fn store_u32(self, offset: usize, value: u32) {
        self.half_word(offset).store(value, Ordering::Release);
    }

    /// Replaces the 32-bit word at `offset` if it is `expected`.
    ///
    /// # Errors
    /// What was there instead.
    pub fn cmpxchg_u32(self, offset: usize, expected: u32, new: u32) -> Result<u32, u32> {
        self.half_word(offset)
            .compare_exchange(expected, new, Ordering::AcqRel, Ordering::Acquire)
    }

    /// Whether `len` bytes from `offset` all equal `byte`.
    pub fn is_filled(self, offset: usize, len: usize, byte: u8) -> bool {
        let mut chunk = [0; 256];
        (offset..offset + len).step_by(chunk.len()).all(|at| {
            let part = &mut chunk[..(offset + len - at).min(256)];
            self.read(at, part);
            part.iter().all(|&found| found == byte)
        })
    }

    fn at(self, offset: usize, len: usize) -> NonNull<u8> {
        let inside = offset <= PAGE_SIZE && len <= PAGE_SIZE - offset;
        assert!(inside, "{len} bytes at {offset} pass the end of a frame");
        // SAFETY: `offset` is at most the size of the frame.
        unsafe { self.base.add(offset) }
    }
}

impl fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "content at {:p}", self.base)
    }
}
