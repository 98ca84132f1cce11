//! Addresses, shared out to CPUs.
//!
//! The space is cut into zones. A CPU takes whole zones for itself and places
//! small areas in them, so that two CPUs meet neither in a lock nor in a page
//! table; what is too large for a zone comes from the *common* share. Which
//! share a page belongs to is read from an array, without a lock.
//!
//! # Lock protocol
//!
//! 1. Each share has a spin lock for its [`Book`]. A CPU's share may take the
//!    common one's to get a zone; no other two are held together.
//! 2. Pages that were unmapped wait in their share until the flush, with what
//!    was mapped there. Whoever flushes takes them out of the book, under the
//!    share's sleeping lock `turn` but no spin lock, and gives pages and frames
//!    back when the flush is over.
//! 3. Who finds no addresses takes every turn, so it waits for all purges under
//!    way before it gives up.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_platform::sync::{Mutex, MutexGuard, SpinLock};
use foliant_units::{Vpn, VpnRange};

use super::book::{Book, Found, Held};
use super::flush_list::FlushList;
use crate::mutant::{Mutant, is_on};

/// The number of the common share.
const COMMON: usize = 0;
/// Zones that a space is cut into at most.
const ZONES: u64 = 4096;
/// Pages of the smallest zone: 4 MiB.
const LEAST_ZONE: u64 = 1024;
/// A space smaller than this has no shares of CPUs: they would keep zones from
/// large areas. (1 GiB; 32-bit layouts have less.)
const SHARED_OUT_FROM: u64 = 1 << 18;

/// On cache lines of its own.
#[repr(align(128))]
struct Share<A> {
    book: SpinLock<Book<A>>,
    turn: Mutex<()>,
}

/// A range of addresses and the areas in it.
pub(crate) struct VaSpace<A> {
    range: VpnRange,
    zone_pages: u64,
    /// Whose each zone is, by number.
    owners: Box<[AtomicU32]>,
    shares: Box<[Share<A>]>,
    /// Pages that may wait in one share.
    lazy_limit: u64,
}

/// What addresses are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Want {
    /// Pages, the guard included.
    pub(crate) pages: u64,
    /// A power of two.
    pub(crate) align: u64,
    /// The CPU that asks.
    pub(crate) cpu: usize,
}

impl<A> VaSpace<A> {
    /// A space for `cpus` CPUs in which about `lazy_limit` pages may wait for a flush.
    pub(crate) fn new(range: VpnRange, cpus: usize, lazy_limit: u64) -> Self {
        let zone_pages = (range.len() / ZONES).next_power_of_two().max(LEAST_ZONE);
        let cpus = if range.len() >= SHARED_OUT_FROM { cpus } else { 0 };
        Self::cut(range, zone_pages, cpus, lazy_limit)
    }

    /// The same with zones of a given size, a power of two.
    pub(crate) fn cut(range: VpnRange, zone_pages: u64, cpus: usize, lazy_limit: u64) -> Self {
        let zones = (range.end.align_up(zone_pages) - range.start.align_down(zone_pages)) / zone_pages;
        let share = |_| Share {
            book: SpinLock::new(Book::new()),
            turn: Mutex::new(()),
        };
        let space = Self {
            range,
            zone_pages,
            owners: (0..zones).map(|_| AtomicU32::new(COMMON as u32)).collect(),
            shares: (0..=cpus).map(share).collect(),
            lazy_limit: lazy_limit / (cpus as u64 + 1),
        };
        space.shares[COMMON].book.lock().free.give_merged(range);
        space
    }

    /// All of the addresses.
    pub(crate) fn range(&self) -> VpnRange {
        self.range
    }

    /// Takes pages that are free. The caller maps something there and
    /// [publishes](Self::publish) it, or [retires](Self::retire) them.
    ///
    /// `None` if none are free. Some may be after a purge.
    pub(crate) fn reserve(&self, want: Want) -> Option<VpnRange> {
        let cpus = self.shares.len() - 1;
        let small = want.pages.max(want.align) <= self.zone_pages / 8;
        let of_cpu = if cpus != 0 && small {
            self.take_of_cpu(1 + want.cpu % cpus, want)
        } else {
            None
        };
        let of_common = || {
            let mut common = self.shares[COMMON].book.lock();
            common.free.take(want.pages, want.align)
        };
        let start = of_cpu.or_else(of_common)?;
        Some(VpnRange::new(start, start + want.pages))
    }

    /// The area is ready: from now on it can be found.
    pub(crate) fn publish(&self, pages: VpnRange, area: A) {
        if let Some(share) = self.share_of(pages.start) {
            share.book.lock().insert(pages, area);
        }
    }

    fn take_of_cpu(&self, share: usize, want: Want) -> Option<Vpn> {
        let mut book = self.shares[share].book.lock();
        if let Some(start) = book.free.take(want.pages, want.align) {
            return Some(start);
        }
        book.free.give_merged(self.claim_zone(share)?);
        book.free.take(want.pages, want.align)
    }

    /// Takes a zone out of the common share.
    fn claim_zone(&self, share: usize) -> Option<VpnRange> {
        let mut common = self.shares[COMMON].book.lock();
        let start = common.free.take(self.zone_pages, self.zone_pages)?;
        self.owner(start)?.store(share as u32, Ordering::Release);
        Some(VpnRange::new(start, start + self.zone_pages))
    }

    /// Gives zones without an area back to the common share.
    pub(crate) fn return_zones(&self) {
        for share in &self.shares[COMMON + 1..] {
            let mut book = share.book.lock();
            let zones = book.free.take_blocks(self.zone_pages);
            let mut common = self.shares[COMMON].book.lock();
            for start in zones {
                let zone = VpnRange::new(start, start + self.zone_pages);
                if is_on(Mutant::ZoneBeforeOwner) {
                    common.free.give_merged(zone);
                    drop(common);
                    common = self.shares[COMMON].book.lock();
                }
                if let Some(owner) = self.owner(start) {
                    owner.store(COMMON as u32, Ordering::Release);
                }
                if !is_on(Mutant::ZoneBeforeOwner) {
                    common.free.give_merged(zone);
                }
            }
        }
    }

    fn owner(&self, page: Vpn) -> Option<&AtomicU32> {
        let first = self.range.start.align_down(self.zone_pages);
        let zone = page.raw().checked_sub(first.raw())? / self.zone_pages;
        self.owners.get(zone as usize)
    }

    /// The share that `page` belongs to.
    fn share_of(&self, page: Vpn) -> Option<&Share<A>> {
        let owner = self.owner(page)?.load(Ordering::Acquire);
        self.shares.get(owner as usize)
    }

    /// Takes out the area that begins at `start`. Its pages are the caller's,
    /// who unmaps them and [retires](Self::retire) the area.
    pub(crate) fn remove_if(&self, start: Vpn, is_it: impl FnOnce(&A) -> bool) -> Option<Held<A>> {
        let mut book = self.share_of(start)?.book.lock();
        let held = book.at(start)?;
        if held.pages.start != start || !is_it(&held.area) {
            return None;
        }
        book.remove(start)
    }

    /// Takes out any area in use; for the end of the space.
    pub(crate) fn remove_any(&self) -> Option<Held<A>> {
        self.shares.iter().find_map(|share| share.book.lock().pop_busy())
    }

    /// Tells what `look` sees in the area that `page` is in.
    pub(crate) fn with<R>(&self, page: Vpn, look: impl FnOnce(&Held<A>) -> R) -> Option<R> {
        let book = self.share_of(page)?.book.lock();
        book.at(page).map(look)
    }

    /// The same, also for areas that were given back not long ago.
    pub(crate) fn trace<R>(&self, page: Vpn, look: impl FnOnce(Found, &Held<A>) -> R) -> Option<R> {
        let book = self.share_of(page)?.book.lock();
        book.trace(page).map(|(found, held)| look(found, held))
    }

    /// Shows every area in use and every one that waits for a flush, share by
    /// share: how many there are may change meanwhile.
    pub(crate) fn for_each(&self, mut show: impl FnMut(Found, &Held<A>)) {
        for share in &self.shares {
            let book = share.book.lock();
            book.busy().for_each(|held| show(Found::Busy, held));
            book.lazy().for_each(|held| show(Found::Unpurged, held));
        }
    }

    /// Pages that wait for a flush.
    pub(crate) fn lazy_pages(&self) -> u64 {
        self.shares
            .iter()
            .map(|share| share.book.lock().lazy_pages())
            .sum()
    }

    /// Pages that are free, in all shares.
    pub(crate) fn free_pages(&self) -> u64 {
        self.shares
            .iter()
            .map(|share| share.book.lock().free.pages())
            .sum()
    }

    /// An area that was unmapped: its pages and what it held wait for a flush,
    /// which `flush` does at once if enough have gathered.
    pub(crate) fn retire(&self, held: Held<A>, flush: impl FnOnce(&[VpnRange]), pay: impl FnMut(&mut A)) {
        let Some(share) = self.share_of(held.pages.start) else {
            return;
        };
        let full = {
            let mut book = share.book.lock();
            book.retire(held);
            book.lazy_pages() > self.lazy_limit
        };
        if full {
            let turn = share.turn.lock();
            purge(&[(share, turn)], flush, pay);
        }
    }

    /// Flushes everything that waits, with one flush, and waits for the purges
    /// of others.
    ///
    /// # Linux source concept
    /// `__purge_vmap_area_lazy()`.
    pub(crate) fn purge_all(&self, flush: impl FnOnce(&[VpnRange]), pay: impl FnMut(&mut A)) {
        // In the order of the array, which everybody keeps who takes several.
        let shares: Vec<Turn<'_, A>> = if is_on(Mutant::PurgeWithoutTurn) {
            return;
        } else {
            self.shares
                .iter()
                .map(|share| (share, share.turn.lock()))
                .collect()
        };
        purge(&shares, flush, pay);
    }
}

/// A share, and the right to purge it.
type Turn<'a, A> = (&'a Share<A>, MutexGuard<'a, ()>);

fn purge<A>(shares: &[Turn<'_, A>], flush: impl FnOnce(&[VpnRange]), mut pay: impl FnMut(&mut A)) {
    let mut waiting: Vec<Vec<Held<A>>> = Vec::with_capacity(shares.len());
    let mut list = FlushList::new();
    for (share, _turn) in shares {
        let batch = share.book.lock().take_lazy();
        batch.iter().for_each(|held| list.add(held.pages));
        waiting.push(batch);
    }
    if is_on(Mutant::GiveBeforeFlush) {
        give(shares, waiting, &mut pay);
        flush(list.ranges());
        return;
    }
    if !list.is_empty() {
        flush(list.ranges());
    }
    give(shares, waiting, &mut pay);
}

fn give<A>(shares: &[Turn<'_, A>], waiting: Vec<Vec<Held<A>>>, pay: &mut impl FnMut(&mut A)) {
    for ((share, _turn), mut batch) in shares.iter().zip(waiting) {
        batch.iter_mut().for_each(|held| pay(&mut held.area));
        let mut book = share.book.lock();
        batch.into_iter().for_each(|held| book.purged(held));
    }
}
