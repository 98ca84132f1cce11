//! Top tables of processes, found by their looks: for kernels that do not
//! describe their types.

use foliant_arch::EntryMemory;
use foliant_units::PhysAddr;

use super::kernel::Kernel;
use crate::root::{Root, TableFormat};

const PAGE: u64 = 4096;

/// What a top table of i386 looks like.
struct Look {
    /// Bytes of an entry.
    entry: u64,
    /// Bytes of a table, which is its alignment too.
    table: u64,
    /// The kernel's entries, from this one to the last.
    kernel: u64,
}

/// Every table of an i386 kernel whose upper part is that of the kernel's own
/// and whose lower part maps something: the processes', in order of addresses.
/// Empty for other formats. (A copy of a freed table may be among them.)
pub fn user_roots(kernel: &Kernel<'_>) -> Vec<Root> {
    let own = kernel.root();
    let look = match own.format {
        TableFormat::X86Legacy => Look {
            entry: 4,
            table: PAGE,
            kernel: 768,
        },
        TableFormat::X86Pae => Look {
            entry: 8,
            table: 32,
            kernel: 3,
        },
        _ => return Vec::new(),
    };
    let image = kernel.image();
    let entries = look.table / look.entry;
    let word = |table: PhysAddr, index| image.load(table + index * look.entry, look.entry);
    // Accessed bits and entries that were not yet copied may differ.
    let alike = |table| {
        let kernel = look.kernel..entries;
        let mut same = 0;
        for index in kernel {
            let (own, other) = (word(own.table, index) & !0x20, word(table, index) & !0x20);
            if other != 0 && own != other {
                return false;
            }
            same += u64::from(other != 0);
        }
        same != 0 && (0..look.kernel).any(|index| word(table, index) & 1 != 0)
    };
    let mut found = Vec::new();
    for range in image.ram() {
        let skip = range.start.raw().wrapping_neg() % look.table;
        for inside in (skip..range.len).step_by(look.table as usize) {
            if range.len - inside < look.table {
                break;
            }
            let table = range.start + inside;
            if table != own.table && alike(table) {
                found.push(kernel.root_at(table));
            }
        }
    }
    found
}
