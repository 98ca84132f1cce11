//! Names of caches, short enough to be kept by value.

use core::fmt;

/// The longest name that is kept whole.
const LEN: usize = 31;

/// The name of a cache, at most 31 bytes of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    bytes: [u8; LEN],
    len: u8,
}

impl Name {
    /// The name, cut after 31 bytes at the end of a character.
    pub const fn new(text: &str) -> Self {
        let from = text.as_bytes();
        let mut len = if from.len() < LEN { from.len() } else { LEN };
        while len < from.len() && from[len] & 0xc0 == 0x80 {
            len -= 1;
        }
        let mut bytes = [0; LEN];
        let mut at = 0;
        while at < len {
            bytes[at] = from[at];
            at += 1;
        }
        Self {
            bytes,
            len: len as u8,
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(Name::new("dentry").as_str(), "dentry");
        let long = "0123456789012345678901234567890";
        assert_eq!(Name::new("01234567890123456789012345678901").as_str(), long);
        assert_eq!(Name::new("012345678901234567890123456789é").as_str(), &long[..30]);
    }
}
