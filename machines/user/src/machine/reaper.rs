//! Deaths of guest processes.

use std::sync::atomic::Ordering;

use super::User;
use super::lane::State;
use super::watch::Watch;
use crate::host::HostError;

/// Waits for ends of stub processes until the machine closes.
pub(super) fn serve(machine: &User) {
    let _watch = Watch(machine);
    let group = machine.stubs().zygote();
    while let Some(process) = next_death(group) {
        if process != group {
            bury(machine, process);
        } else if !machine.pool().is_closing() {
            machine.fail(HostError {
                call: "the zygote died",
                errno: libc::ECHILD,
            });
        }
    }
}

fn next_death(group: i32) -> Option<i32> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is writable.
        let process = unsafe { libc::waitpid(-group, &raw mut status, libc::__WALL) };
        if process > 0 {
            return Some(process);
        }
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return None;
        }
    }
}

fn bury(machine: &User, process: i32) {
    let lanes = machine.lanes().bury(process);
    if lanes.is_empty()
        && let Some(slot) = machine.stubs().child_died()
    {
        machine.stillborn(slot);
    }
    // First all, because the end of one task may wait for another's thread.
    let states: Vec<State> = lanes.iter().map(|lane| lane.die()).collect();
    for (lane, state) in lanes.iter().zip(states) {
        if state != State::Dead {
            machine.counters().killed.fetch_add(1, Ordering::Relaxed);
        }
        machine.mourn(lane, state);
    }
}
