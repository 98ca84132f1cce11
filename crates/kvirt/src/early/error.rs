//! Why an early table could not be made.

use core::fmt;

use foliant_phys::boot::{MemblockError, TooManyRegions};

/// Why an early table could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EarlyError {
    /// No memory for a table.
    NoRoom,
    /// Tables lie in too many places, or memblock's lists are full.
    TooManyPieces,
    /// The addresses are not aligned as the format's tables are.
    Unaligned,
}

impl fmt::Display for EarlyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EarlyError::NoRoom => "no memory for an early page table",
            EarlyError::TooManyPieces => "early page tables lie in too many places",
            EarlyError::Unaligned => "the addresses do not fit the tables",
        })
    }
}

impl core::error::Error for EarlyError {}

impl From<MemblockError> for EarlyError {
    fn from(error: MemblockError) -> Self {
        match error {
            MemblockError::NoRoom => EarlyError::NoRoom,
            MemblockError::TooManyRegions => EarlyError::TooManyPieces,
        }
    }
}

impl From<TooManyRegions> for EarlyError {
    fn from(TooManyRegions: TooManyRegions) -> Self {
        EarlyError::TooManyPieces
    }
}
