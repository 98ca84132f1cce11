//! Real Linux guests: their tables as QEMU's MMU walked them, and as the
//! guests' own /proc told of them.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use common::Guest;
use foliant_arch::{Ended, Entry, Found, peek, survey};
use foliant_inspect::linux::Kernel;
use foliant_inspect::{Image, Kind, Root, with_format};
use foliant_units::VirtAddr;

/// A leaf: page, frame, flags as `info tlb` has them.
type Leaf = (u64, u64, String);

fn leaves(image: &Image, root: Root) -> Vec<Leaf> {
    let mut all = Vec::new();
    with_format!(root, F, control => {
        let ended = survey::<F>(image, root.table, control, image.frames(), |found| {
            if let Found::Leaf(leaf) = found {
                all.push((
                    leaf.page.base().raw(),
                    leaf.frame.base().raw(),
                    letters(leaf.leaf.raw()),
                ));
            }
            ControlFlow::Continue(())
        });
        assert_eq!(ended, Ended::Complete);
    });
    all
}

/// The letters of `info tlb`, in its order.
fn letters(word: u64) -> String {
    let letters = [
        (63, 'X'),
        (8, 'G'),
        (7, 'P'),
        (6, 'D'),
        (5, 'A'),
        (4, 'C'),
        (3, 'T'),
        (2, 'U'),
        (1, 'W'),
    ];
    letters
        .map(|(bit, letter)| if word >> bit & 1 != 0 { letter } else { '-' })
        .into_iter()
        .collect()
}

fn truth(guest: &Guest) -> Vec<Leaf> {
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let parse = |line: &str| {
        let (page, rest) = line.trim_end().split_once(": ").unwrap();
        let (frame, flags) = rest.split_once(' ').unwrap();
        // With PAE QEMU prints NX as part of the address.
        (hex(page), hex(frame) & !(1 << 63), flags.to_owned())
    };
    guest.tlb().lines().map(parse).collect()
}

fn current(image: &Image) -> Root {
    Root::of_cpu(image.machine(), &image.cpus()[0]).unwrap()
}

fn every_leaf_is_there(name: &'static str, count: usize) {
    let Some(guest) = Guest::find(name) else { return };
    let image = guest.image();
    let (ours, theirs) = (leaves(&image, current(&image)), truth(&guest));
    if guest.is_new() {
        assert!(theirs.len() > 1000);
    } else {
        assert_eq!(theirs.len(), count);
    }
    if ours != theirs {
        let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) = (ours.iter().collect(), theirs.iter().collect());
        let only = |left: &BTreeSet<&Leaf>, right: &BTreeSet<&Leaf>| {
            let some: Vec<_> = left
                .difference(right)
                .take(5)
                .map(|leaf| format!("{leaf:x?}"))
                .collect();
            some.join("\n")
        };
        panic!(
            "only here:\n{}\nonly there:\n{}",
            only(&ours, &theirs),
            only(&theirs, &ours)
        );
    }
}

#[test]
fn every_leaf_of_four_levels_is_what_the_mmu_of_qemu_found() {
    every_leaf_is_there("x86_64-4level", 13_189);
}

#[test]
fn every_leaf_of_five_levels_is_what_the_mmu_of_qemu_found() {
    every_leaf_is_there("x86_64-5level", 13_189);
}

#[test]
fn every_leaf_of_two_levels_is_what_the_mmu_of_qemu_found() {
    every_leaf_is_there("i386-nonpae", 7_362);
}

#[test]
fn every_leaf_of_pae_is_what_the_mmu_of_qemu_found() {
    every_leaf_is_there("i386-pae", 6_597);
}

/// The pages of a process that are not mapped to the frames its pagemap said.
fn wrong(image: &Image, root: Root, pages: &[(u64, u64)]) -> Vec<u64> {
    let is_wrong = |&&(page, frame): &&(u64, u64)| {
        let at = VirtAddr::new(page);
        let found = with_format!(root, F, control => {
            peek::<F>(image, root.table, at, control).map(|found| found.frame_of(at.page()).raw())
        });
        found != Some(frame)
    };
    pages.iter().filter(is_wrong).map(|&(page, _)| page).collect()
}

/// Process 1 was not idle: after its pagemap was written down it forked once
/// more, which copied some private pages.
const INIT: u32 = 1;
const COPIED: usize = 6;

/// Every page of every process, whose tables BTF leads to, or on i386, where
/// there is none, the shapes of structures.
fn every_page_of_every_process(name: &'static str, count: usize) {
    let Some(guest) = Guest::find(name) else { return };
    let image = guest.image();
    let kernel = Kernel::find(&image).unwrap();
    let processes = kernel.processes().unwrap();
    let mut all = 0;
    for (pid, pages) in guest.pagemaps() {
        // The process that wrote the truth down is gone.
        let Some(process) = processes.iter().find(|process| process.pid == pid) else {
            continue;
        };
        assert_eq!(process.name, guest.name_of(pid));
        let wrong = wrong(&image, process.root.unwrap(), &pages);
        if pid == INIT {
            assert!(wrong.len() <= COPIED && wrong.iter().all(|&page| guest.is_private(pid, page)));
        } else {
            assert_eq!(wrong, [], "process {pid}");
        }
        all += pages.len() - wrong.len();
    }
    if guest.is_new() {
        assert!(all > 1000);
    } else {
        assert_eq!(all, count);
    }
}

#[test]
fn every_page_of_every_process_is_found_with_four_levels() {
    every_page_of_every_process("x86_64-4level", 56_908);
}

#[test]
fn every_page_of_every_process_is_found_with_five_levels() {
    every_page_of_every_process("x86_64-5level", 56_906);
}

#[test]
fn every_page_of_every_process_is_found_on_arm64() {
    every_page_of_every_process("arm64", 56_689);
}

#[test]
fn every_page_of_every_process_is_found_on_i386() {
    every_page_of_every_process("i386-nonpae", 57_741);
}

#[test]
fn every_page_of_every_process_is_found_on_i386_with_pae() {
    every_page_of_every_process("i386-pae", 56_800);
}

#[test]
fn a_flattened_dump_holds_the_same_tables() {
    let Some(guest) = Guest::find("x86_64-4level") else {
        return;
    };
    let path = guest.beside("mem.kdump-zlib");
    if !path.exists() {
        println!("skipped: no flattened dump");
        return;
    }
    let dump = Image::open(&path).unwrap();
    assert_eq!(dump.kind(), Kind::FlattenedKdump);
    assert_eq!(dump.vmcoreinfo(), guest.image().vmcoreinfo());
    assert_eq!(leaves(&dump, current(&dump)), truth(&guest));
}
