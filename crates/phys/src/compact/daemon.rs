//! Compaction that nobody waits for.

use foliant_platform::Platform;
use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_units::Order;

use super::scan::By;
use super::when::Compacted;
use crate::alloc::Event;
use crate::boot::NodeId;
use crate::migrate::Migrator;
use crate::mutant::{Mutant, is_on};
use crate::phys::Phys;
use crate::zone::MAX_NODES;

/// What was asked of each node's compaction thread: an order plus one.
#[derive(Debug)]
pub(crate) struct Daemons([AtomicU32; MAX_NODES]);

impl Daemons {
    pub(crate) fn new() -> Self {
        Self(core::array::from_fn(|_| AtomicU32::new(0)))
    }

    /// Asks a node's thread for a folio of `order`; whether it has to be woken:
    /// then nothing was asked of it since it last looked.
    pub(crate) fn ask(&self, node: NodeId, order: Order) -> bool {
        let Some(wanted) = self.0.get(node.index()) else {
            return false;
        };
        let order = u32::from(order.raw()) + 1;
        if is_on(Mutant::AskInTwoSteps) {
            let before = wanted.load(Ordering::Acquire);
            wanted.store(before.max(order), Ordering::Release);
            return before == 0;
        }
        wanted.fetch_max(order, Ordering::AcqRel) == 0
    }

    /// The largest order that was asked of a node's thread, once.
    pub(crate) fn answer(&self, node: NodeId) -> Option<Order> {
        let wanted = self.0.get(node.index())?;
        let order = if is_on(Mutant::AnswerInTwoSteps) {
            let order = wanted.load(Ordering::Acquire);
            wanted.store(0, Ordering::Release);
            order
        } else {
            wanted.swap(0, Ordering::AcqRel)
        };
        Order::new(u8::try_from(order.checked_sub(1)?).ok()?)
    }
}

impl<P: Platform> Phys<P> {
    /// Has a folio of `order` made on `node` by somebody who may wait.
    ///
    /// # Linux source concept
    /// `wakeup_kcompactd()`.
    pub fn wake_compaction(&self, node: NodeId, order: Order) {
        let Some(migrator) = self.migrator() else {
            return;
        };
        // Whoever finds it asleep wakes it.
        if self.daemons.ask(node, order) {
            migrator.wake(node);
        }
    }

    /// Does what a node's compaction thread was [woken](Migrator::wake) for:
    /// compacts its zones until each has a folio of the largest order that was
    /// asked for. `None` if nothing was.
    ///
    /// # Locking
    /// The caller holds no spin lock: the migrator may wait.
    ///
    /// # Linux source concept
    /// `kcompactd_do_work()`.
    pub fn compaction_daemon(&self, node: NodeId, migrator: &dyn Migrator) -> Option<Compacted> {
        let order = self.daemons.answer(node)?;
        self.count(Event::CompactDaemonWake, 1);
        let mut best = Compacted::Skipped;
        for (id, zone) in self.zones.iter().filter(|(_, zone)| zone.node() == node) {
            if zone.deferral.is_deferred(order) {
                continue;
            }
            let came_to = self.compact(id, order, By::Daemon, migrator);
            match came_to {
                Compacted::Success => zone.deferral.reset(order, false),
                Compacted::Complete => {
                    self.drain_all();
                    zone.deferral.defer(order);
                }
                Compacted::Skipped => {}
            }
            best = best.max(came_to);
        }
        Some(best)
    }
}
