//! Page tables in a few pages of memory: cyclic, shared, leading nowhere.

use std::cell::RefCell;

use foliant_arch::arm64::Half;
use foliant_arch::{Access, AccessKind, EntryMemory, Format, Mode, Stop, explain, peek, walk};
use foliant_inspect::listing::{Headings, Tables, X86_64Parts};
use foliant_inspect::{Controls, Image, Root, TableFormat, with_format};
use foliant_units::{PhysAddr, VirtAddr};

use crate::image::translate;
use crate::input::Input;

const PAGE: usize = 4096;
/// Pages of memory: with 64 KiB granules one table and no more.
const PAGES: usize = 32;
/// Bytes of ptdump that are worth writing.
const TEXT: usize = 1 << 20;

/// Memory that remembers what the walk wrote.
struct Ram(RefCell<Vec<u8>>);

impl EntryMemory for Ram {
    fn load(&self, at: PhysAddr, bytes: u64) -> u64 {
        let ram = self.0.borrow();
        let found = usize::try_from(at.raw())
            .ok()
            .and_then(|at| ram.get(at..at.checked_add(bytes as usize)?));
        found.map_or(!0, |found| {
            let mut word = [0; 8];
            word[..found.len()].copy_from_slice(found);
            u64::from_le_bytes(word)
        })
    }

    fn compare_exchange(&self, at: PhysAddr, bytes: u64, old: u64, new: u64) -> Result<(), u64> {
        let now = self.load(at, bytes);
        if now != old {
            return Err(now);
        }
        let mut ram = self.0.borrow_mut();
        let start = at.raw() as usize;
        if let Some(slot) = ram.get_mut(start..start + bytes as usize) {
            slot.copy_from_slice(&new.to_le_bytes()[..bytes as usize]);
        }
        Ok(())
    }

    fn has(&self, at: PhysAddr, bytes: u64) -> bool {
        let len = self.0.borrow().len() as u64;
        at.raw().checked_add(bytes).is_some_and(|end| end <= len)
    }
}

/// Which format, root, controls and addresses; then words at places, which
/// are the tables.
pub(crate) fn tables(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (format, _) = TableFormat::ALL[usize::from(input.u8()) % TableFormat::ALL.len()];
    let mut root = Root::new(format, PhysAddr::new(u64::from(input.u8()) << 8));
    controls(&mut root.controls, input.u16());
    let addresses = [input.u64(), input.u64()];
    let mut ram = vec![0; PAGES * PAGE];
    while !input.is_empty() {
        let at = usize::from(input.u16()) * 8 % ram.len();
        let word = input.u64();
        ram[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }

    // The first word may make it another sort of file.
    let Ok(image) = Image::from_bytes(ram.clone()) else {
        return;
    };
    translate(&image, root);
    let headings = match format {
        TableFormat::X86_64 => Headings::x86_64(&X86_64Parts::usual(false)),
        TableFormat::X86_64La57 => Headings::x86_64(&X86_64Parts::usual(true)),
        _ => Headings::none(),
    };
    for half in [Half::Low, Half::High] {
        let tables = Tables::in_image(&image, root, half);
        let _either = tables.ptdump(&headings, &mut Bounded(0));
        let _either = tables.check_wx();
    }
    with_format!(root, F, control => {
        for at in addresses {
            agree::<F>(&ram, root.table, VirtAddr::new(at), control);
        }
    });
}

fn controls(controls: &mut Controls, bits: u16) {
    let bit = |nth: u32| bits >> nth & 1 != 0;
    controls.x86.write_protect = bit(0);
    controls.x86.no_execute = bit(1);
    controls.x86.smep = bit(2);
    controls.x86.smap = bit(3);
    controls.x86.large_pages = bit(4);
    controls.x86.gigabyte_pages = bit(5);
    controls.x86.physical_bits = 36 + u32::from(bits >> 12);
    controls.arm.write_implies_no_execute = bit(0);
    controls.arm.privileged_access_never = bit(1);
    controls.arm.hardware_access = bit(2);
    controls.arm.hardware_dirty = bit(3);
    controls.arm.ignore_table_limits = bit(4);
    controls.ept.execute_only = bit(0);
    controls.ept.accessed_dirty = bit(1);
    controls.ept.mode_based_execute = bit(2);
    controls.ept.gigabyte_pages = bit(5);
    controls.ept.physical_bits = 36 + u32::from(bits >> 12);
}

/// The walk, the peek and the explanation say the same of every access.
fn agree<F: Format>(ram: &[u8], root: PhysAddr, at: VirtAddr, control: &F::Control) {
    for kind in [AccessKind::Read, AccessKind::Write, AccessKind::Execute] {
        for mode in [Mode::User, Mode::Supervisor] {
            let memory = Ram(RefCell::new(ram.to_vec()));
            let access = Access { kind, mode };
            let told = explain::<F>(&memory, root, at, access, control);
            let peeked = peek::<F>(&memory, root, at, control);
            let walked = walk::<F>(&memory, root, at, access, control);
            // Where no memory is the walk reads ones, as hardware does.
            if matches!(told.stop, Some(Stop::Nowhere(_))) {
                continue;
            }
            match walked {
                Ok(found) => {
                    assert!(told.stop.is_none(), "{told:?}");
                    let peeked = peeked.unwrap_or_else(|| panic!("{found:?} was not peeked at"));
                    assert_eq!((peeked.frame, peeked.level), (found.frame, found.level));
                    // The walk again finds what it left.
                    let again = walk::<F>(&memory, root, at, access, control);
                    assert_eq!(again.map(|again| again.leaf), Ok(found.leaf));
                }
                Err(_) => assert!(told.stop.is_some(), "{told:?}"),
            }
        }
    }
}

/// Counts what is written, and fails beyond a limit.
struct Bounded(usize);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        if self.0 > TEXT {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
