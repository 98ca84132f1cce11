//! `/proc/buddyinfo`.

use alloc::string::String;
use alloc::vec::Vec;

use super::scan::{ParseError, after, ascii, lines, number, split};
use super::write::{Text, put};

/// Free blocks of one zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuddyinfoZone {
    /// Node.
    pub node: u32,
    /// Zone.
    pub zone: String,
    /// Free blocks by order.
    pub free: Vec<u64>,
}

/// The file: populated zones in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buddyinfo {
    /// Zones.
    pub zones: Vec<BuddyinfoZone>,
}

impl Text for Buddyinfo {
    fn write(&self, out: &mut Vec<u8>) {
        for zone in &self.zones {
            put!(out, "Node {}, zone {:>8} ", zone.node, zone.zone);
            for count in &zone.free {
                put!(out, "{count:>6} ");
            }
            out.push(b'\n');
        }
    }
}

impl Buddyinfo {
    /// Reads the file.
    ///
    /// # Errors
    /// A line that is something else.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let zones = lines(text)
            .map(|line| zone(ascii(line, "a zone")?))
            .collect::<Result<_, _>>()?;
        Ok(Self { zones })
    }
}

fn zone(line: &str) -> Result<BuddyinfoZone, ParseError> {
    let (node, rest) = split(after(line, "Node ", "Node")?, ",", "a node")?;
    let (zone, counts) = split(after(rest, " zone ", "zone")?.trim_start(), " ", "a zone")?;
    Ok(BuddyinfoZone {
        node: number(node, "a node")?,
        zone: String::from(zone),
        free: counts
            .split_whitespace()
            .map(|word| number(word, "a count"))
            .collect::<Result<_, _>>()?,
    })
}
