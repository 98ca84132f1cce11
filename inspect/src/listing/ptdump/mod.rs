//! The text of Linux's /sys/kernel/debug page-table dumps.
//!
//! [`sweep`] meets every entry in Linux's order, [`lines`] joins what is alike
//! and puts headings between, [`arm64`] and [`x86`] write a line.

mod arm64;
mod lines;
mod sweep;
mod x86;

use std::io;

use foliant_arch::{Above, EntryMemory, Format};
use foliant_units::VirtAddr;

use super::headings::Headings;
use super::mapping::{ListError, in_half};
use super::tables::Tables;
use crate::with_format;
use lines::Lines;
use sweep::{Sweep, Swept};

impl<M: EntryMemory> Tables<'_, M> {
    /// Writes what is mapped as Linux's ptdump does: holes too, runs with equal
    /// flags in one line, wherever their memory is, with `headings` between the
    /// parts of the address space.
    ///
    /// # Errors
    /// If `out` fails; in the result, if tables lead in circles or are not there.
    ///
    /// # Linux source concept
    /// `note_page()` of arch/x86/mm/dump_pagetables.c and arch/arm64/mm/ptdump.c,
    /// as of 6.12.
    pub fn ptdump(&self, headings: &Headings, out: &mut impl io::Write) -> io::Result<Result<(), ListError>> {
        let (root, half) = (self.root, self.half);
        with_format!(root, F, control => {
            // Where both halves hang under one root, the last address is the very last.
            let end = match F::GEOMETRY.above {
                Above::Sign => 0,
                Above::Half | Above::Clear => {
                    in_half::<F>(VirtAddr::ZERO, half).raw().wrapping_add(1 << F::GEOMETRY.address_bits)
                }
            };
            let mut lines = Lines::<F, _>::new(headings, out);
            let mut sweep = Sweep::<F, _, _> {
                memory: self.memory,
                control,
                half,
                left: self.most,
                note: |seen| lines.note(&seen),
            };
            let swept = sweep.all(root.table);
            if swept == Swept::All {
                lines.finish(end);
            }
            lines.failed()?;
            Ok(match swept {
                Swept::TooMany => Err(ListError::Circles),
                Swept::Nowhere => Err(ListError::Nowhere),
                Swept::All | Swept::Stopped => Ok(()),
            })
        })
    }
}
