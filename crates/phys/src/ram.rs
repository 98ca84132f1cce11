//! The allocator's own tables, in the RAM that they describe.

use core::mem::size_of;
use core::ops::Deref;
use core::ptr::NonNull;
use core::slice;

use foliant_platform::Platform;
use foliant_units::PhysRange;

/// A type that may be born by clearing memory.
///
/// # Safety
/// All-zero bytes are a valid value, equal to the default, and dropping a value
/// does nothing.
pub(crate) unsafe trait Blank: Default + Sync {}

// SAFETY: atomics all through, whose zero is their default,
// and no destructor (loom's own atomics are never cleared, see `Table::new`).
unsafe impl Blank for crate::record::FrameRecord {}
// SAFETY: as above.
unsafe impl Blank for crate::sections::SectionWord {}
// SAFETY: an atomic pointer, whose default is null: zero.
unsafe impl<T: Blank> Blank for crate::sectioned::Piece<T> {}
// SAFETY: atomics all through, as above.
unsafe impl Blank for crate::alloc::Line {}
// SAFETY: as above.
unsafe impl Blank for crate::alloc::Tag {}
// SAFETY: as above.
unsafe impl Blank for crate::alloc::HintWord {}
// SAFETY: as above.
unsafe impl Blank for crate::alloc::WholeWord {}
// SAFETY: as above.
unsafe impl Blank for crate::alloc::CpuArea {}
// SAFETY: as above.
unsafe impl Blank for crate::alloc::ZoneShare {}
// SAFETY: as above.
unsafe impl Blank for crate::alloc::Ring {}

// SAFETY: as above.
unsafe impl Blank for crate::sections::PresentRange {}

/// What [`Table::new`] finds in its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Zeroes: untouched RAM of a hosted machine. The table then costs memory
    /// only where it is used.
    Zeroes,
    /// Anything.
    Garbage,
}

/// A fixed number of `T` in the machine's RAM.
#[derive(Debug)]
pub(crate) struct Table<T> {
    first: NonNull<T>,
    len: usize,
}

// SAFETY: a table is a shared slice; `Blank` demands `T: Sync`.
unsafe impl<T: Blank> Sync for Table<T> {}
// SAFETY: as above; nothing is dropped with the table.
unsafe impl<T: Blank> Send for Table<T> {}

impl<T: Blank> Table<T> {
    /// Bytes that `len` elements need.
    pub(crate) const fn bytes(len: usize) -> u64 {
        (len * size_of::<T>()) as u64
    }

    /// Makes a table of `len` elements at the start of `range`.
    ///
    /// # Safety
    /// 1. `range` is RAM of `platform`, starts page-aligned and has at least
    ///    `Self::bytes(len)` bytes.
    /// 2. Nobody else uses those bytes until the table is gone.
    /// 3. A clone of `platform` outlives the table.
    /// 4. With [`Found::Zeroes`], the bytes are zero.
    pub(crate) unsafe fn new<P: Platform>(platform: &P, range: PhysRange, len: usize, found: Found) -> Self {
        // SAFETY: our conditions are those of the callee.
        let first = unsafe { make_blank(platform, range, len, found) };
        Self { first, len }
    }
}

/// Makes `len` blank elements at the start of `range`.
///
/// # Safety
/// As [`Table::new`], for as long as the elements are used.
pub(crate) unsafe fn make_blank<T: Blank, P: Platform>(
    platform: &P,
    range: PhysRange,
    len: usize,
    found: Found,
) -> NonNull<T> {
    debug_assert!(range.start.is_aligned() && range.len() >= Table::<T>::bytes(len));
    let first: NonNull<T> = platform.ram(range.start).cast();

    #[cfg(not(loom))]
    if found == Found::Garbage {
        // SAFETY: conditions 1 and 2.
        unsafe { first.write_bytes(0, len) }
    }
    // loom's atomics are not plain words, so each is made by its constructor.
    #[cfg(loom)]
    for at in 0..len {
        let _ = found;
        // SAFETY: conditions 1 and 2.
        unsafe { first.add(at).write(T::default()) }
    }
    first
}

#[cfg(all(test, loom))]
impl<T: Blank> Table<T> {
    /// A table outside of any RAM, for models; it is never freed.
    pub(crate) fn leaked(len: usize) -> Self {
        Self {
            first: Self::leaked_elements(len),
            len,
        }
    }

    /// The elements of such a table.
    pub(crate) fn leaked_elements(len: usize) -> NonNull<T> {
        let all: std_alloc::vec::Vec<T> = (0..len).map(|_| T::default()).collect();
        NonNull::from(std_alloc::boxed::Box::leak(all.into_boxed_slice())).cast()
    }
}

impl<T: Blank> Deref for Table<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `new` was promised `len` elements of valid memory that only
        // this table reaches, and initialised them (zero is a value: `Blank`).
        unsafe { slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}
