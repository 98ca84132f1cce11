//! The one place where a table is reached without asking whether it is RAM.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64};

use foliant_arch::Format;
use foliant_platform::Platform;
use foliant_units::{Order, Pfn};

/// Bytes of a table of any level of `F`.
pub(crate) const fn table_size<F: Format>() -> Order {
    F::GEOMETRY.table_size()
}

/// The entries of a table in RAM.
#[derive(Clone, Copy, Debug)]
pub struct TableWords<'s> {
    first: NonNull<u8>,
    ram: PhantomData<&'s [AtomicU64]>,
}

// SAFETY: what is behind the pointer is only reached as atomic words.
unsafe impl Send for TableWords<'_> {}
// SAFETY: as above.
unsafe impl Sync for TableWords<'_> {}

impl<'s> TableWords<'s> {
    /// The entries of `table`.
    ///
    /// # Safety
    /// 1. `table` is the first of a table's frames in `platform`'s RAM, as many
    ///    as the formats need that the result is used with.
    /// 2. For as long as the result is used, the frames are accessed as atomic
    ///    words of one size or by the machine only.
    #[inline]
    pub(crate) unsafe fn new<P: Platform>(platform: &'s P, table: Pfn) -> Self {
        Self {
            first: platform.ram(table.base()),
            ram: PhantomData,
        }
    }

    /// Where entry `index` lies.
    #[inline]
    fn at<F: Format>(self, index: usize) -> NonNull<u8> {
        let bytes = const { F::GEOMETRY.entry_bytes as usize };
        // Of an index that the geometry made, the compiler knows it. A message
        // with the index would have every loop keep the index at hand for it.
        let entries = const { table_size::<F>().bytes() / F::GEOMETRY.entry_bytes as usize };
        assert!(index < entries, "an entry behind its table");
        // SAFETY: the table has so many bytes (condition 1 of `new`).
        unsafe { self.first.add(index * bytes) }
    }

    /// Entry `index` of a format with entries of eight bytes.
    #[inline]
    pub(crate) fn wide<F: Format>(self, index: usize) -> &'s AtomicU64 {
        // SAFETY: `at` checked the range; entries are aligned to their size,
        // every bit pattern is a word, and by condition 2 of `new` nobody has a
        // reference to it that is not such an atomic.
        unsafe { self.at::<F>(index).cast().as_ref() }
    }

    /// Entry `index` of a format with entries of four bytes.
    #[inline]
    pub(crate) fn narrow<F: Format>(self, index: usize) -> &'s AtomicU32 {
        // SAFETY: as in `wide`.
        unsafe { self.at::<F>(index).cast().as_ref() }
    }
}
