//! A walk that tells every step, for those who want to know why.

use foliant_units::{PhysAddr, VirtAddr};

use crate::access::{Access, ErrorCode};
use crate::format::{Entry, Format, Next, Refusal};
use crate::level::Level;
use crate::walk::{EntryMemory, Start, Translation};

/// One entry that a walk read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step<F: Format> {
    /// The level.
    pub level: Level,
    /// Which entry of its table.
    pub index: usize,
    /// Where it lies.
    pub slot: PhysAddr,
    /// What it says.
    pub entry: F::Entry,
}

/// Why a walk ended without a translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The address is not one that the format translates.
    NonCanonical,
    /// There is no memory where the table of this level should be.
    Nowhere(Level),
    /// The entry of this level is not present.
    Absent(Level, ErrorCode),
    /// The entry of this level has a bit set that must be clear.
    Reserved(Level, ErrorCode),
    /// The rights, complete with the leaf of this level, forbid the access.
    Refused(Level, ErrorCode),
}

/// All that a walk saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Explanation<F: Format> {
    steps: [Option<Step<F>>; Level::COUNT],
    /// The leaf, even one that forbids the access.
    pub found: Option<Translation<F>>,
    /// Why the access fails, if it does.
    pub stop: Option<Stop>,
}

impl<F: Format> Explanation<F> {
    /// The entries read, from the top.
    pub fn steps(&self) -> impl Iterator<Item = &Step<F>> {
        self.steps.iter().flatten()
    }
}

/// Walks as [`walk`](crate::walk()) does, leaving no trace in memory, and
/// tells what it saw.
pub fn explain<F: Format>(
    memory: &impl EntryMemory,
    root: PhysAddr,
    at: VirtAddr,
    access: Access,
    control: &F::Control,
) -> Explanation<F> {
    let mut told = Explanation {
        steps: [None; Level::COUNT],
        found: None,
        stop: None,
    };
    if !F::GEOMETRY.accepts(at) {
        told.stop = Some(Stop::NonCanonical);
        return told;
    }
    let code = F::describe(access, control);
    match descend(memory, root, at, code, control, &mut told.steps) {
        Err(stop) => told.stop = Some(stop),
        Ok(found) => {
            told.found = Some(found);
            if let Err(Refusal(why)) = F::permit(found.rights, access, control) {
                let code = code | why | ErrorCode::PROTECTION;
                told.stop = Some(Stop::Refused(found.level, code));
            }
        }
    }
    told
}

fn descend<F: Format>(
    memory: &impl EntryMemory,
    root: PhysAddr,
    at: VirtAddr,
    code: ErrorCode,
    control: &F::Control,
    steps: &mut [Option<Step<F>>; Level::COUNT],
) -> Result<Translation<F>, Stop> {
    let geometry = &F::GEOMETRY;
    let mut via = Start::<F>::root(root);
    let mut steps = steps.iter_mut();
    loop {
        let level = via.level;
        let index = geometry.index(level, at.page());
        let slot = geometry.slot(via.table, index);
        if !memory.has(slot, geometry.entry_bytes) {
            return Err(Stop::Nowhere(level));
        }
        let entry = F::Entry::from_raw(memory.load(slot, geometry.entry_bytes));
        if let Some(step) = steps.next() {
            *step = Some(Step {
                level,
                index,
                slot,
                entry,
            });
        }
        if !entry.is_present() {
            return Err(Stop::Absent(level, code));
        }
        if F::is_reserved(entry, level, control) {
            return Err(Stop::Reserved(
                level,
                code | ErrorCode::PROTECTION | ErrorCode::RESERVED,
            ));
        }
        let rights = F::narrow(via.rights, entry, level);
        let target = match (F::follow(entry, level, control), geometry.below(level)) {
            (Next::Table(table), Some(level)) => {
                via = Start { table, level, rights };
                continue;
            }
            (Next::Table(target) | Next::Memory(target), _) => target,
        };
        return Ok(Translation {
            page: geometry.entry_range(level, at.page()).start,
            frame: target.frame(),
            level,
            rights,
            leaf: entry,
            via,
        });
    }
}
