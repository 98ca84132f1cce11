//! `/sys/kernel/debug/extfrag/extfrag_index` and `unusable_index`.

use alloc::string::String;
use alloc::vec::Vec;

use super::scan::{ParseError, after, ascii, lines, number, split};
use super::write::{Text, put};

/// The indices of one zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtfragZone {
    /// Node.
    pub node: u32,
    /// Zone.
    pub zone: String,
    /// One for each order, in thousandths; -1000 stands for a request that would
    /// succeed.
    pub by_order: Vec<i64>,
}

/// How wide the numbers of a file are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExtfragKind {
    /// `extfrag_index`: with room for a sign.
    #[default]
    Index,
    /// `unusable_index`.
    Unusable,
}

/// Either file: populated zones in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extfrag {
    /// Which of the two.
    pub kind: ExtfragKind,
    /// Zones.
    pub zones: Vec<ExtfragZone>,
}

impl Text for Extfrag {
    fn write(&self, out: &mut Vec<u8>) {
        let width = match self.kind {
            ExtfragKind::Index => 2,
            ExtfragKind::Unusable => 0,
        };
        for zone in &self.zones {
            put!(out, "Node {}, zone {:>8} ", zone.node, zone.zone);
            for index in &zone.by_order {
                put!(out, "{:>width$}.{:03} ", index / 1000, index % 1000);
            }
            out.push(b'\n');
        }
    }
}

impl Extfrag {
    /// Reads either file.
    ///
    /// # Errors
    /// A line that is something else.
    pub fn parse(kind: ExtfragKind, text: &[u8]) -> Result<Self, ParseError> {
        let zones = lines(text)
            .map(|line| zone(ascii(line, "a zone")?))
            .collect::<Result<_, _>>()?;
        Ok(Self { kind, zones })
    }
}

fn zone(line: &str) -> Result<ExtfragZone, ParseError> {
    let (node, rest) = split(after(line, "Node ", "Node")?, ",", "a node")?;
    let (zone, indices) = split(after(rest, " zone ", "zone")?.trim_start(), " ", "a zone")?;
    Ok(ExtfragZone {
        node: number(node, "a node")?,
        zone: String::from(zone),
        by_order: indices
            .split_whitespace()
            .map(thousandths)
            .collect::<Result<_, _>>()?,
    })
}

fn thousandths(word: &str) -> Result<i64, ParseError> {
    let (sign, digits) = word.strip_prefix('-').map_or((1, word), |rest| (-1, rest));
    let (whole, part) = split(digits, ".", "an index")?;
    let (whole, part): (u32, u32) = (number(whole, "an index")?, number(part, "an index")?);
    Ok(sign * (i64::from(whole) * 1000 + i64::from(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_written_as_linux_writes_them() {
        let mut table = Extfrag {
            kind: ExtfragKind::Index,
            zones: Vec::from([ExtfragZone {
                node: 0,
                zone: String::from("DMA32"),
                by_order: Vec::from([-1000, 0, 996]),
            }]),
        };
        assert_eq!(table.to_bytes(), b"Node 0, zone    DMA32 -1.000  0.000  0.996 \n");
        assert_eq!(Extfrag::parse(table.kind, &table.to_bytes()), Ok(table.clone()));
        table.kind = ExtfragKind::Unusable;
        table.zones[0].by_order = Vec::from([0, 41, 1000]);
        assert_eq!(table.to_bytes(), b"Node 0, zone    DMA32 0.000 0.041 1.000 \n");
        assert_eq!(Extfrag::parse(table.kind, &table.to_bytes()), Ok(table));
    }
}
