//! The pass-through against a directory of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use foliant_kernel::fs::{
    Caller, FileRef, FileType, Last, LockOwner, NodeRef, OpenFile, OpenHow, SliceSink, SliceSource, Walk,
};
use foliant_kernel::socket::{Outgoing, SocketFactory, SocketKind, Wanted};
use foliant_mm::Env;
use foliant_phys::{BootOptions, MemoryMap, Phys};
use foliant_platform::testing::TestPlatform;
use foliant_uapi::io::Flock;
use foliant_uapi::open::OpenFlags;
use foliant_units::Errno;

use super::{HostFs, HostSockets};

type Machine = TestPlatform<true>;

const CALLER: Caller = Caller {
    process: 1,
    thread: 1,
    ..Caller::MACHINE
};

/// A directory that goes when the test ends, and a file system that shows it.
struct World {
    path: PathBuf,
    fs: Arc<HostFs<Machine>>,
    dir: NodeRef<Machine>,
}

impl World {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("foliant-hostfs-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let platform = Machine::new(16 << 20, 1);
        let map = MemoryMap::ram(platform.memory());
        let phys = Phys::boot(platform, &map, BootOptions::default()).unwrap();
        let fs = HostFs::new(Env::new(Arc::new(phys)).unwrap(), 256).unwrap();
        let dir = fs.directory(path.to_str().unwrap()).unwrap();
        Self { path, fs, dir }
    }

    fn walk(&self) -> Walk<Machine> {
        Walk {
            root: self.fs.root().unwrap(),
            start: self.dir.clone(),
            chrooted: false,
            bounds: foliant_uapi::open::ResolveFlags::empty(),
            caller: CALLER,
        }
    }

    fn try_open(&self, path: &str, flags: OpenFlags) -> Result<FileRef<Machine>, Errno> {
        self.walk().open(
            path.as_bytes(),
            OpenHow {
                flags,
                mode: 0o644,
                caller: CALLER,
            },
        )
    }

    fn open(&self, path: &str, flags: OpenFlags) -> Arc<OpenFile<Machine>> {
        OpenFile::new(self.try_open(path, flags).unwrap(), flags)
    }

    fn host(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn put(open: &OpenFile<Machine>, text: &str) -> usize {
    open.write(&mut SliceSource::new(text.as_bytes())).unwrap()
}

fn get(open: &OpenFile<Machine>, most: usize) -> String {
    let mut bytes = vec![0; most];
    let count = open.read(&mut SliceSink::new(&mut bytes)).unwrap();
    String::from_utf8(bytes[..count].to_vec()).unwrap()
}

const NEW: OpenFlags = OpenFlags::CREAT.union(OpenFlags::RDWR);

#[test]
fn what_is_written_is_on_the_host_at_once_and_read_back() {
    let world = World::new();
    let file = world.open("new", NEW);
    assert_eq!(put(&file, "hello world"), 11);
    assert_eq!(std::fs::read_to_string(world.host("new")).unwrap(), "hello world");
    assert_eq!(file.seek(6, 0), Ok(6));
    assert_eq!(get(&file, 100), "world");
    assert_eq!(get(&file, 100), "");
    assert_eq!(file.seek(-5, 2), Ok(6));
    assert_eq!(file.seek(-7, 1), Err(Errno::INVAL));
}

#[test]
fn two_opens_see_each_other() {
    let world = World::new();
    let one = world.open("both", NEW);
    let other = world.open("both", OpenFlags::RDWR | OpenFlags::APPEND);
    put(&one, "aaaa");
    assert_eq!(get(&other, 10), "aaaa");
    put(&other, "bb");
    assert_eq!(get(&one, 10), "bb");
    put(&one, "c");
    put(&other, "d");
    assert_eq!(std::fs::read_to_string(world.host("both")).unwrap(), "aaaabbcd");
}

#[test]
fn a_change_by_the_host_shows_at_the_next_open_and_at_the_end() {
    let world = World::new();
    std::fs::write(world.host("log"), "one").unwrap();
    let file = world.open("log", OpenFlags::empty());
    assert_eq!(get(&file, 10), "one");
    std::fs::write(world.host("log"), "onetwo").unwrap();
    assert_eq!(get(&file, 10), "two");
    drop(file);
    std::fs::write(world.host("log"), "uno---").unwrap();
    assert_eq!(get(&world.open("log", OpenFlags::empty()), 10), "uno---");
}

#[test]
fn truncation_by_open_and_by_call() {
    let world = World::new();
    std::fs::write(world.host("t"), "123456").unwrap();
    let keeps = world.open("t", OpenFlags::RDWR);
    assert_eq!(get(&keeps, 2), "12");
    keeps.file().truncate(4).unwrap();
    assert_eq!(get(&keeps, 10), "34");
    drop(world.open("t", OpenFlags::WRONLY | OpenFlags::TRUNC));
    assert_eq!(keeps.seek(0, 0), Ok(0));
    assert_eq!(get(&keeps, 10), "");
}

#[test]
fn links_lead_where_they_should() {
    let world = World::new();
    std::fs::create_dir_all(world.host("a/b")).unwrap();
    std::fs::write(world.host("a/b/file"), "x").unwrap();
    std::os::unix::fs::symlink("a/b", world.host("short")).unwrap();
    std::os::unix::fs::symlink("loop", world.host("loop")).unwrap();
    std::os::unix::fs::symlink("made", world.host("dangling")).unwrap();
    let walk = world.walk();
    assert_eq!(get(&world.open("short/file", OpenFlags::empty()), 9), "x");
    assert_eq!(
        get(&world.open("a/./../short/../b/file", OpenFlags::empty()), 9),
        "x"
    );
    assert_eq!(walk.node(b"short", Last::Keep).unwrap().kind(), FileType::Symlink);
    assert_eq!(
        walk.node(b"short/", Last::Keep).unwrap().kind(),
        FileType::Directory
    );
    assert_eq!(walk.node(b"loop", Last::Follow).err(), Some(Errno::LOOP));
    assert_eq!(walk.stat(b"a/b/file/", Last::Follow).err(), Some(Errno::NOTDIR));
    assert_eq!(walk.stat(b"a/none/file", Last::Follow).err(), Some(Errno::NOENT));
    assert_eq!(
        world.try_open("short", OpenFlags::NOFOLLOW).err(),
        Some(Errno::LOOP)
    );
    assert_eq!(
        world.try_open("dangling", NEW | OpenFlags::EXCL).err(),
        Some(Errno::EXIST)
    );
    drop(world.open("dangling", NEW));
    assert!(world.host("made").exists());
    assert_eq!(walk.node(b"/../..", Last::Follow).unwrap().path().unwrap(), b"/");
}

#[test]
fn a_directory_lists_every_name_once_in_small_steps() {
    let world = World::new();
    for number in 0..100 {
        std::fs::write(world.host(&format!("file-{number}")), "").unwrap();
    }
    let dir = world.open(".", OpenFlags::DIRECTORY);
    let mut names = std::collections::BTreeSet::new();
    loop {
        let bytes = dir.entries(100).unwrap();
        if bytes.is_empty() {
            break;
        }
        let mut at = 0;
        while at < bytes.len() {
            let len = u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]) as usize;
            let name = bytes[at + 19..at + len].split(|&byte| byte == 0).next().unwrap();
            assert!(names.insert(name.to_vec()));
            at += len;
        }
    }
    assert_eq!(names.len(), 102);
    assert_eq!(dir.entries(8).err(), None);
}

#[test]
fn record_locks_belong_to_processes_and_are_seen_by_others() {
    let world = World::new();
    let one = world.open("locked", NEW);
    let two = world.open("locked", OpenFlags::RDWR);
    let lock = Flock {
        kind: 1,
        len: 10,
        ..Flock::default()
    };
    let (first, second) = (LockOwner::Process(1), LockOwner::Process(2));
    one.file().lock(first, lock, false).unwrap();
    // The same process through another description is not in its own way.
    two.file().lock(first, lock, false).unwrap();
    assert_eq!(two.file().lock(second, lock, false).err(), Some(Errno::AGAIN));
    let found = two.file().lock(second, lock, true).unwrap().unwrap();
    assert_eq!((found.kind, found.pid), (1, 1));
    // Any descriptor that the process closes ends its locks.
    two.file().closed_by(1);
    two.file().lock(second, lock, false).unwrap();
}

#[test]
fn a_closed_file_keeps_no_lock_of_its_description() {
    let world = World::new();
    let one = world.open("flock", NEW);
    one.file().flock(Some(true)).unwrap();
    let two = world.open("flock", OpenFlags::RDWR);
    assert_eq!(two.file().flock(Some(true)).err(), Some(Errno::AGAIN));
    drop(one);
    two.file().flock(Some(true)).unwrap();
}

#[test]
fn a_pipe_of_the_host_says_again_until_there_is_something() {
    let world = World::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let reader = OpenFile::new(world.fs.adopt(reader.into()).unwrap(), OpenFlags::empty());
    let mut bytes = [0; 4];
    assert_eq!(
        reader.read(&mut SliceSink::new(&mut bytes)).err(),
        Some(Errno::AGAIN)
    );
    assert!(reader.file().queue().is_some());
    std::io::Write::write_all(&mut &writer, b"abc").unwrap();
    assert_eq!(get(&reader, 4), "abc");
    drop(writer);
    assert_eq!(get(&reader, 4), "");
}

#[test]
fn open_files_travel_over_sockets() {
    let world = World::new();
    let sockets = HostSockets::new(world.fs.clone());
    let (one, other) = sockets
        .pair(SocketKind {
            family: 1,
            kind: 1,
            protocol: 0,
        })
        .unwrap();
    let file = world.open("sent", NEW);
    let (one, other) = (one.socket().unwrap(), other.socket().unwrap());
    let wanted = Wanted {
        bytes: 10,
        control: 64,
        flags: 0,
    };
    assert_eq!(other.receive(wanted).err(), Some(Errno::AGAIN));
    let message = Outgoing {
        bytes: b"x",
        name: None,
        control: &[],
        files: vec![file.clone()],
        flags: 0,
    };
    assert_eq!(one.send(message), Ok(1));
    let got = other.receive(wanted).unwrap();
    assert_eq!(got.bytes, b"x");
    assert!(Arc::ptr_eq(&got.files[0], &file));
}
