//! Whether someone is using what belongs to one CPU.

use super::atomic::{AtomicU32, Ordering, fence};
use super::mutant::{Mutant, is_on, ordering};
use crate::platform::Platform;

/// In front of what belongs to one CPU: a flag that nobody waits for. Whoever
/// finds it set was interrupted in the middle, or meets another thread on the
/// same CPU, and does without.
///
/// The caller keeps preemption off between [`try_enter`](Self::try_enter) and
/// [`leave`](Self::leave).
///
/// A whole word: processors hand a word that was just stored to the next load
/// of it at once, a byte only later (half a nanosecond on an AMD Zen 3).
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct CpuFlag(AtomicU32);

const CLEAR: u32 = 0;
const SET: u32 = 1;

impl CpuFlag {
    /// Sets the flag if it is clear; whoever does that sees what the last one to
    /// leave did.
    ///
    /// With a CPU to itself, this thread competes only with interrupt handlers
    /// on the same CPU, which end before it goes on: a plain flag will do, and
    /// costs a quarter of an exchange.
    #[inline]
    pub fn try_enter<P: Platform>(&self) -> bool {
        if P::CPU_IS_EXCLUSIVE {
            self.enter_alone()
        } else {
            self.enter_shared()
        }
    }

    #[inline]
    fn enter_alone(&self) -> bool {
        if self.0.load(Ordering::Relaxed) != CLEAR {
            return false;
        }
        self.0.store(SET, Ordering::Relaxed);
        // Acquire only matters to the compiler here: the same CPU wrote.
        fence(Ordering::Acquire);
        true
    }

    #[inline]
    fn enter_shared(&self) -> bool {
        if is_on(Mutant::EnterInTwoSteps) {
            let entered = self.0.load(Ordering::Acquire) == CLEAR;
            self.0.store(SET, Ordering::Relaxed);
            return entered;
        }
        // Acquire: see what the last one to leave did.
        let right = ordering(Mutant::EnterRelaxed, Ordering::Acquire);
        self.0
            .compare_exchange(CLEAR, SET, right, Ordering::Relaxed)
            .is_ok()
    }

    /// Clears the flag.
    #[inline]
    pub fn leave(&self) {
        self.0
            .store(CLEAR, ordering(Mutant::LeaveRelaxed, Ordering::Release));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_in() {
        let flag = CpuFlag::default();
        for enter in [CpuFlag::enter_alone, CpuFlag::enter_shared] {
            assert!(enter(&flag) && !enter(&flag));
            flag.leave();
            assert!(enter(&flag));
            flag.leave();
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::super::Arc;
    use super::super::atomic::{AtomicU32, Ordering};
    use super::super::mutant::{Mutant, holds_and_catches};
    use super::CpuFlag;

    /// What is one CPU's, changed by plain steps.
    #[derive(Default)]
    struct Area {
        flag: CpuFlag,
        count: AtomicU32,
    }

    impl Area {
        /// Counts up, if nobody else is in; whether it did.
        fn visit(&self) -> u32 {
            if !self.flag.enter_shared() {
                return 0;
            }
            let count = self.count.load(Ordering::Relaxed);
            self.count.store(count + 1, Ordering::Relaxed);
            self.flag.leave();
            1
        }
    }

    #[test]
    fn loom_those_who_meet_on_a_cpu_come_one_by_one() {
        holds_and_catches(
            || {
                let one = Arc::new(Area::default());
                let two = one.clone();
                let other = loom::thread::spawn(move || two.visit() + two.visit());
                let visits = one.visit() + other.join().expect("the other");
                assert_eq!(one.count.load(Ordering::Relaxed), visits, "a visit was lost");
            },
            &[
                Mutant::EnterInTwoSteps,
                Mutant::EnterRelaxed,
                Mutant::LeaveRelaxed,
            ],
        );
    }
}
