//! A file that is to be executed.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_mm::{FileMap, FilePlacement, Mapping};
use foliant_uapi::mman::Seals;
use foliant_uapi::open::OpenFlags;
use foliant_units::Errno;

use crate::fs::{Access, FileType, Last, NodeRef, OpenFile, OpenHow, Running, Walk};
use crate::machine::UserMachine;

use super::elf::Bytes;

/// A file that is to be executed, open.
pub(super) struct Program<M: UserMachine> {
    /// Its pages and name.
    pub(super) mapping: Arc<Mapping<M>>,
    /// Its own path, as `/proc/PID/exe` shows it.
    pub(super) path: Vec<u8>,
    /// Keeps writers away.
    pub(super) running: Option<Arc<Running>>,
}

impl<M: UserMachine> Program<M> {
    /// Opens what `path` names.
    ///
    /// # Errors
    /// Those of the walk; `ACCES` for what is no regular file or may not be
    /// executed; `TXTBSY` for what somebody may write.
    ///
    /// # Linux source concept
    /// `do_open_execat()`.
    pub(super) fn open(walk: &Walk<M>, path: &[u8], last: Last) -> Result<Self, Errno> {
        let node = walk.node(path, last)?;
        if node.kind() == FileType::Symlink {
            return Err(Errno::LOOP);
        }
        Self::from_node(walk, &node)
    }

    /// Opens a node.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(super) fn from_node(walk: &Walk<M>, node: &NodeRef<M>) -> Result<Self, Errno> {
        if node.kind() != FileType::Regular {
            return Err(Errno::ACCES);
        }
        node.access(Access {
            mode: 1,
            effective: true,
        })?;
        let flags = OpenFlags::empty();
        let file = node.open(OpenHow {
            flags,
            mode: 0,
            caller: walk.caller,
        })?;
        let running = file.writers().map(|writers| writers.run(file.clone()));
        let running = running.transpose()?.map(Arc::new);
        let path = file.link();
        let mapping = OpenFile::new(file, flags).mapping()?;
        Ok(Self {
            mapping,
            path,
            running,
        })
    }

    /// The file as something to map.
    pub(super) fn file_map(&self) -> FileMap<M> {
        FileMap {
            mapping: self.mapping.clone(),
            readable: true,
            writable: false,
            noexec: false,
            append_only: false,
            mappable: true,
            refuses_sync: false,
            placement: FilePlacement::Ordinary,
            max_bytes: i64::MAX as u64,
            seals: Seals::empty(),
        }
    }
}

impl<M: UserMachine> Bytes for Program<M> {
    fn read(&self, offset: u64, to: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < to.len() {
            let Some(at) = offset
                .checked_add(done as u64)
                .filter(|at| *at <= i64::MAX as u64)
            else {
                break;
            };
            match self.mapping.object.read(at, &mut to[done..])? {
                0 => break,
                read => done += read,
            }
        }
        Ok(done)
    }
}
