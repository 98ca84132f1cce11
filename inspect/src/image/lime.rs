//! LiME: a header of 32 bytes before each stretch of memory.

use super::error::ImageError;
use super::extents::{Extent, Extents};
use super::fields::Fields;

pub(crate) const MAGIC: [u8; 4] = *b"EMiL";
const HEADER: u64 = 32;
const VERSION: u32 = 1;

pub(crate) fn open(bytes: &[u8]) -> Result<Extents, ImageError> {
    let file = bytes.len() as u64;
    let fields = Fields {
        bytes,
        what: "LiME header",
    };
    let mut all = Vec::new();
    let mut at = 0;
    while at < file {
        if fields.u32(at)? != u32::from_le_bytes(MAGIC) {
            return Err(ImageError::Nonsense("LiME headers"));
        }
        if fields.u32(at + 4)? != VERSION {
            return Err(ImageError::Unsupported("LiME files of another version"));
        }
        let (first, last) = (fields.u64(at + 8)?, fields.u64(at + 16)?);
        let len = last.checked_sub(first).and_then(|len| len.checked_add(1));
        let len = len.ok_or(ImageError::Nonsense("LiME headers"))?;
        fields.u64(at + 24)?;
        at += HEADER;
        if len > file - at {
            return Err(ImageError::Truncated("memory"));
        }
        all.push(Extent {
            start: first,
            len,
            offset: at,
        });
        at += len;
    }
    Extents::new(all, file)
}
