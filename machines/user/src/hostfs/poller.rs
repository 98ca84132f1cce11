//! The thread that watches descriptors of the host.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use foliant_kernel::park::WaitQueue;
use foliant_units::Errno;
use rustix::event::{EventfdFlags, epoll, eventfd};

use super::convert::errno;
use super::fs::guard;

/// Events taken at once.
const BATCH: usize = 64;
/// The word of the event that ends the thread.
const STOP: u64 = u64::MAX;

/// Turns changes of descriptors into wake-ups of queues.
///
/// Every descriptor is watched for edges, so a change is reported once,
/// whether anybody waits or not; who waits looks for himself after he has
/// joined the queue.
pub(super) struct Poller {
    shared: Arc<Shared>,
    stop: OwnedFd,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    epoll: OwnedFd,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    next: u64,
    queues: BTreeMap<u64, WaitQueue>,
}

/// A descriptor that is watched; dropping it ends that.
pub(super) struct Watch {
    shared: Arc<Shared>,
    fd: Arc<OwnedFd>,
    id: u64,
}

impl Poller {
    /// Starts the thread.
    ///
    /// # Errors
    /// Those of `epoll_create` and of starting threads.
    pub(super) fn start() -> Result<Self, Errno> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(errno)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(errno)?;
        epoll::add(
            &set,
            &stop,
            epoll::EventData::new_u64(STOP),
            epoll::EventFlags::IN,
        )
        .map_err(errno)?;
        let shared = Arc::new(Shared {
            epoll: set,
            watched: Mutex::new(Watched::default()),
        });
        let for_thread = shared.clone();
        let builder = std::thread::Builder::new().name("foliant-poll".into());
        let thread = builder
            .spawn(move || watch(&for_thread))
            .map_err(|_| Errno::AGAIN)?;
        Ok(Self {
            shared,
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Has `queue` woken whenever `fd` may have become ready for something.
    ///
    /// # Errors
    /// `PERM` if the descriptor is always ready.
    pub(super) fn watch(&self, fd: &Arc<OwnedFd>, queue: &WaitQueue) -> Result<Watch, Errno> {
        let id = {
            let mut watched = guard(&self.shared.watched);
            let id = watched.next;
            watched.next += 1;
            watched.queues.insert(id, queue.clone());
            id
        };
        let watch = Watch {
            shared: self.shared.clone(),
            fd: fd.clone(),
            id,
        };
        let events = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::PRI
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        epoll::add(
            &self.shared.epoll,
            fd.as_fd(),
            epoll::EventData::new_u64(id),
            events,
        )
        .map_err(errno)?;
        Ok(watch)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may be the watch that could not be added.
        let _ = epoll::delete(&self.shared.epoll, &*self.fd);
        guard(&self.shared.watched).queues.remove(&self.id);
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        let told = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        let thread = guard(&self.thread).take();
        if let (Ok(_), Some(thread)) = (told, thread) {
            // The last reference may be dropped by a wake-up on the thread itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn watch(shared: &Shared) {
    let mut buffer = [MaybeUninit::uninit(); BATCH];
    loop {
        let events = match epoll::wait(&shared.epoll, &mut buffer, None) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => continue,
            // Nothing but a closed descriptor could be wrong.
            Err(_) => return,
        };
        for event in events {
            let id = event.data.u64();
            if id == STOP {
                return;
            }
            let queue = guard(&shared.watched).queues.get(&id).cloned();
            if let Some(queue) = queue {
                queue.wake_all();
            }
        }
    }
}
