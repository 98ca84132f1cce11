//! Files whose contents are made when they are read: `/proc`, `/sys`, `/dev`.

mod directory;
mod link;
mod text;

pub use directory::{Listing, PseudoDirectory};
pub use link::PseudoLink;
pub use text::{PseudoText, TextSource, Unspliced};

use alloc::vec::Vec;

use crate::kernel::Kernel;
use crate::machine::UserMachine;

/// Where a pseudo file stands and who owns it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// The device of its file system, encoded as `st_dev`.
    pub dev: u64,
    /// Permissions.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// What `statfs` says of its file system.
    pub magic: i64,
    /// The time of its last change: when the machine started.
    pub time: foliant_uapi::time::Timespec,
}

impl Place {
    /// The top of a file system of the machine's own.
    pub fn root<M: UserMachine>(kernel: &Kernel<M>, path: &[u8], dev: u64, magic: i64) -> Self {
        Self {
            path: path.to_vec(),
            dev,
            mode: 0o555,
            owner: (0, 0),
            magic,
            time: foliant_uapi::time::Timespec::from_nanos(kernel.machine().realtime().0),
        }
    }

    /// A file below this one.
    pub fn below(&self, name: &[u8], mode: u32) -> Self {
        let mut path = self.path.clone();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Self {
            path,
            mode,
            ..self.clone()
        }
    }

    /// Whether `caller` may read (4) and write (2) the file. In sysfs not even
    /// those whom modes do not bind may what nobody may.
    ///
    /// # Errors
    /// `ACCES`.
    ///
    /// # Linux source concept
    /// `KERNFS_ROOT_EXTRA_OPEN_PERM_CHECK`.
    pub fn permit(&self, caller: super::Caller, wanted: u32) -> Result<(), foliant_units::Errno> {
        let class = if caller.user == self.owner.0 {
            6
        } else if caller.group == self.owner.1 {
            3
        } else {
            0
        };
        let anybody = self.mode | self.mode >> 3 | self.mode >> 6;
        if self.is_sysfs() && wanted & !anybody != 0 {
            return Err(foliant_units::Errno::ACCES);
        }
        if caller.overrides || wanted & !(self.mode >> class) == 0 {
            Ok(())
        } else {
            Err(foliant_units::Errno::ACCES)
        }
    }

    /// What a directory here says of the file `name` below it.
    pub fn entry(&self, name: impl Into<Vec<u8>>, kind: super::FileType) -> super::Entry {
        let name = name.into();
        super::Entry {
            ino: self.below(&name, 0).number(),
            kind,
            name,
        }
    }

    /// Whether it is in sysfs: debugfs, below it, is another file system.
    fn is_sysfs(&self) -> bool {
        self.magic == super::magic::SYSFS && !self.path.starts_with(b"/sys/kernel/debug")
    }

    /// A number that stays the same for the same path.
    pub fn number(&self) -> u64 {
        // FNV-1a: good enough for numbers that only have to differ.
        let hash = self.path.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        hash & 0xffff_ffff | 1 << 32
    }

    /// What `stat` tells of it.
    pub fn stat(&self, kind: u32) -> super::FileStat {
        let directory = kind == foliant_uapi::stat::Mode::DIRECTORY;
        super::FileStat {
            dev: self.dev,
            ino: self.number(),
            mode: foliant_uapi::stat::Mode(kind | self.mode),
            nlink: if directory { 2 } else { 1 },
            uid: self.owner.0,
            gid: self.owner.1,
            // A page, whatever the text is.
            size: if kind == foliant_uapi::stat::Mode::REGULAR && self.is_sysfs() {
                foliant_units::PAGE_SIZE as u64
            } else {
                0
            },
            blksize: 1024,
            atime: self.time,
            mtime: self.time,
            ctime: self.time,
            ..super::FileStat::default()
        }
    }
}
