//! Who asked for a mapping.

use core::fmt;
use core::panic::Location;

/// The code that asked, for `/proc/vmallocinfo` and messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Caller(Place);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Place {
    Named(&'static str),
    Source(&'static Location<'static>),
}

impl Caller {
    /// The line that this is called from, or that its caller is called from if
    /// that is `#[track_caller]` too.
    #[track_caller]
    pub const fn here() -> Self {
        Self(Place::Source(Location::caller()))
    }

    /// A function by its name, with or without an offset.
    pub const fn named(name: &'static str) -> Self {
        Self(Place::Named(name))
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Place::Named(name) => f.write_str(name),
            Place::Source(at) => write!(f, "{}:{}", at.file(), at.line()),
        }
    }
}
