//! What whoever runs the machine wants to hear of.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};

use foliant_kernel::pid::Pid;
use foliant_kernel::{OomReport, ProgramEvent};

use crate::host::HostError;

/// News of a machine.
#[derive(Clone, Copy, Debug)]
pub enum MachineEvent {
    /// The first process stopped, goes on, or has ended.
    Program(ProgramEvent),
    /// A process is killed for want of frames.
    OutOfMemory(OomReport),
    /// Guest code jumped into the machine's own pages or posed as them; its
    /// process, with this number, is killed.
    Misbehaved(Pid),
    /// The host makes no process for this one, which is killed.
    Stillborn(Pid),
    /// A thread of the machine panicked, and said where; its programs are gone.
    Panicked,
    /// The host failed the machine; its programs are gone.
    Failed(HostError),
}

/// News in the order they came.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: Mutex<VecDeque<MachineEvent>>,
    changed: Condvar,
}

impl Events {
    pub(super) fn post(&self, event: MachineEvent) {
        self.queue
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .push_back(event);
        self.changed.notify_all();
    }

    pub(super) fn next(&self) -> MachineEvent {
        let mut queue = self.queue.lock().unwrap_or_else(|poison| poison.into_inner());
        loop {
            if let Some(event) = queue.pop_front() {
                return event;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(|poison| poison.into_inner());
        }
    }
}
