//! The host's files, directories, terminals, pipes and sockets, as files of
//! the machine.
//!
//! Names are looked up by directory handles, one component at a time, so that
//! the machine's own `/proc`, `/sys` and `/dev` lie over the host's exactly,
//! whatever path leads there. Regular files are read and written through the
//! machine's page cache, one object per host inode; everything else passes
//! through, and one thread turns the host's readiness into wake-ups.
//!
//! Nothing here depends on how the machine traps: it needs an
//! [`Env`](foliant_mm::Env) and gives a root node.

mod attach;
mod convert;
mod directory;
mod fifo;
mod fs;
mod inode;
mod lock;
mod node;
mod poller;
mod regular;
mod socket;
mod stream;
mod terminal;
mod watches;

pub use attach::attach;
pub use fs::HostFs;
pub use socket::HostSockets;

#[cfg(test)]
mod test;
