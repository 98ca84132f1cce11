//! What `/proc` tells of physical memory and of the kernel's own.

use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use foliant_kvirt::KernelMemory;
use foliant_kvirt::slab::{CacheSpec, How, Slab, SlabOptions};
use foliant_uapi::Sysno;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::text::{Meminfo, Slabinfo, Vmallocinfo};
use foliant_units::Errno;

use super::fake::{Fake, User, run};
use crate::fs::{Caller, EmptyDirectory, OpenHow, SliceSink};
use crate::{Credentials, procfs};

/// Opens `/proc/NAME` as this task and reads it.
fn read(user: &User, name: &str) -> Result<String, Errno> {
    let creds = user.task.creds();
    let caller = Caller {
        process: user.task.process().id().raw(),
        thread: user.task.tid().raw(),
        user: creds.uid.files,
        group: creds.gid.files,
        overrides: creds.uid.files == 0,
    };
    let root = procfs::root::<Fake>(&user.kernel, None, Arc::new(EmptyDirectory));
    let flags = OpenFlags::empty();
    let how = OpenHow {
        flags,
        mode: 0,
        caller,
    };
    let file = root.lookup(name.as_bytes(), caller)?.open(how)?;
    let mut bytes = std::vec![0; 1 << 16];
    let mut text = Vec::new();
    loop {
        let count = file.read(text.len() as u64, &mut SliceSink::new(&mut bytes), flags)?;
        if count == 0 {
            return Ok(String::from_utf8(text).expect("text"));
        }
        text.extend_from_slice(&bytes[..count]);
    }
}

/// What an ordinary user is.
fn become_ordinary(user: &mut User) {
    user.must(Sysno::SETRESGID, &[1000, 1000, 1000]);
    user.must(Sysno::SETRESUID, &[1000, 1000, 1000]);
    assert_ne!(*user.task.creds(), Credentials::default());
}

#[test]
fn physical_memory_is_told_and_its_places_only_to_the_administrator() {
    run(|user| {
        let text = "00000000-0009ffff : System RAM\n000a0000-000fffff : Reserved\n  \
                    000f0000-000fffff : System ROM\n00100000-00ffffff : System RAM\n";
        assert_eq!(read(user, "iomem").as_deref(), Ok(text));
        become_ordinary(user);
        let zeroes = "00000000-00000000 : System RAM\n00000000-00000000 : Reserved\n  \
                      00000000-00000000 : System ROM\n00000000-00000000 : System RAM\n";
        assert_eq!(read(user, "iomem").as_deref(), Ok(zeroes));
        for name in ["slabinfo", "vmallocinfo", "pagetypeinfo"] {
            assert_eq!(read(user, name), Err(Errno::ACCES), "{name}");
        }
    });
}

#[test]
fn a_kernel_whose_objects_lie_elsewhere_tells_of_none() {
    run(|user| {
        let caches = read(user, "slabinfo").expect("root reads it");
        assert_eq!(caches.lines().count(), 2, "the heading alone: {caches}");
        assert_eq!(read(user, "vmallocinfo").as_deref(), Ok(""));
        let meminfo = read(user, "meminfo").expect("everybody reads it");
        let meminfo = Meminfo::parse(meminfo.as_bytes()).expect("as Linux writes it");
        assert_eq!(
            (meminfo.slab, meminfo.kernel_stack, meminfo.percpu),
            (Some(0), Some(0), Some(0))
        );
    });
}

#[test]
fn the_kernels_objects_in_the_machines_memory_are_counted() {
    run(|user| {
        let before = read(user, "meminfo").expect("everybody reads it");
        let before = Meminfo::parse(before.as_bytes()).expect("as Linux writes it");
        let phys = user.kernel.memory().phys().clone();
        let slab = Slab::new(phys, SlabOptions::default()).expect("frames");
        let cache = slab
            .create(CacheSpec::new("dentry", 192).reclaimable())
            .expect("a cache");
        // They go with the machine.
        for _ in 0..200 {
            cache.alloc(How::KERNEL).expect("an object");
        }
        user.tell_kernel_memory(KernelMemory::default().with_slab(&slab));

        let meminfo = read(user, "meminfo").expect("everybody reads it");
        let now = Meminfo::parse(meminfo.as_bytes()).expect("as Linux writes it");
        assert!(now.s_reclaimable >= Some(200 * 192 / 1024), "{meminfo}");
        assert_eq!(now.slab, now.s_reclaimable, "{meminfo}");
        // It is the slab's and not that of files.
        let slack = 64;
        assert!(
            now.cached <= before.cached.map(|cached| cached + slack),
            "{meminfo}"
        );
        let vmstat = read(user, "vmstat").expect("everybody reads it");
        let frames = now.slab.map_or(0, |kib| kib / 4);
        assert!(
            vmstat.contains(&std::format!("\nnr_slab_reclaimable {frames}\n")),
            "{vmstat}"
        );
        let caches = read(user, "slabinfo").expect("root reads it");
        let caches = Slabinfo::parse(caches.as_bytes())
            .expect("as Linux writes it")
            .caches;
        let dentries = caches
            .iter()
            .find(|cache| cache.name == "dentry")
            .expect("it is there");
        assert!((200..=dentries.objects).contains(&dentries.active_objects));
        let areas = read(user, "vmallocinfo").expect("root reads it");
        assert_eq!(Vmallocinfo::parse(areas.as_bytes()), Ok(Vmallocinfo::default()));
    });
}
