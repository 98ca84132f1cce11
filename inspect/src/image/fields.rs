//! Numbers at places of a file that may be too short.

use super::error::ImageError;

/// Bytes `at..at + len`.
pub(crate) fn slice(bytes: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    let at = usize::try_from(at).ok()?;
    let end = at.checked_add(usize::try_from(len).ok()?)?;
    bytes.get(at..end)
}

/// The `N` bytes at `at`.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    slice(bytes, at, N as u64)?.try_into().ok()
}

/// Reads a header; what is missing is an error that names the header.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) what: &'static str,
}

impl Fields<'_> {
    fn array<const N: usize>(&self, at: u64) -> Result<[u8; N], ImageError> {
        array(self.bytes, at).ok_or(ImageError::Truncated(self.what))
    }

    pub(crate) fn u32(&self, at: u64) -> Result<u32, ImageError> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&self, at: u64) -> Result<u64, ImageError> {
        self.array(at).map(u64::from_le_bytes)
    }

    pub(crate) fn u64_be(&self, at: u64) -> Result<u64, ImageError> {
        self.array(at).map(u64::from_be_bytes)
    }
}
