//! The devices that are nothing but memory.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use foliant_mm::{Env, Object};
use foliant_platform::Mmu;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::stat::{Mode, Statfs, makedev};
use foliant_units::Errno;

use crate::fs::{
    File, FileRef, FileStat, FileType, Node, NodeRef, OpenHow, Positioning, Sink, Source, Splices, magic,
    pseudo_statfs,
};

/// Which device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// Always empty, takes everything.
    Null,
    /// Zeroes without end, takes everything.
    Zero,
    /// Zeroes without end, takes nothing.
    Full,
}

impl Device {
    /// Those that exist.
    pub const EVERY: [Self; 3] = [Self::Null, Self::Zero, Self::Full];

    /// The name in `/dev`.
    pub const fn name(self) -> &'static [u8] {
        match self {
            Self::Null => b"null",
            Self::Zero => b"zero",
            Self::Full => b"full",
        }
    }

    /// The device number, encoded as `st_rdev`.
    pub const fn number(self) -> u64 {
        match self {
            Self::Null => makedev(1, 3),
            Self::Zero => makedev(1, 5),
            Self::Full => makedev(1, 7),
        }
    }

    /// The device with this number.
    pub fn of(number: u64) -> Option<Self> {
        Self::EVERY.into_iter().find(|device| device.number() == number)
    }
}

/// A device, as a place in the tree and when it is open.
pub struct DeviceFile<M: Mmu> {
    device: Device,
    env: Arc<Env<M>>,
}

impl<M: Mmu> DeviceFile<M> {
    /// A device of the machine with this memory.
    pub fn new(device: Device, env: Arc<Env<M>>) -> Self {
        Self { device, env }
    }

    fn again(&self) -> Self {
        Self::new(self.device, self.env.clone())
    }

    fn describe(&self) -> FileStat {
        FileStat {
            dev: 6,
            ino: self.device.number() & 0xff,
            mode: Mode(Mode::CHARACTER | 0o666),
            nlink: 1,
            rdev: self.device.number(),
            blksize: 4096,
            ..FileStat::default()
        }
    }

    fn name(&self) -> Vec<u8> {
        [b"/dev/", self.device.name()].concat()
    }
}

impl<M: Mmu> Node<M> for DeviceFile<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> FileType {
        FileType::Character
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(self.describe())
    }

    fn path(&self) -> Result<Vec<u8>, Errno> {
        Ok(self.name())
    }

    fn open(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        if how.flags.contains(OpenFlags::DIRECTORY) {
            return Err(Errno::NOTDIR);
        }
        Ok(Arc::new(self.again()))
    }

    fn access(&self, what: crate::fs::Access) -> Result<(), Errno> {
        if what.mode & 1 != 0 {
            Err(Errno::ACCES)
        } else {
            Ok(())
        }
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        Ok(pseudo_statfs(magic::TMPFS))
    }
}

impl<M: Mmu> File<M> for DeviceFile<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn positioning(&self) -> Positioning {
        Positioning::Own
    }

    fn position(&self) -> Result<u64, Errno> {
        Ok(0)
    }

    fn set_position(&self, _: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn read(&self, _: u64, to: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        if self.device == Device::Null {
            return Ok(0);
        }
        let zeroes = [0; 4096];
        let mut total = 0;
        while to.room() > 0 {
            match to.put(&zeroes) {
                Ok(count) => total += count,
                Err(_) if total > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(total)
    }

    fn write(&self, at: u64, from: &mut dyn Source, _: OpenFlags) -> Result<(usize, u64), Errno> {
        // What is written is not even looked at.
        match self.device {
            Device::Full => Err(Errno::NOSPC),
            Device::Null | Device::Zero => Ok((from.left(), at)),
        }
    }

    fn splices(&self) -> Splices {
        if self.device == Device::Null {
            Splices::TO
        } else {
            Splices::all()
        }
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(self.describe())
    }

    fn node(&self) -> Option<NodeRef<M>> {
        Some(Arc::new(self.again()))
    }

    fn object(&self) -> Result<Arc<Object<M>>, Errno> {
        match self.device {
            // A private mapping copies it, a shared one has it for itself.
            Device::Zero => Ok(Object::shmem(&self.env, i64::MAX as u64)),
            Device::Null | Device::Full => Err(Errno::NODEV),
        }
    }
}
