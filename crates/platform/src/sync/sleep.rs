//! Locks whose holder may sleep.
//!
//! Hosted machines use the standard library's; its poisoning is passed over,
//! because a supervisor that panicked while holding a lock is going down anyway.

use core::ops::{Deref, DerefMut};

#[cfg(loom)]
use loom::sync as imp;
#[cfg(all(not(loom), not(feature = "std")))]
use spinning as imp;
#[cfg(all(not(loom), feature = "std"))]
use std::sync as imp;

/// Mutual exclusion for sections that may sleep.
#[derive(Debug, Default)]
pub struct Mutex<T>(imp::Mutex<T>);

/// The right to use the value of a [`Mutex`].
#[derive(Debug)]
#[must_use = "the lock is open again as soon as the guard is dropped"]
pub struct MutexGuard<'a, T>(imp::MutexGuard<'a, T>);

/// Many readers or one writer, for sections that may sleep.
#[derive(Debug, Default)]
pub struct RwLock<T>(imp::RwLock<T>);

/// The right to read the value of an [`RwLock`].
#[derive(Debug)]
#[must_use = "the lock is open again as soon as the guard is dropped"]
pub struct RwLockReadGuard<'a, T>(imp::RwLockReadGuard<'a, T>);

/// The right to write the value of an [`RwLock`].
#[derive(Debug)]
#[must_use = "the lock is open again as soon as the guard is dropped"]
pub struct RwLockWriteGuard<'a, T>(imp::RwLockWriteGuard<'a, T>);

impl<T> Mutex<T> {
    /// An open lock around `value`.
    pub fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    /// Waits for the lock and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Takes the lock if it is open.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(MutexGuard)
    }
}

impl<T> RwLock<T> {
    /// An open lock around `value`.
    pub fn new(value: T) -> Self {
        Self(imp::RwLock::new(value))
    }

    /// Waits until nobody writes.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard(self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Waits until nobody reads or writes.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard(self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// Bare metal until a scheduler offers sleeping: both locks spin.
#[cfg(all(not(loom), not(feature = "std")))]
mod spinning {
    use super::super::spin::{SpinGuard, SpinLock};

    /// The shape of the standard library's result, without its error.
    pub(super) struct Never<T>(core::convert::Infallible, core::marker::PhantomData<T>);

    impl<T> Never<T> {
        pub(super) fn into_inner(self) -> T {
            match self.0 {}
        }
    }

    #[derive(Debug, Default)]
    pub(super) struct Mutex<T>(SpinLock<T>);
    pub(super) type MutexGuard<'a, T> = SpinGuard<'a, T>;
    #[derive(Debug, Default)]
    pub(super) struct RwLock<T>(SpinLock<T>);
    pub(super) type RwLockReadGuard<'a, T> = SpinGuard<'a, T>;
    pub(super) type RwLockWriteGuard<'a, T> = SpinGuard<'a, T>;

    impl<T> Mutex<T> {
        pub(super) fn new(value: T) -> Self {
            Self(SpinLock::new(value))
        }
        pub(super) fn lock(&self) -> Result<SpinGuard<'_, T>, Never<SpinGuard<'_, T>>> {
            Ok(self.0.lock())
        }
        pub(super) fn try_lock(&self) -> Result<SpinGuard<'_, T>, ()> {
            self.0.try_lock().ok_or(())
        }
    }

    impl<T> RwLock<T> {
        pub(super) fn new(value: T) -> Self {
            Self(SpinLock::new(value))
        }
        pub(super) fn read(&self) -> Result<SpinGuard<'_, T>, Never<SpinGuard<'_, T>>> {
            Ok(self.0.lock())
        }
        pub(super) fn write(&self) -> Result<SpinGuard<'_, T>, Never<SpinGuard<'_, T>>> {
            Ok(self.0.lock())
        }
    }
}
