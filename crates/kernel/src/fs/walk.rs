//! From a path to a node.

use alloc::vec::Vec;

use super::kind::FileType;
use super::stat::FileStat;
use foliant_platform::Mmu;
use foliant_uapi::open::{OpenFlags, ResolveFlags};
use foliant_units::Errno;

use super::file::FileRef;
use super::node::{Caller, Link, NodeRef, OpenHow, Opened};
use super::path_file::PathFile;

/// Longest path in bytes, with its zero byte.
pub const PATH_MAX: usize = 4096;
/// Longest name in bytes.
pub const NAME_MAX: usize = 255;
/// Links that one path may lead through.
pub const MAX_LINKS: u32 = 40;

/// Whether a link in the last place is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Last {
    /// To where it leads.
    Follow,
    /// The link itself is meant, unless a slash comes after it.
    Keep,
}

/// The last component of a path, before it is looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Final {
    /// A plain name.
    Name(Vec<u8>),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// The path has no last component: `/`.
    Root,
}

/// The directory of a path's last component.
pub struct Parent<M: Mmu> {
    /// The directory; for `..` and `.`, where they are looked up.
    pub dir: NodeRef<M>,
    /// The component.
    pub last: Final,
    /// A slash follows, so it must be a directory.
    pub slash: bool,
}

/// A way of looking up paths: where from, and for whom.
///
/// # Linux source concept
/// `path_lookupat()`, fs/namei.c.
pub struct Walk<M: Mmu> {
    /// Where `/` is.
    pub root: NodeRef<M>,
    /// Where a relative path starts.
    pub start: NodeRef<M>,
    /// Whether `..` must stop at `root`, which is not the top of the tree.
    pub chrooted: bool,
    /// What it may not do on its way.
    pub bounds: ResolveFlags,
    /// Who looks.
    pub caller: Caller,
}

/// A walk on its way.
struct Steps<M: Mmu> {
    here: NodeRef<M>,
    rest: Vec<u8>,
    links: u32,
    /// Whether it has asked for the root so far.
    rooted: bool,
}

impl<M: Mmu> Walk<M> {
    /// The node that `path` names.
    ///
    /// # Errors
    /// `NOENT`, `NOTDIR`, `ACCES`, `LOOP`, `NAMETOOLONG`.
    pub fn node(&self, path: &[u8], last: Last) -> Result<NodeRef<M>, Errno> {
        let mut steps = self.begin(path)?;
        loop {
            let parent = self.parent_of(&mut steps)?;
            let name = match self.special(&parent)? {
                Ok(node) => return Ok(node),
                Err(name) => name,
            };
            let node = self.child(&parent.dir, &name)?;
            if node.kind() == FileType::Symlink && (last == Last::Follow || parent.slash) {
                if let Some(node) = self.follow(&mut steps, parent, node)? {
                    return Ok(node);
                }
                continue;
            }
            return directory_if(parent.slash, node);
        }
    }

    /// What `stat` tells of `path`: as [`node`](Walk::node), with one step less.
    ///
    /// # Errors
    /// As [`node`](Walk::node).
    pub fn stat(&self, path: &[u8], last: Last) -> Result<FileStat, Errno> {
        let mut steps = self.begin(path)?;
        let parent = self.parent_of(&mut steps)?;
        let name = match self.special(&parent)? {
            Ok(node) => return node.stat(),
            Err(name) => name,
        };
        let stat = parent.dir.stat_child(&name, self.caller)?;
        match FileType::of(stat.mode) {
            FileType::Symlink if last == Last::Follow || parent.slash => self.node(path, last)?.stat(),
            FileType::Directory => Ok(stat),
            _ if parent.slash => Err(Errno::NOTDIR),
            _ => Ok(stat),
        }
    }

    /// The directory of `path` and the name in it; links before the last
    /// component are followed.
    ///
    /// # Errors
    /// As [`node`](Walk::node).
    pub fn parent(&self, path: &[u8]) -> Result<Parent<M>, Errno> {
        let mut steps = self.begin(path)?;
        self.parent_of(&mut steps)
    }

    /// Opens `path`, making the file if the flags say so.
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub fn open(&self, path: &[u8], how: OpenHow) -> Result<FileRef<M>, Errno> {
        let create = how.flags.contains(OpenFlags::CREAT);
        let mut steps = self.begin(path)?;
        loop {
            let parent = self.parent_of(&mut steps)?;
            let name = match self.special(&parent)? {
                Ok(_) if create => return Err(Errno::ISDIR),
                Ok(node) => return open_node(node, how),
                Err(name) => name,
            };
            if create && parent.slash {
                return Err(Errno::ISDIR);
            }
            let how = if parent.slash {
                OpenHow {
                    flags: how.flags | OpenFlags::DIRECTORY,
                    ..how
                }
            } else {
                how
            };
            let link = if how.flags.contains(OpenFlags::PATH) {
                let node = self.child(&parent.dir, &name)?;
                let keep = how.flags.contains(OpenFlags::NOFOLLOW) && !parent.slash;
                if node.kind() != FileType::Symlink || keep {
                    return open_node(node, how);
                }
                node
            } else {
                self.may_open_child(&parent.dir, &name)?;
                match parent.dir.open_child(&name, how)? {
                    Opened::File(file) => return Ok(file),
                    Opened::Link(_) if how.flags.contains(OpenFlags::NOFOLLOW) && !parent.slash => {
                        return Err(Errno::LOOP);
                    }
                    Opened::Link(link) => link,
                }
            };
            if let Some(node) = self.follow(&mut steps, parent, link)? {
                return open_node(node, how);
            }
        }
    }

    fn begin(&self, path: &[u8]) -> Result<Steps<M>, Errno> {
        let here = match path.first() {
            None => return Err(Errno::NOENT),
            Some(b'/') if self.bounds.contains(ResolveFlags::BENEATH) => return Err(Errno::XDEV),
            Some(b'/') => self.root.clone(),
            Some(_) => self.start.clone(),
        };
        Ok(Steps {
            here,
            rest: path.to_vec(),
            links: 0,
            rooted: path[0] == b'/',
        })
    }

    /// Walks until one component is left.
    fn parent_of(&self, steps: &mut Steps<M>) -> Result<Parent<M>, Errno> {
        self.shortcut(steps)?;
        loop {
            let (name, slash, rest) = split_first(&steps.rest);
            if rest.is_empty() {
                let last = match name {
                    b"" => Final::Root,
                    b"." => Final::Dot,
                    b".." => Final::DotDot,
                    _ if name.len() > NAME_MAX => return Err(Errno::NAMETOOLONG),
                    _ => Final::Name(name.to_vec()),
                };
                return Ok(Parent {
                    dir: steps.here.clone(),
                    last,
                    slash,
                });
            }
            let name = name.to_vec();
            steps.rest = rest.to_vec();
            self.step(steps, &name)?;
        }
    }

    /// Lets the directory pass over all components but the last at once.
    fn shortcut(&self, steps: &mut Steps<M>) -> Result<(), Errno> {
        let path = trim_slashes(&steps.rest);
        let end = path.len() - path.iter().rev().take_while(|&&byte| byte == b'/').count();
        let Some(cut) = path[..end].iter().rposition(|&byte| byte == b'/') else {
            return Ok(());
        };
        let plain = !path[..cut]
            .split(|&byte| byte == b'/')
            .any(|name| name == b"." || name == b"..");
        if !plain {
            return Ok(());
        }
        if self.bounds.is_empty()
            && let Some(found) = steps.here.descend(&path[..cut])
        {
            steps.here = found?;
            steps.rest = path[cut + 1..].to_vec();
        }
        Ok(())
    }

    /// One component that others come after.
    fn step(&self, steps: &mut Steps<M>, name: &[u8]) -> Result<(), Errno> {
        match name {
            b"." => return directory_if(true, steps.here.clone()).map(drop),
            b".." => {
                steps.here = self.above(&steps.here)?;
                steps.rooted = true;
                return Ok(());
            }
            _ if name.len() > NAME_MAX => return Err(Errno::NAMETOOLONG),
            _ => {}
        }
        let node = self.child(&steps.here, name)?;
        if node.kind() != FileType::Symlink {
            steps.here = directory_if(true, node)?;
            return Ok(());
        }
        self.count_link(steps)?;
        match node.link(self.caller)? {
            Link::Node(node) => {
                self.may_jump(&steps.here, &node)?;
                steps.here = directory_if(true, node)?;
            }
            Link::Text(text) => self.splice(steps, &text)?,
        }
        Ok(())
    }

    /// A link in the last place: the node if it leads there at once, or `None`
    /// and the walk goes on with its text.
    fn follow(
        &self,
        steps: &mut Steps<M>,
        at: Parent<M>,
        link: NodeRef<M>,
    ) -> Result<Option<NodeRef<M>>, Errno> {
        self.count_link(steps)?;
        match link.link(self.caller)? {
            Link::Node(node) => {
                self.may_jump(&at.dir, &node)?;
                directory_if(at.slash, node).map(Some)
            }
            Link::Text(text) => {
                steps.here = at.dir;
                steps.rest = if at.slash { b"/".to_vec() } else { Vec::new() };
                self.splice(steps, &text)?;
                Ok(None)
            }
        }
    }

    fn count_link(&self, steps: &mut Steps<M>) -> Result<(), Errno> {
        steps.links += 1;
        if steps.links > MAX_LINKS || self.bounds.contains(ResolveFlags::NO_SYMLINKS) {
            Err(Errno::LOOP)
        } else {
            Ok(())
        }
    }

    /// Puts the text of a link before what is left.
    fn splice(&self, steps: &mut Steps<M>, text: &[u8]) -> Result<(), Errno> {
        if text.is_empty() {
            return Err(Errno::NOENT);
        }
        if text[0] == b'/' {
            steps.here = self.may_restart(&steps.here, core::mem::replace(&mut steps.rooted, true))?;
        }
        let mut rest = text.to_vec();
        if !steps.rest.is_empty() && steps.rest[0] != b'/' {
            rest.push(b'/');
        }
        rest.extend_from_slice(&steps.rest);
        steps.rest = rest;
        self.shortcut(steps)
    }

    fn above(&self, node: &NodeRef<M>) -> Result<NodeRef<M>, Errno> {
        if self.chrooted && same(node, &self.root)? {
            return Ok(self.root.clone());
        }
        let parent = self.may_leave(node)?.parent()?;
        self.may_cross(node, &parent)?;
        Ok(parent)
    }

    /// Components that are not names lead to their directory at once.
    fn special(&self, parent: &Parent<M>) -> Result<Result<NodeRef<M>, Vec<u8>>, Errno> {
        match &parent.last {
            Final::Name(name) => Ok(Err(name.clone())),
            Final::Root | Final::Dot => directory_if(true, parent.dir.clone()).map(Ok),
            Final::DotDot => self.above(&parent.dir).map(Ok),
        }
    }
}

/// Opens a node that was found, without another lookup.
fn open_node<M: Mmu>(node: NodeRef<M>, how: OpenHow) -> Result<FileRef<M>, Errno> {
    if how.flags.contains(OpenFlags::DIRECTORY) && node.kind() != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    if how.flags.contains(OpenFlags::PATH) {
        return Ok(alloc::sync::Arc::new(PathFile::new(node)));
    }
    node.open(how)
}

pub(super) fn same<M: Mmu>(a: &NodeRef<M>, b: &NodeRef<M>) -> Result<bool, Errno> {
    let (a, b) = (a.stat()?, b.stat()?);
    Ok(a.dev == b.dev && a.ino == b.ino)
}

fn directory_if<M: Mmu>(wanted: bool, node: NodeRef<M>) -> Result<NodeRef<M>, Errno> {
    if wanted && node.kind() != FileType::Directory {
        Err(Errno::NOTDIR)
    } else {
        Ok(node)
    }
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|&&byte| byte == b'/').count();
    &path[slashes..]
}

/// The first component, whether a slash follows it, and what comes after.
fn split_first(path: &[u8]) -> (&[u8], bool, &[u8]) {
    let path = trim_slashes(path);
    match path.iter().position(|&byte| byte == b'/') {
        Some(end) => (&path[..end], true, trim_slashes(&path[end..])),
        None => (path, false, b""),
    }
}
