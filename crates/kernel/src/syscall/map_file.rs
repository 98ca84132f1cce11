//! A descriptor as something to map.

use foliant_mm::{FileMap, FilePlacement};
use foliant_uapi::mman::Seals;
use foliant_units::Errno;

use super::Ctx;
use crate::fs::magic;
use crate::machine::UserMachine;

/// Kinds of file systems that align large mappings, and could map storage itself.
const ALIGNING: [i64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];
/// `ST_NOEXEC` of `statfs`.
const NOEXEC: i64 = 8;

/// The file behind argument 4 of `mmap`.
///
/// # Errors
/// `BADF`; `NODEV` for what cannot be mapped, `ACCES` if it is not open for
/// reading.
pub(super) fn map_file<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<FileMap<M>, Errno> {
    let open = ctx.open(4)?;
    let flags = open.flags();
    // Every mapping reads, so this comes before the question whether it can be mapped.
    if !flags.readable() {
        return Err(Errno::ACCES);
    }
    let mapping = open.mapping()?;
    let fs = open
        .file()
        .node()
        .and_then(|node| node.statfs().ok())
        .unwrap_or_default();
    let placement = match fs.kind {
        _ if mapping.object.is_shmem() || fs.kind == magic::TMPFS => FilePlacement::Shmem,
        kind if ALIGNING.contains(&kind) => FilePlacement::Huge,
        _ => FilePlacement::Ordinary,
    };
    Ok(FileMap {
        mapping,
        readable: true,
        writable: flags.writable(),
        noexec: fs.flags & NOEXEC != 0,
        append_only: false,
        mappable: true,
        refuses_sync: ALIGNING.contains(&fs.kind),
        placement,
        max_bytes: i64::MAX as u64,
        seals: open.file().seals().unwrap_or(Seals::empty()),
    })
}
