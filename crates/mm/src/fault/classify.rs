//! The decision of a page fault, as a pure function.
//!
//! [`classify`] looks at what the page's slot holds, at what the mapping is
//! backed by and at what was attempted, and names what has to be done. It
//! reads nothing else and changes nothing, so the table at the end of this
//! file is the whole truth about it.

/// What the CPU, or the kernel on a program's behalf, tried to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Load.
    Read,
    /// Store, or read-modify-write.
    Write,
    /// Instruction fetch.
    Execute,
}

/// What a present slot shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shows {
    /// The machine's frame of zeroes.
    Zero,
    /// An anonymous frame that belongs to this mapping alone.
    Exclusive,
    /// An anonymous frame that other mappings may see too.
    Shared,
    /// A frame of the mapping's object.
    Object,
}

/// What the slot of the page holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SlotState {
    /// Nothing: the page was never touched, or was discarded.
    Empty,
    /// A frame, and what the entry allows besides reading.
    Present {
        /// Which sort of frame.
        shows: Shows,
        /// Whether stores pass.
        writable: bool,
        /// Whether instruction fetches pass.
        executable: bool,
    },
    /// A swap entry.
    Swapped,
    /// The frame is being moved elsewhere.
    Migrating,
    /// A guard marker: every access is a programming error.
    Guard,
    /// A poison marker: the contents were lost.
    Poison,
}

/// What a mapping shows where nobody wrote yet, and who sees writes to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Backed {
    /// Zeroes, private.
    Anonymous,
    /// An object; writes go to private copies.
    PrivateObject,
    /// An object; writes go to it. Shared anonymous memory is one of these.
    SharedObject,
}

/// Why a fault is refused without looking further.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// The page exists, but not for this sort of access.
    Rights,
    /// The page is a guard page, as good as not mapped.
    Guard,
    /// The page's contents were lost.
    Poison,
}

/// What a fault needs done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Plan {
    /// Nothing: the entry already allows the access.
    Spurious,
    /// Map the frame of zeroes, for reading.
    MapZeroPage,
    /// Map a fresh frame of zeroes, for writing.
    FillZero,
    /// Map the object's frame, and its neighbours that are at hand.
    MapObject,
    /// Map a private copy of the object's frame.
    CopyObject,
    /// Map the object's frame for writing.
    ShareObject,
    /// Let stores to the object's mapped frame pass.
    MakeWritable,
    /// Let stores pass: the frame is already this mapping's own.
    Reuse,
    /// Reuse the frame if nobody else holds it after all, or else copy it.
    BreakCow,
    /// Bring the contents back from swap.
    SwapIn,
    /// Wait until the frame has arrived at its new place.
    AwaitMigration,
    /// Refuse.
    Refuse(Refusal),
}

/// Decides what a permitted access to a page needs.
///
/// Whether the mapping allows the access at all was asked before. Only the
/// right to execute is asked again here, of the entry: hardware reports a
/// fetch from an absent page before it looks at the no-execute bit, so Linux
/// brings such a page in and refuses the second attempt.
///
/// # Linux source concept
/// `handle_pte_fault()` and `do_fault()`, mm/memory.c, without their actions.
pub const fn classify(slot: SlotState, backed: Backed, access: Access) -> Plan {
    match slot {
        SlotState::Empty => first_touch(backed, access),
        SlotState::Present {
            shows,
            writable,
            executable,
        } => match access {
            Access::Read => Plan::Spurious,
            Access::Execute if executable => Plan::Spurious,
            Access::Execute => Plan::Refuse(Refusal::Rights),
            Access::Write if writable => Plan::Spurious,
            Access::Write => write_protected(shows, backed),
        },
        SlotState::Swapped => Plan::SwapIn,
        SlotState::Migrating => Plan::AwaitMigration,
        SlotState::Guard => Plan::Refuse(Refusal::Guard),
        SlotState::Poison => Plan::Refuse(Refusal::Poison),
    }
}

/// The first access to an empty slot.
const fn first_touch(backed: Backed, access: Access) -> Plan {
    let writes = matches!(access, Access::Write);
    match (backed, writes) {
        (Backed::Anonymous, false) => Plan::MapZeroPage,
        (Backed::Anonymous, true) => Plan::FillZero,
        (Backed::PrivateObject | Backed::SharedObject, false) => Plan::MapObject,
        (Backed::PrivateObject, true) => Plan::CopyObject,
        (Backed::SharedObject, true) => Plan::ShareObject,
    }
}

/// A store to a page that is mapped for reading only.
const fn write_protected(shows: Shows, backed: Backed) -> Plan {
    match (backed, shows) {
        // A shared mapping shows frames of its object only, and never copies.
        (Backed::SharedObject, _) => Plan::MakeWritable,
        (Backed::Anonymous | Backed::PrivateObject, Shows::Exclusive) => Plan::Reuse,
        (Backed::Anonymous | Backed::PrivateObject, Shows::Shared) => Plan::BreakCow,
        (Backed::Anonymous | Backed::PrivateObject, Shows::Zero) => Plan::FillZero,
        (Backed::Anonymous | Backed::PrivateObject, Shows::Object) => Plan::CopyObject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Access::{Execute, Read, Write};
    use Backed::{Anonymous, PrivateObject, SharedObject};

    const fn present(shows: Shows, rights: &str) -> SlotState {
        let rights = rights.as_bytes();
        SlotState::Present {
            shows,
            writable: rights[1] == b'w',
            executable: rights[2] == b'x',
        }
    }

    #[test]
    fn the_first_touch_of_a_page() {
        let table = [
            (Anonymous, Read, Plan::MapZeroPage),
            (Anonymous, Execute, Plan::MapZeroPage),
            (Anonymous, Write, Plan::FillZero),
            (PrivateObject, Read, Plan::MapObject),
            (PrivateObject, Execute, Plan::MapObject),
            (PrivateObject, Write, Plan::CopyObject),
            (SharedObject, Read, Plan::MapObject),
            (SharedObject, Execute, Plan::MapObject),
            (SharedObject, Write, Plan::ShareObject),
        ];
        for (backing, access, plan) in table {
            assert_eq!(
                classify(SlotState::Empty, backing, access),
                plan,
                "{backing:?} {access:?}"
            );
        }
    }

    #[test]
    fn a_store_to_a_page_mapped_for_reading() {
        let table = [
            (Anonymous, Shows::Zero, Plan::FillZero),
            (Anonymous, Shows::Exclusive, Plan::Reuse),
            (Anonymous, Shows::Shared, Plan::BreakCow),
            (PrivateObject, Shows::Object, Plan::CopyObject),
            (PrivateObject, Shows::Exclusive, Plan::Reuse),
            (PrivateObject, Shows::Shared, Plan::BreakCow),
            (SharedObject, Shows::Object, Plan::MakeWritable),
        ];
        for (backing, shows, plan) in table {
            assert_eq!(
                classify(present(shows, "r-x"), backing, Write),
                plan,
                "{backing:?} {shows:?}"
            );
        }
    }

    #[test]
    fn what_the_entry_allows_is_spurious() {
        for shows in [Shows::Zero, Shows::Exclusive, Shows::Shared, Shows::Object] {
            for backing in [Anonymous, PrivateObject, SharedObject] {
                assert_eq!(classify(present(shows, "r--"), backing, Read), Plan::Spurious);
                assert_eq!(classify(present(shows, "rw-"), backing, Write), Plan::Spurious);
                assert_eq!(classify(present(shows, "r-x"), backing, Execute), Plan::Spurious);
            }
        }
    }

    #[test]
    fn a_fetch_from_a_present_page_without_the_right_is_refused() {
        let plan = classify(present(Shows::Exclusive, "rw-"), Anonymous, Execute);
        assert_eq!(plan, Plan::Refuse(Refusal::Rights));
    }

    #[test]
    fn markers_refuse_every_access() {
        for access in [Read, Write, Execute] {
            for backing in [Anonymous, PrivateObject, SharedObject] {
                let guard = classify(SlotState::Guard, backing, access);
                assert_eq!(guard, Plan::Refuse(Refusal::Guard));
                let poison = classify(SlotState::Poison, backing, access);
                assert_eq!(poison, Plan::Refuse(Refusal::Poison));
                assert_eq!(classify(SlotState::Swapped, backing, access), Plan::SwapIn);
                assert_eq!(
                    classify(SlotState::Migrating, backing, access),
                    Plan::AwaitMigration
                );
            }
        }
    }
}
