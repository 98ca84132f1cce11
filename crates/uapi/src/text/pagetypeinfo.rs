//! `/proc/pagetypeinfo`.

use alloc::string::String;
use alloc::vec::Vec;

use super::scan::{ParseError, after, ascii, expected, lines, number, split};
use super::write::{Text, put};

/// The kinds of page blocks, in the order of the file (a kernel with CMA has
/// `CMA` before `Isolate`).
pub const MOBILITY_NAMES: [&str; 5] = ["Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate"];

/// A count that the kernel stopped counting at.
const OVERFLOW: u64 = 100_000;

/// Free blocks of one kind in one zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MobilityRow {
    /// Node.
    pub node: u32,
    /// Zone.
    pub zone: String,
    /// Kind.
    pub mobility: String,
    /// Free blocks by order; 100,000 or more is shown as more than that.
    pub free: Vec<u64>,
}

/// Page blocks of one zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneBlocks {
    /// Node.
    pub node: u32,
    /// Zone.
    pub zone: String,
    /// Blocks by kind.
    pub blocks: Vec<u64>,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pagetypeinfo {
    /// log2 of the frames in a page block.
    pub block_order: u32,
    /// Frames in a page block.
    pub block_pages: u64,
    /// Orders there are.
    pub orders: u32,
    /// Kinds there are.
    pub mobilities: Vec<String>,
    /// Free blocks, by zone and kind.
    pub free: Vec<MobilityRow>,
    /// Page blocks, by zone.
    pub blocks: Vec<ZoneBlocks>,
}

const FREE_TITLE: &str = "Free pages count per migrate type at order";
const BLOCKS_TITLE: &str = "Number of blocks type";

impl Text for Pagetypeinfo {
    fn write(&self, out: &mut Vec<u8>) {
        put!(
            out,
            "Page block order: {}\nPages per block:  {}\n\n",
            self.block_order,
            self.block_pages
        );
        put!(out, "{FREE_TITLE:<43} ");
        for order in 0..self.orders {
            put!(out, "{order:>6} ");
        }
        out.push(b'\n');
        for row in &self.free {
            put!(
                out,
                "Node {:>4}, zone {:>8}, type {:>12} ",
                row.node,
                row.zone,
                row.mobility
            );
            for &count in &row.free {
                let mark = if count >= OVERFLOW { ">" } else { "" };
                put!(out, "{mark}{count:>6} ");
            }
            out.push(b'\n');
        }

        put!(out, "\n{BLOCKS_TITLE:<22} ");
        for name in &self.mobilities {
            put!(out, "{name:>12} ");
        }
        out.push(b'\n');
        for row in &self.blocks {
            put!(out, "Node {}, zone {:>8} ", row.node, row.zone);
            for count in &row.blocks {
                put!(out, "{count:>12} ");
            }
            out.push(b'\n');
        }
    }
}

impl Pagetypeinfo {
    /// Reads the file.
    ///
    /// # Errors
    /// A line that is something else.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut info = Self::default();
        for line in lines(text) {
            let line = ascii(line, "a line")?;
            if let Some(order) = line.strip_prefix("Page block order: ") {
                info.block_order = number(order, "an order")?;
            } else if let Some(pages) = line.strip_prefix("Pages per block:  ") {
                info.block_pages = number(pages, "a count")?;
            } else if let Some(orders) = line.strip_prefix(FREE_TITLE) {
                info.orders = orders.split_whitespace().count() as u32;
            } else if let Some(names) = line.strip_prefix(BLOCKS_TITLE) {
                info.mobilities = names.split_whitespace().map(String::from).collect();
            } else if line.contains(", type ") {
                info.free.push(mobility_row(line)?);
            } else if !line.is_empty() {
                info.blocks.push(zone_blocks(line)?);
            }
        }
        Ok(info)
    }
}

/// Reads `Node N, zone NAME` and gives what follows.
fn place(line: &str) -> Result<(u32, String, &str), ParseError> {
    let (node, rest) = split(after(line, "Node ", "Node")?, ",", "a node")?;
    let rest = after(rest, " zone ", "zone")?.trim_start();
    let end = rest.find([',', ' ']).ok_or(expected("a zone"))?;
    Ok((number(node, "a node")?, String::from(&rest[..end]), &rest[end..]))
}

fn mobility_row(line: &str) -> Result<MobilityRow, ParseError> {
    let (node, zone, rest) = place(line)?;
    let rest = after(rest, ", type ", "type")?.trim_start();
    let (mobility, counts) = split(rest, " ", "a kind")?;
    let counts = counts.split_whitespace().map(|word| word.trim_start_matches('>'));
    Ok(MobilityRow {
        node,
        zone,
        mobility: String::from(mobility),
        free: counts
            .map(|word| number(word, "a count"))
            .collect::<Result<_, _>>()?,
    })
}

fn zone_blocks(line: &str) -> Result<ZoneBlocks, ParseError> {
    let (node, zone, counts) = place(line)?;
    Ok(ZoneBlocks {
        node,
        zone,
        blocks: counts
            .split_whitespace()
            .map(|word| number(word, "a count"))
            .collect::<Result<_, _>>()?,
    })
}
