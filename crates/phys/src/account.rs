//! Frames that somebody pays for.

use core::num::NonZeroU64;
use std_alloc::sync::Arc;

use foliant_platform::Platform;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Order, Pfn};

use crate::alloc::{Account, AllocRequest, Event};
use crate::phys::Phys;
use crate::record::{FrameFlags, FrameRecord};

/// There is not enough on the account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused;

/// Someone who keeps accounts of kernel memory.
///
/// # Linux source concept
/// `__memcg_kmem_charge_page()`, `__memcg_kmem_uncharge_page()`.
pub trait Accountant: Send + Sync {
    /// Charges the caller for a folio of `request`'s order; says whose account
    /// that was. Called with no lock of the allocator, and may wait if the
    /// request may.
    ///
    /// # Errors
    /// [`Refused`], and the request fails.
    fn charge(&self, request: &AllocRequest) -> Result<NonZeroU64, Refused>;

    /// A folio of `order` that was charged to `account` is free. Called with any
    /// lock of the caller held.
    fn uncharge(&self, account: NonZeroU64, order: Order);
}

impl<P: Platform> Phys<P> {
    /// Hands in someone who keeps accounts; replaces whoever was there. Only
    /// requests that are [accounted](AllocRequest::accounted) are charged.
    pub fn set_accountant(&self, accountant: Option<Arc<dyn Accountant>>) {
        *self.accountant.lock() = accountant;
    }

    /// Charges for a folio that was just allocated; false if that is refused.
    pub(crate) fn charge(&self, pfn: Pfn, request: &AllocRequest) -> bool {
        let accountant = match request.account {
            Account::Nobody => None,
            Account::Charged => self.accountant.lock().clone(),
        };
        let Some(accountant) = accountant else { return true };
        let Ok(account) = accountant.charge(request) else {
            self.count(Event::ChargeRefused, 1);
            return false;
        };
        self.mark_charged(self.record(pfn), account);
        true
    }

    fn mark_charged(&self, record: &FrameRecord, account: NonZeroU64) {
        record.charge.store(account.get(), Ordering::Relaxed);
        record.set(FrameFlags::CHARGED);
    }

    /// Who is charged for the folio at `pfn`.
    pub fn charged_to(&self, pfn: Pfn) -> Option<NonZeroU64> {
        let record = self.record(pfn);
        let charged = record.has(FrameFlags::CHARGED);
        NonZeroU64::new(record.charge.load(Ordering::Relaxed)).filter(|_| charged)
    }

    /// Ends the charge for a folio that is being freed.
    #[cold]
    pub(crate) fn uncharge(&self, pfn: Pfn, order: Order) {
        let account = self.charged_to(pfn);
        self.record(pfn).clear(FrameFlags::CHARGED);
        self.record(pfn).charge.store(0, Ordering::Relaxed);
        let accountant = self.accountant.lock().clone();
        if let (Some(account), Some(accountant)) = (account, accountant) {
            accountant.uncharge(account, order);
        }
    }

    /// Divides the charge for a folio among its frames.
    ///
    /// # Linux source concept
    /// `split_page_memcg()`.
    pub(crate) fn split_charge(&self, pfn: Pfn, order: Order) {
        if let Some(account) = self.charged_to(pfn) {
            (1..order.frames()).for_each(|at| self.mark_charged(self.record(pfn + at), account));
        }
    }
}
