//! Who has the machine's frames while the program is about to end: `--page-owner`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use anyhow::{Context, Result};
use foliant_phys::{Owner, Phys};
use foliant_user::User;

use crate::report::Owned;

/// Where the whole text goes, if `--page-owner` names a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Target(Option<PathBuf>);

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(argument: &str) -> Result<Self, String> {
        Ok(Self((!argument.is_empty()).then(|| argument.into())))
    }
}

/// What was seen last.
#[derive(Default)]
struct Seen {
    rows: Vec<Owned>,
    text: String,
}

/// Looks when the first process is about to leave its space, and keeps what it saw.
pub(super) struct Owners {
    file: Option<PathBuf>,
    seen: Mutex<Option<Seen>>,
}

impl Owners {
    /// `None` if nobody asked.
    pub(super) fn new(target: Option<&Target>) -> Option<Self> {
        target.map(|target| Self {
            file: target.0.clone(),
            seen: Mutex::default(),
        })
    }

    /// Looks at all frames; the last look counts.
    pub(super) fn look(&self, phys: &Phys<User>) {
        let mut text = String::new();
        if self.file.is_some() {
            // A string takes what it is given.
            let _ = phys.write_page_owner(&mut text);
        }
        let rows = rows(phys);
        *self.seen() = Some(Seen { rows, text });
    }

    /// Whether nothing was seen so far.
    pub(super) fn is_blind(&self) -> bool {
        self.seen().is_none()
    }

    /// Writes the file, and gives the rows for the report.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn finish(&self) -> Result<Vec<Owned>> {
        let seen = self.seen().take().unwrap_or_default();
        if let Some(path) = &self.file {
            let name = || format!("cannot write {}", path.display());
            std::fs::write(path, seen.text).with_context(name)?;
        }
        Ok(seen.rows)
    }

    fn seen(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

/// Allocations by process, purpose and call, the most frames first.
fn rows(phys: &Phys<User>) -> Vec<Owned> {
    let mut sums: BTreeMap<(i32, String, Owner, &str), (u64, u64)> = BTreeMap::new();
    phys.each_owned(&mut |folio| {
        let key = (
            folio.who.tgid,
            folio.who.name().to_owned(),
            folio.owner,
            folio.who.doing,
        );
        let sum = sums.entry(key).or_default();
        sum.0 += 1;
        sum.1 += folio.order.frames();
    });
    let mut rows: Vec<Owned> = sums
        .into_iter()
        .map(|((pid, name, owner, doing), (folios, frames))| Owned {
            pid: pid.unsigned_abs().into(),
            name,
            purpose: owner.name().to_owned(),
            doing: doing.to_owned(),
            folios,
            frames,
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.frames));
    rows
}
