//! Spaces of the kernel's own that are loaded for a moment.

use foliant_arch::{Entry, KernelFormat};
use foliant_phys::boot::Memblock;
use foliant_platform::Platform;
use foliant_units::{PhysAddr, VirtRange, VpnRange};

use super::error::EarlyError;
use super::tables::EarlyTables;

/// A root that has all that the kernel's has outside of `window`, and room for
/// mappings of its own inside: what is mapped there is present only while this
/// root is loaded. Tables are shared with the kernel's wherever no part of
/// the window is under them.
///
/// # Errors
/// [`EarlyError`].
///
/// # Linux source concept
/// `efi_alloc_page_tables()` and `efi_sync_low_kernel_mappings()`.
pub fn switched_root<F: KernelFormat, P: Platform>(
    tables: &mut EarlyTables<P>,
    memblock: &mut Memblock<P>,
    kernel: PhysAddr,
    window: VirtRange,
) -> Result<PhysAddr, EarlyError> {
    let root = tables.take_one(memblock)?.base();
    let top = F::GEOMETRY.top();
    for index in 0..F::GEOMETRY.entries(top) {
        tables.set_entry::<F>(root, index, tables.entry::<F>(kernel, index));
    }
    let pages = VpnRange::new(window.start.page(), window.end.page());
    for edge in [pages.start, pages.end - 1] {
        let (mut ours, mut theirs, mut level) = (root, kernel, top);
        // Down along the edge of the window: what lies partly inside is copied.
        while let Some(below) = F::GEOMETRY.below(level) {
            let range = F::GEOMETRY.entry_range(level, edge);
            let index = F::GEOMETRY.index(level, edge);
            let entry = tables.entry::<F>(theirs, index);
            let inside = pages.start <= range.start && range.end <= pages.end;
            if inside || !entry.is_table(level) {
                break;
            }
            theirs = entry.target(level);
            let mine = tables.entry::<F>(ours, index).target(level);
            // The other edge may have been here.
            ours = if mine == theirs {
                let copy = copied::<F, P>(tables, memblock, theirs, below)?;
                tables.set_entry::<F>(ours, index, F::link(copy, level));
                copy
            } else {
                mine
            };
            level = below;
        }
    }
    Ok(root)
}

fn copied<F: KernelFormat, P: Platform>(
    tables: &mut EarlyTables<P>,
    memblock: &mut Memblock<P>,
    from: PhysAddr,
    level: foliant_arch::Level,
) -> Result<PhysAddr, EarlyError> {
    let copy = tables.take_one(memblock)?.base();
    for index in 0..F::GEOMETRY.entries(level) {
        tables.set_entry::<F>(copy, index, tables.entry::<F>(from, index));
    }
    Ok(copy)
}

/// The root that other CPUs start with: the lowest addresses show the lowest
/// physical memory, as the direct map at `direct` does, and the kernel's image
/// is where it is. It must fit into 32 bits, because a CPU loads it before it
/// has more.
///
/// # Errors
/// [`EarlyError::Unaligned`] if `direct` does not begin a top-level entry,
/// [`EarlyError::NoRoom`] without a frame below 4 GiB.
///
/// # Linux source concept
/// `trampoline_pgd`, arch/x86/realmode/init.c.
pub fn trampoline_root<F: KernelFormat, P: Platform>(
    tables: &mut EarlyTables<P>,
    memblock: &mut Memblock<P>,
    kernel: PhysAddr,
    direct: VirtRange,
) -> Result<PhysAddr, EarlyError> {
    let top = F::GEOMETRY.top();
    if !direct.start.is_aligned_to(F::GEOMETRY.entry_span(top)) {
        return Err(EarlyError::Unaligned);
    }
    let root = tables.take_one(memblock)?.base();
    if root.raw() >> 32 != 0 {
        return Err(EarlyError::NoRoom);
    }
    let low = F::GEOMETRY.index(top, direct.start.page());
    tables.set_entry::<F>(root, 0, tables.entry::<F>(kernel, low));
    let last = F::GEOMETRY.entries(top) - 1;
    tables.set_entry::<F>(root, last, tables.entry::<F>(kernel, last));
    Ok(root)
}
