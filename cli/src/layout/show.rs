//! A layout as a table, and one address in words.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use foliant_arch::layout::{Layout, Region, Source};
use foliant_units::VirtAddr;

/// All regions.
pub(super) fn table(layout: &Layout) -> String {
    let digits = (layout.bits.next_power_of_two().max(32) / 4) as usize;
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(["start", "end", "size", "region", ""]);
    for region in layout.regions() {
        table.add_row([
            format!("{:0digits$x}", region.start.raw()),
            format!("{:0digits$x}", region.last.raw()),
            size(region.last_offset()),
            region.name.to_owned(),
            about(region),
        ]);
    }
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut out = String::new();
    for line in table.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn about(region: &Region) -> String {
    match region.source {
        Source::Switched => format!("{}, present only while its own tables are loaded", region.about),
        Source::User | Source::Guard | Source::Hole | Source::Linear | Source::Dynamic => {
            region.about.to_owned()
        }
    }
}

/// One address.
pub(super) fn address(at: VirtAddr, region: &Region) -> String {
    let mut out = format!("{:#x} is in {}: {}\n", at, region.name, about(region));
    let (start, last) = (region.start.raw(), region.last.raw());
    let offset = at.raw() - start;
    let _fits = writeln!(
        out,
        "  {start:#x} to {last:#x}, {} bytes ({offset:#x}) from its start",
        offset
    );
    if region.source == Source::Linear {
        let _fits = writeln!(out, "  shows physical address {offset:#x}");
    }
    out
}

/// The bytes of a region whose last byte is `last` from its first, rounded to
/// the unit that fits.
fn size(last: u64) -> String {
    let bytes = u128::from(last) + 1;
    let units = [
        (60, "EB"),
        (50, "PB"),
        (40, "TB"),
        (30, "GB"),
        (20, "MB"),
        (10, "kB"),
    ];
    for (shift, unit) in units {
        if bytes >> shift > 0 {
            let hundredths = ((bytes * 100) + (1 << shift >> 1)) >> shift;
            let about = if hundredths << shift == bytes * 100 {
                ""
            } else {
                "~"
            };
            let (whole, rest) = (hundredths / 100, hundredths % 100);
            return match rest {
                0 => format!("{about}{whole} {unit}"),
                _ => format!(
                    "{about}{} {unit}",
                    format!("{whole}.{rest:02}").trim_end_matches('0')
                ),
            };
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_in_the_largest_unit_that_fits() {
        assert_eq!(size((64 << 40) - 1), "64 TB");
        assert_eq!(size((1 << 39) - 1), "512 GB");
        assert_eq!(size(4095), "4 kB");
        assert_eq!(size((1520 << 20) - 1), "~1.48 GB");
        assert_eq!(size((128 << 40) - 4097), "~128 TB");
        assert_eq!(size(u64::MAX), "16 EB");
    }
}
