//! The files of a machine: a few in memory, and what is mounted.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use foliant_mm::{Env, FileBacking, Object};
use foliant_platform::sync::SpinLock;
use foliant_uapi::stat::{Mode, Statfs};
use foliant_units::Errno;

use crate::UserMachine;
use crate::fs::{Caller, File, FileRef, FileStat, FileType, Node, NodeRef, OpenHow, TaskFiles};

/// A root directory with files of these names and contents, which nobody can
/// write, and perhaps `/proc`.
pub struct Files<P: UserMachine> {
    contents: Vec<(String, Vec<u8>)>,
    env: Arc<Env<P>>,
    proc: SpinLock<Option<NodeRef<P>>>,
}

impl<P: UserMachine> Files<P> {
    /// A root with these files.
    pub fn new(contents: Vec<(String, Vec<u8>)>, env: Arc<Env<P>>) -> Arc<Self> {
        Arc::new(Self {
            contents,
            env,
            proc: SpinLock::new(None),
        })
    }

    /// The root directory.
    pub fn root(self: &Arc<Self>) -> NodeRef<P> {
        Arc::new(Place {
            files: self.clone(),
            which: None,
        })
    }

    /// What a task that starts there sees.
    pub fn for_task(self: &Arc<Self>) -> TaskFiles<P> {
        TaskFiles::rooted(self.root(), self.root())
    }

    /// Puts `/proc` where it belongs.
    pub fn mount_proc(&self, proc: NodeRef<P>) {
        *self.proc.lock() = Some(proc);
    }

    /// Takes `/proc` away, which knows the root that knows it.
    pub fn unmount(&self) {
        let _gone = self.proc.lock().take();
    }
}

/// The root, or the file with this number.
struct Place<P: UserMachine> {
    files: Arc<Files<P>>,
    which: Option<usize>,
}

impl<P: UserMachine> Clone for Place<P> {
    fn clone(&self) -> Self {
        Self {
            files: self.files.clone(),
            which: self.which,
        }
    }
}

impl<P: UserMachine> Place<P> {
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

impl<P: UserMachine> Node<P> for Place<P> {
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
        let name = self.which.map_or("", |which| &self.files.contents[which].0);
        Ok([b"/", name.as_bytes()].concat())
    }

    fn open(&self, _how: OpenHow) -> Result<FileRef<P>, Errno> {
        let which = self.which.ok_or(Errno::ISDIR)?;
        let content = Content(self.files.contents[which].1.clone());
        Ok(Arc::new(Open {
            object: Object::file(&self.files.env, Arc::new(content)),
            node: self.clone(),
        }))
    }

    fn lookup(&self, name: &[u8], _caller: Caller) -> Result<NodeRef<P>, Errno> {
        if self.which.is_some() {
            return Err(Errno::NOTDIR);
        }
        if name == b"proc" {
            return self.files.proc.lock().clone().ok_or(Errno::NOENT);
        }
        let mut names = self.files.contents.iter();
        let which = names.position(|(own, _)| own.as_bytes() == name);
        Ok(Arc::new(Self {
            files: self.files.clone(),
            which: Some(which.ok_or(Errno::NOENT)?),
        }))
    }

    fn parent(&self) -> Result<NodeRef<P>, Errno> {
        Ok(self.files.root())
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        Ok(Statfs::default())
    }
}

struct Open<P: UserMachine> {
    node: Place<P>,
    object: Arc<Object<P>>,
}

impl<P: UserMachine> File<P> for Open<P> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(self.node.what())
    }

    fn node(&self) -> Option<NodeRef<P>> {
        Some(Arc::new(self.node.clone()))
    }

    fn object(&self) -> Result<Arc<Object<P>>, Errno> {
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
