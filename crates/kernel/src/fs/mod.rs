//! Files as the kernel layer sees them: what is open ([`File`], [`OpenFile`]),
//! what has a name ([`Node`]), and how a path becomes a node ([`Walk`]).
//!
//! **Architecture Invariant:** a [`File`] never blocks. What would have to wait
//! answers `EAGAIN`, and the system call waits on the file's queue; so one
//! implementation serves blocking and non-blocking callers, poll and epoll.

mod bounds;
mod buffer;
mod context;
mod directory;
mod empty;
mod file;
mod file_node;
mod kind;
mod label;
mod machine_files;
mod node;
mod open;
mod path_file;
pub mod pseudo;
pub(crate) mod record_locks;
mod splices;
mod stat;
mod task_files;
mod walk;
mod writers;

pub use buffer::{IoVec, Sink, SliceSink, SliceSource, Source, UserMemory, UserSink, UserSource};
pub use context::FsContext;
pub use directory::{Listed, OpenDirectory};
pub use empty::EmptyDirectory;
pub use file::{File, FileRef, LockOwner, Positioning, READABLE, SpaceHint, WRITABLE};
pub use file_node::FileNode;
pub use kind::{Entry, FileType, put_entry};
pub use label::Label;
pub use machine_files::MachineFiles;
pub use node::{Access, Caller, Link, Node, NodeRef, OpenHow, Opened, SetAttr, SetTime, XattrName};
pub use open::{OpenFile, SignalOwner};
pub use path_file::PathFile;
pub use splices::Splices;
pub use stat::{FileStat, anonymous_stat, magic, pseudo_statfs};
pub use task_files::TaskFiles;
pub use walk::{Final, Last, MAX_LINKS, NAME_MAX, PATH_MAX, Parent, Walk};
pub use writers::{Running, Writers, Writing};

#[cfg(test)]
mod walk_test;
