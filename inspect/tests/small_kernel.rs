//! A kernel of a few pages, sound and damaged: its symbols, types and tasks
//! are believed no further than its memory goes.
#![allow(clippy::unwrap_used, reason = "tests")]

use foliant_inspect::Image;
use foliant_inspect::linux::{Kernel, LinuxError, Process};

const PAGE: usize = 4096;
/// The image's first byte, in the kernel's memory.
const TEXT: u64 = 0xffff_ffff_8000_0000;

// Where things lie in the image.
const COUNT: usize = 0x8000;
const TOKENS: usize = 0x8100;
const INDEX: usize = 0x8400;
const BASE: usize = 0x8700;
const OFFSETS: usize = 0x8800;
const NAMES: usize = 0x8900;
const TYPES: usize = 0x8a00;
const TASKS: usize = 0x9000;
const TASK: usize = 0x100;
const SPACE: usize = 0x9800;

fn put(image: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if image.len() < at + bytes.len() {
        image.resize(at + bytes.len(), 0);
    }
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn word(image: &mut Vec<u8>, at: usize, word: u64) {
    put(image, at, &word.to_le_bytes());
}

/// `task_struct { tasks; tgid; comm; mm; }` and `mm_struct { pgd; }`.
fn types() -> Vec<u8> {
    let strings = b"\0task_struct\0tasks\0tgid\0comm\0mm\0mm_struct\0pgd\0";
    let name = |wanted: &str| {
        let text = std::str::from_utf8(strings).unwrap();
        text.find(&format!("\0{wanted}\0")).unwrap() as u32 + 1
    };
    let member = |of: &str, at: u32| [name(of), 1, at * 8];
    let mut words = vec![0, 1 << 24, 4, 32];
    words.extend([name("task_struct"), 4 << 24 | 4, 64]);
    for (of, at) in [("tasks", 0), ("tgid", 16), ("comm", 24), ("mm", 40)] {
        words.extend(member(of, at));
    }
    words.extend([name("mm_struct"), 4 << 24 | 1, 8]);
    words.extend(member("pgd", 0));
    let len = words.len() as u32 * 4;
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    let head = [24, 0, len, len, strings.len() as u32];
    bytes.extend(head.iter().chain(&words).flat_map(|word| word.to_le_bytes()));
    bytes.extend(strings);
    bytes
}

/// Three tasks in a ring; the second and the third have a space.
fn kernel() -> Vec<u8> {
    let mut image = vec![0; 10 * PAGE];
    for (table, slot, next) in [(1, 511, 2u64), (2, 510, 3), (3, 0, 4)] {
        word(&mut image, table * PAGE + slot * 8, next << 12 | 0x63);
    }
    for page in 0..512 {
        // Memory is mapped again and again.
        word(&mut image, 4 * PAGE + page as usize * 8, (page % 10) << 12 | 0x63);
    }
    let mut info = "OSRELEASE=6.1.0\nSYMBOL(_stext)=ffffffff80000000\n\
        SYMBOL(swapper_pg_dir)=ffffffff80001000\nNUMBER(phys_base)=0\n"
        .to_owned();
    for (name, at) in [
        ("num_syms", COUNT),
        ("token_table", TOKENS),
        ("token_index", INDEX),
        ("relative_base", BASE),
        ("offsets", OFFSETS),
        ("names", NAMES),
    ] {
        info += &format!("SYMBOL(kallsyms_{name})={:x}\n", TEXT + at as u64);
    }
    put(&mut image, 5 * PAGE, info.as_bytes());

    // A token is a letter.
    for letter in 0..128u8 {
        let token = usize::from(letter) * 2;
        put(&mut image, TOKENS + token, &[letter.max(b' '), 0]);
        put(&mut image, INDEX + token, &(token as u16).to_le_bytes());
    }
    word(&mut image, BASE, TEXT);
    let symbols = [
        ("D__start_BTF", TYPES),
        ("D__stop_BTF", TYPES + types().len()),
        ("Dinit_task", TASKS),
    ];
    put(&mut image, COUNT, &(symbols.len() as u32).to_le_bytes());
    let mut at = NAMES;
    for (nth, (name, place)) in symbols.iter().enumerate() {
        put(&mut image, OFFSETS + nth * 4, &(*place as u32).to_le_bytes());
        put(&mut image, at, &[&[name.len() as u8], name.as_bytes()].concat());
        at += 1 + name.len();
    }
    put(&mut image, TYPES, &types());
    for nth in 0..3 {
        let task = TASKS + nth * TASK;
        let next = TASKS + (nth + 1) % 3 * TASK;
        word(&mut image, task, TEXT + next as u64);
        word(&mut image, task + 16, nth as u64);
        put(&mut image, task + 24, format!("task{nth}").as_bytes());
        if nth != 0 {
            word(&mut image, task + 40, TEXT + SPACE as u64);
        }
    }
    word(&mut image, SPACE, TEXT + 0x1000);
    image
}

fn processes(image: Vec<u8>) -> Result<Vec<Process>, LinuxError> {
    let image = Image::from_bytes(image).unwrap();
    Kernel::find(&image).unwrap().processes()
}

#[test]
fn tasks_are_found_through_symbols_and_types() {
    let all = processes(kernel()).unwrap();
    let names: Vec<_> = all.iter().map(|task| (task.pid, task.name.as_str())).collect();
    assert_eq!(names, [(1, "task1"), (2, "task2")]);
    assert!(all.iter().all(|task| task.root.unwrap().table.raw() == 0x1000));
}

#[test]
fn a_ring_of_tasks_without_the_first_ends_soon() {
    let mut image = kernel();
    word(&mut image, TASKS + 2 * TASK, TEXT + (TASKS + TASK) as u64);
    let ring = processes(image);
    assert!(matches!(ring, Err(LinuxError::Nonsense("lists of processes"))));
    // A task that is its own next.
    let mut image = kernel();
    word(&mut image, TASKS + TASK, TEXT + (TASKS + TASK) as u64);
    assert!(processes(image).is_err());
}

#[test]
fn more_symbols_than_memory_are_nonsense() {
    for count in [10 * PAGE as u32, 8 << 20, u32::MAX] {
        let mut image = kernel();
        put(&mut image, COUNT, &count.to_le_bytes());
        // Without symbols the types are searched for, and these are too few.
        assert!(processes(image).is_err(), "{count}");
    }
}

#[test]
fn names_longer_than_the_kernels_limit_are_nonsense() {
    let mut image = kernel();
    put(&mut image, NAMES, &[0xff, 0xff]);
    assert!(processes(image).is_err());
}

#[test]
fn tables_at_the_end_of_the_address_space_do_not_wrap() {
    let text = "ffffffffffffffff";
    for name in ["offsets", "names", "token_table", "token_index", "num_syms"] {
        let mut image = kernel();
        let info = String::from_utf8(image[5 * PAGE..6 * PAGE].to_vec()).unwrap();
        let at = info.find(&format!("SYMBOL(kallsyms_{name})=")).unwrap() + name.len() + 18;
        put(&mut image, 5 * PAGE + at, text.as_bytes());
        assert!(processes(image).is_err(), "{name}");
    }
}

#[test]
fn places_that_a_kernel_claims_may_be_anywhere() {
    use foliant_inspect::listing::{ArmParts, Headings, X86_64Parts};
    use foliant_units::{VirtAddr, VirtRange};
    for image in [0, 1 << 40, u64::MAX] {
        let usual = X86_64Parts::usual(false);
        Headings::x86_64(&X86_64Parts { image, ..usual });
    }
    let range = VirtRange::new(VirtAddr::new(8), VirtAddr::new(u64::MAX));
    for (bits, fixmaps, records_first) in [(0, 1, true), (64, u64::MAX, false), (u32::MAX, 1 << 60, true)] {
        Headings::arm64(&ArmParts {
            bits,
            modules: range,
            vmalloc: range,
            records: range,
            fixmaps: Some(fixmaps),
            page: 1 << 40,
            records_first,
        });
    }
}

/// Pages full of places in a ring, pages full of names behind them, and of
/// first tasks, none of which is one.
#[test]
fn structures_that_look_like_many_lists_of_tasks_do_not_take_for_ever() {
    const DIRECT: u32 = 0xc000_0000;
    let mut image = vec![0; 16 * PAGE];
    // Four mebibytes of memory, from the beginning.
    put(&mut image, PAGE + 768 * 4, &0x1e3u32.to_le_bytes());
    let info = b"OSRELEASE=6.1.0\nSYMBOL(_stext)=c0000000\nSYMBOL(swapper_pg_dir)=c0001000\n";
    put(&mut image, 5 * PAGE, info);
    let (places, names) = (8 * PAGE as u32, 9 * PAGE as u32);
    let count = PAGE as u32 / 8;
    for nth in 0..count {
        let at = |nth: u32| DIRECT + places + nth % count * 8;
        let words = [at(nth + 1), at(nth + count - 1)].map(u32::to_le_bytes).concat();
        put(&mut image, (places + nth * 8) as usize, &words);
    }
    for at in (names..names + 4 * PAGE as u32).step_by(8) {
        put(&mut image, at as usize, b"swapper\0");
    }
    let begin = std::time::Instant::now();
    assert!(processes(image).is_err());
    assert!(
        begin.elapsed() < std::time::Duration::from_secs(30),
        "{:?}",
        begin.elapsed()
    );
}
