//! The `user` machine: runs Linux programs on a Linux host without privileges.

pub mod host;
pub mod hostfs;
