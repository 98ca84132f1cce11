//! The set itself.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;
use foliant_uapi::poll::{EpollEvent, PollEvents};
use foliant_units::Errno;

use super::item::Item;
use crate::fd::{Fd, OpenRef};
use crate::fs::{File, FileStat, Splices, anonymous_stat};
use crate::park::WaitQueue;

/// Sets inside sets, at most.
const MAX_DEPTH: u32 = 5;
/// How an item reports; the rest of the word are events.
const MODES: PollEvents = PollEvents::EXCLUSIVE
    .union(PollEvents::WAKEUP)
    .union(PollEvents::ONESHOT)
    .union(PollEvents::ET);

/// What `epoll_ctl` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Watch a file.
    Add(EpollEvent),
    /// Watch it for something else.
    Modify(EpollEvent),
    /// Watch it no more.
    Delete,
}

/// Items that may be ready, in the order of their wake-ups.
pub(super) struct Ready<M: Mmu> {
    list: SpinLock<VecDeque<Arc<Item<M>>>>,
    changed: WaitQueue,
}

impl<M: Mmu> Ready<M> {
    /// Notes that `item` may be ready.
    pub(super) fn add(&self, item: Arc<Item<M>>) {
        {
            let mut list = self.list.lock();
            let mut state = item.state.lock();
            if state.spent {
                return;
            }
            if !state.listed {
                state.listed = true;
                drop(state);
                list.push_back(item);
            }
        }
        self.changed.wake_all();
    }

    fn take(&self) -> Option<Arc<Item<M>>> {
        let mut list = self.list.lock();
        let item = list.pop_front()?;
        item.state.lock().listed = false;
        Some(item)
    }
}

type Key = (Fd, usize);

/// A set of watched files.
///
/// # Locking
/// `items`, then the ready list, then an item's state. None is held while a
/// file is asked what it is ready for.
///
/// # Linux source concept
/// `struct eventpoll`, fs/eventpoll.c.
pub struct Epoll<M: Mmu> {
    items: SpinLock<BTreeMap<Key, Arc<Item<M>>>>,
    ready: Arc<Ready<M>>,
}

impl<M: Mmu> Default for Epoll<M> {
    fn default() -> Self {
        let ready = Ready {
            list: SpinLock::new(VecDeque::new()),
            changed: WaitQueue::new(),
        };
        Self {
            items: SpinLock::new(BTreeMap::new()),
            ready: Arc::new(ready),
        }
    }
}

impl<M: Mmu> Epoll<M> {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// `epoll_ctl(2)`: changes how the set watches the file that `fd` names.
    ///
    /// # Errors
    /// `EXIST`, `NOENT`; `PERM` for a file that is always ready; `INVAL` for
    /// the set itself; `LOOP` for sets that would watch each other.
    pub fn change(&self, fd: Fd, open: &OpenRef<M>, change: Change) -> Result<(), Errno> {
        let queue = open.file().queue().ok_or(Errno::PERM)?;
        let inner = open.downcast::<Epoll<M>>();
        if inner.is_some_and(|inner| core::ptr::eq(inner, self)) {
            return Err(Errno::INVAL);
        }
        let key = (fd, Arc::as_ptr(open) as usize);
        match change {
            Change::Add(event) => {
                if inner.is_some_and(|inner| inner.reaches(self, MAX_DEPTH)) {
                    return Err(Errno::LOOP);
                }
                let events = PollEvents::from_bits_retain(event.events);
                let item = Item::new(open, &self.ready, events, event.data);
                {
                    let mut items = self.items.lock();
                    items.retain(|_, item| item.file.strong_count() > 0);
                    if items.contains_key(&key) {
                        return Err(Errno::EXIST);
                    }
                    items.insert(key, item.clone());
                }
                let place = queue.register(item.clone());
                item.state.lock().place = Some(place);
                self.look_at(item);
            }
            Change::Modify(event) => {
                let item = self.items.lock().get(&key).cloned().ok_or(Errno::NOENT)?;
                {
                    let mut state = item.state.lock();
                    state.events = PollEvents::from_bits_retain(event.events);
                    state.data = event.data;
                    state.spent = false;
                }
                self.look_at(item);
            }
            Change::Delete => {
                let item = self.items.lock().remove(&key).ok_or(Errno::NOENT)?;
                self.forget(&item);
            }
        }
        Ok(())
    }

    /// Lists an item that is ready already.
    fn look_at(&self, item: Arc<Item<M>>) {
        if !item.pending().is_empty() {
            self.ready.add(item);
        }
    }

    fn forget(&self, item: &Arc<Item<M>>) {
        self.ready.list.lock().retain(|listed| !Arc::ptr_eq(listed, item));
        let place = item.state.lock().place.take();
        drop(place);
    }

    /// Whether `wanted` is this set or one that it watches.
    fn reaches(&self, wanted: &Self, depth: u32) -> bool {
        if core::ptr::eq(self, wanted) || depth == 0 {
            return true;
        }
        let files: Vec<_> = self
            .items
            .lock()
            .values()
            .filter_map(|item| item.file.upgrade())
            .collect();
        files.iter().any(|open| {
            open.downcast::<Self>()
                .is_some_and(|inner| inner.reaches(wanted, depth - 1))
        })
    }

    /// Up to `most` events that are there now.
    pub fn harvest(&self, most: usize) -> Vec<EpollEvent> {
        let mut events = Vec::new();
        let mut again = Vec::new();
        let candidates = self.ready.list.lock().len();
        for _ in 0..candidates {
            if events.len() == most {
                break;
            }
            let Some(item) = self.ready.take() else { break };
            let pending = item.pending();
            if pending.is_empty() {
                continue;
            }
            let mut state = item.state.lock();
            events.push(EpollEvent {
                events: (pending - MODES).bits(),
                data: state.data,
            });
            if state.events.contains(PollEvents::ONESHOT) {
                state.spent = true;
            } else if !state.events.contains(PollEvents::ET) {
                drop(state);
                again.push(item);
            }
        }
        // Level-triggered items stand at the end, so that all get their turn.
        let mut list = self.ready.list.lock();
        for item in again {
            let mut state = item.state.lock();
            if !state.listed {
                state.listed = true;
                drop(state);
                list.push_back(item);
            }
        }
        events
    }
}

impl<M: Mmu> Drop for Epoll<M> {
    fn drop(&mut self) {
        for item in self.items.get_mut().values() {
            let place = item.state.lock().place.take();
            drop(place);
        }
    }
}

impl<M: Mmu> File<M> for Epoll<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn ready(&self) -> PollEvents {
        let listed: Vec<_> = self.ready.list.lock().iter().cloned().collect();
        let any = listed.iter().any(|item| !item.pending().is_empty());
        if any {
            PollEvents::IN | PollEvents::RDNORM
        } else {
            PollEvents::empty()
        }
    }

    fn queue(&self) -> Option<WaitQueue> {
        Some(self.ready.changed.clone())
    }

    fn splices(&self) -> Splices {
        Splices::empty()
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(anonymous_stat())
    }

    fn link(&self) -> Vec<u8> {
        b"anon_inode:[eventpoll]".to_vec()
    }

    fn fdinfo(&self) -> String {
        let mut text = String::new();
        for ((fd, _), item) in self.items.lock().iter() {
            let state = item.state.lock();
            text += &alloc::format!(
                "tfd: {:8} events: {:8x} data: {:16x}  pos:0 ino:0 sdev:0\n",
                fd.raw(),
                state.events.bits(),
                state.data
            );
        }
        text
    }
}
