//! The bytes of objects, and the way from an object's address to its frame.
#![allow(unsafe_code)]

use core::panic::Location;
use core::ptr::NonNull;

use foliant_phys::{FrameRecord, Phys};
use foliant_platform::{CpuId, Nanos, Platform};
use foliant_units::{Order, PAGE_SIZE, Pfn, PhysAddr};

use super::page::Frames;
use super::report::Track;
use super::shape::TRACK;

/// The start of a free object, on its way between slabs, caches of CPUs and
/// callers. Whoever has it owns the object's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Object(pub(crate) NonNull<u8>);

// SAFETY: an address; its bytes belong to whoever has it, and it is handed
// over under locks and guards.
unsafe impl Send for Object {}
// SAFETY: as above; nothing can be done with the bytes through a reference.
unsafe impl Sync for Object {}

/// Makes a new object in memory of the cache's object size.
///
/// Called once for each object when its slab is made, not for each allocation:
/// objects are to be freed in the state that they were constructed in.
///
/// # Safety
/// The caller owns `size` bytes at the pointer, aligned as the cache says.
pub type Constructor = unsafe fn(NonNull<u8>);

/// How far the direct map shows RAM from its physical address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DirectMap(usize);

impl DirectMap {
    /// The map as it shows `pfn`, which is RAM.
    pub(crate) fn seen_at<P: Platform>(platform: &P, pfn: Pfn) -> Self {
        let shown = platform.ram(pfn.base()).as_ptr().addr();
        Self(shown.wrapping_sub(pfn.base().raw() as usize))
    }

    /// The frame that an address of the direct map is in.
    #[inline]
    pub(crate) fn frame_of(self, at: NonNull<u8>) -> Pfn {
        let physical = at.as_ptr().addr().wrapping_sub(self.0);
        PhysAddr::new(physical as u64).frame()
    }
}

impl DirectMap {
    /// The same map, with frames counted from `first` on.
    #[inline]
    pub(crate) fn from(self, first: Pfn) -> Self {
        Self(self.0.wrapping_add(first.base().raw() as usize))
    }

    /// The first frame of the folio of an order that an address is in, and how
    /// many bytes behind its start.
    #[inline(always)]
    pub(crate) fn place_of(self, address: usize, order: Order) -> (usize, usize) {
        let within = address.wrapping_sub(self.0);
        let frames = order.frames() as usize;
        (
            (within / PAGE_SIZE) & !(frames - 1),
            within & (frames * PAGE_SIZE - 1),
        )
    }
}

impl<P: Platform> Frames for Phys<P> {
    #[inline]
    fn record(&self, pfn: Pfn) -> &FrameRecord {
        Phys::record(self, pfn)
    }

    #[inline]
    fn peek(&self, pfn: Pfn) -> Option<&FrameRecord> {
        self.peek_record(pfn)
    }

    #[inline]
    fn start(&self, pfn: Pfn) -> NonNull<u8> {
        self.platform().ram(pfn.base())
    }
}

/// A word of free bits at the end of a slab.
///
/// # Safety
/// 1. `slab` starts a slab that belongs to the caller's cache, with room for a
///    word at `offset` that is no object's.
/// 2. The lock of the slab's shard is held, or nobody else knows the slab.
pub(crate) unsafe fn load_word(slab: NonNull<u8>, offset: usize) -> u64 {
    // SAFETY: conditions 1 and 2; slabs and offsets are aligned for words.
    unsafe { slab.add(offset).cast::<u64>().read() }
}

/// Stores a word of free bits at the end of a slab.
///
/// # Safety
/// As [`load_word`].
pub(crate) unsafe fn store_word(slab: NonNull<u8>, offset: usize, word: u64) {
    // SAFETY: as in `load_word`.
    unsafe { slab.add(offset).cast::<u64>().write(word) }
}

/// The `index`-th of objects that lie `stride` apart from `first`.
///
/// # Safety
/// Both lie in one slab.
#[inline]
pub(crate) unsafe fn nth(first: NonNull<u8>, offset: usize) -> Object {
    // SAFETY: the caller says that the result lies in the same slab.
    Object(unsafe { first.add(offset) })
}

/// A stretch of bytes of one stride, `from..to` counted from the object's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes {
    first: NonNull<u8>,
    start: isize,
    len: usize,
}

impl Bytes {
    /// # Safety
    /// Until the value is gone, the caller owns the bytes `from..to` from the
    /// object's start, all of which lie in the object's stride.
    pub(crate) unsafe fn new(object: Object, from: isize, to: isize) -> Self {
        Self {
            // SAFETY: inside the stride and so inside the slab.
            first: unsafe { object.0.offset(from) },
            start: from,
            len: to.saturating_sub(from).max(0) as usize,
        }
    }

    /// Sets all bytes.
    pub(crate) fn fill(self, byte: u8) {
        // SAFETY: owned (`new`).
        unsafe { self.first.write_bytes(byte, self.len) }
    }

    /// The first byte that differs from `byte`: where and what it is.
    pub(crate) fn first_other_than(self, byte: u8) -> Option<(isize, u8)> {
        (0..self.len).find_map(|at| {
            // SAFETY: owned (`new`), and `at` is below `len`.
            let found = unsafe { self.first.add(at).read_volatile() };
            (found != byte).then_some((self.start + at as isize, found))
        })
    }
}

/// One of the two records of who had an object, as it lies in RAM, where an
/// overrun of the object may overwrite it.
#[derive(Clone, Copy)]
#[repr(C)]
struct RawTrack {
    caller: *const Location<'static>,
    at: u64,
    cpu: u32,
    check: u32,
}

const _: () = assert!(size_of::<RawTrack>() <= TRACK, "a track fits its place");

impl RawTrack {
    /// What `check` is in a record that nobody overwrote.
    fn sum(&self) -> u32 {
        let mix = (self.caller.addr() as u64 ^ self.at.rotate_left(32) ^ u64::from(self.cpu))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mix >> 32) as u32 | 1
    }
}

/// Writes who allocated (0) or freed (1) an object.
///
/// # Safety
/// The caller owns the place of two tracks at `first`, aligned to 8 bytes.
pub(crate) unsafe fn write_track(first: NonNull<u8>, which: usize, track: Option<Track>) {
    let mut raw = RawTrack {
        caller: track.map_or(core::ptr::null(), |track| core::ptr::from_ref(track.caller)),
        at: track.map_or(0, |track| track.at.0),
        cpu: track.map_or(0, |track| track.cpu.0),
        check: 0,
    };
    raw.check = raw.sum();
    // SAFETY: owned, aligned and large enough (asserted above).
    unsafe { first.add(which * TRACK).cast::<RawTrack>().write(raw) }
}

/// Reads what [`write_track`] wrote; `None` if that was nobody, or something
/// else wrote there.
///
/// # Safety
/// The caller owns the place of two tracks at `first`.
pub(crate) unsafe fn read_track(first: NonNull<u8>, which: usize) -> Option<Track> {
    // SAFETY: owned; every bit pattern is a raw track.
    let raw = unsafe { first.add(which * TRACK).cast::<RawTrack>().read() };
    if raw.check != raw.sum() {
        return None;
    }
    // SAFETY: null, or as it was written, as the sum says.
    let caller = unsafe { raw.caller.as_ref() }?;
    Some(Track {
        caller,
        cpu: CpuId(raw.cpu),
        at: Nanos(raw.at),
    })
}

/// Clears an object that the caller is about to hand out.
///
/// # Safety
/// The caller owns `len` bytes of the object.
#[inline]
pub(crate) unsafe fn zero(object: Object, len: usize) {
    // SAFETY: owned.
    unsafe { object.0.write_bytes(0, len) }
}

/// Copies between two objects.
///
/// # Safety
/// The caller owns `len` bytes of both, which are not the same object.
pub(crate) unsafe fn copy(from: Object, to: Object, len: usize) {
    // SAFETY: owned and apart.
    unsafe { from.0.copy_to_nonoverlapping(to.0, len) }
}

/// Lets a constructor make an object.
///
/// # Safety
/// The caller owns the object, whose size and alignment are those of the cache
/// that the constructor was given for.
pub(crate) unsafe fn construct(constructor: Constructor, object: Object) {
    // SAFETY: what the constructor's type asks for.
    unsafe { constructor(object.0) }
}
