//! `/proc/iomem`: what lies where in physical memory, for those who may know.

use alloc::borrow::ToOwned;
use alloc::sync::Weak;
use alloc::vec::Vec;

use foliant_phys::SECTION;
use foliant_uapi::text::{Iomem, IomemEntry, Text};
use foliant_units::Errno;

use crate::creds::Capability;
use crate::fs::pseudo::{Place, PseudoText, TextSource};
use crate::fs::{Caller, NodeRef};
use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::pid::Pid;

pub(super) const NAME: &[u8] = b"iomem";

/// The file at `place`.
pub(super) fn file<M: UserMachine>(place: Place, kernel: Weak<Kernel<M>>) -> NodeRef<M> {
    PseudoText::new(place, Source(kernel))
}

struct Source<M: UserMachine>(Weak<Kernel<M>>);

impl<M: UserMachine> TextSource for Source<M> {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        self.read_by(Caller::MACHINE)
    }

    /// Everybody learns what there is; where, only the administrator.
    ///
    /// # Linux source concept
    /// `r_show()`, kernel/resource.c.
    fn read_by(&self, by: Caller) -> Result<Vec<u8>, Errno> {
        let kernel = self.0.upgrade().ok_or(Errno::IO)?;
        let opener = kernel.tree().task(Pid::new(by.thread)).cloned();
        let knows = opener.is_some_and(|task| task.creds().has(Capability::SysAdmin));
        let iomem = with_added(&kernel);
        Ok(if knows { iomem } else { without_places(iomem) }.to_bytes())
    }
}

/// What there was at boot, and the memory that came.
///
/// # Linux source concept
/// `register_memory_resource()`.
fn with_added<M: UserMachine>(kernel: &Kernel<M>) -> Iomem {
    let mut iomem = kernel.settings().iomem.clone();
    for first in kernel.memory().phys().added_sections() {
        let start = first.base().raw();
        let behind = |entry: &IomemEntry| entry.depth == 0 && entry.start > start;
        let at = iomem
            .entries
            .iter()
            .position(behind)
            .unwrap_or(iomem.entries.len());
        let entry = IomemEntry {
            depth: 0,
            start,
            last: (first + SECTION).base().raw() - 1,
            name: "System RAM".to_owned(),
        };
        iomem.entries.insert(at, entry);
    }
    iomem
}

fn without_places(mut iomem: Iomem) -> Iomem {
    for entry in &mut iomem.entries {
        (entry.start, entry.last) = (0, 0);
    }
    iomem
}
