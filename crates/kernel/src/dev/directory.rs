//! `/dev`: the host's, with some names of the machine's own.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use foliant_mm::Env;
use foliant_platform::Mmu;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::stat::Statfs;
use foliant_uapi::time::Timespec;
use foliant_units::Errno;

use super::memory::{Device, DeviceFile};
use crate::fs::pseudo::{Place, PseudoLink};
use crate::fs::{
    Access, Caller, File, FileRef, FileStat, FileType, Node, NodeRef, OpenHow, Opened, Positioning, Sink,
    Splices, magic,
};

/// A directory of the host in which some names mean something else.
pub struct DevDirectory<M: Mmu> {
    me: Weak<Self>,
    under: NodeRef<M>,
    own: BTreeMap<&'static [u8], NodeRef<M>>,
}

impl<M: Mmu> DevDirectory<M> {
    /// The machine's devices over the directory `under`; `shm` is the
    /// machine's shared memory, if it has any.
    pub fn new(env: &Arc<Env<M>>, under: NodeRef<M>, shm: Option<NodeRef<M>>) -> Arc<Self> {
        let mut own: BTreeMap<&'static [u8], NodeRef<M>> = BTreeMap::new();
        for device in Device::EVERY {
            own.insert(device.name(), Arc::new(DeviceFile::new(device, env.clone())));
        }
        let place = Place {
            path: b"/dev".to_vec(),
            dev: 6,
            mode: 0o777,
            owner: (0, 0),
            magic: magic::TMPFS,
            time: under
                .stat()
                .map_or_else(|_| Timespec::default(), |stat| stat.mtime),
        };
        let links: [(&'static [u8], &'static [u8]); 4] = [
            (b"fd", b"/proc/self/fd"),
            (b"stdin", b"/proc/self/fd/0"),
            (b"stdout", b"/proc/self/fd/1"),
            (b"stderr", b"/proc/self/fd/2"),
        ];
        for (name, target) in links {
            own.insert(name, PseudoLink::fixed(place.below(name, 0o777), target));
        }
        if let Some(shm) = shm {
            own.insert(b"shm", shm);
        }
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            under,
            own,
        })
    }
}

impl<M: Mmu> DevDirectory<M> {
    /// The host's directory below.
    pub fn under(&self) -> &NodeRef<M> {
        &self.under
    }
}

impl<M: Mmu> Node<M> for DevDirectory<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> FileType {
        FileType::Directory
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        self.under.stat()
    }

    fn path(&self) -> Result<Vec<u8>, Errno> {
        self.under.path()
    }

    fn open(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        let inner = self.under.open(how)?;
        let node = self.me.upgrade().ok_or(Errno::NOENT)?;
        Ok(Arc::new(Listed { inner, node }))
    }

    fn lookup(&self, name: &[u8], caller: Caller) -> Result<NodeRef<M>, Errno> {
        match self.own.get(name) {
            Some(node) => Ok(node.clone()),
            None => self.under.lookup(name, caller),
        }
    }

    fn parent(&self) -> Result<NodeRef<M>, Errno> {
        self.under.parent()
    }

    fn open_child(&self, name: &[u8], how: OpenHow) -> Result<Opened<M>, Errno> {
        let Some(node) = self.own.get(name) else {
            return self.under.open_child(name, how);
        };
        if how.flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
            return Err(Errno::EXIST);
        }
        match node.kind() {
            FileType::Symlink => Ok(Opened::Link(node.clone())),
            _ => node.open(how).map(Opened::File),
        }
    }

    fn make_directory(&self, name: &[u8], mode: u32, caller: Caller) -> Result<(), Errno> {
        self.under.make_directory(name, mode, caller)
    }

    fn remove(&self, name: &[u8], directory: bool, caller: Caller) -> Result<(), Errno> {
        if self.own.contains_key(name) {
            Err(Errno::BUSY)
        } else {
            self.under.remove(name, directory, caller)
        }
    }

    fn access(&self, what: Access) -> Result<(), Errno> {
        self.under.access(what)
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        self.under.statfs()
    }
}

/// The directory when it is open: the host's names, the machine's meanings.
struct Listed<M: Mmu> {
    inner: FileRef<M>,
    node: Arc<DevDirectory<M>>,
}

impl<M: Mmu> File<M> for Listed<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn positioning(&self) -> Positioning {
        Positioning::Counted
    }

    fn read(&self, _: u64, _: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        Err(Errno::ISDIR)
    }

    fn splices(&self) -> Splices {
        Splices::empty()
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        self.inner.stat()
    }

    fn node(&self) -> Option<NodeRef<M>> {
        Some(self.node.clone())
    }

    fn entries(&self, position: u64, room: usize) -> Result<(Vec<u8>, u64), Errno> {
        self.inner.entries(position, room)
    }
}
