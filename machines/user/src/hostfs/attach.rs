//! Giving a kernel the host's files.

use std::sync::Arc;

use foliant_kernel::dev::DevDirectory;
use foliant_kernel::fs::{Caller, Node};
use foliant_kernel::tmpfs::{self, Mount};
use foliant_kernel::{Kernel, UserMachine, procfs, sysfs};
use foliant_units::Errno;

use super::HostSockets;
use super::fs::HostFs;
use super::watches::HostWatches;

/// Gives `kernel` the host's tree, with the machine's own `/proc`, `/sys` and
/// `/dev` (with `/dev/shm`) over it, and the host's sockets. To be called once, before the first
/// program starts. Returns the machine's shared memory.
///
/// # Errors
/// If the host's root cannot be opened.
pub fn attach<M: UserMachine>(kernel: &Arc<Kernel<M>>, fs: &Arc<HostFs<M>>) -> Result<Mount<M>, Errno> {
    let root = fs.root()?;
    let mut covers = Vec::new();
    let top = root.clone();
    let above = move || top.lookup(b"dev", Caller::MACHINE);
    let shm = tmpfs::mount(kernel, b"/dev/shm", (0, 0), above);
    covers.push(("/dev/shm", shm.root()));
    if let Ok(dev) = fs.directory("/dev") {
        let dev: Arc<dyn Node<M>> = DevDirectory::new(kernel.memory(), dev, Some(shm.root()));
        covers.push(("/dev", dev));
    }
    covers.push((
        "/proc",
        procfs::root(kernel, fs.directory("/proc").ok(), root.clone()),
    ));
    covers.push((
        "/sys",
        sysfs::root(kernel, fs.directory("/sys").ok(), root.clone()),
    ));
    fs.cover(covers);
    kernel.files().set_root(root);
    kernel.files().set_sockets(Arc::new(HostSockets::new(fs.clone())));
    let to_watch = Arc::downgrade(fs);
    kernel.files().set_watches(move || {
        let fs = to_watch.upgrade().ok_or(Errno::IO)?;
        HostWatches::open(&fs)
    });
    let to_sync = Arc::downgrade(fs);
    kernel.files().set_sync(move || {
        if let Some(fs) = to_sync.upgrade() {
            fs.sync();
            rustix::fs::sync();
        }
    });
    Ok(shm)
}
