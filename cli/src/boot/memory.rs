//! What memory there is when the machine is up.

use foliant_arch::Level;
use foliant_phys::MemoryStats;
use foliant_phys::boot::{KernelImage, Log};
use foliant_units::PhysRange;

/// The line that begins with "Memory:".
///
/// # Linux source concept
/// `mem_init_print_info()`.
pub(super) fn line(
    log: &mut Log<'_>,
    stats: &MemoryStats,
    present: u64,
    image: &KernelImage,
    high: Option<u64>,
) {
    let kib = |frames: u64| frames << 2;
    let part = |range: PhysRange| range.len() >> 10;
    let highmem = high.map_or(String::new(), |frames| format!(", {}K highmem", kib(frames)));
    log.line(format_args!(
        "Memory: {}K/{}K available ({}K kernel code, {}K rwdata, {}K rodata, {}K init, {}K bss, \
         {}K reserved, 0K cma-reserved{highmem})",
        kib(stats.free),
        kib(present),
        part(image.text),
        part(image.data),
        part(image.rodata),
        part(image.init),
        part(image.bss),
        kib(present.saturating_sub(stats.total)),
    ));
}

/// How the direct map is made up, as in `/proc/meminfo`.
pub(super) fn direct_map(log: &mut Log<'_>, mapped: impl Fn(Level) -> u64, sizes: &[(Level, &str)]) {
    for (level, name) in sizes {
        log.line(format_args!("DirectMap{name}: {:>11} kB", mapped(*level) >> 10));
    }
}
