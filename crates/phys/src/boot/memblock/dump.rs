//! Memblock as text.

use core::fmt;

use super::lists::Memblock;
use super::region::Region;

/// As `memblock=debug` prints it.
///
/// # Linux source concept
/// `memblock_dump_all()`.
impl<P> fmt::Display for Memblock<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "MEMBLOCK configuration:")?;
        writeln!(
            f,
            " memory size = {:#018x} reserved size = {:#018x}",
            self.total(),
            self.total_reserved()
        )?;
        list(f, "memory", self.memory())?;
        list(f, "reserved", self.reserved_regions())
    }
}

fn list(f: &mut fmt::Formatter<'_>, name: &str, regions: &[Region]) -> fmt::Result {
    writeln!(f, " {name}.cnt  = {:#x}", regions.len())?;
    for (at, region) in regions.iter().enumerate() {
        writeln!(
            f,
            " {name}[{at:#x}]\t[{:#018x}-{:#018x}], {:#018x} bytes flags: {:#x}",
            region.range.start,
            region.range.end - 1,
            region.range.len(),
            region.attributes.bits()
        )?;
    }
    Ok(())
}
