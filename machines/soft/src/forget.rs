//! Flushes that get lost, to show that they are missed.

use foliant_platform::{Flush, FlushKind};

/// Which flushes the machine loses on purpose.
#[derive(Clone, Copy, Debug, Default)]
pub enum Forget {
    /// None.
    #[default]
    Nothing,
    /// The one that is the `.0`th from now, counting from one.
    Nth(u64),
    /// Those that remove translations.
    Removed,
    /// Those that take rights or the dirty bit away.
    Demoted,
    /// Those that this says yes to, asked on the thread that flushes.
    When(fn(&Flush<'_>) -> bool),
    /// In every flush, that tables were freed.
    FreedTables,
    /// In every flush, all ranges but the first.
    LaterRanges,
}

/// What is left of a flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    All,
    Nothing,
    WithoutTables,
    FirstRange,
}

impl Forget {
    /// What is left of `what`, and what is forgotten from then on.
    pub(crate) fn act(&mut self, what: &Flush<'_>) -> Left {
        match self {
            Forget::Nothing => Left::All,
            Forget::Nth(1) => {
                *self = Forget::Nothing;
                Left::Nothing
            }
            Forget::Nth(more) => {
                *more = more.saturating_sub(1);
                Left::All
            }
            Forget::Removed if what.kind == FlushKind::Removed => Left::Nothing,
            Forget::Demoted if what.kind == FlushKind::Demoted => Left::Nothing,
            Forget::When(is_it) if is_it(what) => Left::Nothing,
            Forget::Removed | Forget::Demoted | Forget::When(_) => Left::All,
            Forget::FreedTables => Left::WithoutTables,
            Forget::LaterRanges => Left::FirstRange,
        }
    }
}
