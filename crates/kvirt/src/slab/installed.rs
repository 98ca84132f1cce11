//! A value that is there from some moment on, for good.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use core::marker::PhantomData;
use core::ptr::null_mut;

use foliant_platform::sync::atomic::{AtomicPtr, Ordering};

use super::mutant::{Mutant, is_on, ordering};

/// Nothing, or a value that was installed and is never dropped.
pub(crate) struct Installed<T>(AtomicPtr<T>, PhantomData<T>);

impl<T> Installed<T> {
    #[cfg(not(loom))]
    pub(crate) const fn nothing() -> Self {
        Self(AtomicPtr::new(null_mut()), PhantomData)
    }

    #[cfg(loom)]
    pub(crate) fn nothing() -> Self {
        Self(AtomicPtr::new(null_mut()), PhantomData)
    }

    /// Installs `value` if nothing was; the value that is there, and whether it
    /// is this one.
    pub(crate) fn install(&self, value: T) -> (&T, bool) {
        let new = Box::into_raw(Box::new(value));
        if is_on(Mutant::InstallOver) {
            self.0.store(new, Ordering::Release);
        }
        // Release: who finds the value finds it whole.
        let right = ordering(Mutant::InstallRelaxed, Ordering::AcqRel);
        let won = self.0.compare_exchange(null_mut(), new, right, Ordering::Acquire);
        let there = match won {
            Ok(_) => new,
            Err(first) if first == new => new,
            Err(first) => {
                // SAFETY: made by `Box::into_raw` above, and given to nobody.
                drop(unsafe { Box::from_raw(new) });
                first
            }
        };
        // SAFETY: from a box that is never freed.
        (unsafe { &*there }, there == new)
    }

    /// The value, once there is one.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: null, or from a box that is never freed.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }
}
