//! `memfd_create(2)`: a file that no directory knows.

use alloc::sync::Arc;

use foliant_mm::Object;
use foliant_uapi::mman::Seals;
use foliant_uapi::time::Timespec;
use foliant_units::Errno;

use super::dentry::Dentry;
use super::file::TmpFile;
use super::inode::{Body, Inode};
use crate::fs::FileRef;
use crate::kernel::Kernel;
use crate::machine::UserMachine;

/// The device of the mount that nobody sees.
const DEV: u64 = 1;

/// An empty file called `name` for who looks at it.
///
/// # Errors
/// Those of adding seals.
///
/// # Linux source concept
/// `memfd_create()`, mm/memfd.c.
pub(crate) fn create<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    name: &[u8],
    seals: Seals,
    mode: u32,
    owner: (u32, u32),
) -> Result<FileRef<M>, Errno> {
    let object = Object::shmem(kernel.memory(), 0);
    object.add_seals(seals.bits())?;
    let machine = kernel.machine().clone();
    let clock = Arc::new(move || Timespec::from_nanos(machine.realtime().0));
    let number = kernel.files().next_number();
    let inode = Inode::new(Body::File(object), (DEV, number), mode, owner, clock);
    let path = [b"/memfd:", name, b" (deleted)"].concat();
    Ok(TmpFile::nameless(Dentry::nameless(inode, path)))
}
