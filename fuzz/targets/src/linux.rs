//! What a kernel in an image says of itself.

use foliant_arch::arm64::Half;
use foliant_inspect::Image;
use foliant_inspect::linux::{Btf, Kernel, user_roots};
use foliant_inspect::listing::Tables;

use crate::image::put;

const PAGE: usize = 4096;
/// Where the kernel's memory begins in the image.
const DATA: usize = 8;

/// The first page of the input is VMCOREINFO, the rest is mapped from
/// `ffffffff80008000` up, at the same place of the image. Some lines are given.
pub(crate) fn kernel(bytes: &[u8]) {
    let (info, data) = bytes.split_at(bytes.len().min(PAGE));
    let mut image = vec![0; DATA * PAGE];
    // The top table and those below it, for the kernel's half alone.
    for (table, next) in [(1usize, 2u64), (2, 3), (3, 4)] {
        let entry = if table == 2 { 510 } else { 511 };
        let slot = if table == 3 { 0 } else { entry };
        put(
            &mut image,
            table * PAGE + slot * 8,
            &(next << 12 | 0x63).to_le_bytes(),
        );
    }
    for page in 0..512u64 {
        put(
            &mut image,
            4 * PAGE + page as usize * 8,
            &(page << 12 | 0x63).to_le_bytes(),
        );
    }
    let mut text = b"OSRELEASE=6.1.0\nSYMBOL(_stext)=ffffffff80000000\n\
        SYMBOL(swapper_pg_dir)=ffffffff80001000\nNUMBER(phys_base)=0\n"
        .to_vec();
    text.extend(info.iter().take(PAGE - text.len()));
    put(&mut image, 5 * PAGE, &text);
    put(&mut image, DATA * PAGE, data);

    look(image);
}

/// Everything that is asked of a kernel.
fn look(image: Vec<u8>) {
    let Ok(image) = Image::from_bytes(image) else {
        return;
    };
    let Ok(kernel) = Kernel::find(&image) else {
        return;
    };
    if let Ok(processes) = kernel.processes() {
        for process in processes.iter().take(8) {
            if let Some(root) = process.root {
                crate::image::translate(&image, root);
            }
        }
    }
    user_roots(&kernel);
    let headings = kernel.headings();
    let tables = Tables::in_image(&image, kernel.root(), Half::High);
    let _either = tables.ptdump(&headings, &mut std::io::sink());
}

/// The first byte says whose kernel it is; then as [`kernel`], mapped from where
/// those kernels have their memory.
pub(crate) fn others(bytes: &[u8]) {
    let Some((&which, rest)) = bytes.split_first() else {
        return;
    };
    let (info, data) = rest.split_at(rest.len().min(PAGE));
    let mut image = vec![0; DATA * PAGE];
    let text = match which % 4 {
        0 => {
            put(&mut image, PAGE + 768 * 4, &0x1e3u32.to_le_bytes());
            "SYMBOL(swapper_pg_dir)=c0001000\n"
        }
        1 => {
            put(&mut image, PAGE + 24, &0x2001u64.to_le_bytes());
            put(&mut image, 2 * PAGE, &0x1e3u64.to_le_bytes());
            "SYMBOL(swapper_pg_dir)=c0001000\nCONFIG_X86_PAE=y\n"
        }
        2 => {
            // A block of 2 MiB at ffff800080000000.
            put(&mut image, PAGE + 256 * 8, &0x2003u64.to_le_bytes());
            put(&mut image, 2 * PAGE + 2 * 8, &0x3003u64.to_le_bytes());
            put(&mut image, 3 * PAGE, &0x701u64.to_le_bytes());
            "SYMBOL(swapper_pg_dir)=ffff800080001000\nNUMBER(kimage_voffset)=0xffff800080000000\n\
             NUMBER(VA_BITS)=48\n"
        }
        _ => {
            for (table, slot, entry) in [(1, 511, 0x2063u64), (2, 511, 0x3063), (3, 510, 0x1e3)] {
                put(&mut image, table * PAGE + slot * 8, &entry.to_le_bytes());
            }
            "SYMBOL(swapper_pg_dir)=ffffffff80001000\nNUMBER(phys_base)=0\n\
             NUMBER(pgtable_l5_enabled)=1\n"
        }
    };
    let mut lines = format!("OSRELEASE=6.1.0\nSYMBOL(_stext)=ffffffff80000000\n{text}").into_bytes();
    lines.extend(info.iter().take(PAGE - lines.len()));
    put(&mut image, 5 * PAGE, &lines);
    put(&mut image, DATA * PAGE, data);
    look(image);
}

pub(crate) fn btf(bytes: &[u8]) {
    let Some(btf) = Btf::parse(bytes.to_vec()) else {
        return;
    };
    for (of, member) in [("outer", "b"), ("task_struct", "mm"), ("mm_struct", "pgd")] {
        let _either = btf.offset(of, member);
    }
}
