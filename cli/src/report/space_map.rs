//! The picture of an address space: one bar per mapping, gaps marked.

use super::chart::put;
use super::data::{Area, Process};
use super::html::escape;

const ROW: u64 = 18;
const BAR_LEFT: f64 = 330.0;
const BAR_WIDTH: f64 = 260.0;
const TEXT_LEFT: f64 = 610.0;
const WIDTH: u64 = 1100;

/// Draws the mappings of a process from the lowest address down the page.
/// Bars grow with the logarithm of the size: a space holds bytes and terabytes.
pub(super) fn draw(process: &Process) -> String {
    let rows = process.areas.len() as u64;
    let gaps = process
        .areas
        .windows(2)
        .filter(|pair| pair[0].end != pair[1].start)
        .count() as u64;
    let height = (rows + gaps) * ROW + 4;
    let mut svg = format!("<svg class='map' viewBox='0 0 {WIDTH} {height}' role='img'>");
    let mut y = 2;
    let mut end = None;
    for area in &process.areas {
        if let Some(end) = end.filter(|&end| end != area.start) {
            gap(&mut svg, y, area.start - end);
            y += ROW;
        }
        bar(&mut svg, y, area);
        y += ROW;
        end = Some(area.end);
    }
    svg.push_str("</svg>");
    svg
}

fn gap(svg: &mut String, y: u64, bytes: u64) {
    let base = y + 13;
    put(
        svg,
        format_args!(
            "<text class='gap' x='{BAR_LEFT}' y='{base}'>… {} unmapped …</text>",
            size(bytes)
        ),
    );
}

fn bar(svg: &mut String, y: u64, area: &Area) {
    let base = y + 13;
    let class = class(area);
    let width = width(area.size());
    let resident = width * (area.resident.min(area.size()) as f64 / area.size().max(1) as f64);
    let name = escape(&area.name);
    let faults: Vec<String> = area
        .faults
        .iter()
        .map(|count| format!("{} {}", count.count, count.name))
        .collect();
    let faults = escape(&faults.join(", "));
    put(
        svg,
        format_args!(
            "<g><title>{name}\n{} of {} resident\n{faults}</title>",
            size(area.resident * 1024),
            size(area.end - area.start)
        ),
    );
    put(
        svg,
        format_args!(
            "<text class='address' x='4' y='{base}'>{:x}-{:x} {}</text>",
            area.start,
            area.end,
            escape(&area.perms)
        ),
    );
    put(
        svg,
        format_args!("<rect class='{class} bar' x='{BAR_LEFT}' y='{y}' width='{width:.1}' height='14'/>"),
    );
    put(
        svg,
        format_args!("<rect class='{class}' x='{BAR_LEFT}' y='{y}' width='{resident:.1}' height='14'/>"),
    );
    let shown = size(area.end - area.start);
    put(
        svg,
        format_args!(
            "<text x='{TEXT_LEFT}' y='{base}'>{shown} {name} <tspan class='faults'>{faults}</tspan></text></g>"
        ),
    );
}

/// 4 KiB is a sliver, 1 GiB the whole width.
fn width(kib: u64) -> f64 {
    let logarithm = (kib.max(4) as f64 / 4.0).log2();
    (6.0 + logarithm * (BAR_WIDTH - 6.0) / 18.0).min(BAR_WIDTH)
}

fn class(area: &Area) -> &'static str {
    if area.name.starts_with("[stack") {
        "stack"
    } else if area.name.starts_with("[heap") {
        "heap"
    } else if area.perms.ends_with('s') {
        "shmem"
    } else if area.name.starts_with('/') {
        "file"
    } else {
        "anon"
    }
}

/// A number of bytes with a unit.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value.fract() == 0.0 {
        format!("{value} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_say_them() {
        assert_eq!(size(4096), "4 KiB");
        assert_eq!(size(1536 << 20), "1.5 GiB");
        assert_eq!(size(0), "0 B");
    }
}
