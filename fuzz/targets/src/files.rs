//! The files of a guest: a few in memory, and `/proc`.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use foliant_kernel::fs::{Caller, File, FileRef, FileStat, FileType, Node, NodeRef, OpenHow};
use foliant_kernel::{Kernel, procfs};
use foliant_mm::{Env, FileBacking, Object};
use foliant_uapi::stat::{Mode, Statfs};
use foliant_units::Errno;

use crate::machine::Machine;

/// A root directory with files of these names and contents.
pub(crate) struct Files {
    contents: Vec<(&'static str, Vec<u8>)>,
    env: Arc<Env<Machine>>,
    proc: Mutex<Option<NodeRef<Machine>>>,
}

impl Files {
    pub(crate) fn new(contents: Vec<(&'static str, Vec<u8>)>, env: Arc<Env<Machine>>) -> Arc<Self> {
        Arc::new(Self {
            contents,
            env,
            proc: Mutex::new(None),
        })
    }

    /// The root directory.
    pub(crate) fn root(self: &Arc<Self>) -> NodeRef<Machine> {
        Arc::new(Place {
            files: self.clone(),
            which: None,
        })
    }

    /// Puts `/proc` where it belongs.
    pub(crate) fn mount_proc(self: &Arc<Self>, kernel: &Arc<Kernel<Machine>>) {
        let root = procfs::root(kernel, None, self.root());
        *self.proc.lock().unwrap_or_else(PoisonError::into_inner) = Some(root);
    }

    /// Takes `/proc` away, which knows the root that knows it.
    pub(crate) fn unmount(&self) {
        *self.proc.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The root, or the file with this number.
#[derive(Clone)]
struct Place {
    files: Arc<Files>,
    which: Option<usize>,
}

impl Place {
    fn what(&self) -> FileStat {
        let kind = if self.which.is_some() {
            0o100_000
        } else {
            0o040_000
        };
        FileStat {
            ino: 1 + self.which.map_or(0, |which| 1 + which as u64),
            mode: Mode(kind | 0o755),
            nlink: 1,
            size: self
                .which
                .map_or(0, |which| self.files.contents[which].1.len() as u64),
            ..FileStat::default()
        }
    }
}

impl Node<Machine> for Place {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> FileType {
        match self.which {
            Some(_) => FileType::Regular,
            None => FileType::Directory,
        }
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(self.what())
    }

    fn path(&self) -> Result<Vec<u8>, Errno> {
        let name = self.which.map_or("", |which| self.files.contents[which].0);
        Ok([b"/", name.as_bytes()].concat())
    }

    fn open(&self, _how: OpenHow) -> Result<FileRef<Machine>, Errno> {
        let which = self.which.ok_or(Errno::ISDIR)?;
        let content = Content(self.files.contents[which].1.clone());
        Ok(Arc::new(Open {
            object: Object::file(&self.files.env, Arc::new(content)),
            node: self.clone(),
        }))
    }

    fn lookup(&self, name: &[u8], _caller: Caller) -> Result<NodeRef<Machine>, Errno> {
        if self.which.is_some() {
            return Err(Errno::NOTDIR);
        }
        if name == b"proc" {
            let proc = self.files.proc.lock().unwrap_or_else(PoisonError::into_inner);
            return proc.clone().ok_or(Errno::NOENT);
        }
        let mut names = self.files.contents.iter();
        let which = names.position(|(own, _)| own.as_bytes() == name);
        Ok(Arc::new(Self {
            files: self.files.clone(),
            which: Some(which.ok_or(Errno::NOENT)?),
        }))
    }

    fn parent(&self) -> Result<NodeRef<Machine>, Errno> {
        Ok(self.files.root())
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        Ok(Statfs::default())
    }
}

struct Open {
    node: Place,
    object: Arc<Object<Machine>>,
}

impl File<Machine> for Open {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(self.node.what())
    }

    fn node(&self) -> Option<NodeRef<Machine>> {
        Some(Arc::new(self.node.clone()))
    }

    fn object(&self) -> Result<Arc<Object<Machine>>, Errno> {
        Ok(self.object.clone())
    }
}

struct Content(Vec<u8>);

impl FileBacking for Content {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let len = buffer.len().min(self.0.len() - start);
        buffer[..len].copy_from_slice(&self.0[start..start + len]);
        Ok(len)
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> Result<usize, Errno> {
        Err(Errno::ROFS)
    }

    fn set_size(&self, _size: u64) -> Result<(), Errno> {
        Err(Errno::ROFS)
    }

    fn sync(&self, _metadata: bool) -> Result<(), Errno> {
        Ok(())
    }
}
