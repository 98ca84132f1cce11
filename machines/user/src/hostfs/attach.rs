//! Giving a kernel the host's files.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use foliant_kernel::dev::DevDirectory;
use foliant_kernel::fd::Fd;
use foliant_kernel::fs::{OpenFile, TaskFiles};
use foliant_kernel::{Kernel, UserMachine, procfs, sysfs};
use foliant_uapi::open::OpenFlags;
use foliant_units::Errno;

use super::HostSockets;
use super::convert::errno;
use super::fs::HostFs;

/// Descriptors that the supervisor got from whoever started it, and passes on.
pub struct Inherited {
    files: Vec<(u32, OwnedFd)>,
    umask: u32,
}

/// Highest descriptor that is looked at.
const LAST: i32 = 1023;

impl Inherited {
    /// Takes copies of all descriptors that are open and not marked to be
    /// closed by exec, and the umask. To be called first of all, before
    /// anything else opens descriptors.
    pub fn take() -> Self {
        // The machine's files get their permissions from the machine's own umask.
        let umask = rustix::process::umask(rustix::fs::Mode::empty()).bits();
        let mut files = Vec::new();
        for raw in 0..=LAST {
            // SAFETY: the number is only asked about, and copied if it is open;
            // nothing is closed or written through it.
            let fd = unsafe { BorrowedFd::borrow_raw(raw) };
            let passes =
                rustix::io::fcntl_getfd(fd).is_ok_and(|flags| !flags.contains(rustix::io::FdFlags::CLOEXEC));
            if passes && let Ok(copy) = rustix::io::fcntl_dupfd_cloexec(fd, LAST + 1) {
                files.push((raw as u32, copy));
            } else if passes && let Ok(copy) = rustix::io::fcntl_dupfd_cloexec(fd, 3) {
                files.push((raw as u32, copy));
            }
        }
        Self { files, umask }
    }
}

/// Gives `kernel` the host's tree, with the machine's own `/proc`, `/sys` and
/// `/dev` over it, and the host's sockets. To be called once, before the first
/// program starts.
///
/// # Errors
/// If the host's root cannot be opened.
pub fn attach<M: UserMachine>(kernel: &Arc<Kernel<M>>, fs: &Arc<HostFs<M>>) -> Result<(), Errno> {
    let root = fs.root()?;
    let mut covers = Vec::new();
    if let Ok(dev) = fs.directory("/dev") {
        let dev: Arc<dyn foliant_kernel::fs::Node<M>> = DevDirectory::new(kernel.memory(), dev, None);
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
    Ok(())
}

/// The files of the first program: the working directory and the descriptors
/// of the supervisor.
///
/// # Errors
/// If the working directory cannot be opened.
pub fn first_files<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    fs: &Arc<HostFs<M>>,
    inherited: Inherited,
) -> Result<TaskFiles<M>, Errno> {
    let files = TaskFiles::rooted(kernel.files().root(), fs.directory(".")?);
    files.context().set_umask(inherited.umask);
    for (number, fd) in inherited.files {
        let flags = rustix::fs::fcntl_getfl(&fd).map_err(errno)?;
        let open = OpenFile::new(fs.adopt(fd)?, OpenFlags::from_bits_retain(flags.bits()));
        files
            .table()
            .replace(Fd::new(number as i32)?, open, false, u64::MAX)?;
    }
    Ok(files)
}
