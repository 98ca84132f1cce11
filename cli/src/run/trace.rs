//! Every call and fault as it happens: lines for people, lines for programs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use foliant_kernel::{CallResult, Task};
use foliant_mm::{Access, FaultError, Resolved};
use foliant_uapi::Sysno;
use foliant_units::VirtAddr;
use foliant_user::User;
use serde::Serialize;

use super::calls;

/// Where calls and faults are written.
pub(super) struct Trace {
    /// Calls for people, to standard error.
    pub(super) strace: bool,
    /// Calls and faults for programs.
    pub(super) file: Option<Mutex<BufWriter<File>>>,
}

/// A line of the trace file.
#[derive(Serialize)]
struct Line<'a> {
    us: u64,
    pid: i32,
    tid: i32,
    #[serde(flatten)]
    event: Event<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Event<'a> {
    Call {
        name: String,
        args: [u64; 6],
        result: String,
    },
    Fault {
        addr: u64,
        access: &'a str,
        outcome: &'a str,
    },
}

impl Trace {
    /// A call that may never return is shown before it is carried out.
    pub(super) fn call_begins(&self, task: &Task<User>, nr: u64, args: [u64; 6]) {
        let Some(call) = number(nr).filter(|call| self.strace && calls::never_returns(*call)) else {
            return;
        };
        eprintln!("[{}] {} = ?", task.tid().raw(), calls::shown(task, call, args));
    }

    pub(super) fn call_ends(
        &self,
        at: Duration,
        task: &Task<User>,
        nr: u64,
        args: [u64; 6],
        result: CallResult,
    ) {
        let call = number(nr);
        let result = shown_result(result);
        if self.strace && !call.is_some_and(calls::never_returns) {
            let shown = match call {
                Some(call) => calls::shown(task, call, args),
                None => format!("syscall_{nr:#x}()"),
            };
            eprintln!("[{}] {shown} = {result}", task.tid().raw());
        }
        let name = call.map_or_else(|| format!("{nr:#x}"), |call| call.to_string());
        self.write(at, task, Event::Call { name, args, result });
    }

    pub(super) fn fault(
        &self,
        at: Duration,
        task: &Task<User>,
        addr: VirtAddr,
        access: Access,
        result: Result<Resolved, FaultError>,
    ) {
        let access = match access {
            Access::Read => "read",
            Access::Write => "write",
            Access::Execute => "execute",
        };
        let outcome = match result {
            Ok(resolved) => resolved.outcome.name(),
            Err(FaultError::Segv(_)) => "refused: SIGSEGV",
            Err(FaultError::Bus) => "refused: SIGBUS",
            Err(FaultError::OutOfMemory) => "refused: out of memory",
        };
        let addr = addr.raw();
        self.write(
            at,
            task,
            Event::Fault {
                addr,
                access,
                outcome,
            },
        );
    }

    fn write(&self, at: Duration, task: &Task<User>, event: Event<'_>) {
        let Some(file) = &self.file else { return };
        let line = Line {
            us: at.as_micros() as u64,
            pid: task.process().id().raw(),
            tid: task.tid().raw(),
            event,
        };
        if let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            // A full disk must not stop the program.
            let _written = lock(file).write_all(&text);
        }
    }

    /// Writes what is still held back.
    pub(super) fn finish(&self) -> std::io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| lock(file).flush())
    }
}

fn lock(file: &Mutex<BufWriter<File>>) -> MutexGuard<'_, BufWriter<File>> {
    file.lock().unwrap_or_else(|poison| poison.into_inner())
}

fn number(nr: u64) -> Option<Sysno> {
    u32::try_from(nr).ok().map(Sysno::new)
}

fn shown_result(result: CallResult) -> String {
    match result {
        CallResult::Value(value) if value > 0xffff && (value as i64) > 0 => format!("{value:#x}"),
        CallResult::Value(value) => (value as i64).to_string(),
        CallResult::Failed(errno) => format!("-1 {errno:?} ({errno})"),
        CallResult::Interrupted => "? (interrupted)".to_owned(),
        CallResult::Exited => "?".to_owned(),
    }
}
