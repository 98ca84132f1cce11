//! Whether nobody but the mover can reach a frame.

use foliant_phys::{Count, MapCount};
use foliant_platform::sync::atomic::{Ordering, fence};

use crate::mutant::{Mutant, is_on};

/// Whether `places` migration entries, the mover and `more` hold the only
/// references. Those can become fewer meanwhile, by unmapping, but not more.
///
/// Who unmaps counts the mapping out before it puts the reference. So looking
/// in the other order may find a reference too many, which does no harm, but
/// never one too few, which would hide a pin.
pub(super) fn is_alone(refs: &Count, maps: &MapCount, places: usize, more: u32) -> bool {
    if is_on(Mutant::MappingsFirst) {
        let mapped = maps.get();
        fence(Ordering::SeqCst);
        return mapped as usize == places && refs.get() == mapped + more + 1;
    }
    let references = refs.get();
    // Also: what those who had references did is seen by who copies.
    fence(Ordering::SeqCst);
    let mapped = maps.get();
    mapped as usize == places && references == mapped + more + 1
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::mutant::holds_and_catches;
    use foliant_phys::Left;
    use foliant_platform::sync::atomic::AtomicU32;
    use foliant_platform::sync::{Arc, SpinLock};

    /// What a seeded mistake leaves out.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Mistake {
        None,
        NoCount,
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Entry {
        Present,
        Migration,
        Empty,
    }

    /// A frame that one entry maps and one pin holds.
    struct Machine {
        refs: Count,
        maps: MapCount,
        entry: SpinLock<Entry>,
        content: AtomicU32,
    }

    impl Machine {
        fn new() -> Arc<Self> {
            let machine = Self {
                refs: Count::default(),
                maps: MapCount::default(),
                entry: SpinLock::new(Entry::Present),
                content: AtomicU32::new(0),
            };
            machine.refs.begin();
            machine.refs.get_another();
            machine.maps.add();
            Arc::new(machine)
        }

        /// Unmaps the entry, whatever became of it.
        fn unmap(&self) {
            let mut entry = self.entry.lock();
            if core::mem::replace(&mut *entry, Entry::Empty) != Entry::Empty {
                let _ = self.maps.put();
                drop(entry);
                assert!(matches!(self.refs.put(), Left::Some | Left::None));
            }
        }

        /// Writes through the pin, and lets go of it.
        fn write_and_unpin(&self) {
            self.content.store(1, Ordering::Relaxed);
            assert!(matches!(self.refs.put(), Left::Some | Left::None));
        }

        /// What was copied, if the frame was found to be alone.
        fn move_away(&self, mistake: Mistake) -> Option<u32> {
            let mut entry = self.entry.lock();
            if *entry != Entry::Present {
                return None;
            }
            self.refs.get_another();
            *entry = Entry::Migration;
            drop(entry);
            let alone = match mistake {
                Mistake::None => is_alone(&self.refs, &self.maps, 1, 0),
                Mistake::NoCount => true,
            };
            let copied = alone.then(|| self.content.load(Ordering::Relaxed));
            assert!(matches!(self.refs.put(), Left::Some | Left::None));
            copied
        }
    }

    fn move_while_unmapped_and_unpinned(mistake: Mistake) {
        let machine = Machine::new();
        let (unmapping, pinning) = (machine.clone(), machine.clone());
        let unmapper = loom::thread::spawn(move || unmapping.unmap());
        let writer = loom::thread::spawn(move || pinning.write_and_unpin());
        let copied = machine.move_away(mistake);
        unmapper.join().expect("the one who unmaps");
        writer.join().expect("the one with the pin");
        assert!(copied != Some(0), "what was written through the pin is lost");
    }

    #[test]
    fn loom_what_a_pin_writes_is_not_left_behind() {
        holds_and_catches(
            || move_while_unmapped_and_unpinned(Mistake::None),
            &[Mutant::MappingsFirst],
        );
    }

    #[test]
    #[should_panic(expected = "what was written through the pin is lost")]
    fn loom_mutant_that_does_not_count_is_caught() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| move_while_unmapped_and_unpinned(Mistake::NoCount));
    }
}
