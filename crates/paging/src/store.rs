//! Where tables live.

use foliant_arch::{Format, Level};
use foliant_phys::AllocError;
use foliant_platform::Flush;
use foliant_platform::sync::atomic::AtomicU32;
use foliant_units::Pfn;

/// What is kept about a table beside its entries.
pub trait Header: Copy {
    /// The lock word: open, locked or detached.
    fn lock(&self) -> &AtomicU32;
    /// How many entries are not empty. Changed under the lock only.
    fn live(&self) -> &AtomicU32;
    /// The next unlinked table that waits for its end.
    fn next(&self) -> &AtomicU32;
}

/// The entries of one table. `F` is the format of the tree that the table
/// belongs to, and says how wide an entry is.
pub trait Words: Copy {
    /// Reads entry `index`; sees what was written before it was published.
    fn load<F: Format>(self, index: usize) -> F::Entry;
    /// Writes entry `index`, publishing what was written before.
    fn store<F: Format>(self, index: usize, entry: F::Entry);
    /// Writes entry `index` of a table that nobody else sees.
    fn store_plain<F: Format>(self, index: usize, entry: F::Entry);
    /// Replaces entry `index`.
    fn swap<F: Format>(self, index: usize, entry: F::Entry) -> F::Entry;
    /// Replaces entry `index` if it is `old`.
    ///
    /// # Errors
    /// What was there instead.
    fn compare_exchange<F: Format>(self, index: usize, old: F::Entry, new: F::Entry) -> Result<(), F::Entry>;
}

/// The memory that tables are made of, and the machine that walks them.
pub trait Store: Send + Sync + Sized + 'static {
    /// Access to the entries of a table.
    type Words<'s>: Words + 's
    where
        Self: 's;

    /// What is kept about a table.
    type Header<'s>: Header + 's
    where
        Self: 's;

    /// The top table.
    fn root(&self) -> Pfn;

    /// A table with all entries empty, open, and no live entry.
    ///
    /// # Errors
    /// No memory.
    fn allocate(&self, level: Level) -> Result<Pfn, AllocError>;

    /// Takes a table back that nobody can reach any more.
    fn release(&self, table: Pfn);

    /// Takes a table back that nobody can reach any more, and all of whose
    /// entries are empty.
    fn release_empty(&self, table: Pfn) {
        self.release(table);
    }

    /// The entries of `table`.
    fn words(&self, table: Pfn) -> Self::Words<'_>;

    /// What is kept about `table`.
    fn header(&self, table: Pfn) -> Self::Header<'_>;

    /// Gives back one reference to a frame that a table mapped.
    fn put_frame(&self, frame: Pfn);

    /// Makes every CPU forget translations.
    fn flush(&self, what: Flush<'_>);

    /// The CPU this runs on, as an index; only a hint.
    fn cpu(&self) -> usize;

    /// How many CPUs there are.
    fn cpus(&self) -> usize;

    /// How many unlinked tables of one tree may wait for descents before those
    /// who unlink more wait as well. Each of them may add what one
    /// [gather](crate::GatherOf) holds.
    fn waiting_max(&self) -> usize {
        64
    }

    /// Called before a table lock is taken: preemption goes off.
    fn enter(&self) {}

    /// Called after a table lock was given back.
    fn leave(&self) {}
}
