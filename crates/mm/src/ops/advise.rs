//! `madvise`.

use alloc::sync::Arc;

use foliant_uapi::Advice;
use foliant_units::{Errno, VirtAddr, VpnRange};

use super::pages_of;
use crate::flags::VmFlags;
use crate::map::{AddressMap, Change};
use crate::vma::{Backing, Vma};
use crate::work::{PageWork, Treatment};

/// What remains to be done after `madvise`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advised {
    /// Nothing.
    Done,
    /// Pages are to be faulted in, for writing or reading; the failure is the call's.
    Populate {
        /// The pages, holes included.
        range: VpnRange,
        /// For writing.
        write: bool,
    },
}

/// How an advice is carried out.
enum Kind {
    /// Flags of VMAs change.
    Flags,
    /// Pages are treated; flags stay.
    Pages(Treatment),
    /// Both: guard markers, and the flag that there are some.
    Guard,
    /// Pages are faulted in.
    Populate { write: bool },
    /// The machine has no way to do it.
    Refused,
}

const fn kind(advice: Advice) -> Kind {
    match advice {
        Advice::Normal
        | Advice::Random
        | Advice::Sequential
        | Advice::DontFork
        | Advice::DoFork
        | Advice::Mergeable
        | Advice::Unmergeable
        | Advice::HugePage
        | Advice::NoHugePage
        | Advice::DontDump
        | Advice::DoDump
        | Advice::WipeOnFork
        | Advice::KeepOnFork => Kind::Flags,
        Advice::WillNeed => Kind::Pages(Treatment::WillNeed),
        Advice::DontNeed | Advice::DontNeedLocked => Kind::Pages(Treatment::Discard),
        Advice::Free => Kind::Pages(Treatment::LazyFree),
        Advice::Remove => Kind::Pages(Treatment::Punch),
        Advice::Cold => Kind::Pages(Treatment::Cool),
        Advice::PageOut => Kind::Pages(Treatment::PageOut),
        Advice::GuardInstall => Kind::Guard,
        Advice::GuardRemove => Kind::Pages(Treatment::Unguard),
        Advice::PopulateRead => Kind::Populate { write: false },
        Advice::PopulateWrite => Kind::Populate { write: true },
        // Huge pages and memory failure are not configured in.
        Advice::Collapse | Advice::HwPoison | Advice::SoftOffline => Kind::Refused,
    }
}

impl<B: Backing> AddressMap<B> {
    /// `madvise`.
    ///
    /// # Errors
    /// As `madvise(2)`: `NOMEM` at the end if there was a hole, with both sides
    /// done; other errors stop where they happen.
    ///
    /// # Linux source concept
    /// `do_madvise()`.
    pub fn madvise<W: PageWork<B>>(
        &self,
        work: &mut W,
        start: VirtAddr,
        len: u64,
        advice: Advice,
    ) -> Result<Advised, Errno> {
        let kind = kind(advice);
        if matches!(advice, Advice::HwPoison | Advice::SoftOffline) {
            return Err(Errno::INVAL);
        }
        let Some(range) = pages_of(start, len)? else {
            return Ok(Advised::Done);
        };
        match kind {
            Kind::Flags => {
                let mut change = self.change(work);
                change.each_advised(range, |change, vma, part| change.advise_flags(vma, part, advice))?;
            }
            Kind::Guard => {
                // Marked first and treated then, when neighbours can be asked for
                // their families.
                let mut marked = range.start;
                let result = self.change(work).each_advised(range, |change, vma, part| {
                    change.mark_guarded(vma)?;
                    marked = part.end;
                    Ok(())
                });
                let part = VpnRange::new(range.start, marked);
                match self.treat_each(work, part, advice, Treatment::Guard) {
                    Ok(()) | Err(Errno::NOMEM) => result?,
                    Err(other) => return Err(other),
                }
            }
            Kind::Pages(treatment) => self.treat_each(work, range, advice, treatment)?,
            Kind::Populate { write } => return Ok(Advised::Populate { range, write }),
            Kind::Refused => {
                self.walk(range, |_, _| Err(Errno::INVAL))?;
            }
        }
        Ok(Advised::Done)
    }

    /// Treats pages without the writer lock, as a fault would.
    fn treat_each<W: PageWork<B>>(
        &self,
        work: &W,
        range: VpnRange,
        advice: Advice,
        treatment: Treatment,
    ) -> Result<(), Errno> {
        self.walk(range, |vma, part| {
            permit_treatment(vma, advice)?;
            match treatment {
                // It reads or punches a file, or waits: not with the VMA held.
                Treatment::Punch | Treatment::WillNeed => work.treat(vma, part, treatment),
                _ => {
                    let Some(_held) = vma.read() else {
                        return Err(RETIRED);
                    };
                    work.treat(vma, part, treatment)
                }
            }
        })
    }

    /// Visits the VMAs of a range; a retired one is looked up again.
    fn walk(
        &self,
        range: VpnRange,
        mut visit: impl FnMut(&Arc<Vma<B>>, VpnRange) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut outcome = Ok(());
        let mut at = range.start;
        while at < range.end {
            let vma = self.find_above(at).ok_or(Errno::NOMEM)?;
            if vma.range.start > at {
                outcome = Err(Errno::NOMEM);
                if vma.range.start >= range.end {
                    break;
                }
            }
            let part = vma.range.intersect(VpnRange::new(at, range.end));
            match visit(&vma, part) {
                Err(RETIRED) => {
                    drop(self.book());
                    continue;
                }
                result => result?,
            }
            at = part.end;
        }
        outcome
    }
}

/// Never leaves this file: Linux's `ERESTARTNOINTR` stands in for "look again".
const RETIRED: Errno = match Errno::from_raw(513) {
    Some(errno) => errno,
    None => Errno::AGAIN,
};

impl<B: Backing, W: PageWork<B>> Change<'_, B, W> {
    /// Visits the VMAs of a range, which the visit may replace.
    ///
    /// # Linux source concept
    /// `madvise_walk_vmas()`.
    fn each_advised(
        &mut self,
        range: VpnRange,
        mut visit: impl FnMut(&mut Self, &Arc<Vma<B>>, VpnRange) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut outcome = Ok(());
        let mut at = range.start;
        while at < range.end {
            let vma = self.tree.at_or_above(at).cloned().ok_or(Errno::NOMEM)?;
            if vma.range.start > at {
                outcome = Err(Errno::NOMEM);
                if vma.range.start >= range.end {
                    break;
                }
            }
            let part = vma.range.intersect(VpnRange::new(at, range.end));
            visit(self, &vma, part)?;
            at = part.end;
        }
        outcome
    }

    fn advise_flags(&mut self, vma: &Arc<Vma<B>>, part: VpnRange, advice: Advice) -> Result<(), Errno> {
        if !may_discard(vma, advice) {
            return Err(Errno::PERM);
        }
        let new = advised_flags(vma, advice)?;
        if new == vma.flags {
            return Ok(());
        }
        match self.modify(vma, part, new, vma.name.clone()) {
            Ok(_) => Ok(()),
            // A hint must not look like a hole.
            Err(Errno::NOMEM) => Err(Errno::AGAIN),
            Err(other) => Err(other),
        }
    }

    /// # Linux source concept
    /// `madvise_guard_install()`, its first half.
    fn mark_guarded(&mut self, vma: &Arc<Vma<B>>) -> Result<(), Errno> {
        permit_treatment(vma, Advice::GuardInstall)?;
        if !vma.flags.contains(VmFlags::MAYBE_GUARD) {
            self.freeze(vma);
            let mut marked = vma.successor();
            marked.flags |= VmFlags::MAYBE_GUARD;
            self.swap(vma, marked);
        }
        Ok(())
    }
}

/// The flags after an advice.
///
/// # Linux source concept
/// `madvise_vma_behavior()`, `ksm_madvise()`.
fn advised_flags<B: Backing>(vma: &Vma<B>, advice: Advice) -> Result<VmFlags, Errno> {
    let flags = vma.flags;
    let shared = VmFlags::SHARED | VmFlags::MAYSHARE;
    let mergeable = !flags.intersects(shared | VmFlags::SPECIAL | VmFlags::HUGETLB | VmFlags::DROPPABLE);
    let reading = VmFlags::SEQ_READ | VmFlags::RAND_READ;
    Ok(match advice {
        Advice::Normal => flags - reading,
        Advice::Random => (flags - reading) | VmFlags::RAND_READ,
        Advice::Sequential => (flags - reading) | VmFlags::SEQ_READ,
        Advice::DontFork => flags | VmFlags::DONTCOPY,
        Advice::DoFork if flags.contains(VmFlags::IO) => return Err(Errno::INVAL),
        Advice::DoFork => flags - VmFlags::DONTCOPY,
        Advice::WipeOnFork if !vma.is_anonymous() || flags.contains(VmFlags::SHARED) => {
            return Err(Errno::INVAL);
        }
        Advice::WipeOnFork => flags | VmFlags::WIPEONFORK,
        Advice::KeepOnFork if flags.contains(VmFlags::DROPPABLE) => return Err(Errno::INVAL),
        Advice::KeepOnFork => flags - VmFlags::WIPEONFORK,
        Advice::DontDump => flags | VmFlags::DONTDUMP,
        Advice::DoDump if flags.intersects(VmFlags::SPECIAL | VmFlags::DROPPABLE) => {
            return Err(Errno::INVAL);
        }
        Advice::DoDump => flags - VmFlags::DONTDUMP,
        Advice::Mergeable if mergeable => flags | VmFlags::MERGEABLE,
        Advice::Unmergeable if mergeable => flags - VmFlags::MERGEABLE,
        Advice::HugePage => (flags - VmFlags::NOHUGEPAGE) | VmFlags::HUGEPAGE,
        Advice::NoHugePage => (flags - VmFlags::HUGEPAGE) | VmFlags::NOHUGEPAGE,
        _ => flags,
    })
}

/// Whether pages of the VMA may be treated so.
fn permit_treatment<B: Backing>(vma: &Vma<B>, advice: Advice) -> Result<(), Errno> {
    if !may_discard(vma, advice) {
        return Err(Errno::PERM);
    }
    let forbidden = match advice {
        Advice::DontNeed => VmFlags::PFNMAP | VmFlags::LOCKED,
        Advice::DontNeedLocked => VmFlags::PFNMAP,
        Advice::Free if !vma.is_anonymous() => return Err(Errno::INVAL),
        Advice::Free => VmFlags::PFNMAP | VmFlags::LOCKED,
        Advice::Cold | Advice::PageOut => VmFlags::LOCKED | VmFlags::PFNMAP | VmFlags::HUGETLB,
        Advice::Remove => VmFlags::LOCKED,
        Advice::GuardInstall => VmFlags::SPECIAL | VmFlags::HUGETLB | VmFlags::LOCKED,
        Advice::GuardRemove => VmFlags::SPECIAL | VmFlags::HUGETLB,
        _ => VmFlags::empty(),
    };
    if vma.flags.intersects(forbidden) {
        return Err(Errno::INVAL);
    }
    if matches!(advice, Advice::Remove) {
        if vma.is_anonymous() {
            return Err(Errno::INVAL);
        }
        if !vma.flags.contains(VmFlags::SHARED | VmFlags::MAYWRITE) {
            return Err(Errno::ACCES);
        }
    }
    Ok(())
}

/// Sealed anonymous memory that cannot be written must not lose its contents either.
///
/// # Linux source concept
/// `can_madvise_modify()`.
fn may_discard<B: Backing>(vma: &Vma<B>, advice: Advice) -> bool {
    let discards = matches!(
        advice,
        Advice::DontNeed
            | Advice::DontNeedLocked
            | Advice::Free
            | Advice::Remove
            | Advice::DontFork
            | Advice::WipeOnFork
            | Advice::GuardInstall
    );
    !discards
        || !vma.flags.contains(VmFlags::SEALED)
        || !vma.is_anonymous()
        || vma.flags.contains(VmFlags::WRITE)
}
