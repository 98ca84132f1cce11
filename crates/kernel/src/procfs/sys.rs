//! `/proc/sys`: what the machine knows of itself, and the rest of the host.

use alloc::string::ToString;
use alloc::sync::Weak;
use alloc::vec::Vec;

use foliant_units::Errno;

use super::vm::{Knob, KnobFile};
use crate::fs::pseudo::{Listing, Place, PseudoDirectory, PseudoText};
use crate::fs::{Caller, Entry, FileType, NodeRef};
use crate::kernel::Kernel;
use crate::machine::UserMachine;

/// A setting, by its path below `/proc/sys`.
type Setting<M> = (
    &'static [u8],
    &'static [u8],
    fn(&Kernel<M>) -> alloc::string::String,
);

/// The settings that are the machine's own, by directory and name.
fn settings<M: UserMachine>() -> [Setting<M>; 22] {
    [
        (b"kernel", b"hostname", |kernel| {
            kernel.settings().identity.node.clone()
        }),
        (b"kernel", b"domainname", |kernel| {
            kernel.settings().identity.domain.clone()
        }),
        (b"kernel", b"osrelease", |kernel| {
            kernel.settings().identity.release.clone()
        }),
        (b"kernel", b"version", |kernel| {
            kernel.settings().identity.version.clone()
        }),
        (b"kernel", b"ostype", |_| "Linux".into()),
        (b"kernel", b"pid_max", |_| "4194304".into()),
        (b"kernel", b"threads-max", |kernel| {
            kernel.settings().max_tasks.to_string()
        }),
        (b"kernel", b"randomize_va_space", |kernel| {
            if kernel.settings().randomize { "2" } else { "0" }.into()
        }),
        (b"kernel", b"cap_last_cap", |_| "40".into()),
        (b"kernel", b"ngroups_max", |_| "65536".into()),
        (b"kernel", b"overflowuid", |_| "65534".into()),
        (b"kernel", b"overflowgid", |_| "65534".into()),
        (b"kernel", b"core_pattern", |_| "core".into()),
        (b"vm", b"overcommit_memory", |_| "0".into()),
        (b"vm", b"overcommit_ratio", |_| "50".into()),
        (b"vm", b"overcommit_kbytes", |_| "0".into()),
        (b"vm", b"max_map_count", |_| "65530".into()),
        (b"vm", b"mmap_min_addr", |_| "65536".into()),
        (b"vm", b"swappiness", |_| "60".into()),
        (b"vm", b"nr_hugepages", |_| "0".into()),
        (b"vm", b"min_free_kbytes", |kernel| {
            let pages: u64 = kernel
                .memory()
                .phys()
                .zones()
                .iter()
                .map(|(_, zone)| zone.watermarks().min)
                .sum();
            (pages * 4).to_string()
        }),
        (b"vm", b"unprivileged_userfaultfd", |_| "0".into()),
    ]
}

/// The directories that are the machine's own; all else is the host's.
const OWN: [&[u8]; 2] = [b"kernel", b"vm"];

struct Sys<M: UserMachine> {
    kernel: Weak<Kernel<M>>,
    host: Option<NodeRef<M>>,
    /// The directory below `/proc/sys`, empty for that itself.
    name: &'static [u8],
}

/// `/proc/sys`, over the host's.
pub(super) fn directory<M: UserMachine>(
    place: Place,
    kernel: Weak<Kernel<M>>,
    host: Option<NodeRef<M>>,
) -> NodeRef<M> {
    PseudoDirectory::new(
        place,
        Sys {
            kernel,
            host,
            name: b"",
        },
    )
}

impl<M: UserMachine> Sys<M> {
    fn own(&self) -> Vec<&'static [u8]> {
        if self.name.is_empty() {
            return OWN.to_vec();
        }
        settings::<M>()
            .iter()
            .filter(|(dir, ..)| *dir == self.name)
            .map(|(_, name, _)| *name)
            .chain(
                Knob::ALL
                    .iter()
                    .filter(|_| self.name == b"vm")
                    .map(|knob| knob.name()),
            )
            .collect()
    }
}

impl<M: UserMachine> Listing<M> for Sys<M> {
    fn find(&self, place: &Place, name: &[u8], caller: Caller) -> Result<NodeRef<M>, Errno> {
        let under = self.host.as_ref().and_then(|host| host.lookup(name, caller).ok());
        let own = self.own().into_iter().find(|own| *own == name);
        if self.name.is_empty() {
            let Some(name) = own else {
                return under.ok_or(Errno::NOENT);
            };
            let sys = Sys {
                kernel: self.kernel.clone(),
                host: under,
                name,
            };
            return Ok(PseudoDirectory::new(place.below(name, 0o555), sys));
        }
        if self.name == b"vm"
            && let Some(knob) = Knob::ALL.into_iter().find(|knob| knob.name() == name)
        {
            let kernel = self.kernel.clone();
            return Ok(PseudoText::new(
                place.below(name, knob.mode()),
                KnobFile { kernel, knob },
            ));
        }
        let Some((.., make)) = settings::<M>()
            .into_iter()
            .find(|(dir, own, _)| *dir == self.name && *own == name)
        else {
            // Settings of the host's memory say nothing about this machine.
            return if self.name == b"vm" {
                Err(Errno::NOENT)
            } else {
                under.ok_or(Errno::NOENT)
            };
        };
        let kernel = self.kernel.clone();
        let text = move || {
            let kernel = kernel.upgrade().ok_or(Errno::IO)?;
            Ok((make(&kernel) + "\n").into_bytes())
        };
        Ok(PseudoText::new(place.below(name, 0o444), text))
    }

    fn names(&self, place: &Place, _: Caller) -> Result<Vec<Entry>, Errno> {
        let kind = if self.name.is_empty() {
            FileType::Directory
        } else {
            FileType::Regular
        };
        let own = self.own().into_iter();
        Ok(own.map(|name| place.entry(name, kind)).collect())
    }

    fn parent(&self) -> Result<NodeRef<M>, Errno> {
        let kernel = self.kernel.upgrade().ok_or(Errno::NOENT)?;
        let caller = Caller::MACHINE;
        let proc = kernel.files().root().lookup(b"proc", caller)?;
        if self.name.is_empty() {
            Ok(proc)
        } else {
            proc.lookup(b"sys", caller)
        }
    }
}
