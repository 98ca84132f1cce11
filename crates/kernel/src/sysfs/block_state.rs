//! A block of memory goes online or offline as it is told.

use foliant_phys::{Migrator, Moved, OnlineTo, Phys, SectionError, ZoneKind};
use foliant_platform::{Nanos, Platform};
use foliant_uapi::text::OnlineType;
use foliant_units::{Errno, Pfn};

use crate::fs::Caller;
use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::park::{Interrupt, WaitError};
use crate::pid::Pid;

/// Nobody can be moved on a machine that has no means to.
struct Nobody;

impl Migrator for Nobody {
    fn migrate(&self, _: Pfn, _: Pfn) -> Moved {
        Moved::No
    }
}

/// How long what the kernel uses itself may be in the way, in nanoseconds.
const PATIENCE: u64 = 1_000_000_000;
/// Time between two attempts.
const PAUSE: u64 = 1_000_000;

/// Whether to try again, after a while: asked with whether everything in the
/// block is there to be moved.
pub(super) type Again<'a> = &'a dyn Fn(bool) -> Result<(), Errno>;

/// Lets a writer that began at `start` sleep for a moment.
///
/// # Errors
/// `INTR` when a signal wants it; `BUSY` when it has waited long enough for what
/// the kernel uses itself.
pub(super) fn pause<M: UserMachine>(
    kernel: &Kernel<M>,
    writer: Caller,
    start: Nanos,
    movable: bool,
) -> Result<(), Errno> {
    if !movable && kernel.uptime().0 - start.0 > PATIENCE {
        return Err(Errno::BUSY);
    }
    let task = kernel.tree().task(Pid::new(writer.thread)).cloned();
    let task = task.ok_or(Errno::INTR)?;
    let until = Nanos(task.parker().now().0 + PAUSE);
    match task
        .parker()
        .park(Interrupt::BySignal, Some(until), || None::<()>)
    {
        Err(WaitError::Signal) => Err(Errno::INTR),
        Ok(()) | Err(WaitError::Timeout) => Ok(()),
    }
}

/// Does it; what is in the way of going offline and does not have to stay is
/// waited for.
///
/// # Errors
/// Those of [`SectionError`], and of `again`.
///
/// # Linux source concept
/// `state_store()`, `offline_pages()`.
pub(super) fn change<P: Platform>(
    phys: &Phys<P>,
    first: Pfn,
    to: OnlineType,
    again: Again<'_>,
) -> Result<(), Errno> {
    if let Some(to) = online_to(to) {
        return phys.online_section(first, to).map_err(|error| error.errno());
    }
    loop {
        let result = match phys.migrator() {
            Some(migrator) => phys.offline_section(first, &*migrator),
            None => phys.offline_section(first, &Nobody),
        };
        match result {
            Err(SectionError::Contig(error)) if error.may_pass() => {
                again(phys.valid_zones(first).next() == Some(ZoneKind::Movable))?;
            }
            result => return result.map_err(|error| error.errno()),
        }
    }
}

/// Memory that stays offline goes nowhere.
pub(super) fn online_to(kind: OnlineType) -> Option<OnlineTo> {
    match kind {
        OnlineType::Offline => None,
        OnlineType::Online => Some(OnlineTo::Default),
        OnlineType::OnlineKernel => Some(OnlineTo::Kernel),
        OnlineType::OnlineMovable => Some(OnlineTo::Movable),
    }
}

/// Yes or no, by the first letters.
///
/// # Linux source concept
/// `kstrtobool()`.
pub(super) fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        [b'1' | b'y' | b'Y' | b't' | b'T', ..] | [b'o' | b'O', b'n' | b'N', ..] => Some(true),
        [b'0' | b'n' | b'N' | b'f' | b'F', ..] | [b'o' | b'O', b'f' | b'F', ..] => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use core::cell::Cell;
    use foliant_phys::{AllocRequest, BootOptions, MemoryMap, Owner, SECTION, SectionState};
    use foliant_platform::sync::atomic::{AtomicU32, Ordering};
    use foliant_platform::testing::TestPlatform;
    use foliant_units::{PhysAddr, PhysRange};

    /// Moves nothing the first times that it is asked.
    struct Reluctant {
        phys: Arc<Phys<TestPlatform>>,
        refusals: AtomicU32,
    }

    impl Migrator for Reluctant {
        fn migrate(&self, from: Pfn, _: Pfn) -> Moved {
            match self.refusals.fetch_sub(1, Ordering::Relaxed) {
                0 => Moved::No,
                1 => {
                    // Its owner lets go of it.
                    drop(self.phys.adopt(from));
                    Moved::Busy
                }
                _ => Moved::Busy,
            }
        }
    }

    #[test]
    fn what_is_in_use_is_waited_for_and_what_stays_is_not() {
        let ram = PhysRange::new(PhysAddr::ZERO, PhysAddr::new(384 << 20));
        let platform = TestPlatform::new(384 << 20, 1);
        let phys = Arc::new(Phys::boot(platform, &MemoryMap::ram(ram), BootOptions::test()).unwrap());
        let (first, inside) = (Pfn::new(SECTION), |pfn: Pfn| pfn.raw() / SECTION == 1);
        let mut others = alloc::vec::Vec::new();
        let pinned = loop {
            let frame = phys.alloc(AllocRequest::movable(Owner::Test)).unwrap();
            if inside(frame.pfn()) {
                break frame.into_pfn();
            }
            others.push(frame);
        };
        let reluctant = |refusals| {
            let phys = phys.clone();
            let refusals = AtomicU32::new(refusals);
            Arc::new(Reluctant { phys, refusals })
        };
        let asked = Cell::new(0);
        let again = |movable: bool| {
            asked.set(asked.get() + 1);
            assert!(!movable, "the zone is the kernel's");
            if asked.get() == 5 {
                Err(Errno::INTR)
            } else {
                Ok(())
            }
        };
        phys.set_migrator(Some(reluctant(0)));
        let offline = || change(&phys, first, OnlineType::Offline, &again);
        assert_eq!((offline(), asked.get()), (Err(Errno::BUSY), 0), "it stays");
        phys.set_migrator(Some(reluctant(1000)));
        assert_eq!((offline(), asked.get()), (Err(Errno::INTR), 5), "a signal");
        assert_eq!(phys.section_state(first), SectionState::Online);
        phys.set_migrator(Some(reluctant(8)));
        asked.set(0);
        assert_eq!(offline(), Ok(()));
        assert!((2..5).contains(&asked.get()), "{}", asked.get());
        assert!(inside(pinned) && phys.section_state(first) == SectionState::Offline);
        phys.set_migrator(None);
    }
}
