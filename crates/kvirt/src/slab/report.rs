//! What a user of a cache did wrong.

use core::fmt;
use core::panic::Location;

use foliant_platform::{CpuId, Nanos};

use super::name::Name;

/// Who allocated or freed an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Track {
    /// The caller's place in the source.
    pub caller: &'static Location<'static>,
    /// On which CPU.
    pub cpu: CpuId,
    /// When.
    pub at: Nanos,
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {} on CPU {} at {} ns", self.caller, self.cpu.0, self.at.0)
    }
}

/// Which rule was broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// A byte around an object changed. `offset` counts from the object.
    RedZone {
        /// Where, in bytes from the object's start; negative before it.
        offset: isize,
        /// What should be there.
        expected: u8,
        /// What is there.
        found: u8,
    },
    /// A byte of a free object changed.
    Poison {
        /// Where, in bytes from the object's start.
        offset: isize,
        /// What should be there.
        expected: u8,
        /// What is there.
        found: u8,
    },
    /// Freed, but free already.
    DoubleFree,
    /// Freed to another cache than the one it is from.
    WrongCache(Option<Name>),
    /// Freed, but no object begins there.
    NotAnObject,
    /// The cache was dropped while objects of it were in use.
    StillInUse {
        /// How many.
        objects: usize,
    },
    /// The slab's count of objects in use is not what its bits say.
    BadCount {
        /// What it counts.
        counted: u32,
        /// What its bits say.
        found: u32,
    },
    /// Neither free nor in use, or both.
    Lost,
}

/// A broken rule, with the cache and the object it was found at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// The cache.
    pub cache: Name,
    /// Address of the object, as its users know it.
    pub object: usize,
    /// What is wrong.
    pub problem: Problem,
    /// Who had allocated it, if the cache keeps that.
    pub allocated: Option<Track>,
    /// Who had freed it, if the cache keeps that.
    pub freed: Option<Track>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cache {}: object {:#x}: {}",
            self.cache, self.object, self.problem
        )?;
        if let Some(track) = &self.allocated {
            write!(f, "; allocated {track}")?;
        }
        if let Some(track) = &self.freed {
            write!(f, "; freed {track}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::RedZone {
                offset,
                expected,
                found,
            } => write!(
                f,
                "red zone overwritten at offset {offset}: expected {expected:#04x}, found {found:#04x}"
            ),
            Problem::Poison {
                offset,
                expected,
                found,
            } => write!(
                f,
                "written to while free at offset {offset}: expected {expected:#04x}, found {found:#04x}"
            ),
            Problem::DoubleFree => f.write_str("freed twice"),
            Problem::WrongCache(Some(name)) => write!(f, "freed here, but it is from cache {name}"),
            Problem::WrongCache(None) => f.write_str("freed here, but it is from no cache"),
            Problem::NotAnObject => f.write_str("freed, but no object begins there"),
            Problem::StillInUse { objects } => {
                write!(f, "{objects} objects are still in use as the cache goes")
            }
            Problem::BadCount { counted, found } => {
                write!(
                    f,
                    "its slab counts {counted} objects in use, its bits say {found}"
                )
            }
            Problem::Lost => f.write_str("neither free nor in use, or both"),
        }
    }
}
