//! Files that are memory of the machine: `memfd_create(2)` and `/dev/shm`.
//!
//! What is stored in them is counted as shared memory, and programs that map
//! them share frames.
//!
//! # Linux source concept
//! tmpfs, mm/shmem.c: the mount on `/dev/shm` and the internal one.

mod dentry;
mod directory;
mod fifo;
mod file;
mod inode;
mod memfd;
mod tree;

pub(crate) use file::TmpFile;
pub(crate) use memfd::create as create_memfd;
pub use tree::{Mount, mount};
