//! `/proc/PID/statm`.

use alloc::vec::Vec;

use super::scan::{ParseError, ascii, expected, number};
use super::write::{Text, put};

/// Sizes of a process, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statm {
    /// Address space.
    pub size: u64,
    /// Resident.
    pub resident: u64,
    /// Resident pages of files and shared memory.
    pub shared: u64,
    /// Text.
    pub text: u64,
    /// Data and stack.
    pub data: u64,
}

impl Text for Statm {
    fn write(&self, out: &mut Vec<u8>) {
        // The fifth and the seventh number mean nothing any more.
        put!(
            out,
            "{} {} {} {} 0 {} 0\n",
            self.size,
            self.resident,
            self.shared,
            self.text,
            self.data
        );
    }
}

impl Statm {
    /// Reads the file.
    ///
    /// # Errors
    /// Anything but seven numbers.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut words = ascii(text, "numbers")?.split_whitespace();
        let mut next = || number(words.next().ok_or(expected("seven numbers"))?, "a number");
        let (size, resident, shared, text) = (next()?, next()?, next()?, next()?);
        let _unused: u64 = next()?;
        let data = next()?;
        let _unused: u64 = next()?;
        Ok(Self {
            size,
            resident,
            shared,
            text,
            data,
        })
    }
}
