//! The word of a frame's record.

use foliant_platform::sync::Arc;
use loom::thread;

use super::holds_and_catches;
use super::world::Word;
use crate::mutant::Mutant;
use crate::record::{FrameFlags, FrameRecord};

#[derive(Default)]
struct Locked {
    record: FrameRecord,
    content: Word,
}

impl Locked {
    /// Changes what the lock bit guards, if it is free; whether it was.
    fn visit(&self) -> bool {
        let locked = self.record.try_lock();
        if locked {
            self.content.write();
            self.record.unlock();
        }
        locked
    }
}

#[test]
fn loom_a_locked_frame_has_one_holder_and_loses_no_flag() {
    holds_and_catches(
        || {
            let one = Arc::new(Locked::default());
            let two = one.clone();
            let other = thread::spawn(move || {
                two.record.set(FrameFlags::DIRTY);
                two.visit()
            });
            let mine = one.visit();
            assert!(other.join().unwrap() || mine, "nobody got a free lock");
            assert_eq!(one.record.flags(), FrameFlags::DIRTY);
        },
        &[
            Mutant::FlagsInTwoSteps,
            Mutant::LockRelaxed,
            Mutant::UnlockRelaxed,
        ],
    );
}
