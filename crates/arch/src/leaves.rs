//! Everything that tables map, in order of addresses.

use core::ops::ControlFlow;

use foliant_units::{PhysAddr, VirtAddr};

use crate::format::{Entry, Format, Next};
use crate::level::Level;
use crate::walk::{EntryMemory, Start, Translation};

/// What a survey of tables meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<F: Format> {
    /// Memory that is mapped.
    Leaf(Translation<F>),
    /// A present entry that no processor accepts.
    Reserved {
        /// The first address that it would translate.
        at: VirtAddr,
        /// Its level.
        level: Level,
        /// The entry.
        entry: F::Entry,
    },
    /// A link to a table where there is no memory.
    Nowhere {
        /// The first address that the table would translate.
        at: VirtAddr,
        /// The table's level.
        level: Level,
        /// Where it should be.
        table: PhysAddr,
    },
}

/// How a survey ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Everything was visited.
    Complete,
    /// The visitor had enough.
    Stopped,
    /// More tables were met than allowed: they may lead in circles.
    TooMany,
}

/// Visits everything that the tables at `root` map, in ascending order; for
/// formats with two halves, addresses of the lower one (see
/// [`Geometry::above`](crate::Geometry)).
///
/// At most `most` tables are read, so that tables which lead in circles end.
pub fn survey<F: Format>(
    memory: &impl EntryMemory,
    root: PhysAddr,
    control: &F::Control,
    most: u64,
    mut visit: impl FnMut(Found<F>) -> ControlFlow<()>,
) -> Ended {
    let mut survey = Survey {
        memory,
        control,
        left: most,
        visit: &mut visit,
    };
    match survey.table(Start::root(root), 0) {
        ControlFlow::Continue(()) => Ended::Complete,
        ControlFlow::Break(how) => how,
    }
}

struct Survey<'a, M, C, V> {
    memory: &'a M,
    control: &'a C,
    left: u64,
    visit: &'a mut V,
}

impl<M: EntryMemory, C, V> Survey<'_, M, C, V> {
    /// Visits what the table `via` maps, whose first address has the
    /// translated bits `base`. At most five calls deep.
    fn table<F>(&mut self, via: Start<F>, base: u64) -> ControlFlow<Ended>
    where
        F: Format<Control = C>,
        V: FnMut(Found<F>) -> ControlFlow<()>,
    {
        let geometry = &F::GEOMETRY;
        let Some(left) = self.left.checked_sub(1) else {
            return ControlFlow::Break(Ended::TooMany);
        };
        self.left = left;
        let count = geometry.entries(via.level);
        let bytes = count as u64 * geometry.entry_bytes;
        if !self.memory.has(via.table, bytes) {
            return self.show(Found::Nowhere {
                at: geometry.extend(VirtAddr::new(base)),
                level: via.level,
                table: via.table,
            });
        }
        let span = geometry.entry_span(via.level);
        let memory = self.memory;
        memory.for_each(via.table, geometry.entry_bytes, count, |index, word| {
            let entry = F::Entry::from_raw(word);
            if !entry.is_present() {
                return ControlFlow::Continue(());
            }
            self.entry(via, entry, base + index as u64 * span)
        })
    }

    fn entry<F>(&mut self, via: Start<F>, entry: F::Entry, base: u64) -> ControlFlow<Ended>
    where
        F: Format<Control = C>,
        V: FnMut(Found<F>) -> ControlFlow<()>,
    {
        let at = F::GEOMETRY.extend(VirtAddr::new(base));
        let level = via.level;
        if F::is_reserved(entry, level, self.control) {
            return self.show(Found::Reserved { at, level, entry });
        }
        let rights = F::narrow(via.rights, entry, level);
        let target = match (F::follow(entry, level, self.control), F::GEOMETRY.below(level)) {
            (Next::Table(table), Some(level)) => {
                return self.table::<F>(Start { table, level, rights }, base);
            }
            (Next::Table(target) | Next::Memory(target), _) => target,
        };
        self.show(Found::Leaf(Translation {
            page: at.page(),
            frame: target.frame(),
            level,
            rights,
            leaf: entry,
            via,
        }))
    }

    fn show<F>(&mut self, found: Found<F>) -> ControlFlow<Ended>
    where
        F: Format,
        V: FnMut(Found<F>) -> ControlFlow<()>,
    {
        match (self.visit)(found) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(()) => ControlFlow::Break(Ended::Stopped),
        }
    }
}
