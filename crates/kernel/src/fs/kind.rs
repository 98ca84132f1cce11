//! Types of files, and entries of directories.

use alloc::vec::Vec;

use foliant_uapi::IntoBytes;
use foliant_uapi::stat::{Dirent64, Mode};

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FileType {
    /// Not told.
    Unknown = 0,
    /// Named pipe.
    Fifo = 1,
    /// Character device.
    Character = 2,
    /// Directory.
    Directory = 4,
    /// Block device.
    Block = 6,
    /// Regular file.
    Regular = 8,
    /// Symbolic link.
    Symlink = 10,
    /// Socket.
    Socket = 12,
}

impl FileType {
    /// The type that a mode tells.
    pub const fn of(mode: Mode) -> Self {
        match mode.file_type() {
            Mode::FIFO => Self::Fifo,
            Mode::CHARACTER => Self::Character,
            Mode::DIRECTORY => Self::Directory,
            Mode::BLOCK => Self::Block,
            Mode::REGULAR => Self::Regular,
            Mode::LINK => Self::Symlink,
            Mode::SOCKET => Self::Socket,
            _ => Self::Unknown,
        }
    }
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Number of the file.
    pub ino: u64,
    /// Its type.
    pub kind: FileType,
    /// Its name.
    pub name: Vec<u8>,
}

/// Appends `entry` to `to` as `getdents64` returns it; `next` is the position
/// that continues after it. Returns whether it fitted into `room` bytes in
/// all; if not, `to` is unchanged.
pub fn put_entry(to: &mut Vec<u8>, room: usize, entry: &Entry, next: u64) -> bool {
    let length = Dirent64::record_len(entry.name.len());
    if to.len() + length > room {
        return false;
    }
    let end = to.len() + length;
    let head = Dirent64 {
        ino: entry.ino,
        off: next as i64,
        reclen: length as u16,
        kind: entry.kind as u8,
    };
    to.extend_from_slice(head.as_bytes());
    to.extend_from_slice(&entry.name);
    to.resize(end, 0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_does_not_fit_is_left_out() {
        let entry = Entry {
            ino: 5,
            kind: FileType::Regular,
            name: b"name".to_vec(),
        };
        let mut to = Vec::new();
        assert!(put_entry(&mut to, 24, &entry, 1));
        assert_eq!(to.len(), 24);
        assert!(!put_entry(&mut to, 47, &entry, 2));
        assert_eq!(to.len(), 24);
        assert_eq!(&to[19..24], b"name\0");
    }
}
