//! Whom to tell when something has changed.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use foliant_platform::Nanos;
use foliant_platform::sync::SpinLock;

use super::parker::{Interrupt, Parker, WaitError, Wake};

/// Those who wait for one thing: data in a pipe, the end of a child.
#[derive(Clone, Default)]
pub struct WaitQueue {
    waiters: Arc<SpinLock<Waiters>>,
}

#[derive(Default)]
struct Waiters {
    next: u64,
    list: Vec<(u64, Arc<dyn Wake>)>,
}

/// A place in a queue; dropping it leaves the queue.
#[must_use = "leaves the queue when dropped"]
pub struct Registration {
    waiters: Arc<SpinLock<Waiters>>,
    id: u64,
}

impl WaitQueue {
    /// Nobody waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has `wake` called at every wake-up until the registration is dropped.
    pub fn register(&self, wake: Arc<dyn Wake>) -> Registration {
        let mut waiters = self.waiters.lock();
        let id = waiters.next;
        waiters.next += 1;
        waiters.list.push((id, wake));
        Registration {
            waiters: self.waiters.clone(),
            id,
        }
    }

    /// Tells everybody. Call it after the change; a woken task looks at once.
    pub fn wake_all(&self) {
        let woken: Vec<_> = self
            .waiters
            .lock()
            .list
            .iter()
            .map(|(_, wake)| wake.clone())
            .collect();
        for wake in woken {
            wake.wake();
        }
    }

    /// Whether nobody would hear a wake-up.
    pub fn is_empty(&self) -> bool {
        self.waiters.lock().list.is_empty()
    }

    /// Sleeps on this queue until `ready` says so.
    ///
    /// # Errors
    /// [`WaitError`], see [`Parker::park`].
    pub fn wait<R>(
        &self,
        parker: &Arc<Parker>,
        interrupt: Interrupt,
        until: Option<Nanos>,
        mut ready: impl FnMut() -> Option<R>,
    ) -> Result<R, WaitError> {
        // Most waits find their condition true: do not join the queue for that.
        if let Some(result) = ready() {
            return Ok(result);
        }
        let _place = self.register(parker.clone());
        parker.park(interrupt, until, ready)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.waiters.lock().list.retain(|(id, _)| *id != self.id);
    }
}

impl fmt::Debug for WaitQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WaitQueue({} waiting)", self.waiters.lock().list.len())
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registration({})", self.id)
    }
}
