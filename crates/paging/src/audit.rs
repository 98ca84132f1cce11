//! Checking the tables of a space that nobody is changing.

use alloc::collections::BTreeSet;

use foliant_arch::{Entry, Format, Level};
use foliant_units::{Pfn, Vpn};

use crate::lock;
use crate::store::{Header, Store, Words};
use crate::tree::{Tree, frame_of};

/// Something wrong with the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A table is linked twice.
    LinkedTwice {
        /// The table.
        table: Pfn,
        /// Where the second link leads from.
        page: Vpn,
    },
    /// A linked table is locked or detached though nobody is working on it.
    NotOpen {
        /// The table.
        table: Pfn,
    },
    /// A table's count of entries that are not empty is wrong.
    LiveCount {
        /// The table.
        table: Pfn,
        /// What the count says.
        counted: u32,
        /// How many there are.
        found: u32,
    },
    /// The number of tables of a level is wrong.
    TableCount {
        /// The level.
        level: Level,
        /// What the count says.
        counted: usize,
        /// How many there are.
        found: usize,
    },
}

struct Audit<'a> {
    seen: BTreeSet<Pfn>,
    found: [usize; Level::COUNT],
    report: &'a mut dyn FnMut(Violation),
}

impl<S: Store, F: Format> Tree<S, F> {
    /// Reports everything that is wrong. Nobody may be changing the tables.
    pub fn audit(&self, report: &mut dyn FnMut(Violation)) {
        let mut audit = Audit {
            seen: BTreeSet::new(),
            found: [0; Level::COUNT],
            report,
        };
        self.audit_table(self.store.root(), F::GEOMETRY.top(), Vpn::ZERO, &mut audit);
        for level in Level::all() {
            let (counted, found) = (self.tables(level), audit.found[level.index()]);
            if counted != found {
                (audit.report)(Violation::TableCount {
                    level,
                    counted,
                    found,
                });
            }
        }
    }

    fn audit_table(&self, table: Pfn, level: Level, first: Vpn, audit: &mut Audit<'_>) {
        if !audit.seen.insert(table) {
            (audit.report)(Violation::LinkedTwice { table, page: first });
            return;
        }
        audit.found[level.index()] += 1;
        if !lock::is_open(self.store.header(table).lock()) {
            (audit.report)(Violation::NotOpen { table });
        }

        let words = self.store.words(table);
        let mut found = 0;
        for index in 0..F::GEOMETRY.entries(level) {
            let entry = words.load::<F>(index);
            found += u32::from(!entry.is_empty());
            if let Some(below) = F::GEOMETRY.below(level)
                && entry.is_table(level)
                && index < self.tops.own_entries::<F>(level)
            {
                let page = first + index as u64 * F::GEOMETRY.entry_pages(level);
                self.audit_table(frame_of(entry, level), below, page, audit);
            }
        }
        let counted = self.live(table);
        if counted != found {
            (audit.report)(Violation::LiveCount {
                table,
                counted,
                found,
            });
        }
    }
}
