//! The machine's settings, as they are now.

use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_units::Order;

use super::orders::Orders;
use super::setting::{Advice, Defrag, Global, SizeSetting, Sizes, ThpMode, allowed};
use super::stats::{Stats, ThpEvent};
use crate::mutant::{Mutant, is_on};

/// Two bits for each size, its setting counted from `never`; so zero is all of
/// them off, which is how a machine starts.
const BITS: u32 = 2;
const MASK: u32 = (1 << BITS) - 1;

/// Which sizes of folios private memory gets, and how often it got them.
///
/// # Locking
/// None: each setting is an atomic of its own, and a fault that runs while one
/// changes may follow the old one.
///
/// # Linux source concept
/// `huge_anon_orders_always` and its siblings, `transparent_hugepage_flags`,
/// `mthp_stats`.
#[derive(Debug)]
pub struct Thp {
    sizes: AtomicU32,
    global: AtomicU32,
    defrag: AtomicU32,
    stats: Stats,
}

impl Default for Thp {
    /// All sizes off, as Linux starts.
    fn default() -> Self {
        Self {
            sizes: AtomicU32::new(0),
            global: AtomicU32::new(Global::Never as u32),
            defrag: AtomicU32::new(Defrag::Madvise as u32),
            stats: Stats::default(),
        }
    }
}

impl Thp {
    /// The setting of one size; `Never` for what is [no size](Orders::ANONYMOUS)
    /// of private memory.
    pub fn size(&self, order: Order) -> SizeSetting {
        setting_in(self.sizes.load(Ordering::Relaxed), order)
    }

    /// Changes the setting of one size. False, and no change, if private memory
    /// cannot have that size.
    pub fn set_size(&self, order: Order, setting: SizeSetting) -> bool {
        if !Orders::ANONYMOUS.contains(order) {
            return false;
        }
        let change = |sizes: u32| {
            let bits = (SizeSetting::Never as u32 - setting as u32) << shift(order);
            Some(sizes & !(MASK << shift(order)) | bits)
        };
        if is_on(Mutant::SizeInTwoSteps) {
            let before = self.sizes.load(Ordering::Relaxed);
            change(before).inspect(|&sizes| self.sizes.store(sizes, Ordering::Relaxed));
            return true;
        }
        // It never refuses.
        let _ = self
            .sizes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        true
    }

    /// What sizes do that inherit.
    pub fn global(&self) -> Global {
        value(Global::ALL, self.global.load(Ordering::Relaxed), Global::Never)
    }

    /// Changes what sizes do that inherit.
    pub fn set_global(&self, global: Global) {
        self.global.store(global as u32, Ordering::Relaxed);
    }

    /// Who may wait until memory for a folio is reclaimed.
    pub fn defrag(&self) -> Defrag {
        value(Defrag::ALL, self.defrag.load(Ordering::Relaxed), Defrag::Madvise)
    }

    /// Changes who may wait.
    pub fn set_defrag(&self, defrag: Defrag) {
        self.defrag.store(defrag as u32, Ordering::Relaxed);
    }

    /// How often something happened with a size.
    pub fn events(&self, order: Order, event: ThpEvent) -> u64 {
        self.stats.get(order, event)
    }

    pub(crate) fn count(&self, order: Order, event: ThpEvent) {
        self.stats.count(order, event);
    }

    /// The sizes that a mapping may have, wherever they fit.
    #[inline]
    pub(crate) fn allowed(&self, mode: ThpMode, advice: Advice) -> Orders {
        let word = self.sizes.load(Ordering::Relaxed);
        // The usual machine: nothing more is asked.
        if word == 0 {
            return Orders::NONE;
        }
        allowed(sizes_in(word), self.global(), mode, advice)
    }
}

const fn shift(order: Order) -> u32 {
    order.raw() as u32 * BITS
}

fn setting_in(word: u32, order: Order) -> SizeSetting {
    let from_never = word >> shift(order) & MASK;
    let at = SizeSetting::Never as u32 - from_never;
    value(SizeSetting::ALL, at, SizeSetting::Never)
}

fn sizes_in(word: u32) -> Sizes {
    let mut sizes = Sizes::default();
    for order in Orders::ANONYMOUS.descending() {
        let set = match setting_in(word, order) {
            SizeSetting::Always => &mut sizes.always,
            SizeSetting::Inherit => &mut sizes.inherit,
            SizeSetting::Madvise => &mut sizes.madvise,
            SizeSetting::Never => continue,
        };
        *set = set.union(Orders::of(order));
    }
    sizes
}

/// The value of that number; only numbers of values are ever stored.
fn value<T: Copy>(all: &[T], number: u32, otherwise: T) -> T {
    all.get(number as usize).copied().unwrap_or(otherwise)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_machine_starts_with_every_size_off() {
        let thp = Thp::default();
        for order in Order::all() {
            assert_eq!(thp.size(order), SizeSetting::Never);
        }
        assert_eq!((thp.global(), thp.defrag()), (Global::Never, Defrag::Madvise));
        assert!(thp.allowed(ThpMode::Usual, Advice::Huge).is_empty());
    }

    #[test]
    fn sizes_are_set_one_by_one() {
        let thp = Thp::default();
        let order = |raw| Order::new(raw).expect("an order");
        assert!(thp.set_size(order(4), SizeSetting::Madvise));
        assert!(thp.set_size(order(2), SizeSetting::Inherit));
        assert!(thp.set_size(order(8), SizeSetting::Always));
        assert!(thp.set_size(order(3), SizeSetting::Always));
        assert!(thp.set_size(order(3), SizeSetting::Never));
        let settings = Order::all().map(|order| thp.size(order));
        use SizeSetting::{Always, Inherit, Madvise, Never};
        let expected = [
            Never, Never, Inherit, Never, Madvise, Never, Never, Never, Always, Never, Never,
        ];
        assert!(settings.eq(expected));

        let usual = thp.allowed(ThpMode::Usual, Advice::None);
        assert_eq!(usual, Orders::of(order(8)));
        thp.set_global(Global::Madvise);
        let advised = thp.allowed(ThpMode::Usual, Advice::Huge);
        assert!([2, 4, 8].iter().all(|raw| advised.contains(order(*raw))));
    }

    #[test]
    fn sizes_that_private_memory_cannot_have_stay_off() {
        let thp = Thp::default();
        for order in [Order::ZERO, Order::PMD] {
            assert!(!thp.set_size(order, SizeSetting::Always));
            assert_eq!(thp.size(order), SizeSetting::Never);
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::mutant::holds_and_catches;
    use foliant_platform::sync::Arc;

    #[test]
    fn loom_two_sizes_that_are_set_at_once_are_both_set() {
        holds_and_catches(
            || {
                let order = |raw| Order::new(raw).expect("an order");
                let one = Arc::new(Thp::default());
                let two = one.clone();
                let other = loom::thread::spawn(move || two.set_size(order(4), SizeSetting::Always));
                assert!(one.set_size(order(2), SizeSetting::Madvise));
                assert!(other.join().expect("the other"));
                let set = [2, 4].map(|raw| one.size(order(raw)));
                assert_eq!(set, [SizeSetting::Madvise, SizeSetting::Always]);
            },
            &[Mutant::SizeInTwoSteps],
        );
    }
}
