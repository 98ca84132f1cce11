//! Walks over a tree in memory.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::sync::SpinLock;
use foliant_platform::testing::TestPlatform;
use foliant_uapi::stat::{Mode, Statfs};
use foliant_units::Errno;

use super::{
    Caller, FileRef, FileStat, FileType, Final, Last, Link, Node, NodeRef, OpenHow, Walk, magic,
    pseudo_statfs,
};

type Machine = TestPlatform<true>;

/// What stands at a place.
enum What {
    Directory(BTreeMap<&'static str, Arc<Thing>>),
    File,
    Link(&'static str),
}

struct Thing {
    me: Weak<Thing>,
    above: Above,
    number: u64,
    what: What,
}

/// The directory above, set once the tree is built.
type Above = SpinLock<Weak<Thing>>;

fn thing(number: u64, what: What) -> Arc<Thing> {
    let made = Arc::new_cyclic(|me: &Weak<Thing>| Thing {
        me: me.clone(),
        above: Above::new(me.clone()),
        number,
        what,
    });
    if let What::Directory(names) = &made.what {
        for below in names.values() {
            *below.above.lock() = Arc::downgrade(&made);
        }
    }
    made
}

impl Node<Machine> for Thing {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> FileType {
        match self.what {
            What::Directory(_) => FileType::Directory,
            What::File => FileType::Regular,
            What::Link(_) => FileType::Symlink,
        }
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        let mode = match self.what {
            What::Directory(_) => Mode::DIRECTORY,
            What::File => Mode::REGULAR,
            What::Link(_) => Mode::LINK,
        };
        Ok(FileStat {
            ino: self.number,
            mode: Mode(mode),
            ..FileStat::default()
        })
    }

    fn path(&self) -> Result<Vec<u8>, Errno> {
        Err(Errno::NOENT)
    }

    fn open(&self, _: OpenHow) -> Result<FileRef<Machine>, Errno> {
        Err(Errno::ACCES)
    }

    fn link(&self, _: Caller) -> Result<Link<Machine>, Errno> {
        match self.what {
            What::Link(text) => Ok(Link::Text(text.as_bytes().to_vec())),
            What::Directory(_) | What::File => Err(Errno::INVAL),
        }
    }

    fn lookup(&self, name: &[u8], _: Caller) -> Result<NodeRef<Machine>, Errno> {
        let What::Directory(names) = &self.what else {
            return Err(Errno::NOTDIR);
        };
        let name = core::str::from_utf8(name).map_err(|_| Errno::NOENT)?;
        names
            .get(name)
            .map(|found| found.clone() as NodeRef<Machine>)
            .ok_or(Errno::NOENT)
    }

    fn parent(&self) -> Result<NodeRef<Machine>, Errno> {
        let above = self.above.lock().upgrade().or_else(|| self.me.upgrade());
        above.map(|above| above as NodeRef<Machine>).ok_or(Errno::NOENT)
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        Ok(pseudo_statfs(magic::TMPFS))
    }
}

/// `/a/b/file`, and links at the top.
fn tree() -> Arc<Thing> {
    let file = thing(4, What::File);
    let b = thing(3, What::Directory(BTreeMap::from([("file", file)])));
    let a = thing(
        2,
        What::Directory(BTreeMap::from([("b", b), ("up", thing(10, What::Link("..")))])),
    );
    thing(
        1,
        What::Directory(BTreeMap::from([
            ("a", a),
            ("short", thing(11, What::Link("a/b"))),
            ("whole", thing(12, What::Link("/a/b/file"))),
            ("loop", thing(13, What::Link("loop"))),
            ("empty", thing(14, What::Link(""))),
        ])),
    )
}

fn walk(root: &Arc<Thing>, start: NodeRef<Machine>, chrooted: bool) -> Walk<Machine> {
    let caller = Caller {
        process: 1,
        thread: 1,
        ..Caller::MACHINE
    };
    Walk {
        root: root.clone(),
        start,
        chrooted,
        bounds: foliant_uapi::open::ResolveFlags::empty(),
        caller,
    }
}

fn number(root: &Arc<Thing>, path: &str, last: Last) -> Result<u64, Errno> {
    let found = walk(root, root.clone(), false).node(path.as_bytes(), last)?;
    found.stat().map(|stat| stat.ino)
}

#[test]
fn every_way_of_writing_a_path_leads_to_the_same_file() {
    let root = tree();
    for path in [
        "/a/b/file",
        "a//b/./file",
        "short/file",
        "whole",
        "a/up/a/b/file",
        "../../a/b/file",
    ] {
        assert_eq!(number(&root, path, Last::Follow), Ok(4), "{path}");
    }
}

#[test]
fn a_link_in_the_last_place_is_kept_only_without_a_slash() {
    let root = tree();
    assert_eq!(number(&root, "short", Last::Keep), Ok(11));
    assert_eq!(number(&root, "short/", Last::Keep), Ok(3));
    assert_eq!(number(&root, "whole/", Last::Keep), Err(Errno::NOTDIR));
}

#[test]
fn bad_paths_name_their_cause() {
    let root = tree();
    let long = "x".repeat(256);
    for (path, errno) in [
        ("", Errno::NOENT),
        ("none", Errno::NOENT),
        ("whole/x", Errno::NOTDIR),
        ("a/b/file/.", Errno::NOTDIR),
        ("loop", Errno::LOOP),
        ("empty", Errno::NOENT),
        (&long, Errno::NAMETOOLONG),
    ] {
        assert_eq!(number(&root, path, Last::Follow), Err(errno), "{path}");
    }
}

#[test]
fn nobody_leaves_a_changed_root() {
    let root = tree();
    let caller = Caller {
        process: 1,
        thread: 1,
        ..Caller::MACHINE
    };
    let a = root.lookup(b"a", caller).unwrap();
    let inside = Walk::<Machine> {
        root: a.clone(),
        start: a,
        chrooted: true,
        bounds: foliant_uapi::open::ResolveFlags::empty(),
        caller,
    };
    assert_eq!(
        inside
            .node(b"../../b/../..", Last::Follow)
            .unwrap()
            .stat()
            .unwrap()
            .ino,
        2
    );
}

#[test]
fn the_parent_of_a_new_name_is_found_without_it() {
    let root = tree();
    let parent = walk(&root, root.clone(), false).parent(b"short/new/").unwrap();
    assert_eq!(parent.dir.stat().unwrap().ino, 3);
    assert_eq!(parent.last, Final::Name(b"new".to_vec()));
    assert!(parent.slash);
    let dots = walk(&root, root.clone(), false).parent(b"a/..").unwrap();
    assert_eq!(dots.last, Final::DotDot);
}
