//! Which lane a host thread or a slot belongs to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use super::lane::Lane;
use crate::host::{SLOTS, Slot};

/// Upper bound of thread numbers on 64-bit hosts (`PID_MAX_LIMIT`).
const THREADS: usize = 4 << 20;

/// All lanes of a machine.
pub(crate) struct Registry {
    slots: Vec<Mutex<Option<Arc<Lane>>>>,
    /// The slot of each host thread; 0 for none. Mostly never touched memory.
    threads: Vec<AtomicU16>,
    /// The lanes of each host process, those that ended included.
    processes: Mutex<HashMap<i32, Vec<Arc<Lane>>>>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Mutex::new(None)).collect(),
            threads: zeroed(THREADS),
            processes: Mutex::new(HashMap::new()),
        }
    }

    /// Enters a lane that is to be born.
    pub(crate) fn add(&self, lane: &Arc<Lane>) {
        self.set(lane.slot, Some(lane.clone()));
    }

    /// Takes out a lane that was never born, or whose process is gone.
    pub(crate) fn remove(&self, slot: Slot) {
        self.set(slot, None);
    }

    pub(crate) fn by_slot(&self, slot: Slot) -> Option<Arc<Lane>> {
        let place = self.slots.get(usize::from(slot.0))?;
        place.lock().unwrap_or_else(|poison| poison.into_inner()).clone()
    }

    pub(crate) fn by_thread(&self, thread: i32) -> Option<Arc<Lane>> {
        match self
            .threads
            .get(usize::try_from(thread).ok()?)?
            .load(Ordering::Acquire)
        {
            0 => None,
            slot => self.by_slot(Slot(slot)),
        }
    }

    /// A lane's host thread made its first call.
    pub(crate) fn born(&self, lane: &Arc<Lane>, thread: i32) {
        lane.thread.store(thread, Ordering::SeqCst);
        // A process's first thread has its number. Whoever made another one
        // enlists it.
        if lane.process.load(Ordering::SeqCst) == 0 {
            lane.process.store(thread, Ordering::SeqCst);
            self.lock().entry(thread).or_default().push(lane.clone());
        }
        if let Some(place) = usize::try_from(thread).ok().and_then(|at| self.threads.get(at)) {
            place.store(lane.slot.0, Ordering::Release);
        }
    }

    /// A lane's host thread was made in a process that has others: the end of
    /// the process will be its own. False if that has come already.
    pub(crate) fn enlist(&self, lane: &Arc<Lane>) -> bool {
        let mut processes = self.lock();
        let lanes = processes.get_mut(&lane.numbers().0);
        lanes.map(|lanes| lanes.push(lane.clone())).is_some()
    }

    /// A lane's host thread is ending, and its number may be another's soon.
    pub(crate) fn forget_thread(&self, lane: &Lane) {
        let thread = lane.thread.load(Ordering::SeqCst);
        if let Some(place) = usize::try_from(thread).ok().and_then(|at| self.threads.get(at)) {
            // Unless it is another's already.
            let _ = place.compare_exchange(lane.slot.0, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// A host process is gone: its lanes.
    pub(crate) fn bury(&self, process: i32) -> Vec<Arc<Lane>> {
        let lanes = self.lock().remove(&process).unwrap_or_default();
        for lane in &lanes {
            self.forget_thread(lane);
            self.remove(lane.slot);
        }
        lanes
    }

    /// Takes out lanes whose host threads have ended in a process that lives on,
    /// and which the process no longer shows.
    pub(crate) fn retire(&self, ended: &[Arc<Lane>]) {
        for lane in ended {
            if let Some(lanes) = self.lock().get_mut(&lane.numbers().0) {
                lanes.retain(|other| !Arc::ptr_eq(other, lane));
            }
            self.remove(lane.slot);
        }
    }

    fn set(&self, slot: Slot, lane: Option<Arc<Lane>>) {
        if let Some(place) = self.slots.get(usize::from(slot.0)) {
            *place.lock().unwrap_or_else(|poison| poison.into_inner()) = lane;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i32, Vec<Arc<Lane>>>> {
        self.processes.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

/// Zeroed memory, which the host provides when it is touched.
fn zeroed(len: usize) -> Vec<AtomicU16> {
    let plain = core::mem::ManuallyDrop::new(vec![0u16; len]);
    // SAFETY:
    // 1. The two types have the same size and alignment, and any value is valid.
    // 2. Length and capacity are those of the vector, whose ownership moves.
    unsafe { Vec::from_raw_parts(plain.as_ptr().cast_mut().cast(), len, plain.capacity()) }
}
