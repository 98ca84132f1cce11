//! The machine's part of an address space.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use foliant_platform::{Flush, FlushKind};
use foliant_units::{PhysAddr, Vpn, VpnRange};

use super::User;
use super::lane::{Lane, Mark, State};
use super::tlb::{Stale, Tlb};
use crate::host::{KICK, kill, tgkill};

/// What the machine keeps per space; see `SpaceState`.
#[derive(Clone)]
pub struct Context(pub(crate) Arc<SpaceState>);

/// Host mappings of a space and the threads that see them.
pub(crate) struct SpaceState {
    /// Its top table.
    pub(crate) root: PhysAddr,
    /// The latest staleness, as in the TLB; readable without the lock.
    latest: AtomicU64,
    /// The latest staleness that is known to be removed from the host process.
    removed: AtomicU64,
    /// Whether it ever had more than one thread.
    shared: AtomicBool,
    inner: Mutex<Inner>,
}

/// What the lock of a space guards.
pub(crate) struct Inner {
    pub(crate) tlb: Tlb,
    /// The host threads that run in the space.
    pub(crate) lanes: Vec<Arc<Lane>>,
    /// Those that were told to end while others run; their slots still show.
    ended: Vec<Arc<Lane>>,
}

/// How long a kicked thread may take to come in. One that has blocked the
/// signal, which it can only do by forging a frame, harms itself.
const PATIENCE: Duration = Duration::from_secs(20);

impl SpaceState {
    pub(crate) fn new(root: PhysAddr) -> Arc<Self> {
        let inner = Mutex::new(Inner {
            tlb: Tlb::default(),
            lanes: Vec::new(),
            ended: Vec::new(),
        });
        Arc::new(Self {
            root,
            latest: AtomicU64::new(0),
            removed: AtomicU64::new(0),
            shared: AtomicBool::new(false),
            inner,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// Whether the host may show what the tables no longer back.
    pub(crate) fn is_stale(&self) -> bool {
        self.latest.load(Ordering::SeqCst) > self.removed.load(Ordering::SeqCst)
    }

    /// The latest staleness that needs no removal.
    pub(crate) fn removed(&self) -> u64 {
        self.removed.load(Ordering::SeqCst)
    }

    /// A thread came in: what its last order removed for good is removed.
    pub(crate) fn came_in(&self, lane: &Lane) {
        self.removed
            .fetch_max(lane.proof.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// The latest staleness that an order removes for good if it is sent now:
    /// every fill that was ordered before it was noted has been done, so
    /// nothing can come back after it is taken away.
    pub(crate) fn settled(&self, inner: &Inner) -> u64 {
        let running = inner.lanes.iter().filter(|lane| lane.state() == State::Running);
        let sent = running.map(|lane| lane.sent.load(Ordering::SeqCst));
        sent.min().unwrap_or(u64::MAX).min(inner.tlb.latest())
    }

    /// Notes staleness under the lock. Returns its number.
    pub(crate) fn note(&self, inner: &mut Inner, stale: Stale) -> u64 {
        let number = inner.tlb.note(stale);
        self.latest.store(number, Ordering::SeqCst);
        number
    }

    /// Makes the host forget ranges; returns when no guest code can use them.
    ///
    /// Host threads do their orders in no order among each other. So a thread
    /// that removes something proves nothing while another may still be about
    /// to fill it, by an older order: the mapping would be back. First
    /// everybody with an older order comes in, by which their fills are done;
    /// then everybody who removed before that comes in, and removes again.
    pub(crate) fn flush(&self, machine: &User, what: Flush<'_>) {
        let mut inner = self.lock();
        let mut number = None;
        for &range in what.ranges {
            // What the book has forgotten already may still be shown.
            let noted = self.forget(machine, &mut inner, range, what.kind);
            number = number.max(noted.or_else(|| inner.tlb.stale_in(range, self.removed())));
        }
        let Some(number) = number else { return };
        machine.counters().flushes.fetch_add(1, Ordering::Relaxed);
        let running: Vec<_> = inner
            .lanes
            .iter()
            .filter(|lane| lane.state() == State::Running)
            .cloned()
            .collect();
        drop(inner);
        if running.is_empty() {
            return;
        }
        shoot_down(machine, &running, Mark::Sent, number);
        let unproven: Vec<_> = {
            let inner = self.lock();
            let running = inner.lanes.iter();
            running
                .filter(|lane| self.removed() < number && lane.runs_below(Mark::Proof, number))
                .cloned()
                .collect()
        };
        shoot_down(machine, &unproven, Mark::Proof, number);
    }

    fn forget(&self, machine: &User, inner: &mut Inner, range: VpnRange, kind: FlushKind) -> Option<u64> {
        let mut gone: Option<VpnRange> = None;
        let mut read_only: Option<VpnRange> = None;
        let mut kept = Vec::new();
        inner.tlb.cut(range, |run| match kind {
            FlushKind::Demoted if !run.rights.execute && machine.still_backed(self.root, &run) => {
                if run.rights.write {
                    read_only = Some(hull(read_only, run.pages));
                }
                kept.push(run);
            }
            FlushKind::Demoted | FlushKind::Removed => gone = Some(hull(gone, run.pages)),
        });
        // What is unmapped as a whole may include pages that could have stayed;
        // then they are filled again.
        for mut run in kept {
            if gone.is_none_or(|gone| !gone.overlaps(run.pages)) {
                run.rights.write = false;
                inner.tlb.insert(run);
            }
        }
        let gone = gone.map(|pages| self.note(inner, Stale::Gone(pages)));
        read_only
            .map(|pages| self.note(inner, Stale::ReadOnly(pages)))
            .max(gone)
    }

    /// Makes room in a full TLB.
    pub(crate) fn shed(&self, inner: &mut Inner) {
        for pages in inner.tlb.oldest_half() {
            inner.tlb.cut(pages, |_| {});
            self.note(inner, Stale::Gone(pages));
        }
    }

    /// Takes a thread in.
    pub(crate) fn join(&self, lane: &Arc<Lane>) {
        let mut inner = self.lock();
        inner.lanes.push(lane.clone());
        if inner.lanes.len() > 1 {
            self.shared.store(true, Ordering::SeqCst);
        }
    }

    /// Notes that a thread of it was told to end.
    pub(crate) fn bury_later(&self, lane: &Arc<Lane>) {
        self.lock().ended.push(lane.clone());
    }

    /// Takes out up to `max` threads that have ended by now.
    pub(crate) fn take_ended(&self, max: usize) -> Vec<Arc<Lane>> {
        let mut inner = self.lock();
        let is_gone = |lane: &mut Arc<Lane>| {
            let (process, thread) = lane.numbers();
            tgkill(process, thread, 0).is_err()
        };
        inner.ended.extract_if(.., is_gone).take(max).collect()
    }

    /// Lets a thread go. True if none is left.
    pub(crate) fn leave(&self, lane: &Arc<Lane>) -> bool {
        let mut inner = self.lock();
        inner.lanes.retain(|other| !Arc::ptr_eq(other, lane));
        inner.lanes.is_empty()
    }

    /// The one thread that is left returns with a frame that nobody changed.
    pub(crate) fn unshare(&self) {
        self.shared.store(false, Ordering::SeqCst);
    }

    /// Whether it had more than one thread since its signal stacks and masks
    /// were last known to be the machine's.
    pub(crate) fn was_shared(&self) -> bool {
        self.shared.load(Ordering::SeqCst)
    }
}

fn hull(so_far: Option<VpnRange>, more: VpnRange) -> VpnRange {
    so_far.map_or(more, |range| {
        VpnRange::new(range.start.min(more.start), range.end.max(more.end))
    })
}

/// Brings threads in and waits until none runs with a mark below `number`.
fn shoot_down(machine: &User, lanes: &[Arc<Lane>], mark: Mark, number: u64) {
    for lane in lanes {
        kick(lane);
    }
    if lanes.is_empty() {
        return;
    }
    machine
        .counters()
        .shoot_downs
        .fetch_add(lanes.len() as u64, Ordering::Relaxed);
    machine.pool().ensure_receiver(machine);
    let deadline = Instant::now() + PATIENCE;
    for lane in lanes {
        let left = deadline.saturating_duration_since(Instant::now());
        if !lane.await_leaving(mark, number, left) {
            kill(lane.process.load(Ordering::SeqCst));
            lane.await_leaving(mark, number, PATIENCE);
        }
    }
}

/// Sends the signal that brings a host thread in.
pub(crate) fn kick(lane: &Lane) {
    let (process, thread) = lane.numbers();
    if process != 0 && thread != 0 {
        // A thread that is gone needs no kick.
        let _ = tgkill(process, thread, KICK);
    }
}

/// Where a page lies in its leaf table.
pub(crate) fn slot_of(page: Vpn) -> u64 {
    page.raw() & 511
}
