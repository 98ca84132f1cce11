//! What one CPU does.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use foliant_mm::{FaultError, MoveRequest};
use foliant_phys::{AllocRequest, Effort, Moved};
use foliant_soft::{Cpu, Running, Trap};
use foliant_uapi::{MapFlags, MremapFlags};
use foliant_units::{Errno, PAGE_SIZE, VirtAddr};

use crate::model::{Expected, Rights};
use crate::world::{
    Child, REGION, SHARED_PAGES, Soft, World, lonely_page, map_request, page_of, prot_of, shared_page,
};

/// Children that may wait to be run.
const CHILDREN: usize = 12;
/// `madvise` advice: drop the pages.
const DONTNEED: u32 = 4;

/// What a thread is doing, for tests that lose the flushes of one thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Doing {
    Nothing,
    Mapping,
    Unmapping,
    Protecting,
    Discarding,
    Moving,
    Forking,
    Migrating,
    Storing,
    Resizing,
    Syncing,
}

std::thread_local! {
    static DOING: Cell<Doing> = const { Cell::new(Doing::Nothing) };
}

pub(crate) fn doing() -> Doing {
    DOING.get()
}

pub(crate) fn during<R>(what: Doing, work: impl FnOnce() -> R) -> R {
    DOING.set(what);
    let result = work();
    DOING.set(Doing::Nothing);
    result
}

/// Whether something failed for lack of memory only.
pub(crate) trait Scarce {
    fn is_scarce(&self) -> bool;
}

impl Scarce for Errno {
    fn is_scarce(&self) -> bool {
        *self == Errno::NOMEM
    }
}

impl Scarce for Trap<FaultError> {
    fn is_scarce(&self) -> bool {
        matches!(self, Trap::Refused(_, FaultError::OutOfMemory))
    }
}

/// Does it again while it fails for lack of memory: a failure must change
/// nothing, so that it can be done again.
pub(crate) fn persist<T, E: Scarce>(mut work: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    for _ in 0..1000 {
        match work() {
            Err(why) if why.is_scarce() => {}
            outcome => return outcome,
        }
    }
    work()
}

pub(crate) type Outcome = Result<(), String>;
type Access<T> = Result<T, Trap<FaultError>>;

/// Numbers that look random.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    fn rights(&mut self) -> Rights {
        [Rights::None, Rights::Read, Rights::ReadWrite, Rights::ReadWrite][self.below(4)]
    }

    fn pages(&mut self, most: usize) -> Range<usize> {
        let start = self.below(REGION);
        start..(start + 1 + self.below(most)).min(REGION)
    }
}

/// One CPU's part: its region is its own to change.
pub(crate) struct Program<'w> {
    pub(crate) world: &'w World,
    pub(crate) me: usize,
    pub(crate) numbers: Numbers,
    stores: u64,
}

impl<'w> Program<'w> {
    pub(crate) fn new(world: &'w World, cpu: &Cpu<'_>, seed: u64) -> Self {
        let me = cpu.id().index();
        Self {
            world,
            me,
            numbers: Numbers(seed << 8 | me as u64),
            stores: seed << 20,
        }
    }

    /// Runs in the shared space and in children by turns.
    pub(crate) fn run(&mut self, cpu: &mut Cpu<'_>, turns: u32) -> Outcome {
        for _ in 0..turns {
            let running = cpu.enter(&*self.world.space);
            for _ in 0..40 {
                self.step(&running)?;
            }
            drop(running);
            let child = self.world.children.lock().unwrap().pop();
            if let Some(child) = child {
                self.run_child(cpu, child)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, running: &Running<'_, Soft>) -> Outcome {
        if self.world.scarce && self.numbers.below(4) == 0 {
            self.world.phys.fail_at(1 + self.numbers.below(4) as u64);
        }
        match self.numbers.below(80) {
            0..4 => self.map(),
            4..7 => self.unmap(),
            7..13 => self.protect(),
            13..16 => self.discard(),
            16..19 => self.relocate(),
            19 => self.fork(),
            20..40 => self.store(running),
            40..44 => self.count(running),
            44..51 => self.load(running),
            51 => self.come_and_go(running),
            52..58 => {
                self.migrate();
                Ok(())
            }
            58..64 => self.peek(running),
            _ => self.use_file(running),
        }
    }

    fn at(&self, page: usize) -> VirtAddr {
        page_of(self.me, page).base()
    }

    fn map(&mut self) -> Outcome {
        let (pages, rights) = (self.numbers.pages(24), self.numbers.rights());
        let at = page_of(self.me, pages.start);
        let request = map_request(at, pages.len() as u64, prot_of(rights), MapFlags::PRIVATE);
        let space = &self.world.space;
        let map = || during(Doing::Mapping, || space.mmap(&request));
        let result = self.world.regions[self.me].change(pages, |_| Expected::fresh(rights), map);
        result.map(drop).map_err(|errno| format!("mmap: {errno:?}"))
    }

    fn unmap(&mut self) -> Outcome {
        let pages = self.numbers.pages(24);
        let (at, len) = (self.at(pages.start), bytes(&pages));
        let unmap = || during(Doing::Unmapping, || self.world.space.munmap(at, len));
        let result = self.world.regions[self.me].change(pages, |_| Expected::NOTHING, unmap);
        result.map_err(|errno| format!("munmap: {errno:?}"))
    }

    fn protect(&mut self) -> Outcome {
        let region = &self.world.regions[self.me];
        let (pages, rights) = (region.mapped(self.numbers.pages(24)), self.numbers.rights());
        let (at, len) = (self.at(pages.start), bytes(&pages));
        let protect = || {
            during(Doing::Protecting, || {
                self.world.space.mprotect(at, len, prot_of(rights))
            })
        };
        let result = region.change(pages, |page| page.with_rights(rights), protect);
        result.map_err(|errno| format!("mprotect: {errno:?}"))
    }

    fn discard(&mut self) -> Outcome {
        let region = &self.world.regions[self.me];
        let pages = region.mapped(self.numbers.pages(24));
        let (at, len) = (self.at(pages.start), bytes(&pages));
        let discard = || during(Doing::Discarding, || self.world.space.madvise(at, len, DONTNEED));
        let result = region.change(pages, |page| page.with_value(0), discard);
        result.map_err(|errno| format!("madvise: {errno:?}"))
    }

    /// Moves the frame behind some page, anybody's, to another place of RAM.
    fn migrate(&mut self) {
        let (world, pages) = (self.world, self.numbers.below(2 * REGION));
        let page = match pages < REGION {
            true => page_of(self.numbers.below(world.regions.len()), pages),
            false => shared_page(pages as u64 % SHARED_PAGES).page(),
        };
        let entry = world.space.tables().get(page);
        if !entry.has_frame() || entry.is_special() {
            return;
        }
        let from = entry.frame();
        let request = AllocRequest::movable(world.phys.record(from).owner()).effort(Effort::NoWait);
        let (Ok(to), Some(migrator)) = (world.phys.alloc(request), world.phys.migrator()) else {
            return;
        };
        let to = to.into_pfn();
        match during(Doing::Migrating, || migrator.migrate(from, to)) {
            Moved::Yes => _ = world.migrated.fetch_add(1, Ordering::Relaxed),
            Moved::Busy | Moved::No => drop(world.phys.adopt(to)),
        }
    }

    /// Moves one page to another place of the region.
    fn relocate(&mut self) -> Outcome {
        let region = &self.world.regions[self.me];
        let (from, to) = (self.numbers.below(REGION), self.numbers.below(REGION));
        let page = region.get(from);
        if from == to || !page.is_mapped() {
            return Ok(());
        }
        let len = PAGE_SIZE as u64;
        let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
        let (addr, new_addr) = (self.at(from), self.at(to));
        let request = MoveRequest {
            addr,
            old_len: len,
            new_len: len,
            flags,
            new_addr,
        };
        let relocate = || during(Doing::Moving, || persist(|| self.world.space.mremap(request)));
        let result = region.change(
            to..to + 1,
            |_| page,
            || region.change(from..from + 1, |_| Expected::NOTHING, relocate),
        );
        result.map(drop).map_err(|errno| format!("mremap: {errno:?}"))
    }

    fn fork(&mut self) -> Outcome {
        if self.world.children.lock().unwrap().len() >= CHILDREN {
            return Ok(());
        }
        let space = during(Doing::Forking, || persist(|| self.world.space.fork()))
            .map_err(|errno| format!("fork: {errno:?}"))?;
        let pages = self.world.regions[self.me].snapshot();
        self.world.children.lock().unwrap().push(Child {
            space,
            region: self.me,
            pages,
        });
        Ok(())
    }

    fn store(&mut self, running: &Running<'_, Soft>) -> Outcome {
        let region = &self.world.regions[self.me];
        let page = self.numbers.below(REGION);
        let expected = region.get(page);
        let value = self.fresh_value();
        let at = self.at(page);
        let after = |page: Expected| {
            if page.is_writable() {
                page.with_value(value)
            } else {
                page
            }
        };
        let store = || during(Doing::Storing, || persist(|| running.write_u64(at, value)));
        let result = region.change(page..page + 1, after, store);
        check_store(result, expected).map_err(|why| format!("store to {at:?}: {why}"))
    }

    fn load(&mut self, running: &Running<'_, Soft>) -> Outcome {
        let page = self.numbers.below(REGION);
        let expected = self.world.regions[self.me].get(page);
        check_load(persist(|| running.read_u64(self.at(page))), expected)
            .map_err(|why| format!("load of page {page}: {why}"))
    }

    /// Looks at somebody else's page, which may be changing.
    fn peek(&mut self, running: &Running<'_, Soft>) -> Outcome {
        let other = self.numbers.below(self.world.regions.len());
        let (region, page) = (&self.world.regions[other], self.numbers.below(REGION));
        let before = region.look(page);
        let found = persist(|| running.read_u64(page_of(other, page).base()));
        match (before, region.look(page)) {
            (Some(before), Some(after)) if before == after => {
                check_load(found, after).map_err(|why| format!("peek at page {page} of {other}: {why}"))
            }
            _ => Ok(()),
        }
    }

    /// Maps, touches and unmaps a page that has its table for itself.
    fn come_and_go(&mut self, running: &Running<'_, Soft>) -> Outcome {
        let page = lonely_page(self.me);
        let request = map_request(page, 1, prot_of(Rights::ReadWrite), MapFlags::PRIVATE);
        let space = &self.world.space;
        let expected = Expected::fresh(Rights::ReadWrite);
        space.mmap(&request).map_err(|errno| format!("mmap: {errno:?}"))?;
        check_load(persist(|| running.read_u64(page.base())), expected)
            .map_err(|why| format!("lonely page: {why}"))?;
        check_store(persist(|| running.write_u64(page.base(), 1)), expected)
            .map_err(|why| format!("lonely page: {why}"))?;
        space
            .munmap(page.base(), PAGE_SIZE as u64)
            .map_err(|errno| format!("munmap: {errno:?}"))
    }

    /// Counts a shared word up.
    fn count(&mut self, running: &Running<'_, Soft>) -> Outcome {
        let page = self.numbers.below(SHARED_PAGES as usize) as u64;
        let at = shared_page(page);
        let wrong = |trap| format!("counting at {at:?}: {trap:?}");
        let mut seen = persist(|| running.read_u64(at)).map_err(wrong)?;
        loop {
            let found = persist(|| running.compare_exchange_u64(at, seen, seen + 1)).map_err(wrong)?;
            if found == seen {
                break;
            }
            seen = found;
        }
        self.world.counted[page as usize].fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Checks a child, changes it, and leaves it to the next CPU or ends it.
    fn run_child(&mut self, cpu: &mut Cpu<'_>, mut child: Child) -> Outcome {
        let space: Arc<Soft> = child.space.clone();
        let running = cpu.enter(&*space);
        for _ in 0..48 {
            let page = self.numbers.below(REGION);
            let at = page_of(child.region, page).base();
            let expected = child.pages[page];
            if self.numbers.below(3) == 0 {
                let value = self.fresh_value();
                let result = during(Doing::Storing, || persist(|| running.write_u64(at, value)));
                check_store(result, expected).map_err(|why| format!("store in a child: {why}"))?;
                if expected.is_writable() {
                    child.pages[page] = expected.with_value(value);
                }
            } else {
                check_load(persist(|| running.read_u64(at)), expected)
                    .map_err(|why| format!("load in a child: {why}"))?;
            }
        }
        self.count(&running)?;
        self.peek_at_file(&running)?;
        drop(running);
        drop(space);
        if self.numbers.below(3) != 0 {
            self.world.children.lock().unwrap().push(child);
        }
        Ok(())
    }

    pub(crate) fn fresh_value(&mut self) -> u64 {
        self.stores += 1;
        (self.me as u64) << 52 | self.stores & ((1 << 52) - 1)
    }
}

fn bytes(pages: &Range<usize>) -> u64 {
    (pages.len() * PAGE_SIZE) as u64
}

pub(crate) fn check_load(found: Access<u64>, expected: Expected) -> Outcome {
    let found = match found {
        Ok(value) => Some(value),
        Err(Trap::Refused(_, FaultError::Segv(_) | FaultError::Bus)) => None,
        Err(other) => return Err(format!("{other:?}")),
    };
    if expected.allows_read(found) {
        Ok(())
    } else {
        Err(format!("found {found:?}, expected {expected:x?}"))
    }
}

pub(crate) fn check_store(done: Access<()>, expected: Expected) -> Outcome {
    match done {
        Ok(()) if expected.is_writable() => Ok(()),
        Err(Trap::Refused(_, FaultError::Segv(_) | FaultError::Bus)) if !expected.is_writable() => Ok(()),
        other => Err(format!("{other:?} where {expected:x?} was expected")),
    }
}
