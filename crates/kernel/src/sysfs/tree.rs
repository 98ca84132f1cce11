//! The directories that lead to the machine's own.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use foliant_units::Errno;

use super::{debug, memory, mm};
use crate::fs::pseudo::{Listing, Place, PseudoDirectory, PseudoText, TextSource};
use crate::fs::{Caller, Entry, FileType, NodeRef, magic};
use crate::kernel::Kernel;
use crate::machine::UserMachine;

/// A directory of `/sys` that the machine has its own names in.
struct Directory<M: UserMachine> {
    kernel: Weak<Kernel<M>>,
    /// The host's directory below, as long as its names count.
    host: Option<NodeRef<M>>,
    above: NodeRef<M>,
    path: Vec<u8>,
}

/// A file of the machine's own.
struct Setting<M: UserMachine> {
    kernel: Weak<Kernel<M>>,
    knob: mm::Knob,
}

impl<M: UserMachine> TextSource for Setting<M> {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        let kernel = self.kernel.upgrade().ok_or(Errno::IO)?;
        Ok(self.knob.text(kernel.memory().thp()).into_bytes())
    }

    fn write(&self, text: &[u8], _: Caller) -> Result<(), Errno> {
        let kernel = self.kernel.upgrade().ok_or(Errno::IO)?;
        self.knob.write(kernel.memory().thp(), text)
    }
}

/// The directory, over the host's one and below `above`.
pub fn root<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    host: Option<NodeRef<M>>,
    above: NodeRef<M>,
) -> NodeRef<M> {
    let place = Place::root(kernel, b"/sys", 0x16, magic::SYSFS);
    let directory = Directory {
        kernel: Arc::downgrade(kernel),
        host,
        above,
        path: Vec::new(),
    };
    PseudoDirectory::new(place, directory)
}

impl<M: UserMachine> Directory<M> {
    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }
}

impl<M: UserMachine> Listing<M> for Directory<M> {
    fn find(&self, place: &Place, name: &[u8], caller: Caller) -> Result<NodeRef<M>, Errno> {
        let path = self.path_of(name);
        if let Some(knob) = mm::find(&path) {
            let kernel = self.kernel.clone();
            return Ok(PseudoText::new(
                place.below(name, knob.mode()),
                Setting { kernel, knob },
            ));
        }
        if !debug::is_there(&self.kernel, &path) {
            return Err(Errno::NOENT);
        }
        if let Some(file) = debug::Name::of(&path) {
            let kernel = self.kernel.clone();
            let place = place.below(name, file.mode());
            return Ok(PseudoText::new(place, debug::File { kernel, name: file }));
        }
        if let Some(link) = memory::link(&self.kernel, &path, place) {
            return Ok(link);
        }
        if let Some(file) = memory::File::find(&self.kernel, &path) {
            return Ok(PseudoText::new(place.below(name, file.mode()), file));
        }
        let host = self.host.as_ref().and_then(|host| host.lookup(name, caller).ok());
        if !mm::leads(&path) && !memory::leads(&self.kernel, &path) {
            return host.ok_or(Errno::NOENT);
        }
        let kernel = self.kernel.upgrade().ok_or(Errno::NOENT)?;
        let above = self.again(&kernel, place, caller)?;
        // Below these nothing is the host's.
        let own: [&[u8]; 3] = [b"kernel/mm", b"kernel/debug", memory::DIRECTORY];
        let own = own.iter().any(|own| path.starts_with(own));
        let host = host.filter(|_| !own);
        let mode = if path == b"kernel/debug" { 0o700 } else { 0o755 };
        Ok(PseudoDirectory::new(
            place.below(name, mode),
            Directory {
                kernel: self.kernel.clone(),
                host,
                above,
                path,
            },
        ))
    }

    fn names(&self, place: &Place, caller: Caller) -> Result<Vec<Entry>, Errno> {
        let kind = |directory| {
            if directory {
                FileType::Directory
            } else {
                FileType::Regular
            }
        };
        let names = mm::names(&self.path).into_iter();
        let mut names: Vec<_> = names.map(|(name, directory)| (name, kind(directory))).collect();
        names.extend(memory::names(&self.kernel, &self.path));
        let mut entries: Vec<Entry> = names
            .into_iter()
            .filter(|(name, _)| debug::is_there(&self.kernel, &self.path_of(name)))
            .map(|(name, kind)| place.entry(name, kind))
            .collect();
        for &name in host_names(&self.path) {
            let known = entries.iter().any(|entry| entry.name == name);
            let host = self.host.as_ref().and_then(|host| host.lookup(name, caller).ok());
            if let (false, Some(node)) = (known, host) {
                entries.push(place.entry(name, node.kind()));
            }
        }
        Ok(entries)
    }

    fn parent(&self) -> Result<NodeRef<M>, Errno> {
        Ok(self.above.clone())
    }
}

/// What the host's directory of the same name usually holds.
fn host_names(path: &[u8]) -> &'static [&'static [u8]] {
    match path {
        b"" => &[
            b"block",
            b"bus",
            b"class",
            b"dev",
            b"devices",
            b"firmware",
            b"fs",
            b"hypervisor",
            b"module",
            b"power",
        ],
        b"devices" => &[
            b"LNXSYSTM:00",
            b"breakpoint",
            b"cpu",
            b"msr",
            b"pci0000:00",
            b"platform",
            b"pnp0",
            b"software",
            b"system",
            b"tracepoint",
            b"uprobe",
            b"virtual",
        ],
        b"devices/system" => &[
            b"clockevents",
            b"clocksource",
            b"container",
            b"cpu",
            b"memory",
            b"node",
        ],
        _ => &[],
    }
}

impl<M: UserMachine> Directory<M> {
    /// This very directory, for one below it that asks for its parent.
    fn again(&self, kernel: &Arc<Kernel<M>>, place: &Place, _: Caller) -> Result<NodeRef<M>, Errno> {
        let same = Directory {
            kernel: Arc::downgrade(kernel),
            host: self.host.clone(),
            above: self.above.clone(),
            path: self.path.clone(),
        };
        Ok(PseudoDirectory::new(place.clone(), same))
    }
}
