//! From a page of an object to its frame.
//!
//! Chunks of 64 slots hang in an ordered map, so a fault that looks at a run
//! of neighbours does one descent. The cache counts no references itself: it
//! holds one per frame in it, and whoever looks a frame up takes his own
//! before the lock is open again.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use foliant_platform::sync::SpinLock;
use foliant_units::Pfn;

/// Slots in a chunk.
const CHUNK: u64 = 64;

/// A half-open range of pages of an object.
pub type Pages = core::ops::Range<u64>;

/// The number of times the contents below changed. A frame that was filled
/// before a change must not go in after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Version(u64);

/// Why a frame did not go in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// The page has a frame already.
    Occupied,
    /// The contents changed since they were read.
    Stale,
}

/// The frames of an object.
///
/// # Linux source concept
/// `address_space.i_pages` with its dirty tags.
#[derive(Default)]
pub(crate) struct Cache {
    inner: SpinLock<Inner>,
}

#[derive(Default)]
struct Inner {
    chunks: BTreeMap<u64, Box<Chunk>>,
    frames: u64,
    version: u64,
}

struct Chunk {
    frames: [Pfn; CHUNK as usize],
    present: u64,
    dirty: u64,
}

impl Chunk {
    fn get(&self, at: u64) -> Option<Pfn> {
        (self.present & (1 << at) != 0).then(|| self.frames[at as usize])
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Self {
            frames: [Pfn::ZERO; CHUNK as usize],
            present: 0,
            dirty: 0,
        }
    }
}

impl Cache {
    /// Frames inside.
    pub(crate) fn frames(&self) -> u64 {
        self.inner.lock().frames
    }

    /// The version that frames filled from now on belong to.
    pub(crate) fn version(&self) -> Version {
        Version(self.inner.lock().version)
    }

    /// Makes frames that are being filled now unwelcome.
    pub(crate) fn changed(&self) {
        self.inner.lock().version += 1;
    }

    /// Shows the frame of `page` to `take`, under the lock.
    pub(crate) fn get<R>(&self, page: u64, take: impl FnOnce(Pfn) -> R) -> Option<R> {
        let inner = self.inner.lock();
        let chunk = inner.chunks.get(&(page / CHUNK))?;
        chunk.get(page % CHUNK).map(take)
    }

    /// Shows the frames of `pages` to `see`, in order, under the lock.
    pub(crate) fn each(&self, pages: Pages, mut see: impl FnMut(u64, Pfn)) {
        let inner = self.inner.lock();
        if pages.is_empty() {
            return;
        }
        let chunks = pages.start / CHUNK..=(pages.end - 1) / CHUNK;
        for (&number, chunk) in inner.chunks.range(chunks) {
            let first = number * CHUNK;
            for at in clip(&pages, first) {
                if let Some(pfn) = chunk.get(at) {
                    see(first + at, pfn);
                }
            }
        }
    }

    /// Puts a frame in, with the cache's reference to it.
    pub(crate) fn insert(&self, page: u64, pfn: Pfn, read_at: Version) -> Result<(), Refused> {
        let mut inner = self.inner.lock();
        if inner.version != read_at.0 {
            return Err(Refused::Stale);
        }
        let chunk = inner.chunks.entry(page / CHUNK).or_default();
        let at = page % CHUNK;
        if chunk.present & (1 << at) != 0 {
            return Err(Refused::Occupied);
        }
        chunk.frames[at as usize] = pfn;
        chunk.present |= 1 << at;
        inner.frames += 1;
        Ok(())
    }

    /// Takes frames out, the lowest pages first, until none of `pages` is left
    /// or `taken` is full. Returns how many it took; the references are the
    /// caller's now. Those of which `stays(frame, whether it is dirty)` says so
    /// stay; it is asked under the lock.
    pub(crate) fn take(
        &self,
        pages: Pages,
        stays: impl Fn(Pfn, bool) -> bool,
        taken: &mut [(u64, Pfn)],
    ) -> usize {
        if pages.is_empty() || taken.is_empty() {
            return 0;
        }
        let mut inner = self.inner.lock();
        let chunks = pages.start / CHUNK..=(pages.end - 1) / CHUNK;
        let mut count = 0;
        let mut emptied = [0; 16];
        let mut empty = 0;
        for (&number, chunk) in inner.chunks.range_mut(chunks) {
            for at in clip(&pages, number * CHUNK) {
                let Some(pfn) = chunk.get(at) else { continue };
                if stays(pfn, chunk.dirty & (1 << at) != 0) {
                    continue;
                }
                let Some(slot) = taken.get_mut(count) else { break };
                *slot = (number * CHUNK + at, pfn);
                chunk.present &= !(1 << at);
                chunk.dirty &= !(1 << at);
                count += 1;
            }
            if chunk.present == 0 {
                emptied[empty] = number;
                empty += 1;
            }
            if count == taken.len() || empty == emptied.len() {
                break;
            }
        }
        for number in &emptied[..empty] {
            inner.chunks.remove(number);
        }
        inner.frames -= count as u64;
        count
    }

    /// Notes that `pfn`, the frame of `page`, is newer than what lies below.
    /// Says whether it still is that page's frame.
    pub(crate) fn set_dirty(&self, page: u64, pfn: Pfn) -> bool {
        let mut inner = self.inner.lock();
        let Some(chunk) = inner.chunks.get_mut(&(page / CHUNK)) else {
            return false;
        };
        let at = page % CHUNK;
        let holds = chunk.get(at) == Some(pfn);
        if holds {
            chunk.dirty |= 1 << at;
        }
        holds
    }

    /// Puts `new` in the place of `old`, the frame of `page`, if it still is that
    /// and `agreed`, asked under the lock, says so; whether it did. The page is
    /// as dirty as before.
    pub(crate) fn replace(&self, page: u64, old: Pfn, new: Pfn, agreed: impl FnOnce() -> bool) -> bool {
        let mut inner = self.inner.lock();
        let Some(chunk) = inner.chunks.get_mut(&(page / CHUNK)) else {
            return false;
        };
        let at = page % CHUNK;
        let replaced = chunk.get(at) == Some(old) && agreed();
        if replaced {
            chunk.frames[at as usize] = new;
        }
        replaced
    }

    /// Finds the first dirty page of `pages` and calls it clean from now on.
    /// `take` sees its frame under the lock.
    pub(crate) fn take_dirty<R>(&self, pages: Pages, take: impl FnOnce(Pfn) -> R) -> Option<(u64, R)> {
        if pages.is_empty() {
            return None;
        }
        let mut inner = self.inner.lock();
        let chunks = pages.start / CHUNK..=(pages.end - 1) / CHUNK;
        for (&number, chunk) in inner.chunks.range_mut(chunks) {
            let mut slots = clip(&pages, number * CHUNK);
            if let Some(at) = slots.find(|at| chunk.dirty & (1 << at) != 0) {
                chunk.dirty &= !(1 << at);
                return Some((number * CHUNK + at, take(chunk.frames[at as usize])));
            }
        }
        None
    }
}

/// The slots of the chunk at `first` that lie in `pages`.
fn clip(pages: &Pages, first: u64) -> Pages {
    pages.start.saturating_sub(first).min(CHUNK)..(pages.end.saturating_sub(first)).min(CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn filled(pages: impl IntoIterator<Item = u64>) -> Cache {
        let cache = Cache::default();
        for page in pages {
            cache
                .insert(page, Pfn::new(page + 1000), cache.version())
                .expect("empty slot");
        }
        cache
    }

    fn seen(cache: &Cache, pages: Pages) -> Vec<u64> {
        let mut seen = Vec::new();
        cache.each(pages, |page, pfn| {
            assert_eq!(pfn, Pfn::new(page + 1000));
            seen.push(page);
        });
        seen
    }

    #[test]
    fn a_run_crosses_chunks() {
        let cache = filled([0, 62, 63, 64, 65, 200]);
        assert_eq!(seen(&cache, 63..65), [63, 64]);
        assert_eq!(seen(&cache, 0..u64::MAX), [0, 62, 63, 64, 65, 200]);
        assert_eq!(seen(&cache, 5..5), []);
    }

    #[test]
    fn a_second_frame_for_a_page_is_refused() {
        let cache = filled([7]);
        assert_eq!(
            cache.insert(7, Pfn::new(1), cache.version()),
            Err(Refused::Occupied)
        );
        assert_eq!(cache.frames(), 1);
    }

    #[test]
    fn a_frame_read_before_a_change_is_refused_after_it() {
        let cache = filled([]);
        let before = cache.version();
        cache.changed();
        assert_eq!(cache.insert(7, Pfn::new(1), before), Err(Refused::Stale));
        assert_eq!(cache.insert(7, Pfn::new(1), cache.version()), Ok(()));
    }

    #[test]
    fn taking_stops_when_the_basket_is_full() {
        let cache = filled(0..200);
        let mut basket = [(0, Pfn::ZERO); 150];
        assert_eq!(cache.take(10..190, |_, _| false, &mut basket), 150);
        assert_eq!((basket[0].0, basket[149].0), (10, 159));
        assert_eq!(cache.take(10..190, |_, _| false, &mut basket), 30);
        assert_eq!(cache.take(10..190, |_, _| false, &mut basket), 0);
        assert_eq!((cache.frames(), seen(&cache, 0..300).len()), (20, 20));
    }

    #[test]
    fn dirty_pages_come_in_order_and_once() {
        let cache = filled([3, 64, 130]);
        assert!(cache.set_dirty(130, Pfn::new(1130)));
        assert!(cache.set_dirty(3, Pfn::new(1003)));
        assert!(!cache.set_dirty(4, Pfn::new(1004)), "there is no such frame");
        assert!(!cache.set_dirty(64, Pfn::new(1)), "that is not its frame");
        assert_eq!(cache.take_dirty(0..u64::MAX, |_| ()), Some((3, ())));
        assert_eq!(cache.take_dirty(0..u64::MAX, |_| ()), Some((130, ())));
        assert_eq!(cache.take_dirty(0..u64::MAX, |_| ()), None);
    }

    #[test]
    fn dirty_frames_can_be_spared() {
        let cache = filled(0..4);
        cache.set_dirty(2, Pfn::new(1002));
        let mut basket = [(0, Pfn::ZERO); 8];
        assert_eq!(cache.take(0..4, |_, dirty| dirty, &mut basket), 3);
        assert_eq!(seen(&cache, 0..4), [2]);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use foliant_platform::sync::Arc;
    use foliant_platform::sync::atomic::{AtomicU64, Ordering};

    /// What a seeded mistake leaves out.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Mistake {
        None,
        NotChanged,
        ChangedBeforeTheWrite,
        VersionAfterTheRead,
    }

    /// A file of one page, and the frame that is to hold it.
    #[derive(Default)]
    struct Machine {
        cache: Cache,
        file: AtomicU64,
        frame: AtomicU64,
    }

    const PAGE: u64 = 0;

    impl Machine {
        fn fill(&self, mistake: Mistake) {
            let early = self.cache.version();
            let bytes = self.file.load(Ordering::Acquire);
            let version = match mistake {
                Mistake::VersionAfterTheRead => self.cache.version(),
                _ => early,
            };
            self.frame.store(bytes, Ordering::Release);
            // What is stale is given back.
            let _ = self.cache.insert(PAGE, Pfn::ZERO, version);
        }

        fn write(&self, mistake: Mistake) {
            if mistake == Mistake::ChangedBeforeTheWrite {
                self.cache.changed();
            }
            self.file.store(1, Ordering::Release);
            if !matches!(mistake, Mistake::NotChanged | Mistake::ChangedBeforeTheWrite) {
                self.cache.changed();
            }
            self.cache.get(PAGE, |_| self.frame.store(1, Ordering::Release));
        }
    }

    fn model(mistake: Mistake) {
        loom::model(move || {
            let machine = Arc::new(Machine::default());
            let filling = machine.clone();
            let thread = loom::thread::spawn(move || filling.fill(mistake));
            machine.write(mistake);
            thread.join().expect("the fill");
            let cached = machine.cache.get(PAGE, |_| machine.frame.load(Ordering::Acquire));
            assert!(cached != Some(0), "the cache has old bytes");
        });
    }

    #[test]
    fn loom_a_frame_with_old_bytes_does_not_go_in() {
        model(Mistake::None);
    }

    #[test]
    #[should_panic(expected = "the cache has old bytes")]
    fn loom_mutant_that_does_not_count_a_write_is_caught() {
        model(Mistake::NotChanged);
    }

    #[test]
    #[should_panic(expected = "the cache has old bytes")]
    fn loom_mutant_that_counts_before_the_write_is_caught() {
        model(Mistake::ChangedBeforeTheWrite);
    }

    #[test]
    #[should_panic(expected = "the cache has old bytes")]
    fn loom_mutant_that_notes_the_version_late_is_caught() {
        model(Mistake::VersionAfterTheRead);
    }
}
