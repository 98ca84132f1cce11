//! The dump file as it is meant to be, whether it is flattened or not.

use super::flattened::Pieces;
use crate::image::error::ImageError;
use crate::image::fields::slice;

/// How the file lies in its bytes.
pub(super) enum Source {
    /// As it is.
    Straight,
    /// In pieces.
    Flattened(Pieces),
}

impl Source {
    /// Copies `into.len()` bytes of the dump file from `at` on.
    pub(super) fn read(
        &self,
        bytes: &[u8],
        at: u64,
        into: &mut [u8],
        what: &'static str,
    ) -> Result<(), ImageError> {
        match self {
            Self::Straight => {
                let found = slice(bytes, at, into.len() as u64);
                into.copy_from_slice(found.ok_or(ImageError::Truncated(what))?);
                Ok(())
            }
            Self::Flattened(pieces) => pieces.read(bytes, at, into, what),
        }
    }

    /// As [`read`](Self::read), as much as there is room for in a new buffer;
    /// `len` must be known to be sensible.
    pub(super) fn copy(
        &self,
        bytes: &[u8],
        at: u64,
        len: u64,
        what: &'static str,
    ) -> Result<Vec<u8>, ImageError> {
        // What the file does not hold is not worth a buffer.
        if len > bytes.len() as u64 {
            return Err(ImageError::Truncated(what));
        }
        let mut copy = vec![0; len as usize];
        self.read(bytes, at, &mut copy, what)?;
        Ok(copy)
    }
}
