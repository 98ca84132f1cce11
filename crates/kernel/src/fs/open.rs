//! Open descriptions: what `dup` and `fork` share.

use alloc::sync::Arc;

use foliant_mm::{FileLabel, Mapping};
use foliant_platform::Mmu;
use foliant_platform::sync::Mutex;
use foliant_platform::sync::atomic::{AtomicU32, Ordering};
use foliant_uapi::open::OpenFlags;
use foliant_units::Errno;

use super::buffer::{Sink, Source};
use super::file::{File, FileRef, Positioning};
use super::label::Label;

/// Who gets `SIGIO`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SignalOwner {
    /// `F_OWNER_*`.
    pub kind: u32,
    /// Thread, process or group.
    pub id: i32,
    /// The signal; 0 means `SIGIO`.
    pub signal: u32,
}

/// An open file with a position and flags.
///
/// # Locking
/// The position is locked during a read or write that uses it, as POSIX wants
/// for regular files.
///
/// # Linux source concept
/// `struct file`.
pub struct OpenFile<M: Mmu> {
    file: FileRef<M>,
    flags: AtomicU32,
    position: Mutex<u64>,
    owner: Mutex<SignalOwner>,
    mapping: Mutex<Option<Arc<Mapping<M>>>>,
}

impl<M: Mmu> OpenFile<M> {
    /// A description at position 0. Flags that only concern opening are dropped.
    pub fn new(file: FileRef<M>, flags: OpenFlags) -> Arc<Self> {
        let passing = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::NOCTTY | OpenFlags::TRUNC;
        Arc::new(Self {
            file,
            flags: AtomicU32::new((flags - passing - OpenFlags::CLOEXEC).bits()),
            position: Mutex::new(0),
            owner: Mutex::new(SignalOwner::default()),
            mapping: Mutex::new(None),
        })
    }

    /// The file.
    pub fn file(&self) -> &FileRef<M> {
        &self.file
    }

    /// The file, if it is of this kind.
    pub fn downcast<T: File<M>>(&self) -> Option<&T> {
        self.file.as_any().downcast_ref()
    }

    /// What `F_GETFL` tells.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// What `F_SETFL` does: only [`OpenFlags::SETFL`] change.
    pub fn set_flags(&self, flags: OpenFlags) {
        let kept = self.flags() - OpenFlags::SETFL;
        self.flags
            .store((kept | (flags & OpenFlags::SETFL)).bits(), Ordering::Relaxed);
    }

    /// Whether a call on this file may wait.
    pub fn blocks(&self) -> bool {
        !self.flags().contains(OpenFlags::NONBLOCK)
    }

    /// The file as mappings see it: the same for all that this description gets.
    ///
    /// # Errors
    /// `NODEV` for what cannot be mapped.
    pub fn mapping(&self) -> Result<Arc<Mapping<M>>, Errno> {
        let mut slot = self.mapping.lock();
        if let Some(mapping) = &*slot {
            return Ok(mapping.clone());
        }
        let object = self.file.object()?;
        let label: Arc<dyn FileLabel> = Arc::new(Label::new(&self.file)?);
        let mapping = Arc::new(Mapping { object, label });
        *slot = Some(mapping.clone());
        Ok(mapping)
    }

    /// Who gets `SIGIO`.
    pub fn owner(&self) -> SignalOwner {
        *self.owner.lock()
    }

    /// Sets who gets `SIGIO`.
    pub fn set_owner(&self, owner: SignalOwner) {
        *self.owner.lock() = owner;
    }

    /// The position now.
    pub fn position(&self) -> u64 {
        match self.file.positioning() {
            Positioning::Own => self.file.position().unwrap_or(0),
            Positioning::Counted | Positioning::Stream => *self.position.lock(),
        }
    }

    fn check_readable(&self) -> Result<(), Errno> {
        if self.flags().readable() {
            Ok(())
        } else {
            Err(Errno::BADF)
        }
    }

    fn check_writable(&self) -> Result<(), Errno> {
        if self.flags().writable() {
            Ok(())
        } else {
            Err(Errno::BADF)
        }
    }

    /// Reads at the position and moves it.
    ///
    /// # Errors
    /// `BADF` if not open for reading; those of [`File::read`].
    pub fn read(&self, to: &mut dyn Sink) -> Result<usize, Errno> {
        self.check_readable()?;
        match self.file.positioning() {
            Positioning::Stream => self.file.read(0, to, self.flags()),
            kind => self.with_position(kind, |at| {
                let count = self.file.read(at, to, self.flags())?;
                Ok((count, at + count as u64))
            }),
        }
    }

    /// Writes at the position and moves it.
    ///
    /// # Errors
    /// `BADF` if not open for writing; those of [`File::write`].
    pub fn write(&self, from: &mut dyn Source) -> Result<usize, Errno> {
        self.write_with(from, self.flags())
    }

    /// As [`write`](OpenFile::write), with flags of this one call.
    ///
    /// # Errors
    /// As [`write`](OpenFile::write).
    pub fn write_with(&self, from: &mut dyn Source, flags: OpenFlags) -> Result<usize, Errno> {
        self.check_writable()?;
        match self.file.positioning() {
            Positioning::Stream => self.file.write(0, from, flags).map(|(count, _)| count),
            kind => self.with_position(kind, |at| self.file.write(at, from, flags)),
        }
    }

    /// Runs `work` with the position and stores the one it returns.
    fn with_position<R>(
        &self,
        kind: Positioning,
        work: impl FnOnce(u64) -> Result<(R, u64), Errno>,
    ) -> Result<R, Errno> {
        let mut position = self.position.lock();
        let own = kind == Positioning::Own;
        let at = if own { self.file.position()? } else { *position };
        let (result, next) = work(at)?;
        if own {
            self.file.set_position(next)?;
        } else {
            *position = next;
        }
        Ok(result)
    }

    /// Reads at `offset` and leaves the position alone.
    ///
    /// # Errors
    /// `SPIPE` for a stream; `BADF`; those of [`File::read`].
    pub fn read_at(&self, offset: u64, to: &mut dyn Sink) -> Result<usize, Errno> {
        if self.file.positioning() == Positioning::Stream {
            return Err(Errno::SPIPE);
        }
        self.check_readable()?;
        self.file.read(offset, to, self.flags())
    }

    /// Writes at `offset` and leaves the position alone.
    ///
    /// # Errors
    /// `SPIPE` for a stream; `BADF`; those of [`File::write`].
    pub fn write_at(&self, offset: u64, from: &mut dyn Source, flags: OpenFlags) -> Result<usize, Errno> {
        if self.file.positioning() == Positioning::Stream {
            return Err(Errno::SPIPE);
        }
        self.check_writable()?;
        self.file.write(offset, from, flags).map(|(count, _)| count)
    }

    /// `getdents64` into at most `room` bytes.
    ///
    /// # Errors
    /// Those of [`File::entries`].
    pub fn entries(&self, room: usize) -> Result<alloc::vec::Vec<u8>, Errno> {
        self.with_position(self.file.positioning(), |at| self.file.entries(at, room))
    }

    /// `lseek(2)`.
    ///
    /// # Errors
    /// `SPIPE` for a stream, `INVAL` for a place before the start, `NXIO`
    /// beyond the last data.
    pub fn seek(&self, offset: i64, whence: u32) -> Result<u64, Errno> {
        let kind = self.file.positioning();
        if kind == Positioning::Stream {
            return Err(Errno::SPIPE);
        }
        self.with_position(kind, |at| {
            let base = match whence {
                0 => 0,
                1 => at as i64,
                2 => self.file.seek_end()?,
                3 | 4 => {
                    let to = self.file.seek(at, offset, whence)?;
                    return Ok((to, to));
                }
                _ => return Err(Errno::INVAL),
            };
            let to = base.checked_add(offset).ok_or(Errno::OVERFLOW)?;
            let to = u64::try_from(to).map_err(|_| Errno::INVAL)?;
            Ok((to, to))
        })
    }
}
