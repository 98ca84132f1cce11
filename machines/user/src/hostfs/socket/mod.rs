//! Sockets of the host.

mod factory;
mod file;
mod parcel;
mod raw;

pub use factory::HostSockets;
pub(super) use file::HostSocket;
pub(super) use parcel::Parcels;
