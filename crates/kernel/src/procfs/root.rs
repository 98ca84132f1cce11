//! The directory `/proc`.

use alloc::string::ToString;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use foliant_units::Errno;

use super::{Subject, iomem, machine, process, sys, sysvipc};
use crate::fs::pseudo::{Listing, Place, PseudoDirectory, PseudoLink, PseudoText};
use crate::fs::{Caller, Entry, FileType, Link, NodeRef, magic};
use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::pid::Pid;

/// Files of the host that say nothing about processes or memory.
const HOSTS: [&[u8]; 14] = [
    b"cpuinfo",
    b"filesystems",
    b"version",
    b"devices",
    b"partitions",
    b"diskstats",
    b"cmdline",
    b"consoles",
    b"crypto",
    b"misc",
    b"interrupts",
    b"softirqs",
    b"modules",
    b"config.gz",
];

/// Links whose target depends on who looks, or not.
const LINKS: [&[u8]; 4] = [b"self", b"thread-self", b"mounts", b"net"];

struct Root<M: UserMachine> {
    kernel: Weak<Kernel<M>>,
    host: Option<NodeRef<M>>,
    above: NodeRef<M>,
}

/// The directory, over the host's one and below `above`.
pub fn root<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    host: Option<NodeRef<M>>,
    above: NodeRef<M>,
) -> NodeRef<M> {
    let place = Place::root(kernel, b"/proc", 0x17, magic::PROC);
    PseudoDirectory::new(
        place,
        Root {
            kernel: Arc::downgrade(kernel),
            host,
            above,
        },
    )
}

impl<M: UserMachine> Root<M> {
    fn link(&self, place: &Place, name: &[u8]) -> Option<NodeRef<M>> {
        let place = place.below(name, 0o777);
        let link = match name {
            b"self" => PseudoLink::new(place, |caller: Caller| {
                Ok(Link::Text(caller.process.to_string().into_bytes()))
            }),
            b"thread-self" => PseudoLink::new(place, |caller: Caller| {
                Ok(Link::Text(
                    alloc::format!("{}/task/{}", caller.process, caller.thread).into_bytes(),
                ))
            }),
            b"mounts" => PseudoLink::fixed(place, b"self/mounts"),
            b"net" => PseudoLink::fixed(place, b"self/net"),
            _ => return None,
        };
        Some(link)
    }

    /// The process or thread with this number: threads have directories that
    /// are not listed.
    fn subject(&self, name: &[u8]) -> Result<Subject<M>, Errno> {
        let id = parse_id(name).ok_or(Errno::NOENT)?;
        let kernel = self.kernel.upgrade().ok_or(Errno::NOENT)?;
        let tree = kernel.tree();
        let (process, thread) = match tree.node(id) {
            Some(node) => (node.process.clone(), None),
            None => (tree.task(id).ok_or(Errno::NOENT)?.process().clone(), Some(id)),
        };
        drop(tree);
        Ok(Subject {
            kernel: self.kernel.clone(),
            process: Arc::downgrade(&process),
            thread,
            id,
        })
    }
}

/// A process number without sign or leading zeroes.
pub(super) fn parse_id(name: &[u8]) -> Option<Pid> {
    if name.is_empty() || name[0] == b'0' || !name.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(name).ok()?.parse().ok().map(Pid::new)
}

impl<M: UserMachine> Listing<M> for Root<M> {
    fn find(&self, place: &Place, name: &[u8], caller: Caller) -> Result<NodeRef<M>, Errno> {
        if let Some(link) = self.link(place, name) {
            return Ok(link);
        }
        if name.first().is_some_and(u8::is_ascii_digit) {
            let subject = self.subject(name)?;
            let place = Place {
                owner: subject.owner(),
                ..place.below(name, 0o555)
            };
            return Ok(process::directory(place, subject, self.host.clone()));
        }
        if name == b"sys" {
            let host = self
                .host
                .as_ref()
                .and_then(|host| host.lookup(b"sys", caller).ok());
            return Ok(sys::directory(
                place.below(name, 0o555),
                self.kernel.clone(),
                host,
            ));
        }
        if name == b"sysvipc" {
            return Ok(sysvipc::directory(place.below(name, 0o555), self.kernel.clone()));
        }
        if let Some(text) = machine::Text::of(name) {
            let kernel = self.kernel.clone();
            let make = move || kernel.upgrade().map(|kernel| text.make(&kernel)).ok_or(Errno::IO);
            return Ok(PseudoText::new(place.below(name, text.mode()), make));
        }
        if name == iomem::NAME {
            return Ok(iomem::file(place.below(name, 0o444), self.kernel.clone()));
        }
        match &self.host {
            Some(host) if HOSTS.contains(&name) => host.lookup(name, caller),
            _ => Err(Errno::NOENT),
        }
    }

    fn names(&self, place: &Place, caller: Caller) -> Result<Vec<Entry>, Errno> {
        let entry = |name: &[u8], kind| place.entry(name, kind);
        let mut entries = Vec::new();
        for name in LINKS {
            entries.push(entry(name, FileType::Symlink));
        }
        for text in machine::Text::EVERY {
            entries.push(entry(text.name(), FileType::Regular));
        }
        entries.push(entry(iomem::NAME, FileType::Regular));
        entries.push(entry(b"sys", FileType::Directory));
        entries.push(entry(b"sysvipc", FileType::Directory));
        if let Some(host) = &self.host {
            let there = HOSTS.iter().filter(|name| host.lookup(name, caller).is_ok());
            entries.extend(there.map(|name| entry(name, FileType::Regular)));
        }
        if let Some(kernel) = self.kernel.upgrade() {
            let ids: Vec<Pid> = kernel.tree().nodes().map(|(id, _)| id).collect();
            entries.extend(
                ids.iter()
                    .map(|id| entry(id.raw().to_string().as_bytes(), FileType::Directory)),
            );
        }
        Ok(entries)
    }

    fn parent(&self) -> Result<NodeRef<M>, Errno> {
        Ok(self.above.clone())
    }
}
