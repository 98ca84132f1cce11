//! All segments of a machine.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use foliant_mm::ObjectId;
use foliant_platform::Mmu;
use foliant_platform::sync::{Mutex, MutexGuard};
use foliant_units::{Errno, PAGE_SIZE};

use super::segment::Segment;

/// Bits of an id that are the index.
///
/// # Linux source concept
/// `IPCMNI_SHIFT`.
pub(crate) const INDEX_BITS: u32 = 15;
/// Sequence numbers there are.
const SEQUENCES: i32 = (i32::MAX >> INDEX_BITS) + 1;
/// Indices are not used again before so many others were.
const CYCLE: i32 = 64;
/// `shmmni`.
pub(crate) const MAX_SEGMENTS: usize = 4096;
/// `shmmax`, and `shmall` in pages.
pub(crate) const SHMMAX: u64 = u64::MAX - (1 << 24);

/// The segments by index.
///
/// # Locking
/// Sleeping; taken before a space is looked at. What holds pages is dropped
/// after it is released.
///
/// # Linux source concept
/// `shm_ids()` of an IPC namespace.
pub struct Segments<M: Mmu> {
    inner: Mutex<Inner<M>>,
}

pub(crate) struct Inner<M: Mmu> {
    by_index: BTreeMap<i32, Segment<M>>,
    last: i32,
    sequence: i32,
}

impl<M: Mmu> Default for Segments<M> {
    fn default() -> Self {
        let inner = Inner {
            by_index: BTreeMap::new(),
            last: -1,
            sequence: 0,
        };
        Self {
            inner: Mutex::new(inner),
        }
    }
}

impl<M: Mmu> Segments<M> {
    /// The table, locked.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner<M>> {
        self.inner.lock()
    }

    /// Lets go of all segments: at the end of a machine.
    pub fn clear(&self) {
        let all = core::mem::take(&mut self.lock().by_index);
        drop(all);
    }
}

impl<M: Mmu> Inner<M> {
    /// Forgets those that went with their last mapping.
    fn prune(&mut self) {
        self.by_index
            .retain(|_, segment| segment.kept.is_some() || segment.pages.strong_count() > 0);
    }

    /// The segment with this id.
    ///
    /// # Errors
    /// `INVAL` if there is none.
    pub(crate) fn get(&mut self, id: i32) -> Result<&mut Segment<M>, Errno> {
        self.prune();
        let index = id & ((1 << INDEX_BITS) - 1);
        match self.by_index.get_mut(&index) {
            Some(segment) if id >= 0 && segment.id == id => Ok(segment),
            _ => Err(Errno::INVAL),
        }
    }

    /// The segment at an index.
    ///
    /// # Errors
    /// `INVAL` if there is none.
    pub(crate) fn at(&mut self, index: i32) -> Result<&mut Segment<M>, Errno> {
        self.prune();
        self.by_index.get_mut(&index).ok_or(Errno::INVAL)
    }

    /// The segment with this key, which is not `IPC_PRIVATE`.
    pub(crate) fn find(&mut self, key: i32) -> Option<&mut Segment<M>> {
        self.prune();
        self.by_index.values_mut().find(|segment| segment.key == key)
    }

    /// All of them, by index.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &Segment<M>> {
        self.prune();
        self.by_index.values()
    }

    /// Whether there is none, perhaps but for some that are gone.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_index.is_empty()
    }

    /// Takes a segment out.
    pub(crate) fn take(&mut self, id: i32) -> Option<Segment<M>> {
        self.by_index.remove(&(id & ((1 << INDEX_BITS) - 1)))
    }

    /// The largest index in use; 0 if there is none.
    pub(crate) fn highest(&mut self) -> i32 {
        self.prune();
        self.by_index.keys().next_back().copied().unwrap_or(0)
    }

    /// Whether `pages` more would be too many, or one more segment.
    ///
    /// # Errors
    /// `NOSPC`.
    pub(crate) fn room(&mut self, pages: u64) -> Result<(), Errno> {
        self.prune();
        let used: u64 = self.by_index.values().map(Segment::length).sum();
        if used.checked_add(pages).is_none_or(|sum| sum > SHMMAX) || self.by_index.len() >= MAX_SEGMENTS {
            Err(Errno::NOSPC)
        } else {
            Ok(())
        }
    }

    /// Gives a segment an id.
    ///
    /// # Linux source concept
    /// `ipc_idr_alloc()`.
    pub(crate) fn add(&mut self, make: impl FnOnce(i32) -> Segment<M>) -> i32 {
        let used = self.by_index.len() as i32;
        let end = (used * 3 / 2).max(CYCLE).min(MAX_SEGMENTS as i32);
        let free = |index: &i32| !self.by_index.contains_key(index);
        let next = (self.last + 1..end).find(free);
        let index = next.or_else(|| (0..MAX_SEGMENTS as i32).find(free)).unwrap_or(0);
        if index <= self.last {
            self.sequence = (self.sequence + 1) % SEQUENCES;
        }
        self.last = index;
        let id = self.sequence << INDEX_BITS | index;
        self.by_index.insert(index, make(id));
        id
    }

    /// Pages of all segments, and those of them in memory.
    pub(crate) fn sizes(&mut self) -> (usize, u64, u64) {
        let mut sums = (0, 0, 0);
        for segment in self.all() {
            sums.0 += 1;
            sums.1 += segment.length();
            sums.2 += resident(segment);
        }
        sums
    }
}

/// Pages of a segment that are in memory.
fn resident<M: Mmu>(segment: &Segment<M>) -> u64 {
    segment.object().map_or(0, |object| object.cached())
}

/// `/proc/sysvipc/shm`; how often each object is mapped tells `count`.
pub(crate) fn text<M: Mmu>(table: &Segments<M>, count: impl Fn(ObjectId) -> u64) -> Vec<u8> {
    let mut text = alloc::string::String::from(HEAD);
    for segment in table.lock().all() {
        let (owner, bytes) = (&segment.owner, resident(segment) * PAGE_SIZE as u64);
        text += &alloc::format!(
            "{:10} {:10}  {:4o} {:21} {:5} {:5}  {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10} {bytes:21} {:21}\n",
            segment.key,
            segment.id,
            owner.mode,
            segment.size,
            segment.maker,
            segment.last,
            segment.object().map_or(0, |object| count(object.id())),
            owner.user,
            owner.group,
            owner.maker.0,
            owner.maker.1,
            segment.attached,
            segment.detached,
            segment.changed,
            0,
        );
    }
    text.into_bytes()
}

const HEAD: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      \
atime      dtime      ctime                   rss                  swap\n";
