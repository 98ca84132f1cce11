//! A file that holds a text.

use alloc::sync::{Arc, Weak};
use alloc::vec;
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::Mmu;
use foliant_platform::sync::Mutex;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::stat::{Mode, Statfs};
use foliant_units::Errno;

use super::Place;
use crate::fs::{
    Access, Caller, File, FileRef, FileStat, FileType, Node, NodeRef, OpenHow, Positioning, Sink, Source,
    Splices, pseudo_statfs,
};

/// Makes a text, and perhaps takes one.
pub trait TextSource: Send + Sync {
    /// The text now.
    ///
    /// # Errors
    /// `SRCH` if what it tells about is gone.
    fn read(&self) -> Result<Vec<u8>, Errno>;

    /// As [`read`](Self::read), for a file that `by` has opened: some texts hide
    /// numbers from those who may not know them.
    ///
    /// # Errors
    /// As there.
    fn read_by(&self, _by: Caller) -> Result<Vec<u8>, Errno> {
        self.read()
    }

    /// Whether the file can be spliced.
    fn splices(&self) -> Splices {
        Splices::all()
    }

    /// What a write of `text` does to a file that `by` has opened.
    ///
    /// # Errors
    /// `INVAL` for a text without meaning, `IO` by default.
    fn write(&self, _text: &[u8], _by: Caller) -> Result<(), Errno> {
        Err(Errno::IO)
    }
}

impl<F: Fn() -> Result<Vec<u8>, Errno> + Send + Sync> TextSource for F {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        self()
    }
}

/// A text that cannot be spliced, like most of what `/proc` tells of processes.
pub struct Unspliced<F>(pub F);

impl<F: Fn() -> Result<Vec<u8>, Errno> + Send + Sync> TextSource for Unspliced<F> {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        self.0()
    }

    fn splices(&self) -> Splices {
        Splices::empty()
    }
}

/// A text as a place in the tree.
pub struct PseudoText {
    me: Weak<Self>,
    place: Place,
    source: Arc<dyn TextSource>,
}

impl PseudoText {
    /// A file at `place`.
    pub fn new(place: Place, source: impl TextSource + 'static) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            place,
            source: Arc::new(source),
        })
    }
}

impl<M: Mmu> Node<M> for PseudoText {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> FileType {
        FileType::Regular
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(self.place.stat(Mode::REGULAR))
    }

    fn path(&self) -> Result<Vec<u8>, Errno> {
        Ok(self.place.path.clone())
    }

    fn open(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        if how.flags.contains(OpenFlags::DIRECTORY) {
            return Err(Errno::NOTDIR);
        }
        let wanted = u32::from(how.flags.readable()) * 4 + u32::from(how.flags.writable()) * 2;
        self.place.permit(how.caller, wanted)?;
        let node = self.me.upgrade().ok_or(Errno::NOENT)?;
        // What is gone already cannot be opened.
        let text = if how.flags.readable() {
            self.source.read_by(how.caller)?
        } else {
            Vec::new()
        };
        Ok(Arc::new(TextFile {
            node,
            opener: how.caller,
            text: Mutex::new(text),
        }))
    }

    fn access(&self, what: Access) -> Result<(), Errno> {
        // Any of the three groups: whom a machine's own texts concern is not told apart.
        let mode = self.place.mode;
        let allowed = (mode | mode >> 3 | mode >> 6) & 7;
        if what.mode & !allowed == 0 {
            Ok(())
        } else {
            Err(Errno::ACCES)
        }
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        Ok(pseudo_statfs(self.place.magic))
    }
}

/// A text that is open: made anew whenever it is read from the start.
struct TextFile {
    node: Arc<PseudoText>,
    opener: Caller,
    text: Mutex<Vec<u8>>,
}

impl<M: Mmu> File<M> for TextFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn positioning(&self) -> Positioning {
        Positioning::Counted
    }

    fn read(&self, offset: u64, to: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        let mut text = self.text.lock();
        if offset == 0 {
            *text = self.node.source.read_by(self.opener)?;
        }
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| text.get(at..))
            .unwrap_or(&[])
            .to_vec();
        drop(text);
        if rest.is_empty() { Ok(0) } else { to.put(&rest) }
    }

    fn write(&self, offset: u64, from: &mut dyn Source, _: OpenFlags) -> Result<(usize, u64), Errno> {
        let mut text = vec![0; from.left().min(4096)];
        let count = from.take(&mut text)?;
        self.node.source.write(&text[..count], self.opener)?;
        Ok((count, offset + count as u64))
    }

    fn splices(&self) -> Splices {
        self.node.source.splices()
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Node::<M>::stat(&*self.node)
    }

    fn node(&self) -> Option<NodeRef<M>> {
        Some(self.node.clone())
    }
}
