//! `/sys/devices/system/memory`: blocks of memory that come, go, and change
//! their state.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::scan::{ParseError, ascii, expected, hex};
use super::write::put;

/// What is done with memory that is offline, or with a block.
///
/// # Linux source concept
/// `online_type_to_str[]`, drivers/base/memory.c.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnlineType {
    /// It stays, or goes, offline.
    Offline,
    /// Online, where its neighbours are.
    Online,
    /// Online in a zone of the kernel's.
    OnlineKernel,
    /// Online in the zone Movable.
    OnlineMovable,
}

impl OnlineType {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Offline,
        Self::Online,
        Self::OnlineKernel,
        Self::OnlineMovable,
    ];

    /// As it is written and read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Online => "online",
            Self::OnlineKernel => "online_kernel",
            Self::OnlineMovable => "online_movable",
        }
    }

    /// What was written to `state` or `auto_online_blocks`, perhaps with the
    /// end of a line.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        Self::ALL.into_iter().find(|kind| kind.name().as_bytes() == text)
    }
}

/// `block_size_bytes`.
pub fn block_size_bytes(bytes: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put!(&mut out, "{bytes:x}\n");
    out
}

/// One block: the files of `memoryN`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryBlock {
    /// Its number, in the name of its directory too.
    pub index: u64,
    /// Whether it is in use.
    pub online: bool,
    /// Whether the kernel can take it out of use at all.
    pub removable: bool,
    /// The zones that it is in or may go to.
    pub zones: Vec<String>,
}

impl MemoryBlock {
    /// Its files.
    pub const FILES: [&'static str; 6] = [
        "online",
        "phys_device",
        "phys_index",
        "removable",
        "state",
        "valid_zones",
    ];

    /// What one of them holds.
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match name {
            "online" => put!(&mut out, "{}\n", u8::from(self.online)),
            "phys_device" => put!(&mut out, "0\n"),
            "phys_index" => put!(&mut out, "{:08x}\n", self.index),
            "removable" => put!(&mut out, "{}\n", u8::from(self.removable)),
            "state" => put!(&mut out, "{}\n", if self.online { "online" } else { "offline" }),
            "valid_zones" if self.zones.is_empty() => put!(&mut out, "none\n"),
            "valid_zones" => put!(&mut out, "{}\n", self.zones.join(" ")),
            _ => return None,
        }
        Some(out)
    }

    /// A block from what its files hold, which `read` gets.
    ///
    /// # Errors
    /// [`ParseError`] where a file is not there or not as expected.
    pub fn from_files(read: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Self, ParseError> {
        let text = |name: &'static str| {
            let bytes = read(name).ok_or(expected("a file of a memory block"))?;
            Ok(ascii(&bytes, name)?.trim_end().to_string())
        };
        let zones = text("valid_zones")?;
        Ok(Self {
            index: hex(&text("phys_index")?, "a hexadecimal number")?,
            online: text("state")? == "online",
            removable: text("removable")? == "1",
            zones: match zones.as_str() {
                "none" => Vec::new(),
                zones => zones.split(' ').map(ToString::to_string).collect(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_block_are_read_back() {
        let block = MemoryBlock {
            index: 0x1f,
            online: false,
            removable: true,
            zones: ["Normal", "Movable"].map(String::from).to_vec(),
        };
        assert_eq!(block.file("phys_index").unwrap(), b"0000001f\n");
        assert_eq!(block.file("state").unwrap(), b"offline\n");
        assert_eq!(block.file("valid_zones").unwrap(), b"Normal Movable\n");
        assert_eq!(MemoryBlock::from_files(|name| block.file(name)), Ok(block));
        assert_eq!(MemoryBlock::default().file("valid_zones").unwrap(), b"none\n");
        assert_eq!(block_size_bytes(128 << 20), b"8000000\n");
    }

    #[test]
    fn a_state_is_one_word_with_or_without_the_end_of_a_line() {
        assert_eq!(
            OnlineType::parse(b"online_movable\n"),
            Some(OnlineType::OnlineMovable)
        );
        assert_eq!(OnlineType::parse(b"offline"), Some(OnlineType::Offline));
        for bad in [&b"online "[..], b"onlin", b"", b"online\n\n"] {
            assert_eq!(OnlineType::parse(bad), None);
        }
    }
}
