//! What is known about one frame of RAM.

use foliant_platform::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use foliant_units::Order;

use super::count::Count;
use super::flags::FrameFlags;
use super::map_count::MapCount;
use super::owner::Owner;
use crate::alloc::RingClass;
use crate::mutant::{Mutant, is_on, ordering};

const ORDER_SHIFT: u32 = 48;
const FLAGS: u64 = (1 << ORDER_SHIFT) - 1;
const OWNER_SHIFT: u32 = 52;
const OWNER: u64 = 0xff << OWNER_SHIFT;
/// The highest bits, so that a shift alone takes them out.
const CLASS_SHIFT: u32 = 61;

/// One cache line about one frame. A blank (all zero) record describes a free
/// frame, so the records of RAM that was never used cost nothing on hosted
/// machines.
///
/// The first frame of an allocated folio holds the folio's reference count and
/// order; the others keep their own flags and map count and a reference count
/// of zero.
///
/// # Locking
/// `flags` change atomically at any time; the words below them belong to
/// whoever owns the frame, under that owner's rules.
///
/// # Linux source concept
/// `struct page` and `struct folio`. Differs: 64 bytes for every frame, no
/// unions, and a tail frame finds its head by alignment
/// ([`Phys::head`](crate::Phys::head)) instead of by a pointer.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct FrameRecord {
    /// Flags, order (bits 48-51) and its class of rings (61-63), owner (bits 52-59).
    word: AtomicU64,
    /// References to the folio; zero means free, or not the head.
    pub refs: Count,
    /// Page-table entries that map this frame.
    pub maps: MapCount,
    /// What the frame belongs to: a word with the owner's own tagging.
    pub mapping: AtomicU64,
    /// Where in that: a page index.
    pub index: AtomicU64,
    /// One more word for the owner.
    pub private: AtomicU64,
    /// The next frame of a list.
    pub next: AtomicU32,
    /// The previous frame of a list.
    pub prev: AtomicU32,
    /// A lock word for owners that lock per frame (page tables).
    pub lock: AtomicU32,
    /// A count for owners that count per frame (entries of a table).
    pub count: AtomicU32,
    /// The memory cgroup that is charged, or a second private word.
    pub charge: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<FrameRecord>() == 64, "one cache line per frame");

/// The order that a word of flags holds.
#[inline]
fn order_in(word: u64) -> Order {
    Order::new((word >> ORDER_SHIFT) as u8 & 0xf).unwrap_or_default()
}

/// The bits of a record that say of which order a folio is and which rings
/// serve it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp(u64);

impl Stamp {
    #[inline]
    pub(crate) const fn of(order: Order) -> Self {
        Self((order.raw() as u64) << ORDER_SHIFT | (RingClass::of(order).index() as u64) << CLASS_SHIFT)
    }

    #[inline]
    pub(crate) const fn raw(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

impl FrameRecord {
    /// The flags now.
    #[inline]
    pub fn flags(&self) -> FrameFlags {
        FrameFlags::from_bits_truncate(self.word.load(Ordering::Acquire))
    }

    /// Whether all of `flags` are set.
    #[inline]
    pub fn has(&self, flags: FrameFlags) -> bool {
        self.flags().contains(flags)
    }

    /// Sets `flags`; returns which of all flags were set before.
    #[inline]
    pub fn set(&self, flags: FrameFlags) -> FrameFlags {
        if is_on(Mutant::FlagsInTwoSteps) {
            let before = self.word.load(Ordering::Acquire);
            self.word.store(before | flags.bits(), Ordering::Release);
            return FrameFlags::from_bits_truncate(before);
        }
        let right = ordering(Mutant::LockRelaxed, Ordering::AcqRel);
        FrameFlags::from_bits_truncate(self.word.fetch_or(flags.bits(), right))
    }

    /// Clears `flags`; returns which of all flags were set before.
    #[inline]
    pub fn clear(&self, flags: FrameFlags) -> FrameFlags {
        let right = ordering(Mutant::UnlockRelaxed, Ordering::AcqRel);
        FrameFlags::from_bits_truncate(self.word.fetch_and(!flags.bits(), right))
    }

    /// Sets or clears `flags`.
    pub fn assign(&self, flags: FrameFlags, on: bool) -> FrameFlags {
        if on { self.set(flags) } else { self.clear(flags) }
    }

    /// Takes the frame's lock bit if it is free.
    ///
    /// # Linux source concept
    /// `folio_trylock()`; waiting is the business of those who can sleep.
    pub fn try_lock(&self) -> bool {
        !self.set(FrameFlags::LOCKED).contains(FrameFlags::LOCKED)
    }

    /// Gives the lock bit back.
    pub fn unlock(&self) {
        let before = self.clear(FrameFlags::LOCKED);
        debug_assert!(before.contains(FrameFlags::LOCKED), "nobody had locked the frame");
    }

    /// The order of the folio; meaningful in its first frame.
    #[inline]
    pub fn order(&self) -> Order {
        order_in(self.word.load(Ordering::Relaxed))
    }

    /// What the frame was allocated for.
    #[inline]
    pub fn owner(&self) -> Owner {
        Owner::from_raw(((self.word.load(Ordering::Relaxed) & OWNER) >> OWNER_SHIFT) as u8)
    }

    /// Makes this the first frame of a new folio with one reference.
    #[inline]
    pub(crate) fn begin(&self, order: Order, owner: Owner) {
        self.begin_stamped(Stamp::of(order), owner);
    }

    /// The same for those who have the order at hand in the shape needed.
    #[inline]
    pub(crate) fn begin_stamped(&self, stamp: Stamp, owner: Owner) {
        let word = stamp.raw() | (owner as u64) << OWNER_SHIFT;
        self.word.store(word, Ordering::Relaxed);
        self.refs.begin();
    }

    /// Makes the folio one of another order, for splitting.
    pub(crate) fn set_order(&self, order: Order) {
        self.word.fetch_and(FLAGS | OWNER, Ordering::Relaxed);
        self.word.fetch_or(Stamp::of(order).raw(), Ordering::Relaxed);
    }

    /// The ring for this folio, if the caller has its only reference, nobody can
    /// find another, and neither flags nor mappings say that someone uses it.
    #[inline]
    pub(crate) fn ends_quietly(&self) -> Option<RingClass> {
        if !self.refs.is_alone() {
            return None;
        }
        let word = self.word.load(Ordering::Relaxed);
        const LOUD: FrameFlags = FrameFlags::FORBIDDEN_AT_FREE.union(FrameFlags::CHARGED);
        if word & LOUD.bits() != 0 || self.maps.get() != 0 {
            return None;
        }
        Some(RingClass::from_raw((word >> CLASS_SHIFT) as u8))
    }

    /// Puts the only reference of a folio that [ends quietly](Self::ends_quietly).
    #[inline]
    pub(crate) fn end_quietly(&self) {
        self.refs.end_alone();
        self.end(FrameFlags::empty());
    }

    /// Makes the record of a folio without references a free frame's, and tells
    /// its order; `None`, and no change, if flags or mappings say that someone
    /// still uses it.
    #[inline]
    pub(crate) fn end_of_use(&self) -> Option<Order> {
        let word = self.word.load(Ordering::Acquire);
        if word & FrameFlags::FORBIDDEN_AT_FREE.bits() != 0 || self.maps.get() != 0 {
            return None;
        }
        self.end(FrameFlags::empty());
        Some(order_in(word))
    }

    /// Makes this a free frame's record, keeping `flags`.
    #[inline]
    pub(crate) fn end(&self, flags: FrameFlags) {
        self.mapping.store(0, Ordering::Relaxed);
        // Release, and last: who finds the record idle sees all that was done.
        self.word.store(flags.bits(), Ordering::Release);
    }

    /// Whether the frame has no reference, and whoever put the last one is done
    /// with the record: for those who take a frame that the allocator does not have.
    pub(crate) fn is_idle(&self) -> bool {
        let ended = self.word.load(Ordering::Acquire) & OWNER == 0 || is_on(Mutant::TakeHalfEnded);
        ended && self.refs.get() == 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn order_and_owner_do_not_disturb_the_flags() {
        let record = FrameRecord::default();
        record.begin(Order::PMD, Owner::Shmem);
        record.set(FrameFlags::DIRTY | FrameFlags::OWNER_2);
        assert_eq!((record.order(), record.owner()), (Order::PMD, Owner::Shmem));
        record.set_order(Order::ZERO);
        assert_eq!((record.order(), record.owner()), (Order::ZERO, Owner::Shmem));
        assert_eq!(record.flags(), FrameFlags::DIRTY | FrameFlags::OWNER_2);
    }

    #[test]
    fn the_lock_bit_is_taken_once() {
        let record = FrameRecord::default();
        assert!(record.try_lock());
        assert!(!record.try_lock());
        record.unlock();
        assert!(record.try_lock());
    }
}
