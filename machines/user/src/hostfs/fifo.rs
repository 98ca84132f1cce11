//! Named pipes that are opened for reading and wait for a writer.
//!
//! The host's descriptor is open at once, so that writers find a reader. The
//! caller is told to ask again until a writer has come: either it shows in the
//! descriptor (data, or a writer that came and went), or a thread's own open,
//! which waits in the host for just that, has returned.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use foliant_uapi::open::OpenFlags;
use foliant_uapi::poll::PollEvents;

use super::convert::proc_path;
use super::fs::{Identity, guard};
use super::stream::poll;

/// Times that are asked before a thread is started: most writers are near.
const PATIENCE: u32 = 3;

/// Opens that wait, by FIFO and asking thread.
#[derive(Default)]
pub(super) struct Fifos {
    waiting: Mutex<BTreeMap<(Identity, i32), Waiting>>,
    count: AtomicUsize,
}

struct Waiting {
    fd: OwnedFd,
    asked: u32,
    writer: Option<Arc<AtomicBool>>,
}

impl Fifos {
    /// Whether opening with these flags waits for somebody who writes.
    pub(super) fn waits(flags: OpenFlags) -> bool {
        flags.readable() && !flags.writable() && !flags.contains(OpenFlags::NONBLOCK)
    }

    /// Whether anybody waits at all.
    pub(super) fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Lets `thread` wait with the descriptor that it has just got; gives it
    /// back if it need not wait.
    pub(super) fn wait(&self, fifo: Identity, thread: i32, fd: OwnedFd) -> Option<OwnedFd> {
        if has_writer(&fd) {
            return Some(fd);
        }
        let mut waiting = guard(&self.waiting);
        waiting.insert(
            (fifo, thread),
            Waiting {
                fd,
                asked: 0,
                writer: None,
            },
        );
        self.count.store(waiting.len(), Ordering::Release);
        None
    }

    /// Whether `thread` waits for this FIFO, and the descriptor once a writer has come.
    pub(super) fn ask(&self, fifo: Identity, thread: i32) -> Option<Option<OwnedFd>> {
        let mut waiting = guard(&self.waiting);
        let place = waiting.get_mut(&(fifo, thread))?;
        place.asked += 1;
        let came = place
            .writer
            .as_ref()
            .is_some_and(|writer| writer.load(Ordering::Acquire));
        if came || has_writer(&place.fd) {
            let place = waiting.remove(&(fifo, thread));
            self.count.store(waiting.len(), Ordering::Release);
            return Some(place.map(|place| place.fd));
        }
        if place.asked == PATIENCE {
            place.writer = watch(&place.fd);
        }
        Some(None)
    }
}

fn has_writer(fd: &OwnedFd) -> bool {
    poll(fd).intersects(PollEvents::IN | PollEvents::HUP)
}

/// Has a thread wait for a writer. It ends when one comes.
fn watch(fd: &OwnedFd) -> Option<Arc<AtomicBool>> {
    let came = Arc::new(AtomicBool::new(false));
    let tell = came.clone();
    // A copy of its own: the other may be closed before the thread has opened it.
    let keep = rustix::io::fcntl_dupfd_cloexec(fd, 0).ok()?;
    let path = proc_path(&keep);
    let builder = std::thread::Builder::new().name("foliant-fifo".into());
    let started = builder.spawn(move || {
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
        tell.store(true, Ordering::Release);
        drop((opened, keep));
    });
    started.ok().map(|_| came)
}
