//! Flattened files: pieces, each after its place and its length.

use std::collections::BTreeMap;

use crate::image::error::ImageError;
use crate::image::fields::{Fields, slice};

/// What a flattened file begins with.
pub(super) const MAGIC: &[u8] = b"makedumpfile\0\0\0\0";
/// The first piece comes after a header of this size.
const FIRST: u64 = 4096;
const PIECE_HEADER: u64 = 16;
/// In the place of a piece's place: there are no more.
const END: u64 = !0;
/// More pieces than this are not worth the memory of an index.
const MOST: usize = 1 << 24;

/// Where the pieces lie: by their place in the dump file, length and place
/// in the flattened file. They do not overlap.
pub(super) struct Pieces(BTreeMap<u64, Piece>);

#[derive(Clone, Copy)]
struct Piece {
    len: u64,
    source: u64,
}

impl Pieces {
    pub(super) fn index(bytes: &[u8]) -> Result<Self, ImageError> {
        let fields = Fields {
            bytes,
            what: "flattened header",
        };
        if fields.u64_be(16)? != 1 || fields.u64_be(24)? != 1 {
            return Err(ImageError::Unsupported("flattened files of another version"));
        }
        let mut pieces = Self(BTreeMap::new());
        let mut at = FIRST;
        loop {
            let (place, len) = (fields.u64_be(at)?, fields.u64_be(at + 8)?);
            if place == END {
                return Ok(pieces);
            }
            at += PIECE_HEADER;
            slice(bytes, at, len).ok_or(ImageError::Truncated("pieces"))?;
            if place.checked_add(len).is_none() || pieces.0.len() >= MOST {
                return Err(ImageError::Nonsense("pieces"));
            }
            pieces.put(place, Piece { len, source: at });
            at += len;
        }
    }

    /// A later piece replaces what earlier ones said of its place: headers are
    /// written twice.
    fn put(&mut self, place: u64, piece: Piece) {
        if piece.len == 0 {
            return;
        }
        let end = place + piece.len;
        while let Some((&start, &old)) = self.0.range(..end).next_back() {
            let old_end = start + old.len;
            if old_end <= place {
                break;
            }
            self.0.remove(&start);
            if start < place {
                let len = place - start;
                self.0.insert(start, Piece { len, ..old });
            }
            if old_end > end {
                let rest = Piece {
                    len: old_end - end,
                    source: old.source + (end - start),
                };
                self.0.insert(end, rest);
            }
            if start < place {
                break;
            }
        }
        self.0.insert(place, piece);
    }

    pub(super) fn read(
        &self,
        bytes: &[u8],
        mut at: u64,
        mut into: &mut [u8],
        what: &'static str,
    ) -> Result<(), ImageError> {
        let missing = || ImageError::Truncated(what);
        while !into.is_empty() {
            let (&start, piece) = self.0.range(..=at).next_back().ok_or_else(missing)?;
            let inside = at - start;
            if inside >= piece.len {
                return Err(missing());
            }
            let len = (piece.len - inside).min(into.len() as u64);
            let (now, rest) = into.split_at_mut(len as usize);
            now.copy_from_slice(slice(bytes, piece.source + inside, len).ok_or_else(missing)?);
            (into, at) = (rest, at + len);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flattened(pieces: &[(u64, &[u8])]) -> Vec<u8> {
        let mut file = vec![0; FIRST as usize];
        file[..MAGIC.len()].copy_from_slice(MAGIC);
        file[23] = 1;
        file[31] = 1;
        for &(place, content) in pieces {
            file.extend(place.to_be_bytes());
            file.extend((content.len() as u64).to_be_bytes());
            file.extend(content);
        }
        file.extend([0xff; 16]);
        file
    }

    #[test]
    fn later_pieces_replace_earlier_ones() {
        let file = flattened(&[
            (0, b"aaaaaaaa"),
            (8, b"bbbb"),
            (2, b"cc"),
            (6, b"dddd"),
            (20, b"x"),
        ]);
        let pieces = Pieces::index(&file).unwrap();
        let mut out = [0; 12];
        pieces.read(&file, 0, &mut out, "it").unwrap();
        assert_eq!(&out, b"aaccaaddddbb");
        assert!(pieces.read(&file, 10, &mut out, "it").is_err(), "a hole");
    }

    #[test]
    fn a_lie_about_a_length_is_found() {
        let mut file = flattened(&[(0, b"abc")]);
        file[4096 + 8] = 0x7f;
        assert!(matches!(
            Pieces::index(&file),
            Err(ImageError::Truncated("pieces"))
        ));
        assert!(Pieces::index(&file[..4100]).is_err());
    }
}
