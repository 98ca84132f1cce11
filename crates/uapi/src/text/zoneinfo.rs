//! `/proc/zoneinfo`.

use alloc::string::String;
use alloc::vec::Vec;

use super::counters::Counters;
use super::scan::{ParseError, after, ascii, expected, lines, number, split};
use super::write::{Text, put};

/// One zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneinfoZone {
    /// Node.
    pub node: u32,
    /// Zone.
    pub zone: String,
    /// Counters of the node; they stand in its first populated zone only.
    pub node_stats: Counters,
    /// Free frames.
    pub free: u64,
    /// Temporary raise of the watermarks.
    pub boost: u64,
    /// Watermark.
    pub min: u64,
    /// Watermark.
    pub low: u64,
    /// Watermark.
    pub high: u64,
    /// Watermark.
    pub promo: u64,
    /// Frames from first to last.
    pub spanned: u64,
    /// Frames that exist.
    pub present: u64,
    /// Frames of the allocator.
    pub managed: u64,
    /// Frames of contiguous areas.
    pub cma: u64,
    /// Frames kept from allocations that could use a higher zone.
    pub protection: Vec<u64>,
    /// The rest, if the zone has frames.
    pub populated: Option<ZoneinfoPopulated>,
}

/// What only a zone with frames shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneinfoPopulated {
    /// Counters of the zone.
    pub stats: Counters,
    /// Per-CPU lists.
    pub pagesets: Vec<Pageset>,
    /// Whether reclaim has given the node up.
    pub node_unreclaimable: u64,
    /// First frame.
    pub start_pfn: u64,
}

/// Frames that one CPU keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pageset {
    /// CPU.
    pub cpu: u64,
    /// Frames now.
    pub count: u64,
    /// Most frames.
    pub high: u64,
    /// Frames moved at a time.
    pub batch: u64,
    /// Lowest value of `high`.
    pub high_min: u64,
    /// Highest value of `high`.
    pub high_max: u64,
    /// Changes after which counters are folded.
    pub stat_threshold: u64,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zoneinfo {
    /// Zones, by node.
    pub zones: Vec<ZoneinfoZone>,
}

impl Text for Zoneinfo {
    fn write(&self, out: &mut Vec<u8>) {
        for zone in &self.zones {
            zone.write(out);
        }
    }
}

impl ZoneinfoZone {
    fn write(&self, out: &mut Vec<u8>) {
        put!(out, "Node {}, zone {:>8}\n", self.node, self.zone);
        if !self.node_stats.is_empty() {
            out.extend_from_slice(b"  per-node stats\n");
            write_counters(&self.node_stats, out);
        }
        put!(out, "  pages free     {}\n", self.free);
        for (label, value) in [
            ("boost", self.boost),
            ("min", self.min),
            ("low", self.low),
            ("high", self.high),
            ("promo", self.promo),
            ("spanned", self.spanned),
            ("present", self.present),
            ("managed", self.managed),
            ("cma", self.cma),
        ] {
            put!(out, "        {label:<8} {value}\n");
        }
        out.extend_from_slice(b"        protection: (");
        for (at, frames) in self.protection.iter().enumerate() {
            put!(out, "{}{frames}", if at == 0 { "" } else { ", " });
        }
        out.extend_from_slice(b")\n");
        if let Some(populated) = &self.populated {
            populated.write(out);
        }
    }

    /// Takes `label value` of the first block, or the protections.
    fn accept(&mut self, line: &str) -> Result<(), ParseError> {
        if let Some(list) = line.strip_prefix("protection: (") {
            let list = list.strip_suffix(')').ok_or(expected("a closing parenthesis"))?;
            self.protection = list
                .split(", ")
                .map(|word| number(word, "a count"))
                .collect::<Result<_, _>>()?;
            return Ok(());
        }
        let (label, value) = split(line, " ", "a label")?;
        let field = match label {
            "boost" => &mut self.boost,
            "min" => &mut self.min,
            "low" => &mut self.low,
            "high" => &mut self.high,
            "promo" => &mut self.promo,
            "spanned" => &mut self.spanned,
            "present" => &mut self.present,
            "managed" => &mut self.managed,
            "cma" => &mut self.cma,
            _ => return Err(expected("a known label")),
        };
        *field = number(value, "a count")?;
        Ok(())
    }
}

impl ZoneinfoPopulated {
    fn write(&self, out: &mut Vec<u8>) {
        write_counters(&self.stats, out);
        out.extend_from_slice(b"  pagesets\n");
        for pageset in &self.pagesets {
            put!(out, "    cpu: {}\n", pageset.cpu);
            for (label, value) in [
                ("count:", pageset.count),
                ("high:", pageset.high),
                ("batch:", pageset.batch),
                ("high_min:", pageset.high_min),
                ("high_max:", pageset.high_max),
            ] {
                put!(out, "              {label:<9} {value}\n");
            }
            put!(out, "  vm stats threshold: {}\n", pageset.stat_threshold);
        }
        put!(
            out,
            "  {:<20} {}\n",
            "node_unreclaimable:",
            self.node_unreclaimable
        );
        put!(out, "  {:<20} {}\n", "start_pfn:", self.start_pfn);
    }

    /// Takes `label: value`.
    fn accept(&mut self, line: &str) -> Result<(), ParseError> {
        let (label, value) = split(line, ":", "a label and a colon")?;
        let value = number(value, "a count")?;
        match label {
            "node_unreclaimable" => self.node_unreclaimable = value,
            "start_pfn" => self.start_pfn = value,
            "cpu" => self.pagesets.push(Pageset {
                cpu: value,
                ..Pageset::default()
            }),
            _ => {
                let pageset = self.pagesets.last_mut().ok_or(expected("a CPU"))?;
                pageset.accept(label, value)?;
            }
        }
        Ok(())
    }
}

impl Pageset {
    fn accept(&mut self, label: &str, value: u64) -> Result<(), ParseError> {
        let field = match label {
            "count" => &mut self.count,
            "high" => &mut self.high,
            "batch" => &mut self.batch,
            "high_min" => &mut self.high_min,
            "high_max" => &mut self.high_max,
            "vm stats threshold" => &mut self.stat_threshold,
            _ => return Err(expected("a known label")),
        };
        *field = value;
        Ok(())
    }
}

fn write_counters(counters: &Counters, out: &mut Vec<u8>) {
    for (name, value) in counters.iter() {
        put!(out, "      {name:<12} {value}\n");
    }
}

/// Which part of a zone the lines belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    NodeStats,
    Pages,
    Populated,
}

impl Zoneinfo {
    /// Reads the file.
    ///
    /// # Errors
    /// A line that is something else.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut info = Self::default();
        let mut part = Part::Pages;
        for line in lines(text) {
            let line = ascii(line, "a line")?;
            if line.starts_with("Node ") {
                info.zones.push(title(line)?);
                part = Part::Pages;
                continue;
            }
            let zone = info.zones.last_mut().ok_or(expected("a zone"))?;
            part = accept(zone, line, part)?;
        }
        Ok(info)
    }
}

fn title(line: &str) -> Result<ZoneinfoZone, ParseError> {
    let (node, zone) = split(after(line, "Node ", "Node")?, ", zone ", "a zone")?;
    Ok(ZoneinfoZone {
        node: number(node, "a node")?,
        zone: String::from(zone.trim_start()),
        ..ZoneinfoZone::default()
    })
}

/// Takes one line and says to which part the next belongs.
fn accept(zone: &mut ZoneinfoZone, line: &str, part: Part) -> Result<Part, ParseError> {
    let counter = line.strip_prefix("      ").filter(|rest| !rest.starts_with(' '));
    let line = line.trim_start();
    if line == "per-node stats" {
        return Ok(Part::NodeStats);
    }
    if let Some(free) = line.strip_prefix("pages free ") {
        zone.free = number(free, "a count")?;
        return Ok(Part::Pages);
    }
    if let Some(counter) = counter {
        let (name, value) = split(counter, " ", "a counter")?;
        let value = number(value, "a count")?;
        if part == Part::NodeStats {
            zone.node_stats.push(name, value);
            return Ok(part);
        }
        zone.populated.get_or_insert_default().stats.push(name, value);
        return Ok(Part::Populated);
    }
    if line == "pagesets" {
        return Ok(Part::Populated);
    }
    match part {
        Part::Populated => zone.populated.get_or_insert_default().accept(line)?,
        Part::Pages | Part::NodeStats => zone.accept(line)?,
    }
    Ok(part)
}
