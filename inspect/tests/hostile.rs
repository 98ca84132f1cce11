//! Files that lie: whatever is damaged, opening and reading ends soon, with a
//! clear error or with what can be read, and never with a panic.
//!
//! `FOLIANT_FUZZ_SECONDS=1800` goes on for that long, from another seed each
//! time; a failure prints the seed, and `FOLIANT_FUZZ_SEED` repeats it.
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use foliant_arch::arm64::Half;
use foliant_arch::{Access, AccessKind, explain};
use foliant_inspect::linux::Kernel;
use foliant_inspect::listing::Tables;
use foliant_inspect::{Image, Kind, Root, TableFormat, with_format};
use foliant_units::{PhysAddr, VirtAddr};

const PAGE: usize = 4096;
const PAGES: usize = 8;

/// Memory with tables at 0x1000 and a VMCOREINFO, so that damage reaches far.
fn memory() -> Vec<u8> {
    let mut memory = vec![0u8; PAGES * PAGE];
    for (table, next) in [(1, 2), (2, 3), (3, 4)] {
        for entry in [0, 511] {
            let at = table * PAGE + entry * 8;
            memory[at..at + 8].copy_from_slice(&((next * PAGE) as u64 | 0x67).to_le_bytes());
        }
    }
    for entry in 0..8u64 {
        let at = 4 * PAGE + entry as usize * 8;
        memory[at..at + 8].copy_from_slice(&(entry << 12 | 0x67).to_le_bytes());
    }
    let info = b"OSRELEASE=6.1.0\nSYMBOL(_stext)=ffffffff80000000\nSYMBOL(swapper_pg_dir)=ffffffff80001000\n\
        NUMBER(phys_base)=0\nSYMBOL(kallsyms_num_syms)=ffffffff80003000\n\
        SYMBOL(kallsyms_token_table)=ffffffff80006000\nSYMBOL(kallsyms_token_index)=ffffffff80006100\n\
        SYMBOL(kallsyms_relative_base)=ffffffff80006200\nSYMBOL(kallsyms_offsets)=ffffffff80006300\n\
        SYMBOL(kallsyms_names)=ffffffff80006400\n";
    memory[5 * PAGE..5 * PAGE + info.len()].copy_from_slice(info);
    memory
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn elf() -> Vec<u8> {
    let mut file = Vec::new();
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    put(&mut file, 16, &[4, 0, 62, 0, 1]);
    put(&mut file, 32, &64u64.to_le_bytes());
    put(&mut file, 52, &[64, 0, 56, 0, 2, 0]);
    // A note, then memory.
    put(&mut file, 64, &4u32.to_le_bytes());
    put(&mut file, 64 + 8, &0x200u64.to_le_bytes());
    put(&mut file, 64 + 32, &40u64.to_le_bytes());
    put(&mut file, 120, &1u32.to_le_bytes());
    put(&mut file, 120 + 8, &0x1000u64.to_le_bytes());
    for field in [32, 40] {
        put(&mut file, 120 + field, &((PAGES * PAGE) as u64).to_le_bytes());
    }
    put(&mut file, 0x200, &[5, 0, 0, 0, 8, 0, 0, 0]);
    put(&mut file, 0x20c, b"QEMU\0\0\0\0\x01\0\0\0\x08\0\0\0");
    put(&mut file, 0x1000, &memory());
    file
}

fn lime() -> Vec<u8> {
    let mut file = Vec::new();
    for (nth, half) in memory().chunks(PAGES / 2 * PAGE).enumerate() {
        let first = (nth * half.len()) as u64;
        file.extend(b"EMiL\x01\0\0\0");
        file.extend(first.to_le_bytes());
        file.extend((first + half.len() as u64 - 1).to_le_bytes());
        file.extend([0; 8]);
        file.extend(half);
    }
    file
}

/// A compressed dump; every method takes its turn.
fn kdump() -> Vec<u8> {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    let mut file = Vec::new();
    put(&mut file, 0, b"KDUMP   \x06\0\0\0");
    put(&mut file, 272, b"x86_64");
    put(&mut file, 428, &(PAGE as u32).to_le_bytes());
    put(&mut file, 432, &1u32.to_le_bytes());
    put(&mut file, 436, &2u32.to_le_bytes());
    put(&mut file, PAGE + 96, &(PAGES as u64).to_le_bytes());
    put(&mut file, 2 * PAGE, &[0xff]);
    put(&mut file, 3 * PAGE, &[0xff]);
    let mut at = 4 * PAGE + PAGES * 24;
    for (nth, page) in memory().chunks(PAGE).enumerate() {
        let (flags, packed) = match nth % 5 {
            0 => (1u32, miniz_oxide::deflate::compress_to_vec_zlib(page, 1)),
            1 => (2, lzokay_native::compress(page).unwrap()),
            2 => (4, snap::raw::Encoder::new().compress_vec(page).unwrap()),
            3 => (0x20, compress_to_vec(page, CompressionLevel::Fastest)),
            _ => (0, page.to_vec()),
        };
        let descriptor = 4 * PAGE + nth * 24;
        put(&mut file, descriptor, &(at as u64).to_le_bytes());
        put(&mut file, descriptor + 8, &(packed.len() as u32).to_le_bytes());
        put(&mut file, descriptor + 12, &flags.to_le_bytes());
        put(&mut file, at, &packed);
        at += packed.len();
    }
    file
}

/// The frames from `start` to `end` of the dump, as a file of their own.
fn part(start: usize, end: usize) -> Vec<u8> {
    let mut file = kdump();
    put(&mut file, PAGE + 12, &1u32.to_le_bytes());
    put(&mut file, PAGE + 80, &(start as u64).to_le_bytes());
    put(&mut file, PAGE + 88, &(end as u64).to_le_bytes());
    // Only descriptors of the part's own frames are there.
    let (table, entry) = (4 * PAGE, 24);
    file.copy_within(table + start * entry..table + end * entry, table);
    for byte in &mut file[table + (end - start) * entry..table + PAGES * entry] {
        *byte = 0xee;
    }
    file
}

#[test]
fn the_parts_of_a_split_dump_are_one_image() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let write = |name: &str, bytes: Vec<u8>| {
        let path = folder.join(format!("{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let middle = PAGES / 2 - 1;
    let (first, second) = (
        write("first", part(0, middle)),
        write("second", part(middle, PAGES)),
    );
    // In any order.
    for paths in [[&first, &second], [&second, &first]] {
        let image = Image::open_parts(&paths).unwrap();
        let mut bytes = vec![0; PAGES * PAGE];
        image.read(PhysAddr::new(0), &mut bytes).unwrap();
        assert_eq!(bytes, memory());
    }
    let why = Image::open(&second).err().unwrap().to_string();
    assert_eq!(why, "split dumps without all their parts are not read");
    let twice = Image::open_parts(&[&first, &first]).err().unwrap().to_string();
    assert_eq!(twice, "split dumps without all their parts are not read");
    let raw = write("raw", memory());
    assert!(Image::open_parts(&[&first, &raw]).is_err());
}

fn flattened() -> Vec<u8> {
    let mut file = b"makedumpfile\0\0\0\0".to_vec();
    file.extend(1u64.to_be_bytes());
    file.extend(1u64.to_be_bytes());
    file.resize(PAGE, 0);
    for (nth, piece) in kdump().chunks(1000).enumerate().rev() {
        file.extend((nth as u64 * 1000).to_be_bytes());
        file.extend((piece.len() as u64).to_be_bytes());
        file.extend(piece);
    }
    file.extend([0xff; 16]);
    file
}

fn files() -> [(Kind, Vec<u8>); 5] {
    [
        (Kind::ElfCore, elf()),
        (Kind::Lime, lime()),
        (Kind::Kdump, kdump()),
        (Kind::FlattenedKdump, flattened()),
        (Kind::Raw, memory()),
    ]
}

#[test]
fn every_sort_of_file_holds_the_same_memory() {
    for (kind, file) in files() {
        let image = Image::from_bytes(file).unwrap();
        assert_eq!(image.kind(), kind);
        let mut all = vec![0; PAGES * PAGE];
        image.read(PhysAddr::ZERO, &mut all).unwrap();
        assert!(all == memory(), "{kind:?}");
        assert_eq!(image.frames(), PAGES as u64);
        assert!(
            image
                .read(PhysAddr::new((PAGES * PAGE) as u64), &mut [0])
                .is_err()
        );
        let mut count = 0;
        let root = Root::new(TableFormat::X86_64, PhysAddr::new(0x1000));
        let listed = Tables::in_image(&image, root, Half::Low).list(|mapping| {
            count += mapping.len / mapping.page;
            ControlFlow::Continue(())
        });
        assert_eq!((listed, count), (Ok(()), 64), "{kind:?}");
    }
}

#[test]
fn memory_at_the_last_addresses_is_memory() {
    let mut file = elf();
    // From the last page but one to one byte before the end.
    put(&mut file, 120 + 24, &(u64::MAX - 0x1fff).to_le_bytes());
    for field in [32, 40] {
        put(&mut file, 120 + field, &0x1fffu64.to_le_bytes());
    }
    let image = Image::from_bytes(file).unwrap();
    assert_eq!(image.frames(), 2);
    assert!(image.read(PhysAddr::new(u64::MAX - 1), &mut [0]).is_ok());
    assert!(image.read(PhysAddr::new(u64::MAX - 1), &mut [0; 2]).is_err());
}

/// Small, fast and repeatable.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

/// Damages some words, mostly where headers are, or cuts the file off.
fn damage(file: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.next(6) {
        let reach = if random.next(3) == 0 {
            file.len()
        } else {
            file.len().min(700)
        };
        let at = random.next(reach);
        let width = [1, 2, 4, 8][random.next(4)].min(file.len() - at);
        let value = match random.next(5) {
            0 => 0,
            1 => u64::MAX,
            2 => file.len() as u64,
            3 => 1 << random.next(64),
            _ => random.0,
        };
        file[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }
    if random.next(4) == 0 {
        file.truncate(random.next(file.len()));
    }
}

/// Uses a file in every way there is.
fn use_all(file: Vec<u8>, random: &mut Random) {
    let Ok(image) = Image::from_bytes(file) else {
        return;
    };
    let mut page = vec![0; PAGE];
    for nth in 0..PAGES as u64 + 2 {
        let _either = image.read(PhysAddr::new(nth << 12), &mut page);
    }
    let (format, _) = TableFormat::ALL[random.next(TableFormat::ALL.len())];
    let root = Root::new(format, PhysAddr::new(0x1000));
    let mut runs = 0u32;
    let _either = Tables::in_image(&image, root, Half::Low).list(|_| {
        runs += 1;
        if runs < 10_000 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    let at = VirtAddr::new(random.0);
    with_format!(root, F, control => {
        let _told = explain::<F>(&image, root.table, at, Access::user(AccessKind::Write), control);
    });
    if let Ok(kernel) = Kernel::find(&image) {
        let _either = kernel.processes();
    }
}

#[test]
fn damaged_files_are_errors_and_never_panics() {
    let seconds = std::env::var("FOLIANT_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = std::env::var("FOLIANT_FUZZ_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let limit = Duration::from_secs(seconds.unwrap_or(2));
    let begin = Instant::now();
    let files = files();
    let mut seed =
        seed.unwrap_or(0x9e37_79b9 + begin.elapsed().as_nanos() as u64 * u64::from(seconds.is_some()));
    let mut rounds = 0u64;
    while begin.elapsed() < limit {
        seed += 1;
        let round = Instant::now();
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1);
        random.next(1);
        let mut file = files[random.next(files.len())].1.clone();
        damage(&mut file, &mut random);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| use_all(file, &mut random)));
        assert!(done.is_ok(), "FOLIANT_FUZZ_SEED={}", seed - 1);
        assert!(
            round.elapsed() < Duration::from_secs(20),
            "too slow: FOLIANT_FUZZ_SEED={}",
            seed - 1
        );
        rounds += 1;
    }
    println!("{rounds} damaged files");
}
