//! What has a name.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use super::kind::FileType;
use super::stat::FileStat;
use foliant_platform::Mmu;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::stat::Statfs;
use foliant_uapi::time::Timespec;
use foliant_units::Errno;

use super::file::FileRef;

/// A place in the tree of names.
pub type NodeRef<M> = Arc<dyn Node<M>>;

/// Who looks something up: some names mean something else to everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The process, as `/proc/self` names it.
    pub process: i32,
    /// The thread, as `/proc/thread-self` names it.
    pub thread: i32,
    /// The user and the group that own what it makes.
    pub user: u32,
    /// See [`user`](Self::user).
    pub group: u32,
    /// Whether permissions of files do not bind it (`CAP_DAC_OVERRIDE`).
    pub overrides: bool,
}

impl Caller {
    /// The machine itself.
    pub const MACHINE: Self = Self {
        process: 0,
        thread: 0,
        user: 0,
        group: 0,
        overrides: true,
    };
}

/// What a symbolic link leads to.
pub enum Link<M: Mmu> {
    /// A path.
    Text(Vec<u8>),
    /// The very node, whatever its name (`/proc/PID/exe`).
    Node(NodeRef<M>),
}

/// How to open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenHow {
    /// Flags of `open(2)`.
    pub flags: OpenFlags,
    /// Permissions of a new file, after the umask.
    pub mode: u32,
    /// Who opens.
    pub caller: Caller,
}

/// What opening a name gave.
pub enum Opened<M: Mmu> {
    /// The file.
    File(FileRef<M>),
    /// A symbolic link, to be followed by the caller.
    Link(NodeRef<M>),
}

/// A time to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetTime {
    /// Leave it.
    Keep,
    /// The current time.
    Now,
    /// This time.
    To(Timespec),
}

/// A change of attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetAttr {
    /// Permissions.
    Mode(u32),
    /// Owner and group; `None` stays.
    Owner(Option<u32>, Option<u32>),
    /// Times of last access and of last change.
    Times(SetTime, SetTime),
    /// Length in bytes.
    Size(u64),
}

/// A question about permissions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Bits 4 read, 2 write, 1 execute; 0 asks for existence.
    pub mode: u32,
    /// Ask for the effective ids instead of the real ones.
    pub effective: bool,
}

/// The name of an extended attribute, without a zero byte.
pub type XattrName<'a> = &'a [u8];

/// A file, directory, link or device as its name reaches it.
///
/// # Linux source concept
/// `struct inode_operations` seen through a `struct path`.
pub trait Node<M: Mmu>: Any + Send + Sync {
    /// The concrete node, for file systems that look at one of their own.
    fn as_any(&self) -> &dyn Any;

    /// Its type.
    fn kind(&self) -> FileType;

    /// What `stat` tells.
    ///
    /// # Errors
    /// Those of the file system.
    fn stat(&self) -> Result<FileStat, Errno>;

    /// The absolute path, as `getcwd` prints it.
    ///
    /// # Errors
    /// `NOENT` if the name is gone.
    fn path(&self) -> Result<Vec<u8>, Errno>;

    /// Opens this very node (no name is looked up).
    ///
    /// # Errors
    /// `ACCES`, `ISDIR`, `NXIO` and others of `open(2)`.
    fn open(&self, how: OpenHow) -> Result<FileRef<M>, Errno>;

    /// Where a link leads; `caller` is who follows it.
    ///
    /// # Errors
    /// `INVAL` if it is no link.
    fn link(&self, _caller: Caller) -> Result<Link<M>, Errno> {
        Err(Errno::INVAL)
    }

    /// The text of a link, as `readlink` tells it.
    ///
    /// # Errors
    /// `INVAL` if it is no link.
    fn link_text(&self, caller: Caller) -> Result<Vec<u8>, Errno> {
        match self.link(caller)? {
            Link::Text(text) => Ok(text),
            Link::Node(node) => node.path(),
        }
    }

    /// The node called `name` in this directory; never `.` or `..`.
    ///
    /// # Errors
    /// `NOENT`, `NOTDIR`, `ACCES`.
    fn lookup(&self, _name: &[u8], _caller: Caller) -> Result<NodeRef<M>, Errno> {
        Err(Errno::NOTDIR)
    }

    /// What `stat` tells of the node called `name`, itself if it is a link.
    ///
    /// # Errors
    /// As [`lookup`](Node::lookup).
    fn stat_child(&self, name: &[u8], caller: Caller) -> Result<FileStat, Errno> {
        self.lookup(name, caller)?.stat()
    }

    /// Several names at once, if none of them is a link or needs anybody
    /// else's attention: a shortcut of [`lookup`](Node::lookup). `None` means:
    /// go step by step.
    fn descend(&self, _path: &[u8]) -> Option<Result<NodeRef<M>, Errno>> {
        None
    }

    /// The directory above; the root's is itself.
    ///
    /// # Errors
    /// `NOTDIR`, `NOENT`.
    fn parent(&self) -> Result<NodeRef<M>, Errno> {
        Err(Errno::NOTDIR)
    }

    /// Opens or makes the file called `name` in this directory, without
    /// following a link in its place.
    ///
    /// # Errors
    /// Those of `open(2)`.
    fn open_child(&self, name: &[u8], how: OpenHow) -> Result<Opened<M>, Errno> {
        let node = self.lookup(name, how.caller)?;
        if how.flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
            return Err(Errno::EXIST);
        }
        if node.kind() == FileType::Symlink {
            return Ok(Opened::Link(node));
        }
        node.open(how).map(Opened::File)
    }

    /// Makes a directory, node (`mode` with its type) or link (`target`).
    ///
    /// # Errors
    /// `EXIST`, `ACCES`, `ROFS`...
    fn make_directory(&self, _name: &[u8], _mode: u32, _caller: Caller) -> Result<(), Errno> {
        Err(Errno::PERM)
    }

    /// `mknod(2)`.
    ///
    /// # Errors
    /// `EXIST`, `PERM`...
    fn make_node(&self, _name: &[u8], _mode: u32, _device: u64, _caller: Caller) -> Result<(), Errno> {
        Err(Errno::PERM)
    }

    /// `symlink(2)`.
    ///
    /// # Errors
    /// `EXIST`, `PERM`...
    fn make_link(&self, _name: &[u8], _target: &[u8], _caller: Caller) -> Result<(), Errno> {
        Err(Errno::PERM)
    }

    /// Another name for `node`.
    ///
    /// # Errors
    /// `XDEV` if it lives elsewhere.
    fn add_name(&self, _name: &[u8], _node: &NodeRef<M>, _caller: Caller) -> Result<(), Errno> {
        Err(Errno::PERM)
    }

    /// Removes a name; `directory` says what it must be.
    ///
    /// # Errors
    /// `NOENT`, `ISDIR`, `NOTDIR`, `NOTEMPTY`...
    fn remove(&self, _name: &[u8], _directory: bool, _caller: Caller) -> Result<(), Errno> {
        Err(Errno::PERM)
    }

    /// Moves `name` to `to` under `new_name`; `flags` of `renameat2(2)`.
    ///
    /// # Errors
    /// `XDEV` if `to` lives elsewhere.
    fn rename(
        &self,
        _name: &[u8],
        _to: &NodeRef<M>,
        _new_name: &[u8],
        _flags: u32,
        _caller: Caller,
    ) -> Result<(), Errno> {
        Err(Errno::PERM)
    }

    /// Changes attributes.
    ///
    /// # Errors
    /// `PERM`, `ROFS`, ...
    fn set(&self, _change: SetAttr) -> Result<(), Errno> {
        Err(Errno::PERM)
    }

    /// Whether the caller may do it.
    ///
    /// # Errors
    /// `ACCES`, `ROFS`.
    fn access(&self, _what: Access) -> Result<(), Errno> {
        Ok(())
    }

    /// What the file system tells about itself.
    ///
    /// # Errors
    /// `NOSYS` if it tells nothing.
    fn statfs(&self) -> Result<Statfs, Errno>;

    /// The value of an attribute.
    ///
    /// # Errors
    /// `NODATA`, `OPNOTSUPP`.
    fn xattr(&self, _name: XattrName<'_>) -> Result<Vec<u8>, Errno> {
        Err(Errno::OPNOTSUPP)
    }

    /// All names of attributes, each with a zero byte behind it.
    ///
    /// # Errors
    /// `OPNOTSUPP`.
    fn xattrs(&self) -> Result<Vec<u8>, Errno> {
        Ok(Vec::new())
    }

    /// Sets an attribute; `flags` 1 it must be new, 2 it must exist.
    ///
    /// # Errors
    /// `EXIST`, `NODATA`, `OPNOTSUPP`.
    fn set_xattr(&self, _name: XattrName<'_>, _value: &[u8], _flags: u32) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// `NODATA`, `OPNOTSUPP`.
    fn remove_xattr(&self, _name: XattrName<'_>) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }
}
