//! A descriptor as something to map.

use foliant_mm::FileMap;
use foliant_units::Errno;

use super::Ctx;
use crate::fd::Fd;
use crate::machine::UserMachine;

/// The file behind argument 4 of `mmap`.
///
/// # Errors
/// `BADF`; `NODEV` for what cannot be mapped.
pub(super) fn map_file<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<FileMap<M>, Errno> {
    let _open = ctx.task.files().table().get(Fd::new(ctx.int(4))?)?;
    Err(Errno::NODEV)
}
