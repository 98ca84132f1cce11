//! Why a device's memory is not mapped, or stays.

use core::fmt;

use foliant_units::Errno;

/// Why a device's memory is not mapped, or stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceError {
    /// It is empty, or does not start and end at blocks of 2 MiB.
    Unaligned,
    /// It ends above [`hotplug_below`](crate::BootOptions::hotplug_below).
    TooHigh,
    /// The machine was booted without that node, or without a zone for devices.
    NoNode,
    /// Memory of this kind needs someone who is told of frames that come back.
    NoOps,
    /// Nothing of it is left beside its own records, or they cannot lie in it.
    NoRoomForRecords,
    /// CPUs of the machine do not reach it, though it is not private.
    Unreachable,
    /// Some of it is RAM.
    Ram,
    /// Some of it is mapped already.
    Exists,
    /// There is no memory for its records.
    OutOfMemory,
    /// So many of its folios are in use.
    Busy(u64),
    /// It is not mapped.
    NotMapped,
    /// Whoever maps memory for the kernel refused.
    NotShown(Errno),
}

impl DeviceError {
    /// What a driver gets.
    pub const fn errno(self) -> Errno {
        match self {
            DeviceError::Unaligned
            | DeviceError::NoNode
            | DeviceError::NoOps
            | DeviceError::NoRoomForRecords
            | DeviceError::Unreachable
            | DeviceError::NotMapped => Errno::INVAL,
            DeviceError::TooHigh => Errno::RANGE,
            DeviceError::Ram => Errno::NXIO,
            DeviceError::Exists | DeviceError::OutOfMemory => Errno::NOMEM,
            DeviceError::Busy(_) => Errno::BUSY,
            DeviceError::NotShown(errno) => errno,
        }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceError::Unaligned => write!(f, "a device's memory consists of whole blocks of 2 MiB"),
            DeviceError::TooHigh => write!(f, "the machine was booted without room for memory there"),
            DeviceError::NoNode => write!(f, "the machine has no such node, or no zone for devices"),
            DeviceError::NoOps => write!(f, "nobody is told of frames that come back"),
            DeviceError::NoRoomForRecords => write!(f, "the records cannot lie in the memory itself"),
            DeviceError::Unreachable => write!(f, "the machine does not reach the memory"),
            DeviceError::Ram => write!(f, "some of the memory is RAM"),
            DeviceError::Exists => write!(f, "some of the memory is mapped already"),
            DeviceError::OutOfMemory => write!(f, "no memory for the records of the frames"),
            DeviceError::Busy(folios) => write!(f, "{folios} folios of the memory are in use"),
            DeviceError::NotMapped => write!(f, "the memory is not mapped"),
            DeviceError::NotShown(errno) => write!(f, "the memory could not be mapped: {errno:?}"),
        }
    }
}

impl core::error::Error for DeviceError {}
