//! A lock that spins, for sections of a few instructions.

use core::ops::{Deref, DerefMut};

use super::atomic::{AtomicBool, Ordering};
use super::cell::UnsafeCell;
use super::mutant::{Mutant, is_on, ordering};

/// Lets the processor, or the host's scheduler after a while, run the holder
/// of whatever the caller waits for. `spins` counts the caller's attempts.
pub fn relax(spins: &mut u32) {
    *spins += 1;
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(all(not(loom), feature = "std"))]
    if *spins > 64 {
        // The holder may be a thread that the host has taken off its CPU.
        std::thread::yield_now();
    }
    #[cfg(not(loom))]
    core::hint::spin_loop();
}

/// Mutual exclusion by spinning. Not recursive. The holder must not sleep.
#[derive(Debug, Default)]
pub struct SpinLock<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands the value to one thread at a time, so sharing the
// lock needs no more of `T` than that it may move between threads.
unsafe impl<T: Send> Sync for SpinLock<T> {}
// SAFETY: the lock owns its value.
unsafe impl<T: Send> Send for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// An open lock around `value`.
    pub fn new(value: T) -> Self {
        Self {
            held: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock and takes it.
    pub fn lock(&self) -> SpinGuard<'_, T> {
        let mut spins = 0;
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            while self.held.load(Ordering::Relaxed) {
                relax(&mut spins);
            }
        }
    }

    /// Takes the lock if it is open.
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        if is_on(Mutant::LockInTwoSteps) {
            let held = self.held.load(Ordering::Acquire);
            self.held.store(true, Ordering::Relaxed);
            return (!held).then_some(SpinGuard { lock: self });
        }
        // Acquire: see what the last holder did.
        let right = ordering(Mutant::LockRelaxed, Ordering::Acquire);
        self.held
            .compare_exchange(false, true, right, Ordering::Relaxed)
            .ok()
            .map(|_| SpinGuard { lock: self })
    }

    /// The value, when the borrow checker already knows that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: `&mut self` excludes every guard.
        self.value.with_mut(|value| unsafe { &mut *value })
    }
}

/// The right to use the value of a [`SpinLock`]; dropping it opens the lock.
#[derive(Debug)]
#[must_use = "the lock is open again as soon as the guard is dropped"]
pub struct SpinGuard<'a, T> {
    lock: &'a SpinLock<T>,
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock, so nobody writes the value.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock and is borrowed mutably, so this is
        // the only reference to the value.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        let right = ordering(Mutant::OpenRelaxed, Ordering::Release);
        self.lock.held.store(false, right);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::super::Arc;
    use super::super::mutant::{Mutant, holds_and_catches};
    use super::SpinLock;

    #[test]
    fn loom_a_spin_lock_lets_one_in_who_sees_what_the_last_one_did() {
        holds_and_catches(
            || {
                let one = Arc::new(SpinLock::new(0));
                let two = one.clone();
                let other = loom::thread::spawn(move || {
                    *two.lock() += 1;
                    two.try_lock().map_or(0, |mut value| {
                        *value += 1;
                        1
                    })
                });
                *one.lock() += 1;
                let tried = other.join().expect("the other");
                assert_eq!(*one.lock(), 2 + tried, "a change was lost");
            },
            &[Mutant::LockInTwoSteps, Mutant::LockRelaxed, Mutant::OpenRelaxed],
        );
    }
}
