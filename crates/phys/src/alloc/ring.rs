//! A CPU's own free folios of one order and mobility.

use foliant_platform::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use foliant_units::Order;

use super::entry::{BATCH, Batch, Entry};
use crate::mutant::{Mutant, is_on};
use crate::record::Stamp;

const SLOTS: usize = if cfg!(loom) { 8 } else { 128 };

/// Rings of a mobility: those of the orders 0 to 3 and 9, and one that has no
/// room and serves the other orders, so that nobody has to ask.
pub(crate) const RING_CLASSES: usize = 6;

/// Which ring of a mobility serves an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RingClass(u8);

impl RingClass {
    /// The first.
    pub(crate) const FIRST: Self = Self(0);
    /// The ring without room.
    const NONE: Self = Self(RING_CLASSES as u8 - 1);

    /// The class of an order.
    #[inline]
    pub(crate) const fn of(order: Order) -> Self {
        // Three bits for each order, so that no table is read.
        const CLASSES: u64 = 0o54_555_553_210;
        Self((CLASSES >> ((3 * order.raw() as u32) & 63)) as u8 & 0b111)
    }

    /// The class of this number; what has none has no room.
    #[inline]
    pub(crate) const fn from_raw(raw: u8) -> Self {
        Self(raw & 0b111)
    }

    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether the ring may have room.
    pub(crate) const fn has_room(self) -> bool {
        self.0 < Self::NONE.0
    }

    /// The order of the ring at this place of a zone or mobility; zero for one
    /// without room.
    pub(crate) fn order_at(ring: usize) -> Order {
        let raw = match ring % RING_CLASSES {
            4 => 9,
            5 => 0,
            class => class as u8,
        };
        Order::new(raw).unwrap_or_default()
    }
}

/// How a zone uses its rings of one class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct RingSize {
    /// Folios taken from or given back to the lines at once.
    pub(crate) batch: u16,
    /// Folios above which some are given back.
    pub(crate) limit: u16,
}

impl RingSize {
    /// For each class, where a ring of single frames takes `batch` at once and
    /// one of blocks takes `blocks`.
    pub(crate) fn for_batch(batch: u32, blocks: u32) -> [Self; RING_CLASSES] {
        core::array::from_fn(|class| {
            if class == RingClass::NONE.index() {
                return Self::default();
            }
            let batch = match RingClass::order_at(class).raw() {
                9 => blocks,
                raw => batch >> raw,
            };
            let batch = batch.max(1) as u16;
            Self {
                batch,
                limit: 2 * batch - 1,
            }
        })
    }
}

/// A queue of free folios: first in, first out, so that neighbours freed one
/// after the other come back in that order, and what is drained is what has
/// lain longest.
///
/// Its positions only ever grow, so they also count what was taken and given
/// back through it, and the hot path counts nothing else.
///
/// # Locking
/// Under the guard of its CPU (see [`CpuGuard`](super::cpu::CpuGuard)). All
/// accesses are atomic, so a broken rule gives wrong answers, which audits
/// find, and no undefined behaviour.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Ring {
    /// Folios that left, since boot.
    head: AtomicU64,
    /// Folios that came, since boot.
    tail: AtomicU64,
    /// Folios above which some are given back; zero until the ring is opened.
    limit: AtomicU64,
    /// What their records say of their order.
    stamp: AtomicU64,
    /// Of those that left, how many went to the lines.
    drained: AtomicU64,
    /// Of those that came, how many came from the lines.
    filled: AtomicU64,
    slots: [AtomicU32; SLOTS],
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            stamp: AtomicU64::new(0),
            slots: core::array::from_fn(|_| AtomicU32::new(0)),
            drained: AtomicU64::new(0),
            filled: AtomicU64::new(0),
        }
    }
}

impl Ring {
    /// How many folios there are; for who is not behind the guard, about so many.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        above(&self.tail, &self.head) as usize
    }

    /// Takes the folio that has been here longest, for a caller of the allocator.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Entry> {
        let head = self.head.load(Ordering::Relaxed);
        if head == self.tail.load(Ordering::Relaxed) {
            return None;
        }
        let entry = self.slots[head as usize % SLOTS].load(Ordering::Relaxed);
        self.head.store(head + 1, Ordering::Relaxed);
        Some(Entry::from_raw(entry))
    }

    /// Adds a folio that a caller of the allocator gave back, behind the
    /// others; false if there are as many as the limit, or that is not set.
    #[inline]
    pub(crate) fn push(&self, entry: Entry) -> bool {
        let tail = self.tail.load(Ordering::Relaxed);
        let len = tail - self.head.load(Ordering::Relaxed);
        if len >= self.limit.load(Ordering::Relaxed) {
            return false;
        }
        self.slots[tail as usize % SLOTS].store(entry.raw(), Ordering::Relaxed);
        self.tail.store(tail + 1, Ordering::Relaxed);
        true
    }

    /// Makes room for so many folios of an order.
    pub(crate) fn open(&self, limit: u16, order: Order) {
        self.stamp.store(Stamp::of(order).raw(), Ordering::Relaxed);
        self.limit
            .store(u64::from(limit).min(SLOTS as u64), Ordering::Relaxed);
    }

    /// What the records of its folios say of their order.
    #[inline]
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp::from_raw(self.stamp.load(Ordering::Relaxed))
    }

    /// Adds folios from the lines.
    pub(crate) fn fill(&self, entries: &[Entry]) {
        let tail = self.tail.load(Ordering::Relaxed);
        debug_assert!(
            self.len() + entries.len() <= SLOTS,
            "a batch is smaller than a ring"
        );
        let (start, end) = self.slots_from(tail);
        let (low, high) = entries.split_at(start.len().min(entries.len()));
        let store = |(slot, entry): (&AtomicU32, &Entry)| slot.store(entry.raw(), Ordering::Relaxed);
        start.iter().zip(low).for_each(store);
        end.iter().zip(high).for_each(store);
        let count = entries.len() as u64;
        self.tail.store(tail + count, Ordering::Relaxed);
        let filled = self.filled.load(Ordering::Relaxed);
        self.filled.store(filled + count, Ordering::Relaxed);
    }

    /// Takes out up to `most` folios, those that have been here longest, for
    /// the lines.
    // Always: so that the batch is made where it is used.
    #[inline(always)]
    pub(crate) fn drain(&self, most: usize) -> Batch {
        let head = self.head.load(Ordering::Relaxed);
        let count = self.len().min(most).min(BATCH);
        let (start, end) = self.slots_from(head);
        let mut batch = Batch::with_len(count);
        let (low, high) = batch.split_at_mut(start.len().min(count));
        let load = |(entry, slot): (&mut Entry, &AtomicU32)| {
            *entry = Entry::from_raw(slot.load(Ordering::Relaxed));
        };
        low.iter_mut().zip(start).for_each(load);
        high.iter_mut().zip(end).for_each(load);
        self.head.store(head + count as u64, Ordering::Relaxed);
        let drained = self.drained.load(Ordering::Relaxed);
        self.drained.store(drained + count as u64, Ordering::Relaxed);
        batch
    }

    /// All slots in order, from that of a position on, in two pieces.
    fn slots_from(&self, position: u64) -> (&[AtomicU32], &[AtomicU32]) {
        let (end, start) = self.slots.split_at(position as usize % SLOTS);
        (start, end)
    }

    /// Folios that callers took through this ring, since boot.
    pub(crate) fn taken(&self) -> u64 {
        above(&self.head, &self.drained)
    }

    /// Folios that callers gave back through this ring, since boot.
    pub(crate) fn given(&self) -> u64 {
        above(&self.tail, &self.filled)
    }

    /// The folios, for audits.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry> {
        let head = self.head.load(Ordering::Relaxed) as usize;
        (0..self.len())
            .map(move |at| Entry::from_raw(self.slots[(head + at) % SLOTS].load(Ordering::Relaxed)))
    }
}

/// By how much one position is above another. Who reads them from outside may
/// see the lower one moved by more than the higher.
#[inline]
fn above(higher: &AtomicU64, lower: &AtomicU64) -> u64 {
    let (higher, lower) = (higher.load(Ordering::Relaxed), lower.load(Ordering::Relaxed));
    if is_on(Mutant::CountWraps) {
        return higher.wrapping_sub(lower);
    }
    higher.saturating_sub(lower)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use foliant_units::Pfn;

    #[test]
    fn first_in_first_out_round_and_round() {
        let ring = Ring::default();
        ring.open(SLOTS as u16, Order::ZERO);
        let mut next = 0;
        for round in 0..1000u64 {
            assert!(ring.push(Entry::new(Pfn::new(round), round % 2 == 0)));
            if ring.len() == 100 {
                for _ in 0..77 {
                    let entry = ring.pop().unwrap();
                    assert_eq!((entry.pfn(), entry.is_fresh()), (Pfn::new(next), next % 2 == 0));
                    next += 1;
                }
            }
        }
    }

    #[test]
    fn a_full_ring_refuses() {
        let ring = Ring::default();
        assert!(!ring.push(Entry::default()), "it is not open");
        ring.open(SLOTS as u16, Order::ZERO);
        for at in 0..SLOTS as u64 {
            assert!(ring.push(Entry::new(Pfn::new(at), false)));
        }
        assert!(!ring.push(Entry::default()));
        assert_eq!(ring.iter().count(), SLOTS);
    }

    #[test]
    fn what_callers_took_and_gave_is_counted() {
        let ring = Ring::default();
        ring.open(8, Order::ZERO);
        ring.fill(&[Entry::default(); 4]);
        assert!(ring.pop().is_some() && ring.pop().is_some() && ring.push(Entry::default()));
        assert_eq!(ring.drain(2).len(), 2);
        assert_eq!((ring.taken(), ring.given(), ring.len()), (2, 1, 1));
    }
}
