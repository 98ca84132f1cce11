//! A walk as text.

use std::fmt::Write as _;

use foliant_inspect::listing::{WalkEnd, Walked};

/// The entries that a walk read, a line each, under a heading.
pub(crate) fn steps(told: &Walked) -> String {
    let mut text = format!(
        "{:<9} {:>5}  {:<14} {:<18}  says\n",
        "entry", "index", "at", "word"
    );
    for step in &told.steps {
        let word = format!("{:#0width$x}", step.word, width = step.bytes as usize * 2 + 2);
        let at = format!("{:#x}", step.slot.raw());
        let _infallible = writeln!(
            text,
            "{:<9} {:>5}  {at:<14} {word:<18}  {}",
            step.entry, step.index, step.says
        );
    }
    text
}

/// How a walk ended, in one line.
pub(crate) fn end(told: &Walked) -> String {
    match &told.end {
        WalkEnd::Memory { at, frame, page } => format!(
            "{:#x}, in a page of {} that begins at {:#x}",
            at.raw(),
            size(*page),
            frame.raw()
        ),
        WalkEnd::Fault(why) => why.clone(),
    }
}

/// A size as people say it.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let found = units
        .iter()
        .find(|(shift, _)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift));
    match found {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} B"),
    }
}
