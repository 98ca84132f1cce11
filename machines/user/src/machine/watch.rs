//! A thread of the machine that panics takes the machine with it.

use std::thread;

use super::User;
use super::events::MachineEvent;

/// Held by a thread of the machine for as long as it works: if it unwinds,
/// nobody waits for what it would have done.
pub(super) struct Watch<'a>(pub(super) &'a User);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
            self.0.tell(MachineEvent::Panicked);
        }
    }
}
