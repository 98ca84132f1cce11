//! The objects that one CPU has at hand, and the guard in front of them.

use core::ptr::{NonNull, null_mut};

use foliant_platform::Platform;
use foliant_platform::sync::CpuFlag;
use foliant_platform::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::batch::{Accepts, BATCH};
use super::mutant::{Mutant, is_on};
use super::object::Object;

/// Objects that a CPU can have at hand.
pub(crate) const SLOTS: usize = 2 * BATCH;

/// What one CPU has of one cache: a stack, so that what was used last is used
/// next, whose other end is taken away when there are too many. Written under
/// the guard; all accesses are atomic, so a broken rule gives wrong answers,
/// which audits find, and no undefined behaviour.
///
/// # Linux source concept
/// `struct slub_percpu_sheaves`.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct CpuArea {
    /// Whether someone is using what is this CPU's.
    busy: CpuFlag,
    /// Where the next object goes. The three counts go on without end; what is
    /// left of one when it is divided by the slots is the slot.
    top: AtomicU32,
    /// Where no object goes any more: `limit` above `bottom`, or not above `top`
    /// while someone else needs the objects, which sends the next free the long
    /// way. All that a free has to look at.
    stop: AtomicU32,
    /// Where the object is that has lain longest.
    bottom: AtomicU32,
    /// Objects that may be here.
    limit: AtomicU32,
    /// The object that was freed last, if it is not in a slot: one that is
    /// allocated and freed over and over comes through here without a count
    /// that each step has to wait for.
    hot: AtomicPtr<u8>,
    slots: [AtomicPtr<u8>; SLOTS],
}

const _: () = assert!(
    SLOTS.is_power_of_two(),
    "counts run over at a multiple of the slots"
);

impl Default for CpuArea {
    fn default() -> Self {
        Self {
            busy: CpuFlag::default(),
            top: AtomicU32::new(0),
            stop: AtomicU32::new(0),
            bottom: AtomicU32::new(0),
            limit: AtomicU32::new(0),
            hot: AtomicPtr::new(null_mut()),
            slots: core::array::from_fn(|_| AtomicPtr::new(null_mut())),
        }
    }
}

impl CpuArea {
    /// Makes the caller the only one here; false if somebody is.
    #[inline]
    pub(crate) fn try_enter<P: Platform>(&self) -> bool {
        self.busy.try_enter::<P>() || is_on(Mutant::EnterAnyway)
    }

    /// Lets others in.
    #[inline]
    pub(crate) fn leave(&self) {
        self.busy.leave();
    }

    /// Lets the CPU have objects at hand. Ends a request to drain: what was
    /// done before that is seen by what comes after this.
    pub(crate) fn allow(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
        let bottom = self.bottom.load(Ordering::Relaxed);
        self.stop.swap(bottom.wrapping_add(limit), Ordering::AcqRel);
    }

    /// Asks the CPU to give its objects back when it next frees one.
    pub(crate) fn want_drain(&self) {
        // However old what is read here is, it is not above where the CPU is, and
        // not where it stops by itself.
        let bottom = self.bottom.load(Ordering::Relaxed);
        self.stop.store(bottom, Ordering::Release);
    }

    /// Whether someone asked.
    pub(crate) fn is_drain_wanted(&self) -> bool {
        let bottom = self.bottom.load(Ordering::Relaxed);
        let stop = bottom.wrapping_add(self.limit.load(Ordering::Relaxed));
        self.stop.load(Ordering::Relaxed) != stop
    }

    /// Takes the object that was freed last; `None` if there is none, or
    /// someone is using the area.
    #[inline]
    pub(crate) fn quick_pop<P: Platform>(&self) -> Option<Object> {
        if !self.try_enter::<P>() {
            return None;
        }
        let object = self.pop();
        self.leave();
        object
    }

    /// Adds an object; false if there are enough, or someone is using the area.
    #[inline]
    pub(crate) fn quick_push<P: Platform>(&self, object: Object) -> bool {
        if !self.try_enter::<P>() {
            return false;
        }
        let pushed = self.push(object);
        self.leave();
        pushed
    }

    /// How many there are in slots.
    #[inline]
    fn len(&self) -> u32 {
        let top = self.top.load(Ordering::Relaxed);
        top.wrapping_sub(self.bottom.load(Ordering::Relaxed))
    }

    #[inline]
    fn slot(&self, at: u32) -> &AtomicPtr<u8> {
        &self.slots[at as usize % SLOTS]
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0 && self.hot.load(Ordering::Relaxed).is_null()
    }

    /// Takes the object that was freed last.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Object> {
        if let Some(hot) = NonNull::new(self.hot.load(Ordering::Relaxed)) {
            self.hot.store(null_mut(), Ordering::Relaxed);
            return Some(Object(hot));
        }
        let top = self.top.load(Ordering::Relaxed);
        if top == self.bottom.load(Ordering::Relaxed) {
            return None;
        }
        let top = top.wrapping_sub(1);
        self.top.store(top, Ordering::Relaxed);
        NonNull::new(self.slot(top).load(Ordering::Relaxed)).map(Object)
    }

    /// Adds an object if fewer than the limit are there.
    #[inline]
    pub(crate) fn push(&self, object: Object) -> bool {
        let top = self.top.load(Ordering::Relaxed);
        let beyond = top.wrapping_sub(self.stop.load(Ordering::Relaxed));
        if beyond.cast_signed() >= 0 {
            return false;
        }
        if self.hot.load(Ordering::Relaxed).is_null() {
            self.hot.store(object.0.as_ptr(), Ordering::Relaxed);
        } else {
            self.push_at(top, object);
        }
        true
    }

    /// Adds an object if it fits at all.
    pub(crate) fn push_more(&self, object: Object) -> bool {
        let fits = (self.len() as usize) < SLOTS;
        if fits {
            self.push_at(self.top.load(Ordering::Relaxed), object);
        }
        fits
    }

    #[inline]
    fn push_at(&self, top: u32, object: Object) {
        self.slot(top).store(object.0.as_ptr(), Ordering::Relaxed);
        self.top.store(top.wrapping_add(1), Ordering::Relaxed);
    }

    /// Takes up to `count` objects that have lain longest, and one at least if
    /// there are any in slots. They can be read until the next one is added.
    pub(crate) fn take_oldest(&self, count: usize) -> &[AtomicPtr<u8>] {
        let bottom = self.bottom.load(Ordering::Relaxed);
        // Not beyond the last slot: those in the first come another time.
        let first = bottom as usize % SLOTS;
        let count = count.min(self.len() as usize).min(SLOTS - first);
        self.bottom
            .store(bottom.wrapping_add(count as u32), Ordering::Relaxed);
        // An addition, so that a request to drain stays one.
        self.stop.fetch_add(count as u32, Ordering::Relaxed);
        &self.slots[first..first + count]
    }

    /// For adding many.
    pub(crate) fn filler(&self) -> Filler<'_> {
        let top = self.top.load(Ordering::Relaxed);
        Filler {
            area: self,
            top,
            next: top,
            room: SLOTS - (self.len() as usize).min(SLOTS),
        }
    }

    /// Takes the object that is in no slot.
    pub(crate) fn take_hot(&self) -> Option<Object> {
        let hot = self.hot.load(Ordering::Relaxed);
        self.hot.store(null_mut(), Ordering::Relaxed);
        NonNull::new(hot).map(Object)
    }

    /// The objects, for audits.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Object> {
        let len = self.len().min(SLOTS as u32);
        let bottom = self.bottom.load(Ordering::Relaxed);
        let slots = (0..len).map(move |at| self.slot(bottom.wrapping_add(at)));
        let all = slots.chain([&self.hot]);
        all.filter_map(|slot| NonNull::new(slot.load(Ordering::Relaxed)).map(Object))
    }
}

/// Adds objects to an area: they are there when it is dropped. Those that were
/// expected together are used in the order in which they came.
pub(crate) struct Filler<'a> {
    area: &'a CpuArea,
    top: u32,
    /// Above where the next one goes.
    next: u32,
    room: usize,
}

impl Accepts for Filler<'_> {
    #[inline]
    fn room(&self) -> usize {
        self.room
    }

    #[inline]
    fn expect(&mut self, count: usize) {
        debug_assert!(count <= self.room, "an area holds {SLOTS} objects");
        self.room -= count.min(self.room);
        self.top = self.top.wrapping_add(count as u32);
        self.next = self.top;
    }

    #[inline]
    fn push(&mut self, object: Object) {
        self.next = self.next.wrapping_sub(1);
        let slot = self.area.slot(self.next);
        slot.store(object.0.as_ptr(), Ordering::Relaxed);
    }
}

impl Drop for Filler<'_> {
    #[inline]
    fn drop(&mut self) {
        self.area.top.store(self.top, Ordering::Relaxed);
    }
}

/// The right to use what is one CPU's.
#[must_use = "the CPU is left as soon as the guard is dropped"]
pub(crate) struct CpuGuard<'a, P: Platform> {
    pub(crate) area: &'a CpuArea,
    platform: &'a P,
}

impl<'a, P: Platform> CpuGuard<'a, P> {
    /// Enters the calling CPU's area; `None` if it is in use, by an interrupted
    /// piece of code or by another thread on the same CPU.
    #[inline]
    pub(crate) fn enter(platform: &'a P, area_of: impl FnOnce(usize) -> &'a CpuArea) -> Option<Self> {
        platform.preempt_off();
        let area = area_of(platform.cpu().index());
        if area.try_enter::<P>() {
            return Some(Self { area, platform });
        }
        platform.preempt_on();
        None
    }

    /// Enters another CPU's area. Only where CPUs are guarded by an exchange;
    /// elsewhere the CPU itself has to be asked ([`CpuArea::want_drain`]).
    pub(crate) fn enter_other(platform: &'a P, area: &'a CpuArea) -> Option<Self> {
        if P::CPU_IS_EXCLUSIVE {
            return None;
        }
        platform.preempt_off();
        if area.try_enter::<P>() {
            return Some(Self { area, platform });
        }
        platform.preempt_on();
        None
    }
}

impl<P: Platform> Drop for CpuGuard<'_, P> {
    #[inline]
    fn drop(&mut self) {
        self.area.leave();
        self.platform.preempt_on();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::vec::Vec;

    use super::super::batch::Holds;
    use super::*;

    fn object(number: usize) -> Object {
        let address = core::num::NonZero::new(number * 64).unwrap();
        Object(NonNull::without_provenance(address))
    }

    fn numbers(area: &CpuArea, count: usize) -> Vec<usize> {
        let oldest = area.take_oldest(count).iter();
        oldest.map(|slot| slot.address() / 64).collect()
    }

    /// An area whose counts are about to run over.
    fn area(limit: u32) -> CpuArea {
        let area = CpuArea::default();
        area.top.store(u32::MAX - 3, Ordering::Relaxed);
        area.bottom.store(u32::MAX - 3, Ordering::Relaxed);
        area.allow(limit);
        area
    }

    #[test]
    fn the_youngest_is_used_next_and_the_oldest_goes_first() {
        let area = area(8);
        let pushed = (1..20).take_while(|&number| area.push(object(number)));
        assert_eq!(pushed.count(), 9, "eight in slots and one beside");
        assert_eq!(numbers(&area, 3), [2, 3, 4]);
        assert_eq!(numbers(&area, 3), [5], "up to the last slot");
        assert!((20..24).all(|number| area.push(object(number))));
        assert!(!area.push(object(24)));
        let popped: Vec<_> = core::iter::from_fn(|| area.pop()).collect();
        let expected = [1, 23, 22, 21, 20, 9, 8, 7, 6].map(object);
        assert_eq!(popped, expected);
        assert!(area.is_empty());
    }

    #[test]
    fn a_request_to_drain_stays_one_until_it_is_heeded() {
        let area = area(4);
        assert!((1..4).all(|number| area.push(object(number))) && !area.is_drain_wanted());
        area.want_drain();
        assert!(area.is_drain_wanted() && !area.push(object(4)));
        assert_eq!(numbers(&area, 1), [2]);
        assert!(area.is_drain_wanted() && !area.push(object(4)));
        area.allow(4);
        assert!(!area.is_drain_wanted() && area.push(object(4)));
    }

    #[test]
    fn what_is_filled_in_together_comes_in_its_order() {
        let area = area(8);
        let mut filler = area.filler();
        for part in [1..4, 4..6] {
            filler.expect(part.len());
            part.for_each(|number| filler.push(object(number)));
        }
        assert_eq!(filler.room(), SLOTS - 5);
        drop(filler);
        let popped: Vec<_> = core::iter::from_fn(|| area.pop()).collect();
        assert_eq!(popped, [4, 5, 1, 2, 3].map(object));
    }
}
