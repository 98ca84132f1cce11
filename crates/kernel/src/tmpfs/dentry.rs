//! A name of a file in memory.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;
use foliant_uapi::open::{OpenFlags, RenameFlags};
use foliant_uapi::stat::{Mode, Statfs};
use foliant_units::Errno;

use super::directory::Names;
use super::fifo::TmpFifo;
use super::file::TmpFile;
use super::inode::{Body, Inode};
use super::tree::Tree;
use crate::fs::{
    Access, Caller, FileRef, FileStat, FileType, Link, Node, NodeRef, OpenDirectory, OpenHow, Opened,
    SetAttr, XattrName, magic, pseudo_statfs,
};
use crate::pipe::Fifo;

/// A name, as long as somebody knows it: the directory that holds it, or who
/// has opened it.
///
/// # Linux source concept
/// `struct dentry`.
pub(super) struct Dentry<M: Mmu> {
    me: Weak<Self>,
    inode: Arc<Inode<M>>,
    tree: Option<Arc<Tree<M>>>,
    place: SpinLock<Place<M>>,
}

enum Place<M: Mmu> {
    Root,
    Named {
        parent: Weak<Dentry<M>>,
        name: Vec<u8>,
    },
    /// Never had a name (`O_TMPFILE`), and may get one; its path for who asks.
    Unnamed(Vec<u8>),
    /// Has none any more.
    Gone(Vec<u8>),
}

impl<M: Mmu> Dentry<M> {
    fn new(inode: Arc<Inode<M>>, tree: Option<Arc<Tree<M>>>, place: Place<M>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            inode,
            tree,
            place: SpinLock::new(place),
        })
    }

    /// The root of `tree`.
    pub(super) fn root(inode: Arc<Inode<M>>, tree: Arc<Tree<M>>) -> Arc<Self> {
        Self::new(inode, Some(tree), Place::Root)
    }

    /// A file that never has a name; `path` is what `/proc` calls it.
    pub(super) fn nameless(inode: Arc<Inode<M>>, path: Vec<u8>) -> Arc<Self> {
        Self::new(inode, None, Place::Gone(path))
    }

    /// Takes every name below this directory away.
    pub(super) fn clear(&self) {
        let mut left = alloc::vec![self.me.upgrade()];
        while let Some(dentry) = left.pop().flatten() {
            if let Body::Directory(names) = &dentry.inode.body {
                left.extend(names.drain().into_iter().map(Some));
            }
        }
    }

    pub(super) fn inode(&self) -> &Arc<Inode<M>> {
        &self.inode
    }

    fn this(&self) -> Result<Arc<Self>, Errno> {
        self.me.upgrade().ok_or(Errno::NOENT)
    }

    fn tree(&self) -> Result<&Arc<Tree<M>>, Errno> {
        self.tree.as_ref().ok_or(Errno::NOTDIR)
    }

    /// Whether names can be added: a directory that still has its own.
    fn living(&self) -> Result<&Names<M>, Errno> {
        let names = self.inode.names()?;
        match *self.place.lock() {
            Place::Gone(_) => Err(Errno::NOENT),
            _ => Ok(names),
        }
    }

    /// Gives `inode` the name `name` in this directory; the tree is locked.
    fn enter(&self, name: &[u8], inode: Arc<Inode<M>>) -> Result<Arc<Self>, Errno> {
        let names = self.living()?;
        if names.get(name).is_some() {
            return Err(Errno::EXIST);
        }
        let place = Place::Named {
            parent: self.me.clone(),
            name: name.to_vec(),
        };
        let child = Self::new(inode, self.tree.clone(), place);
        names.put(name, child.clone());
        if child.inode.kind() == FileType::Directory {
            child.inode.count_names(2);
            self.inode.count_names(1);
        } else {
            child.inode.count_names(1);
        }
        self.inode.touch();
        Ok(child)
    }

    /// Makes a file of the machine's own kind under `name`.
    fn make(&self, name: &[u8], body: Body<M>, mode: u32, caller: Caller) -> Result<Arc<Self>, Errno> {
        let tree = self.tree()?;
        let _changes = tree.changes.lock();
        self.inode.permit(caller, 3)?;
        let inode = tree.inode(body, mode, (caller.user, caller.group));
        self.enter(name, inode)
    }

    /// Notes that this name is gone; the tree is locked.
    fn vanish(&self) {
        let path = self.path().map(|path| [&path[..], b" (deleted)"].concat());
        // Its parent is locked with the tree, so it is there.
        *self.place.lock() = Place::Gone(path.unwrap_or_default());
        let directory = self.inode.kind() == FileType::Directory;
        self.inode.count_names(if directory { -2 } else { -1 });
    }

    /// Whether `caller` may take the name of `child` away from this directory.
    ///
    /// # Linux source concept
    /// `may_delete()` with `check_sticky()`.
    fn may_remove(&self, child: &Self, caller: Caller) -> Result<(), Errno> {
        self.inode.permit(caller, 3)?;
        let sticky = self.inode.mode() & 0o1000 != 0;
        let owned = [self.inode.owner().0, child.inode.owner().0].contains(&caller.user);
        if sticky && !owned && !caller.overrides {
            Err(Errno::PERM)
        } else {
            Ok(())
        }
    }

    /// Whether this directory is `other` or lies below it.
    fn is_below(&self, other: &Arc<Self>) -> bool {
        let mut here = self.me.upgrade();
        while let Some(dentry) = here {
            if Arc::ptr_eq(&dentry, other) {
                return true;
            }
            here = match &*dentry.place.lock() {
                Place::Named { parent, .. } => parent.upgrade(),
                _ => None,
            };
        }
        false
    }

    /// Moves `child` here under `name`; the tree is locked.
    fn adopt(&self, child: &Arc<Self>, name: &[u8]) -> Result<(), Errno> {
        let place = Place::Named {
            parent: self.me.clone(),
            name: name.to_vec(),
        };
        *child.place.lock() = place;
        let replaced = self.inode.names()?.put(name, child.clone());
        drop(replaced);
        child.inode.count_names(0);
        self.inode.touch();
        Ok(())
    }

    /// A file without a name in this directory (`O_TMPFILE`).
    fn unnamed(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        if !how.flags.writable() {
            return Err(Errno::INVAL);
        }
        self.inode.permit(how.caller, 3)?;
        let tree = self.tree()?;
        let inode = tree.file(how.mode, (how.caller.user, how.caller.group));
        let path = alloc::format!("/#{} (deleted)", inode.number).into_bytes();
        let path = [&self.path()?[..], &path].concat();
        let dentry = Self::new(inode, self.tree.clone(), Place::Unnamed(path));
        Ok(TmpFile::new(dentry, how.flags)?)
    }
}

/// The file in memory behind `node`, if it is one of the same mount.
fn own<'a, M: Mmu>(node: &'a NodeRef<M>, tree: &Arc<Tree<M>>) -> Result<&'a Dentry<M>, Errno> {
    let dentry: &Dentry<M> = (**node).as_any().downcast_ref().ok_or(Errno::XDEV)?;
    match &dentry.tree {
        Some(other) if Arc::ptr_eq(other, tree) => Ok(dentry),
        _ => Err(Errno::XDEV),
    }
}

impl<M: Mmu> Node<M> for Dentry<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> FileType {
        self.inode.kind()
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(self.inode.stat())
    }

    fn path(&self) -> Result<Vec<u8>, Errno> {
        let (parent, name) = match &*self.place.lock() {
            Place::Root => return Ok(self.tree()?.path.clone()),
            Place::Unnamed(path) | Place::Gone(path) => return Ok(path.clone()),
            Place::Named { parent, name } => (parent.clone(), name.clone()),
        };
        let above = parent.upgrade().ok_or(Errno::NOENT)?.path()?;
        Ok([&above[..], b"/", &name].concat())
    }

    fn open(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        let directory = self.kind() == FileType::Directory;
        if directory && how.flags.contains(OpenFlags::TMPFILE) {
            return self.unnamed(how);
        }
        if how.flags.contains(OpenFlags::DIRECTORY) && !directory {
            return Err(Errno::NOTDIR);
        }
        if directory && (how.flags.writable() || how.flags.contains(OpenFlags::CREAT)) {
            return Err(Errno::ISDIR);
        }
        let truncates = how.flags.contains(OpenFlags::TRUNC);
        let wanted = u32::from(how.flags.readable()) * 4 + u32::from(how.flags.writable() || truncates) * 2;
        self.inode.permit(how.caller, wanted)?;
        let this = self.this()?;
        if directory {
            return Ok(OpenDirectory::new(this, how.caller));
        }
        if let Body::Fifo(fifo) = &self.inode.body {
            return Ok(Arc::new(TmpFifo::new(this, fifo.open(how.flags)?)));
        }
        self.inode.object()?;
        let file = TmpFile::new(this, how.flags)?;
        if truncates {
            let _meanwhile = self.inode.writers.write()?;
            self.inode.resize(0)?;
        }
        Ok(file)
    }

    fn link(&self, _: Caller) -> Result<Link<M>, Errno> {
        match &self.inode.body {
            Body::Link(text) => Ok(Link::Text(text.clone())),
            Body::File(_) | Body::Directory(_) | Body::Fifo(_) => Err(Errno::INVAL),
        }
    }

    fn lookup(&self, name: &[u8], caller: Caller) -> Result<NodeRef<M>, Errno> {
        let names = self.inode.names()?;
        self.inode.permit(caller, 1)?;
        let found: NodeRef<M> = names.get(name).ok_or(Errno::NOENT)?;
        Ok(found)
    }

    fn parent(&self) -> Result<NodeRef<M>, Errno> {
        self.inode.names()?;
        let parent = match &*self.place.lock() {
            Place::Root => None,
            Place::Named { parent, .. } => Some(parent.clone()),
            Place::Unnamed(_) | Place::Gone(_) => return Err(Errno::NOENT),
        };
        match parent {
            None => self.tree()?.above(),
            Some(parent) => Ok(parent.upgrade().ok_or(Errno::NOENT)?),
        }
    }

    fn open_child(&self, name: &[u8], how: OpenHow) -> Result<Opened<M>, Errno> {
        let tree = self.tree()?;
        let changes = tree.changes.lock();
        self.inode.permit(how.caller, 1)?;
        let creates = how.flags.contains(OpenFlags::CREAT);
        if let Some(child) = self.inode.names()?.get(name) {
            drop(changes);
            if creates && how.flags.contains(OpenFlags::EXCL) {
                return Err(Errno::EXIST);
            }
            return match child.kind() {
                FileType::Symlink => Ok(Opened::Link(child)),
                _ => child.open(how).map(Opened::File),
            };
        }
        if !creates {
            return Err(Errno::NOENT);
        }
        self.inode.permit(how.caller, 3)?;
        let inode = tree.file(how.mode, (how.caller.user, how.caller.group));
        // Who makes a file may use it, whatever its permissions.
        Ok(Opened::File(TmpFile::new(self.enter(name, inode)?, how.flags)?))
    }

    fn make_directory(&self, name: &[u8], mode: u32, caller: Caller) -> Result<(), Errno> {
        self.make(name, Body::Directory(Names::default()), mode, caller)
            .map(drop)
    }

    fn make_node(&self, name: &[u8], mode: u32, _device: u64, caller: Caller) -> Result<(), Errno> {
        let tree = self.tree()?;
        let body = match mode & Mode::TYPE {
            Mode::REGULAR => tree.empty_file(),
            Mode::FIFO => Body::Fifo(Fifo::default()),
            // Sockets and devices with names are the host's.
            _ => return Err(Errno::PERM),
        };
        self.make(name, body, mode & 0o7777, caller).map(drop)
    }

    fn make_link(&self, name: &[u8], target: &[u8], caller: Caller) -> Result<(), Errno> {
        self.make(name, Body::Link(target.to_vec()), 0o777, caller)
            .map(drop)
    }

    fn add_name(&self, name: &[u8], node: &NodeRef<M>, caller: Caller) -> Result<(), Errno> {
        let tree = self.tree()?;
        let old = own(node, tree)?;
        let _changes = tree.changes.lock();
        self.inode.permit(caller, 3)?;
        if old.kind() == FileType::Directory {
            return Err(Errno::PERM);
        }
        let linkable = matches!(*old.place.lock(), Place::Unnamed(_));
        if old.inode.links() == 0 && !linkable {
            return Err(Errno::NOENT);
        }
        self.enter(name, old.inode.clone()).map(drop)
    }

    fn remove(&self, name: &[u8], directory: bool, caller: Caller) -> Result<(), Errno> {
        let tree = self.tree()?;
        let changes = tree.changes.lock();
        let names = self.inode.names()?;
        let child = names.get(name).ok_or(Errno::NOENT)?;
        self.may_remove(&child, caller)?;
        match (&child.inode.body, directory) {
            (Body::Directory(_), false) => return Err(Errno::ISDIR),
            (Body::File(_) | Body::Link(_) | Body::Fifo(_), true) => return Err(Errno::NOTDIR),
            (Body::Directory(below), true) if !below.is_empty() => return Err(Errno::NOTEMPTY),
            _ => {}
        }
        child.vanish();
        let taken = names.take(name);
        if directory {
            self.inode.count_names(-1);
        }
        self.inode.touch();
        drop(changes);
        // The last reference frees its pages: not under the lock.
        drop((child, taken));
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        to: &NodeRef<M>,
        new_name: &[u8],
        flags: u32,
        caller: Caller,
    ) -> Result<(), Errno> {
        let tree = self.tree()?;
        let to = own(to, tree)?;
        let flags = RenameFlags::from_bits(flags).ok_or(Errno::INVAL)?;
        let changes = tree.changes.lock();
        let child = self.inode.names()?.get(name).ok_or(Errno::NOENT)?;
        let target = to.living()?.get(new_name);
        self.may_remove(&child, caller)?;
        to.inode.permit(caller, 3)?;
        if flags.contains(RenameFlags::EXCHANGE) {
            return self.exchange((name, &child), to, (new_name, &target.ok_or(Errno::NOENT)?));
        }
        if !(flags - RenameFlags::NOREPLACE).is_empty() {
            return Err(Errno::INVAL);
        }
        if target.is_some() && flags.contains(RenameFlags::NOREPLACE) {
            return Err(Errno::EXIST);
        }
        if to.is_below(&child) {
            return Err(Errno::INVAL);
        }
        let directory = child.kind() == FileType::Directory;
        if let Some(target) = &target {
            if Arc::ptr_eq(&target.inode, &child.inode) {
                return Ok(());
            }
            to.may_remove(target, caller)?;
            to.may_replace(target, directory)?;
            target.vanish();
        }
        let taken = self.inode.names()?.take(name);
        to.adopt(&child, new_name)?;
        self.inode.touch();
        if directory {
            self.inode.count_names(-1);
            to.inode.count_names(if target.is_some() { 0 } else { 1 });
        }
        drop(changes);
        drop((taken, target));
        Ok(())
    }

    fn set(&self, change: SetAttr) -> Result<(), Errno> {
        self.inode.set(change)
    }

    fn access(&self, what: Access) -> Result<(), Errno> {
        // Who asks is not told; a file without any such bit is for nobody.
        let mode = self.inode.mode();
        let granted = (mode | mode >> 3 | mode >> 6) & 7 | 6;
        if what.mode & !granted == 0 {
            Ok(())
        } else {
            Err(Errno::ACCES)
        }
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        Ok(match &self.tree {
            Some(tree) => tree.statfs(),
            None => pseudo_statfs(magic::TMPFS),
        })
    }

    fn xattr(&self, name: XattrName<'_>) -> Result<Vec<u8>, Errno> {
        self.inode.xattr(name)
    }

    fn xattrs(&self) -> Result<Vec<u8>, Errno> {
        Ok(self.inode.xattrs())
    }

    fn set_xattr(&self, name: XattrName<'_>, value: &[u8], flags: u32) -> Result<(), Errno> {
        self.inode.set_xattr(name, value, flags)
    }

    fn remove_xattr(&self, name: XattrName<'_>) -> Result<(), Errno> {
        self.inode.remove_xattr(name)
    }
}

impl<M: Mmu> Dentry<M> {
    /// Whether what lies under a name may give way to a directory, or to
    /// something else.
    fn may_replace(&self, target: &Self, by_directory: bool) -> Result<(), Errno> {
        match (&target.inode.body, by_directory) {
            (Body::Directory(_), false) => Err(Errno::ISDIR),
            (Body::File(_) | Body::Link(_) | Body::Fifo(_), true) => Err(Errno::NOTDIR),
            (Body::Directory(below), true) if !below.is_empty() => Err(Errno::NOTEMPTY),
            _ => Ok(()),
        }
    }

    /// Two names change places; the tree is locked.
    fn exchange(
        &self,
        (name, child): (&[u8], &Arc<Self>),
        to: &Self,
        (new_name, target): (&[u8], &Arc<Self>),
    ) -> Result<(), Errno> {
        if to.is_below(child) || self.is_below(target) {
            return Err(Errno::INVAL);
        }
        to.adopt(child, new_name)?;
        self.adopt(target, name)?;
        let directory = |dentry: &Arc<Self>| i64::from(dentry.kind() == FileType::Directory);
        let change = directory(target) - directory(child);
        self.inode.count_names(change);
        to.inode.count_names(-change);
        Ok(())
    }
}
