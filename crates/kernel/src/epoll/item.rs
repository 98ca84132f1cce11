//! One file in a set.

use alloc::sync::{Arc, Weak};

use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;
use foliant_uapi::poll::PollEvents;

use super::set::Ready;
use crate::fs::OpenFile;
use crate::park::{Registration, Wake};

/// A file that a set watches.
///
/// # Linux source concept
/// `struct epitem`.
pub(super) struct Item<M: Mmu> {
    pub(super) file: Weak<OpenFile<M>>,
    pub(super) state: SpinLock<State>,
    pub(super) ready: Weak<Ready<M>>,
    pub(super) me: Weak<Item<M>>,
}

/// What may change about an item.
pub(super) struct State {
    /// What is waited for, and how.
    pub(super) events: PollEvents,
    /// The program's word.
    pub(super) data: u64,
    /// It reported once and waits to be armed again.
    pub(super) spent: bool,
    /// It stands in the list of those that may be ready.
    pub(super) listed: bool,
    /// Its place in the file's queue.
    pub(super) place: Option<Registration>,
}

impl<M: Mmu> Item<M> {
    pub(super) fn new(
        file: &Arc<OpenFile<M>>,
        ready: &Arc<Ready<M>>,
        events: PollEvents,
        data: u64,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            file: Arc::downgrade(file),
            state: SpinLock::new(State {
                events,
                data,
                spent: false,
                listed: false,
                place: None,
            }),
            ready: Arc::downgrade(ready),
            me: me.clone(),
        })
    }

    /// What is ready of what is waited for.
    pub(super) fn pending(&self) -> PollEvents {
        let wanted = {
            let state = self.state.lock();
            if state.spent {
                return PollEvents::empty();
            }
            state.events | PollEvents::ERR | PollEvents::HUP
        };
        self.file
            .upgrade()
            .map_or(PollEvents::empty(), |open| open.file().ready() & wanted)
    }
}

impl<M: Mmu> Wake for Item<M> {
    fn wake(&self) {
        let (Some(ready), Some(me)) = (self.ready.upgrade(), self.me.upgrade()) else {
            return;
        };
        ready.add(me);
    }
}
