//! Compaction that nobody asked for: a look at each node twice a second.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};

use foliant_phys::{Compacted, NodeId};
use foliant_platform::Nanos;
use foliant_platform::sync::Mutex;

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::timer::{Expire, TimerId};

/// Time between two looks.
///
/// # Linux source concept
/// `HPAGE_FRAG_CHECK_INTERVAL_MSEC`.
const INTERVAL: u64 = 500_000_000;
/// How many times longer it is after a round that made nothing better, as a
/// power of two (`COMPACT_MAX_DEFER_SHIFT`).
const PUT_OFF: u32 = 6;

/// Who looks at a node.
///
/// # Locking
/// `state` is held for a few instructions, over the queue of timers.
///
/// # Linux source concept
/// The half of `kcompactd()` that waits with a timeout. The machine lends it a
/// thread only while there is something to compact.
pub(crate) struct Ahead<M: UserMachine> {
    kernel: Weak<Kernel<M>>,
    node: NodeId,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Until the setting is written: it is zero.
    Asleep,
    /// For its time.
    Waiting(TimerId),
    /// Looks, or compacts.
    Busy,
}

impl<M: UserMachine> Ahead<M> {
    /// Looks now, not only when it is time.
    fn hurry(self: Arc<Self>) {
        let Some(kernel) = self.kernel.upgrade() else {
            return;
        };
        let state = *self.state.lock();
        match state {
            State::Waiting(id) if !kernel.unschedule(id) => {}
            State::Waiting(_) | State::Asleep => self.look(&kernel),
            State::Busy => {}
        }
    }

    fn look(self: Arc<Self>, kernel: &Kernel<M>) {
        if core::mem::replace(&mut *self.state.lock(), State::Busy) == State::Busy {
            return;
        }
        let phys = kernel.memory().phys();
        while phys.proactiveness() == 0 {
            *self.state.lock() = State::Asleep;
            // Whoever set it meanwhile may have found this busy.
            if phys.proactiveness() == 0
                || core::mem::replace(&mut *self.state.lock(), State::Busy) == State::Busy
            {
                return;
            }
        }
        if phys.may_be_fragmented(self.node) {
            let own = self.clone();
            if kernel.machine().background(Box::new(move || own.work())) {
                return;
            }
        }
        self.rest(kernel, INTERVAL);
    }

    fn work(self: Arc<Self>) {
        if let Some(kernel) = self.kernel.upgrade()
            && let Some(came_to) = kernel.compact_ahead(self.node)
        {
            let put_off = if came_to == Compacted::Complete {
                PUT_OFF
            } else {
                0
            };
            self.rest(&kernel, INTERVAL << put_off);
        }
    }

    fn rest(self: Arc<Self>, kernel: &Kernel<M>, time: u64) {
        let at = Nanos(kernel.machine().now().0 + time);
        // Not to be found busy by the very timer.
        let mut state = self.state.lock();
        *state = State::Waiting(kernel.schedule(at, self.clone()));
    }
}

impl<M: UserMachine> Expire for Ahead<M> {
    fn expire(self: Arc<Self>, _: Nanos) {
        if let Some(kernel) = self.kernel.upgrade() {
            self.look(&kernel);
        }
    }
}

impl<M: UserMachine> Kernel<M> {
    /// From now on nodes that get more fragmented than
    /// `vm.compaction_proactiveness` allows are compacted, until
    /// [`stop_compaction`](Kernel::stop_compaction). Once, when the machine's
    /// alarm finds this kernel.
    ///
    /// # Linux source concept
    /// `kcompactd_run()`.
    pub fn start_compaction(self: &Arc<Self>) {
        let zones = self.memory().phys().zones().iter();
        let last = zones.map(|(_, zone)| zone.node().0).max().unwrap_or(0);
        for node in (0..=last).map(NodeId) {
            let ahead = Arc::new(Ahead {
                kernel: Arc::downgrade(self),
                node,
                state: Mutex::new(State::Busy),
            });
            self.ahead.lock().push(ahead.clone());
            ahead.rest(self, INTERVAL);
        }
    }

    /// The setting was written.
    ///
    /// # Linux source concept
    /// `proactive_compact_trigger`.
    pub(crate) fn compact_ahead_now(&self) {
        let all = self.ahead.lock().clone();
        all.into_iter().for_each(Ahead::hurry);
    }

    /// Compacts a node that is more fragmented than the setting allows; `None`
    /// if there is to be no more of that.
    fn compact_ahead(&self, node: NodeId) -> Option<Compacted> {
        let stopped = self.compaction_stopped.lock();
        let phys = self.memory().phys();
        let migrator = phys.migrator().filter(|_| !*stopped)?;
        Some(phys.compact_proactively(node, phys.proactiveness(), &*migrator))
    }
}
