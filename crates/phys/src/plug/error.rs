//! Why memory does not come, go or change its state.

use core::fmt;

use foliant_units::{Errno, Pfn};

use crate::alloc::ContigError;

/// Why a section does not go offline, or online.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionError {
    /// There is no RAM.
    Absent,
    /// It is in that state already.
    Already,
    /// Not all of it is RAM.
    Holes,
    /// Its frames are in more than one zone.
    ManyZones,
    /// The machine was booted without a zone of that kind on that node, and
    /// without a promise that memory may come.
    NoZone,
    /// The memory manager's own tables, the firmware or the kernel image are in
    /// it: this is the first such frame.
    Reserved(Pfn),
    /// What is in it does not go away.
    Contig(ContigError),
}

impl SectionError {
    /// What writing to the section's `state` returns.
    pub const fn errno(self) -> Errno {
        match self {
            SectionError::Absent => Errno::NODEV,
            SectionError::Already | SectionError::Holes | SectionError::ManyZones | SectionError::NoZone => {
                Errno::INVAL
            }
            SectionError::Reserved(_) => Errno::BUSY,
            SectionError::Contig(error) => error.errno(),
        }
    }
}

impl fmt::Display for SectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SectionError::Absent => write!(f, "there is no RAM in the section"),
            SectionError::Already => write!(f, "the section is in that state already"),
            SectionError::Holes => write!(f, "the section has holes"),
            SectionError::ManyZones => write!(f, "the section is in more than one zone"),
            SectionError::NoZone => write!(f, "the machine was booted without such a zone"),
            SectionError::Reserved(pfn) => write!(f, "{pfn:?} is reserved and stays"),
            SectionError::Contig(error) => error.fmt(f),
        }
    }
}

/// Why memory is not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddError {
    /// It is empty, or does not start and end at sections.
    Unaligned,
    /// It ends above [`hotplug_below`](crate::BootOptions::hotplug_below).
    TooHigh,
    /// The machine was booted without that node.
    NoNode,
    /// Some of it is there already.
    Exists,
    /// The machine does not have such RAM.
    NotThisRam,
    /// There is no memory for its records.
    OutOfMemory,
    /// Whoever maps memory refused.
    NotMapped(Errno),
}

impl AddError {
    /// What a driver that adds memory gets.
    pub const fn errno(self) -> Errno {
        match self {
            AddError::Unaligned | AddError::NoNode | AddError::NotThisRam => Errno::INVAL,
            AddError::TooHigh => Errno::RANGE,
            AddError::Exists => Errno::EXIST,
            AddError::OutOfMemory => Errno::NOMEM,
            AddError::NotMapped(errno) => errno,
        }
    }
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddError::Unaligned => write!(f, "memory comes in whole sections of 128 MiB"),
            AddError::TooHigh => write!(f, "the machine was booted without room for memory there"),
            AddError::NoNode => write!(f, "the machine has no such node"),
            AddError::Exists => write!(f, "some of the memory is there already"),
            AddError::NotThisRam => write!(f, "the machine does not have such RAM"),
            AddError::OutOfMemory => write!(f, "no memory for the records of its frames"),
            AddError::NotMapped(errno) => write!(f, "the memory could not be mapped: {errno:?}"),
        }
    }
}

/// Why memory is not removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemoveError {
    /// It is empty, or does not start and end at sections.
    Unaligned,
    /// Some of it is not there.
    Absent,
    /// Some of it is online.
    Online,
    /// Whoever maps memory refused.
    NotUnmapped(Errno),
}

impl RemoveError {
    /// What a driver that removes memory gets.
    pub const fn errno(self) -> Errno {
        match self {
            RemoveError::Unaligned | RemoveError::Absent => Errno::INVAL,
            RemoveError::Online => Errno::BUSY,
            RemoveError::NotUnmapped(errno) => errno,
        }
    }
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoveError::Unaligned => write!(f, "memory goes in whole sections of 128 MiB"),
            RemoveError::Absent => write!(f, "not all of the memory is there"),
            RemoveError::Online => write!(f, "some of the memory is online"),
            RemoveError::NotUnmapped(errno) => write!(f, "the map of memory could not be cut: {errno:?}"),
        }
    }
}

impl core::error::Error for SectionError {}
impl core::error::Error for AddError {}
impl core::error::Error for RemoveError {}
