//! Empty slabs that readers may still look into.

use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::Ordering;

use super::grace::Grace;
use super::mutant::{Mutant, is_on};
use super::page::Frames;
use super::shard::{Chain, Ground};

/// Slabs that wait for a grace period. Each has its stamp in its record, where
/// its free bits were.
#[derive(Debug, Default)]
pub(crate) struct Limbo(SpinLock<Chain>);

impl Limbo {
    /// Adds the slabs that `unlist` takes out of their lists.
    pub(crate) fn retire<F: Frames>(
        &self,
        ground: Ground<'_, F>,
        grace: &dyn Grace,
        unlist: impl FnOnce() -> Chain,
    ) -> usize {
        let early = is_on(Mutant::StampEarly).then(|| grace.stamp());
        let mut chain = unlist();
        let slabs = chain.len();
        if slabs == 0 {
            return 0;
        }
        // After the slabs left their lists: a reader that comes later does not
        // find anything in them.
        let stamp = early.unwrap_or_else(|| grace.stamp());
        let mut all = self.0.lock();
        while let Some(page) = chain.pop(ground) {
            page.record.private.store(stamp, Ordering::Relaxed);
            all.push(page);
        }
        slabs
    }

    /// Takes all out.
    pub(crate) fn take(&self) -> Chain {
        core::mem::take(&mut self.0.lock())
    }

    /// Those whose grace period is over, and the others.
    pub(crate) fn sort<F: Frames>(
        &self,
        mut all: Chain,
        ground: Ground<'_, F>,
        grace: &dyn Grace,
    ) -> (Chain, Chain) {
        let (mut over, mut rest) = (Chain::default(), Chain::default());
        while let Some(page) = all.pop(ground) {
            let stamp = page.record.private.load(Ordering::Relaxed);
            if is_on(Mutant::ReleaseAtOnce) || grace.is_over(stamp) {
                over.push(page);
            } else {
                rest.push(page);
            }
        }
        (over, rest)
    }

    /// Puts back what has to wait on.
    pub(crate) fn put_back<F: Frames>(&self, mut rest: Chain, ground: Ground<'_, F>) {
        let mut all = self.0.lock();
        while let Some(page) = rest.pop(ground) {
            all.push(page);
        }
    }

    /// How many slabs wait.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}
