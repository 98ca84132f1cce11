//! Tables of real kernels, dumped as those kernels dumped them themselves.
//!
//! Each `.lime.zlib` in `tests/ptdump` holds the frames of the tables of a small
//! Linux 6.12 under QEMU, and the text beside it is what that kernel had in
//! `/sys/kernel/debug/page_tables` (`kernel`, and `current_user` with isolated
//! tables), byte for byte. Without debugging symbols the place of the fixmap is
//! nowhere to be seen in an image, so it is given here.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::Guest;
use foliant_arch::arm64::Half;
use foliant_inspect::linux::Kernel;
use foliant_inspect::listing::{ArmParts, Headings, I386Parts, Tables, X86_64Parts};
use foliant_inspect::{Image, Root, TableFormat};
use foliant_units::{PhysAddr, VirtAddr, VirtRange};

/// Frames of each machine, of which the files hold few.
const FRAMES: u64 = 1 << 16;

fn kept(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ptdump");
    fs::read(folder.join(name)).unwrap()
}

fn image(name: &str) -> Image {
    let packed = kept(&format!("{name}.lime.zlib"));
    Image::from_bytes(miniz_oxide::inflate::decompress_to_vec_zlib(&packed).unwrap()).unwrap()
}

fn dump(image: &Image, format: TableFormat, table: u64, headings: &Headings) -> String {
    let mut out = Vec::new();
    let root = Root::new(format, PhysAddr::new(table));
    let half = match format {
        TableFormat::Arm4K48 => Half::High,
        _ => Half::Low,
    };
    let tables = Tables::new(image, FRAMES, root, half);
    tables.ptdump(headings, &mut out).unwrap().unwrap();
    String::from_utf8(out).unwrap()
}

fn same(ours: &str, theirs: &str) {
    let theirs = String::from_utf8(kept(theirs)).unwrap();
    for (nth, (ours, theirs)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {}", nth + 1);
    }
    assert_eq!(ours.len(), theirs.len());
}

const fn at(raw: u64) -> VirtAddr {
    VirtAddr::new(raw)
}

fn x86_64(five: bool, bases: [u64; 3]) -> Headings {
    Headings::x86_64(&X86_64Parts {
        bases: bases.map(at),
        fixmap: Some(at(0xffff_ffff_ff77_c000)),
        ..X86_64Parts::usual(five)
    })
}

const FOUR: [u64; 3] = [
    0xffff_8bc8_4000_0000,
    0xffff_99ad_c000_0000,
    0xffff_d3d6_8000_0000,
];

#[test]
fn four_levels_are_dumped_as_the_kernel_dumps_them() {
    let image = image("x86_64-4level");
    let headings = x86_64(false, FOUR);
    let kernel = dump(&image, TableFormat::X86_64, 0xee4_2000, &headings);
    same(&kernel, "x86_64-4level.txt");
    let user = dump(&image, TableFormat::X86_64, 0x42_d000, &headings);
    same(&user, "x86_64-4level.user.txt");
}

#[test]
fn five_levels_are_dumped_as_the_kernel_dumps_them() {
    let bases = [
        0xff25_0402_c000_0000,
        0xff3e_3977_8000_0000,
        0xff9d_6862_4000_0000,
    ];
    let headings = x86_64(true, bases);
    let ours = dump(
        &image("x86_64-5level"),
        TableFormat::X86_64La57,
        0xb44_2000,
        &headings,
    );
    same(&ours, "x86_64-5level.txt");
}

#[test]
fn pae_is_dumped_as_the_kernel_dumps_it() {
    let headings = Headings::i386(&I386Parts {
        direct: at(0xc000_0000),
        vmalloc: VirtRange::new(at(0xcc7e_0000), at(0xff5f_e000)),
        pkmap: Some(at(0xff60_0000)),
        ldt: Some(at(0xff80_0000)),
        cpu_entry: Some(at(0xffa0_0000)),
        fixmap: Some(at(0xfffe_c000)),
    });
    let ours = dump(&image("i386-pae"), TableFormat::X86Pae, 0x26d_a000, &headings);
    same(&ours, "i386-pae.txt");
}

#[test]
fn arm64_is_dumped_as_the_kernel_dumps_it() {
    let range = |start, end| VirtRange::new(at(start), at(end));
    // What VMCOREINFO tells of, in kernels that have it.
    let headings = Headings::arm64(&ArmParts {
        bits: 48,
        modules: range(0xffff_8000_0000_0000, 0xffff_8000_8000_0000),
        vmalloc: range(0xffff_8000_8000_0000, 0xffff_fdff_bf80_0000),
        records: range(0xffff_fdff_c000_0000, 0xffff_ffff_c000_0000),
        fixmaps: Some(0x3d1),
        page: 4096,
        records_first: true,
    });
    let ours = dump(&image("arm64"), TableFormat::Arm4K48, 0x404d_7000, &headings);
    same(&ours, "arm64.txt");
}

#[test]
fn no_page_of_a_sound_kernel_is_writable_and_executable() {
    for (name, format, table) in [
        ("x86_64-4level", TableFormat::X86_64, 0xee4_2000),
        ("x86_64-5level", TableFormat::X86_64La57, 0xb44_2000),
        ("i386-pae", TableFormat::X86Pae, 0x26d_a000),
    ] {
        let image = image(name);
        let root = Root::new(format, PhysAddr::new(table));
        let check = Tables::new(&image, FRAMES, root, Half::Low).check_wx().unwrap();
        // What the kernel itself said at the end of its boot.
        let said = "x86/mm: Checked W+X mappings: passed, no W+X pages found.";
        assert_eq!(check.to_string(), said, "{name}");
    }
}

/// The headings of a guest's dump, with the lines that follow them.
fn parts_of(name: &'static str) -> Option<Vec<(String, String)>> {
    let guest = Guest::find(name)?;
    let image = guest.image();
    let kernel = Kernel::find(&image).unwrap();
    let mut out = Vec::new();
    let tables = Tables::in_image(&image, kernel.root(), Half::High);
    tables.ptdump(&kernel.headings(), &mut out).unwrap().unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let pairs = lines.windows(2).filter(|pair| pair[0].starts_with("---[ "));
    Some(
        pairs
            .map(|pair| (pair[0].to_owned(), pair[1].to_owned()))
            .collect(),
    )
}

/// A line of a dump begins where the kernel's variable says that the part does.
fn begins(parts: &[(String, String)], name: &str, start: u64) {
    let heading = format!("---[ {name} ]---");
    let found = parts.iter().find(|(is, _)| *is == heading);
    let (_, line) = found.unwrap_or_else(|| panic!("{name}: {parts:#?}"));
    assert!(line.starts_with(&format!("0x{start:016x}-")), "{name}: {line}");
}

#[test]
fn parts_of_a_randomised_kernel_are_found() {
    for name in ["x86_64-4level", "x86_64-5level"] {
        let Some(parts) = parts_of(name) else { return };
        let names: Vec<_> = parts.iter().map(|(name, _)| name.as_str()).collect();
        for name in [
            "Low Kernel Mapping",
            "vmalloc() Area",
            "Vmemmap",
            "Modules",
            "Fixmap Area",
        ] {
            assert!(names.contains(&format!("---[ {name} ]---").as_str()), "{names:?}");
        }
        begins(&parts, "CPU entry Area", 0xffff_fe00_0000_0000);
    }
}

#[test]
fn parts_of_arm64_are_those_that_it_tells() {
    let Some(parts) = parts_of("arm64") else { return };
    begins(&parts, "Modules start", 0xffff_8000_0000_0000);
    begins(&parts, "vmemmap start", 0xffff_fc00_0000_0000);
}
