//! What the calls of files share: arguments, descriptors, paths, waiting.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_platform::Nanos;
use foliant_uapi::open::{AT_FDCWD, OpenFlags};
use foliant_uapi::{FromBytes, Immutable, IntoBytes};
use foliant_units::{Errno, VirtAddr};

use crate::fd::{Fd, OpenRef};
use crate::fs::{Caller, FileRef, Last, Node, NodeRef, OpenFile, PATH_MAX, UserMemory, Walk};
use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::park::{Interrupt, WaitError};
use crate::space::Space;
use crate::syscall::{Ctx, Fail};
use crate::task::Task;
use crate::user::Copier;

/// The memory of a process, as files see it.
pub(crate) struct Memory<M: UserMachine> {
    kernel: Arc<Kernel<M>>,
    task: Arc<Task<M>>,
    space: Arc<Space<M>>,
}

impl<M: UserMachine> UserMemory for Memory<M> {
    fn copy_to(&self, at: VirtAddr, bytes: &[u8]) -> usize {
        self.copier()
            .copy_out(at, bytes)
            .map_or_else(|error| error.done, |()| bytes.len())
    }

    fn copy_from(&self, at: VirtAddr, bytes: &mut [u8]) -> usize {
        let len = bytes.len();
        self.copier()
            .copy_in(at, bytes)
            .map_or_else(|error| error.done, |()| len)
    }
}

impl<M: UserMachine> Memory<M> {
    fn copier(&self) -> Copier<'_, M> {
        Copier {
            kernel: &self.kernel,
            task: &self.task,
            space: &self.space,
        }
    }

    pub(crate) fn dynamic(&self) -> &dyn UserMemory {
        self
    }

    /// Writes a structure.
    pub(crate) fn put<T: IntoBytes + Immutable>(&self, at: VirtAddr, value: &T) -> Result<(), Errno> {
        self.dynamic().put(at, value.as_bytes())
    }

    /// Reads a structure.
    pub(crate) fn get<T: FromBytes + IntoBytes>(&self, at: VirtAddr) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        self.dynamic().fill(at, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Reads a path.
    pub(crate) fn path(&self, at: VirtAddr) -> Result<Vec<u8>, Errno> {
        self.dynamic().string(at, PATH_MAX)
    }
}

impl<M: UserMachine> Ctx<'_, M> {
    /// The caller's memory.
    pub(crate) fn memory(&self) -> Result<Memory<M>, Errno> {
        Ok(Memory {
            kernel: self.kernel.clone(),
            task: self.task.clone(),
            space: self.space()?,
        })
    }

    /// Argument `at` as an address.
    pub(crate) fn ptr(&self, at: usize) -> VirtAddr {
        VirtAddr::new(self.args[at])
    }

    /// Whether the caller may do what only the administrator may.
    pub(crate) fn is_privileged(&self) -> bool {
        self.task.creds().has(crate::creds::Capability::SysAdmin)
    }

    /// The user and group that own what the caller makes.
    pub(crate) fn owner(&self) -> (u32, u32) {
        let creds = self.task.creds();
        (creds.uid.files, creds.gid.files)
    }

    /// Argument `at` as a number of bytes.
    pub(crate) fn len(&self, at: usize) -> usize {
        self.args[at] as usize
    }

    /// The path that argument `at` points to.
    pub(crate) fn path(&self, at: usize) -> Result<Vec<u8>, Errno> {
        self.memory()?.path(self.ptr(at))
    }

    /// The open file that argument `at` names; not one of `O_PATH`.
    pub(crate) fn open(&self, at: usize) -> Result<OpenRef<M>, Errno> {
        let open = self.any_open(at)?;
        if open.flags().contains(OpenFlags::PATH) {
            Err(Errno::BADF)
        } else {
            Ok(open)
        }
    }

    /// The open file that argument `at` names, perhaps of `O_PATH`.
    pub(crate) fn any_open(&self, at: usize) -> Result<OpenRef<M>, Errno> {
        self.task.files().table().get(Fd::new(self.int(at))?)
    }

    /// How many descriptors the process may have.
    pub(crate) fn fd_limit(&self) -> u64 {
        self.task
            .process()
            .limit(foliant_uapi::resource::Resource::Nofile)
    }

    /// Gives `file` a descriptor.
    pub(crate) fn install(&self, file: FileRef<M>, flags: OpenFlags) -> Result<u64, Errno> {
        let cloexec = flags.contains(OpenFlags::CLOEXEC);
        let open = OpenFile::new(file, flags);
        let fd = self.task.files().table().add(open, cloexec, 0, self.fd_limit())?;
        Ok(u64::from(fd.raw()))
    }

    /// Who looks names up.
    pub(crate) fn caller(&self) -> Caller {
        crate::exec::caller(self.task)
    }

    /// How to look up `path` relative to the directory descriptor `dir`.
    pub(crate) fn walk(&self, dir: i32, path: &[u8]) -> Result<Walk<M>, Errno> {
        let context = self.task.files().context();
        let start = if path.first() == Some(&b'/') || dir == AT_FDCWD {
            context.cwd()
        } else {
            let open = self.task.files().table().get(Fd::new(dir)?)?;
            open.file().node().ok_or(Errno::NOTDIR)?
        };
        let (root, chrooted) = (context.root(), context.is_chrooted());
        Ok(Walk {
            root,
            start,
            chrooted,
            bounds: foliant_uapi::open::ResolveFlags::empty(),
            caller: self.caller(),
        })
    }

    /// The node that the path at argument `at` names, relative to `dir`; with
    /// `empty`, an empty path is `dir` itself.
    pub(crate) fn node_at(&self, dir: i32, at: usize, last: Last, empty: bool) -> Result<NodeRef<M>, Errno> {
        let path = if empty && self.args[at] == 0 {
            Vec::new()
        } else {
            self.path(at)?
        };
        if empty && path.is_empty() {
            return self.node_of(dir);
        }
        self.walk(dir, &path)?.node(&path, last)
    }

    /// The node behind a descriptor.
    pub(crate) fn node_of(&self, dir: i32) -> Result<NodeRef<M>, Errno> {
        if dir == AT_FDCWD {
            return Ok(self.task.files().context().cwd());
        }
        let open = self.task.files().table().get(Fd::new(dir)?)?;
        Ok(open.file().node().unwrap_or_else(|| unnamed(open.file().clone())))
    }

    /// Runs `attempt` until it answers something else than `AGAIN`; between
    /// attempts the task waits for `file`, if `blocking`.
    pub(crate) fn wait_for<R>(
        &self,
        file: &FileRef<M>,
        blocking: bool,
        until: Option<Nanos>,
        mut attempt: impl FnMut() -> Result<R, Errno>,
    ) -> Result<R, Fail<M>> {
        if !blocking {
            return Ok(attempt()?);
        }
        let mut again = || match attempt() {
            Err(Errno::AGAIN) => None,
            answer => Some(answer),
        };
        if let Some(answer) = again() {
            return Ok(answer?);
        }
        let queue = file.queue().ok_or(Errno::AGAIN)?;
        match queue.wait(self.task.parker(), Interrupt::BySignal, until, again) {
            Ok(answer) => Ok(answer?),
            Err(WaitError::Timeout) => Err(Errno::AGAIN.into()),
            Err(WaitError::Signal) => Err(WaitError::Signal.into()),
        }
    }
}

/// A node for a file without a name.
fn unnamed<M: UserMachine>(file: FileRef<M>) -> NodeRef<M> {
    let node: Arc<dyn Node<M>> = Arc::new(crate::fs::FileNode::new(file));
    node
}
