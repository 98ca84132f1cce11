//! ELF notes: owner, type, content, each padded to four bytes.

use super::error::ImageError;
use super::fields::{Fields, slice};

/// One note.
pub(crate) struct Note<'a> {
    /// Whose, without the closing zero.
    pub(crate) owner: &'a [u8],
    pub(crate) content: &'a [u8],
}

/// The notes in `bytes`; an error ends them.
pub(crate) fn notes(bytes: &[u8]) -> impl Iterator<Item = Result<Note<'_>, ImageError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        // Padding at the end may be shorter than a header.
        if at + 12 > bytes.len() as u64 {
            return None;
        }
        let note = read(bytes, at);
        match note {
            Ok((note, next)) => {
                at = next;
                // Unused note space is zero.
                (!note.owner.is_empty() || !note.content.is_empty()).then_some(Ok(note))
            }
            Err(why) => {
                at = bytes.len() as u64;
                Some(Err(why))
            }
        }
    })
}

fn read(bytes: &[u8], at: u64) -> Result<(Note<'_>, u64), ImageError> {
    let fields = Fields { bytes, what: "notes" };
    let (owner_len, len) = (u64::from(fields.u32(at)?), u64::from(fields.u32(at + 4)?));
    let owner_at = at + 12;
    let content_at = owner_at + owner_len.next_multiple_of(4);
    let missing = || ImageError::Truncated("notes");
    let owner = slice(bytes, owner_at, owner_len).ok_or_else(missing)?;
    let content = slice(bytes, content_at, len).ok_or_else(missing)?;
    let owner = owner.strip_suffix(&[0]).unwrap_or(owner);
    Ok((Note { owner, content }, content_at + len.next_multiple_of(4)))
}
