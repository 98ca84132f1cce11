//! The objects that one CPU has at hand, and the guard in front of them.

use core::ptr::{NonNull, null_mut};

use foliant_platform::Platform;
use foliant_platform::sync::CpuFlag;
use foliant_platform::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::batch::{BATCH, Batch};
use super::mutant::{Mutant, is_on};
use super::object::Object;

/// Objects that a CPU can have at hand.
pub(crate) const SLOTS: usize = 2 * BATCH;

/// What one CPU has of one cache: a stack, so that what was used last is used
/// next. Written under the guard; all accesses are atomic, so a broken rule
/// gives wrong answers, which audits find, and no undefined behaviour.
///
/// # Linux source concept
/// `struct slub_percpu_sheaves`.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct CpuArea {
    /// Whether someone is using what is this CPU's.
    busy: CpuFlag,
    len: AtomicU32,
    /// Objects that may be here; none while someone else needs them, which
    /// sends the next free the long way.
    limit: AtomicU32,
    /// The object that was freed last, if it is not in a slot: one that is
    /// allocated and freed over and over comes through here without a count
    /// that each step has to wait for.
    hot: AtomicPtr<u8>,
    slots: [AtomicPtr<u8>; SLOTS],
}

impl Default for CpuArea {
    fn default() -> Self {
        Self {
            busy: CpuFlag::default(),
            len: AtomicU32::new(0),
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
        self.limit.swap(limit, Ordering::AcqRel);
    }

    /// Asks the CPU to give its objects back when it next frees one.
    pub(crate) fn want_drain(&self) {
        self.limit.store(0, Ordering::Release);
    }

    /// Whether someone asked.
    pub(crate) fn is_drain_wanted(&self) -> bool {
        self.limit.load(Ordering::Relaxed) == 0
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

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0 && self.hot.load(Ordering::Relaxed).is_null()
    }

    /// Takes the object that was freed last.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Object> {
        if let Some(hot) = NonNull::new(self.hot.load(Ordering::Relaxed)) {
            self.hot.store(null_mut(), Ordering::Relaxed);
            return Some(Object(hot));
        }
        let len = self.len.load(Ordering::Relaxed).wrapping_sub(1);
        let slot = self.slots.get(len as usize)?;
        self.len.store(len, Ordering::Relaxed);
        NonNull::new(slot.load(Ordering::Relaxed)).map(Object)
    }

    /// Adds an object if fewer than the limit are there.
    #[inline]
    pub(crate) fn push(&self, object: Object) -> bool {
        let len = self.len.load(Ordering::Relaxed);
        if len >= self.limit.load(Ordering::Relaxed) {
            return false;
        }
        if self.hot.load(Ordering::Relaxed).is_null() {
            self.hot.store(object.0.as_ptr(), Ordering::Relaxed);
            return true;
        }
        self.push_at(len, object)
    }

    /// Adds an object if it fits at all.
    pub(crate) fn push_more(&self, object: Object) -> bool {
        self.push_at(self.len.load(Ordering::Relaxed), object)
    }

    #[inline]
    fn push_at(&self, len: u32, object: Object) -> bool {
        let Some(slot) = self.slots.get(len as usize) else {
            return false;
        };
        slot.store(object.0.as_ptr(), Ordering::Relaxed);
        self.len.store(len + 1, Ordering::Relaxed);
        true
    }

    /// Moves up to `count` objects that have lain longest into a batch.
    pub(crate) fn take_oldest(&self, count: usize, into: &mut Batch) {
        let len = (self.len.load(Ordering::Relaxed) as usize).min(SLOTS);
        let moved = count.min(len).min(into.room());
        for slot in &self.slots[..moved] {
            if let Some(at) = NonNull::new(slot.load(Ordering::Relaxed)) {
                into.push(Object(at));
            }
        }
        for at in moved..len {
            let later = self.slots[at].load(Ordering::Relaxed);
            self.slots[at - moved].store(later, Ordering::Relaxed);
        }
        self.len.store((len - moved) as u32, Ordering::Relaxed);
        if moved < count && into.room() > 0 {
            into.extend(NonNull::new(self.hot.load(Ordering::Relaxed)).map(Object));
            self.hot.store(null_mut(), Ordering::Relaxed);
        }
    }

    /// The objects, for audits.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Object> {
        let len = (self.len.load(Ordering::Relaxed) as usize).min(SLOTS);
        let all = self.slots[..len].iter().chain([&self.hot]);
        all.filter_map(|slot| NonNull::new(slot.load(Ordering::Relaxed)).map(Object))
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
