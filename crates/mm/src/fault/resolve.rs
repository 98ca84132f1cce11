//! The path of a fault, top to bottom.

use alloc::sync::Arc;

use foliant_platform::Mmu;
use foliant_units::Vpn;

use super::classify::{Access, Plan, classify};
use super::outcome::{Fault, FaultError, Outcome, Resolved, Segv, Weight};
use super::page::Page;
use super::{anonymous, object};
use crate::flags::VmFlags;
use crate::pages::slot;
use crate::space::Space;
use crate::vma::Vma;

/// What a blocked fault waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// The writer that is changing the VMA.
    Writer,
    /// The frame that is under way to another place.
    Migration,
}

/// Why an attempt ended without the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// Nothing changed and no lock is held; to be tried again after waiting.
    Blocked(Wait),
    /// It cannot be done.
    Failed(FaultError),
}

impl From<FaultError> for Stop {
    fn from(error: FaultError) -> Self {
        Stop::Failed(error)
    }
}

/// Resolves a fault, however often its VMA is pulled from under it. This is
/// the only loop of the fault path.
pub(crate) fn resolve_blocking<P: Mmu>(space: &Space<P>, fault: Fault) -> Result<Resolved, FaultError> {
    loop {
        match resolve(space, fault) {
            Ok(resolved) => {
                space.counters().fault(resolved.outcome, resolved.weight);
                return Ok(resolved);
            }
            Err(Stop::Failed(error)) => {
                space.counters().refused(error);
                return Err(error);
            }
            Err(Stop::Blocked(wait)) => space.wait(wait),
        }
    }
}

/// One attempt.
pub(crate) fn resolve<P: Mmu>(space: &Space<P>, fault: Fault) -> Result<Resolved, Stop> {
    // 1. May the task touch this address at all?
    let vpn = fault.addr.page();
    let vma = vma_for(space, vpn)?;
    let held = vma.read().ok_or(Stop::Blocked(Wait::Writer))?;
    permit(&vma, fault.access)?;

    // 2. Look once at the entry that decides everything.
    let page = Page::look(space, &vma, vpn);

    // 3. Decide (pure), then do what was decided, and publish: every action
    //    compares the entry again under its lock.
    let minor = |outcome| (outcome, Weight::Minor);
    let (outcome, weight) = match classify(page.state(), slot::backed(&vma), fault.access) {
        Plan::Spurious => {
            page.touch(fault.access == Access::Write);
            minor(Outcome::Spurious)
        }
        Plan::MapZeroPage => minor(anonymous::zero_page(&page)?),
        Plan::FillZero => minor(anonymous::fill_zero(&page)?),
        Plan::Reuse => minor(anonymous::reuse(&page)?),
        Plan::BreakCow => minor(anonymous::break_cow(&page)?),
        Plan::MapObject => object::map(&page)?,
        Plan::CopyObject => object::copy(&page)?,
        Plan::ShareObject => object::share(&page)?,
        Plan::MakeWritable => object::make_writable(&page)?,
        Plan::AwaitMigration => return Err(Stop::Blocked(Wait::Migration)),
        // A machine without a swap area has no swap entries, so one that is
        // met anyway names contents that cannot be had.
        Plan::SwapIn => return Err(FaultError::Bus.into()),
        Plan::Refuse(refusal) => return Err(FaultError::from(refusal).into()),
    };
    vma.faults.resolved(outcome);
    drop(held);
    Ok(Resolved { outcome, weight })
}

/// The mapping of a page, grown down to it if it is a stack.
fn vma_for<P: Mmu>(space: &Space<P>, vpn: Vpn) -> Result<Arc<Vma<P>>, FaultError> {
    match space.map().find_above(vpn) {
        Some(vma) if vma.range.contains(vpn) => Ok(vma),
        Some(above) if above.flags.contains(VmFlags::GROWSDOWN) => {
            space.grow_stack(vpn).map_err(|_| FaultError::Segv(Segv::MapErr))
        }
        Some(_) | None => Err(FaultError::Segv(Segv::MapErr)),
    }
}

/// Whether the mapping allows the access.
///
/// Anything accessible can be read, and fetched from until the page is there:
/// x86 has no other way to say it (see [`classify`]).
///
/// # Linux source concept
/// `access_error()`, arch/x86/mm/fault.c.
fn permit<P: Mmu>(vma: &Vma<P>, access: Access) -> Result<(), FaultError> {
    let needed = match access {
        Access::Write => VmFlags::WRITE,
        Access::Read | Access::Execute => VmFlags::ACCESS,
    };
    if vma.flags.intersects(needed) {
        Ok(())
    } else {
        Err(FaultError::Segv(Segv::AccErr))
    }
}
