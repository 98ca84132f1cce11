//! Tables as text, over small memories made by hand.
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;

use foliant_arch::arm64::{Descriptor, DescriptorFlags, Half};
use foliant_arch::x86_64::{Pte, PteFlags};
use foliant_arch::{Entry, Level};
use foliant_inspect::listing::{Headings, ListError, Mapping, Tables};
use foliant_inspect::{Image, Root, TableFormat};
use foliant_units::{Pfn, PhysAddr};

/// Raw memory with words at some places.
fn memory(words: &[(u64, u64)]) -> Image {
    let mut bytes = vec![0; 0x8000];
    for &(at, word) in words {
        bytes[at as usize..at as usize + 8].copy_from_slice(&word.to_le_bytes());
    }
    Image::from_bytes(bytes).unwrap()
}

const TOP: u64 = 0x1000;

/// Two pages of text, one of data, one writable and executable, a large page,
/// in the kernel's half.
fn kernel() -> Image {
    let link = |at| Pte::link(PhysAddr::new(at), Level::PGD).raw();
    let leaf = |frame, flags: PteFlags| Pte::new(Pfn::new(frame), flags).raw();
    let text = PteFlags::PRESENT | PteFlags::ACCESSED | PteFlags::GLOBAL;
    let data = text | PteFlags::WRITE | PteFlags::DIRTY | PteFlags::NO_EXECUTE;
    memory(&[
        (TOP + 8 * 511, link(0x2000)),
        (0x2000 + 8 * 510, link(0x3000)),
        (0x3000, link(0x4000)),
        (0x3008, leaf(0x200, data | PteFlags::LARGE)),
        (0x4000, leaf(0x10, text)),
        (0x4008, leaf(0x11, text)),
        (0x4010, leaf(0x20, data)),
        (0x4018, leaf(0x21, text | PteFlags::WRITE)),
    ])
}

fn text(image: &Image, format: TableFormat, half: Half) -> Result<String, ListError> {
    let mut out = Vec::new();
    let root = Root::new(format, PhysAddr::new(TOP));
    Tables::in_image(image, root, half)
        .ptdump(&Headings::none(), &mut out)
        .unwrap()?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn without_headings_lines_end_only_where_something_changes() {
    let expected = "\
0x0000000000000000-0xffffff8000000000   17179868672G                               pgd
0xffffff8000000000-0xffffffff80000000         510G                               pud
0xffffffff80000000-0xffffffff80002000           8K     ro                 GLB x  pte
0xffffffff80002000-0xffffffff80003000           4K     RW                 GLB NX pte
0xffffffff80003000-0xffffffff80004000           4K     RW                 GLB x  pte
0xffffffff80004000-0xffffffff80200000        2032K                               pte
0xffffffff80200000-0xffffffff80400000           2M     RW         PSE     GLB NX pmd
0xffffffff80400000-0xffffffffc0000000        1020M                               pmd
0xffffffffc0000000-0x0000000000000000           1G                               pud
";
    let dump = text(&kernel(), TableFormat::X86_64, Half::Low).unwrap();
    assert_eq!(dump, expected, "\n{dump}");
}

#[test]
fn a_dump_of_arm64_reads_as_linux_writes_it() {
    type Word = Descriptor<12, 48>;
    let link = |at| Word::link(PhysAddr::new(at), Level::PGD).raw();
    let base = DescriptorFlags::VALID
        | DescriptorFlags::ACCESSED
        | DescriptorFlags::SHARE_0
        | DescriptorFlags::SHARE_1;
    let never = DescriptorFlags::KERNEL_NO_EXECUTE | DescriptorFlags::USER_NO_EXECUTE;
    let leaf = |frame, level, flags| Word::leaf(Pfn::new(frame), level, base | flags).raw();
    let text_flags = DescriptorFlags::READ_ONLY | DescriptorFlags::USER_NO_EXECUTE;
    let image = memory(&[
        (TOP, link(0x2000)),
        (0x2000, link(0x3000)),
        (0x3000, link(0x4000)),
        (0x3008, leaf(0x200, Level::PMD, never)),
        (0x4000, leaf(0x10, Level::PTE, text_flags)),
        (0x4008, leaf(0x30, Level::PTE, text_flags)),
    ]);
    let dump = text(&image, TableFormat::Arm4K48, Half::High).unwrap();
    let expected = "\
0xffff000000000000-0xffff000000002000           8K PTE       ro x  SHD AF            UXN    MEM/NORMAL
0xffff000000002000-0xffff000000200000        2040K PTE
0xffff000000200000-0xffff000000400000           2M PMD       RW NX SHD AF        BLK UXN    MEM/NORMAL
0xffff000000400000-0xffff000040000000        1020M PMD
0xffff000040000000-0xffff008000000000         511G PUD
0xffff008000000000-0x0000000000000000      261632G PGD
";
    assert_eq!(dump, expected, "\n{dump}");
}

fn mappings(image: &Image, format: TableFormat) -> Result<Vec<Mapping>, ListError> {
    let mut all = Vec::new();
    let root = Root::new(format, PhysAddr::new(TOP));
    Tables::in_image(image, root, Half::Low).list(|mapping| {
        all.push(mapping);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

#[test]
fn runs_end_where_memory_or_rights_change() {
    let all = mappings(&kernel(), TableFormat::X86_64).unwrap();
    let lens: Vec<u64> = all.iter().map(|mapping| mapping.len >> 12).collect();
    assert_eq!(lens, [2, 1, 1, 512]);
    let wrong = all
        .iter()
        .filter(|mapping| mapping.can.write && mapping.can.execute);
    let wrong: Vec<u64> = wrong.map(|mapping| mapping.start.raw()).collect();
    assert_eq!(wrong, [0xffff_ffff_8000_3000]);
}

#[test]
fn tables_that_lead_in_circles_are_an_error() {
    let own = Pte::link(PhysAddr::new(TOP), Level::PGD).raw();
    let words: Vec<_> = (0..512).map(|nth| (TOP + nth * 8, own)).collect();
    let image = memory(&words);
    for format in [TableFormat::X86_64, TableFormat::X86_64La57, TableFormat::Npt] {
        assert_eq!(mappings(&image, format), Err(ListError::Circles), "{format:?}");
    }
    assert_eq!(
        text(&image, TableFormat::X86_64, Half::Low),
        Err(ListError::Circles)
    );
}

#[test]
fn tables_outside_memory_are_left_out_or_an_error() {
    let away = Pte::link(PhysAddr::new(0x100_0000), Level::PGD).raw();
    assert_eq!(mappings(&memory(&[(TOP, away)]), TableFormat::X86_64), Ok(vec![]));
    let nowhere = Root::new(TableFormat::X86_64, PhysAddr::new(0x100_0000));
    let found = Tables::in_image(&kernel(), nowhere, Half::Low).list(|_| ControlFlow::Continue(()));
    assert_eq!(found, Err(ListError::Nowhere));
}
