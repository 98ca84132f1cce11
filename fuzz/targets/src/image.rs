//! Memory images of every sort.

use std::ops::ControlFlow;

use foliant_arch::arm64::Half;
use foliant_arch::{Access, AccessKind};
use foliant_inspect::linux::Kernel;
use foliant_inspect::listing::{Tables, Walked};
use foliant_inspect::{Image, Kind, Root, TableFormat};
use foliant_units::{PhysAddr, VirtAddr};

const PAGE: u64 = 4096;
/// Pages of an image that are read one by one.
const PAGES: u64 = 24;
/// Runs of mappings that are looked at.
const RUNS: u32 = 10_000;

pub(crate) fn elf(bytes: &[u8]) {
    beginning_with(b"\x7fELF", bytes, &[Kind::ElfCore]);
}

pub(crate) fn lime(bytes: &[u8]) {
    beginning_with(b"EMiL\x01\0\0\0", bytes, &[Kind::Lime]);
}

pub(crate) fn kdump(bytes: &[u8]) {
    beginning_with(b"KDUMP   ", bytes, &[Kind::Kdump]);
}

/// The signature and the header's version are given: what follows is pieces.
pub(crate) fn flattened(bytes: &[u8]) {
    let mut file = b"makedumpfile\0\0\0\0".to_vec();
    file.extend(1u64.to_be_bytes());
    file.extend(1u64.to_be_bytes());
    file.resize(PAGE as usize, 0);
    file.extend(bytes);
    look(file, &[Kind::FlattenedKdump]);
}

/// Whatever has no signature; others are looked at by their own targets.
pub(crate) fn raw(bytes: &[u8]) {
    look(bytes.to_vec(), &[Kind::Raw]);
}

fn beginning_with(magic: &[u8], bytes: &[u8], kinds: &[Kind]) {
    let mut file = bytes.to_vec();
    if file.len() < magic.len() {
        file.resize(magic.len(), 0);
    }
    file[..magic.len()].copy_from_slice(magic);
    look(file, kinds);
}

/// Opens a file and uses it in every way there is.
fn look(file: Vec<u8>, kinds: &[Kind]) {
    // What decides how it is looked at must not move when the file grows.
    let seed = u64::from_le_bytes(file.first_chunk().copied().unwrap_or_default());
    let Ok(image) = Image::from_bytes(file) else {
        return;
    };
    if !kinds.contains(&image.kind()) {
        return;
    }
    let ram = image.ram();
    for pair in ram.windows(2) {
        let end = pair[0].start.checked_add(pair[0].len);
        assert!(
            end.is_some_and(|end| end <= pair[1].start),
            "ranges overlap: {pair:?}"
        );
    }
    let mut page = vec![0; PAGE as usize];
    let starts = ram.iter().map(|range| range.start.raw() & !(PAGE - 1));
    let places = (0..PAGES)
        .map(|nth| nth * PAGE)
        .chain(starts.take(PAGES as usize));
    for at in places.chain([!(PAGE - 1), u64::MAX - 100]) {
        let _either = image.read(PhysAddr::new(at), &mut page);
    }
    for (nth, &(format, _)) in TableFormat::ALL.iter().enumerate() {
        // All of them would make each input slow.
        if nth as u64 % 5 == seed % 5 {
            translate(&image, Root::new(format, PhysAddr::new(PAGE)));
        }
    }
    for cpu in image.cpus().iter().take(4) {
        if let Some(root) = Root::of_cpu(image.machine(), cpu) {
            translate(&image, root);
        }
    }
    if let Ok(kernel) = Kernel::find(&image) {
        let _either = kernel.processes();
    }
}

/// Lists what tables map, and explains an address.
pub(crate) fn translate(image: &Image, root: Root) {
    for half in [Half::Low, Half::High] {
        let mut runs = 0;
        let _either = Tables::in_image(image, root, half).list(|mapping| {
            assert!(mapping.len >= mapping.page && mapping.page != 0);
            runs += 1;
            if runs < RUNS {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
    }
    for at in [0, 0x40_0000, 0xffff_ffff_8000_0000, u64::MAX] {
        let access = Access::user(AccessKind::Write);
        let told = Walked::new(image, root, VirtAddr::new(at), access);
        assert!(told.steps.len() <= 5);
    }
}

/// A dump file of one page, packed as the first byte says.
pub(crate) fn page(bytes: &[u8]) {
    let Some((&how, packed)) = bytes.split_first() else {
        return;
    };
    let block = 1usize << (12 + how / 8 % 5);
    let flags = [0u32, 1, 2, 4, 0x20, 3, 0x40, 0x21][usize::from(how % 8)];
    let mut file = Vec::new();
    put(&mut file, 0, b"KDUMP   \x06\0\0\0");
    put(&mut file, 272, b"x86_64");
    put(&mut file, 428, &(block as u32).to_le_bytes());
    put(&mut file, 432, &1u32.to_le_bytes());
    put(&mut file, 436, &2u32.to_le_bytes());
    put(&mut file, block + 96, &1u64.to_le_bytes());
    put(&mut file, 2 * block, &[1]);
    put(&mut file, 3 * block, &[1]);
    let (descriptor, at) = (4 * block, 4 * block + 24);
    put(&mut file, descriptor, &(at as u64).to_le_bytes());
    put(&mut file, descriptor + 8, &(packed.len() as u32).to_le_bytes());
    put(&mut file, descriptor + 12, &flags.to_le_bytes());
    put(&mut file, at, packed);
    // Opening reads the page already, in search of VMCOREINFO.
    let image = Image::from_bytes(file).unwrap_or_else(|why| panic!("the dump is sound: {why}"));
    let mut out = vec![0; block];
    let _either = image.read(PhysAddr::ZERO, &mut out);
}

/// Puts `bytes` at a place of a file that grows as needed.
pub(crate) fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}
