//! What a kernel in an image says of itself.

use foliant_inspect::Image;
use foliant_inspect::linux::{Btf, Kernel, user_roots};

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
    kernel.headings();
}

pub(crate) fn btf(bytes: &[u8]) {
    let Some(btf) = Btf::parse(bytes.to_vec()) else {
        return;
    };
    for (of, member) in [("outer", "b"), ("task_struct", "mm"), ("mm_struct", "pgd")] {
        let _either = btf.offset(of, member);
    }
}
