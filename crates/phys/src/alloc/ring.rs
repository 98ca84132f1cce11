//! A CPU's own free folios of one order and mobility.

use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_units::Order;

use super::entry::Entry;

const SLOTS: usize = 128;

/// The orders that have rings, in the order of their numbers: 0 to 3 and 9.
pub(crate) const RING_CLASSES: usize = 5;

/// Which ring serves an order.
#[inline]
pub(crate) const fn ring_class(order: Order) -> Option<usize> {
    match order.raw() {
        raw @ 0..=3 => Some(raw as usize),
        9 => Some(4),
        _ => None,
    }
}

/// The order of a class.
pub(crate) fn ring_order(class: usize) -> Order {
    let raw = if class == 4 { 9 } else { class as u8 };
    Order::new(raw).unwrap_or_default()
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
    /// For each class, where a ring of single frames takes `batch` at once.
    pub(crate) fn for_batch(batch: u32) -> [Self; RING_CLASSES] {
        core::array::from_fn(|class| {
            let batch = match ring_order(class).raw() {
                9 => batch / 16,
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
/// # Locking
/// Under the guard of its CPU (see [`CpuGuard`](super::cpu::CpuGuard)). All
/// accesses are atomic, so a broken rule gives wrong answers, which audits
/// find, and no undefined behaviour.
#[derive(Debug)]
pub(crate) struct Ring {
    head: AtomicU32,
    len: AtomicU32,
    slots: [AtomicU32; SLOTS],
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            head: AtomicU32::new(0),
            len: AtomicU32::new(0),
            slots: core::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

impl Ring {
    /// How many folios there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed) as usize
    }

    /// Takes the folio that has been here longest.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Entry> {
        let len = self.len.load(Ordering::Relaxed);
        if len == 0 {
            return None;
        }
        let head = self.head.load(Ordering::Relaxed);
        let entry = self.slots[head as usize % SLOTS].load(Ordering::Relaxed);
        self.head.store((head + 1) % SLOTS as u32, Ordering::Relaxed);
        self.len.store(len - 1, Ordering::Relaxed);
        Some(Entry::from_raw(entry))
    }

    /// Adds a folio behind the others; false if the ring is full.
    #[inline]
    pub(crate) fn push(&self, entry: Entry) -> bool {
        let len = self.len.load(Ordering::Relaxed);
        if len as usize == SLOTS {
            return false;
        }
        let at = (self.head.load(Ordering::Relaxed) + len) as usize % SLOTS;
        self.slots[at].store(entry.raw(), Ordering::Relaxed);
        self.len.store(len + 1, Ordering::Relaxed);
        true
    }

    /// The folios, for audits.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry> {
        let head = self.head.load(Ordering::Relaxed) as usize;
        (0..self.len())
            .map(move |at| Entry::from_raw(self.slots[(head + at) % SLOTS].load(Ordering::Relaxed)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use foliant_units::Pfn;

    #[test]
    fn first_in_first_out_round_and_round() {
        let ring = Ring::default();
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
        for at in 0..SLOTS as u64 {
            assert!(ring.push(Entry::new(Pfn::new(at), false)));
        }
        assert!(!ring.push(Entry::default()));
        assert_eq!(ring.iter().count(), SLOTS);
    }
}
