//! Looking at the page tables of a running program: `--walk` and `--pt`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use foliant_inspect::foliant_arch::arm64::Half;
use foliant_inspect::foliant_arch::{Access, AccessKind};
use foliant_inspect::listing::{Headings, Tables, WalkEnd, Walked, X86_64Parts};
use foliant_inspect::{Root, TableFormat};
use foliant_kernel::Space;
use foliant_uapi::text::{MapsEntry, Text};
use foliant_units::PAGE_SHIFT;
use foliant_user::User;

use super::place::{Place, When};
use crate::pt::{self, Format};
use crate::report::Walk;
use crate::walk;

/// What is to be looked at.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// Addresses to explain.
    pub(super) places: Vec<Place>,
    /// When.
    pub(super) when: When,
    /// The process of places that do not name one; `None` is the first.
    pub(super) pid: Option<u64>,
    /// The file for all mappings.
    pub(super) file: Option<PathBuf>,
}

/// What was seen of one process.
#[derive(Default)]
struct Seen {
    walks: Vec<Walk>,
    listing: Option<Result<Vec<u8>>>,
}

/// Looks when the time has come, and keeps what it saw.
pub(super) struct Look {
    wish: Wish,
    format: Format,
    /// The first process, once it is known.
    seen: Mutex<BTreeMap<u64, Seen>>,
}

impl Look {
    /// `None` if nothing is to be looked at.
    pub(super) fn new(wish: Wish) -> Option<Self> {
        if wish.places.is_empty() && wish.file.is_none() {
            return None;
        }
        let format = wish.file.as_deref().map_or(Format::Table, Format::of_file);
        Some(Self {
            wish,
            format,
            seen: Mutex::default(),
        })
    }

    /// How long after the start, if not when the process ends.
    pub(super) fn delay(&self) -> Option<Duration> {
        match self.wish.when {
            When::Exit => None,
            When::After(delay) => Some(delay),
        }
    }

    /// Looks at a process, which may go on running. Of a process that executed
    /// several programs the last look counts.
    pub(super) fn at(&self, pid: u64, first: u64, name: &str, space: &Space<User>) {
        let wanted = self.wish.pid.unwrap_or(first);
        let meant = |place: &&Place| place.pid.unwrap_or(wanted) == pid;
        let mut seen = Seen {
            walks: Vec::new(),
            listing: None,
        };
        for place in self.wish.places.iter().filter(meant) {
            seen.walks.push(explain(pid, name, place, space));
        }
        if pid == wanted && self.wish.file.is_some() {
            seen.listing = Some(listing(space, self.format));
        }
        if !seen.walks.is_empty() || seen.listing.is_some() {
            self.seen().insert(pid, seen);
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<u64, Seen>> {
        self.seen.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// Writes the file, and gives the walks for the report.
    ///
    /// # Errors
    /// If a process that was meant was not there at the time, or the file
    /// cannot be written.
    pub(super) fn finish(&self) -> Result<Vec<Walk>> {
        let seen = std::mem::take(&mut *self.seen());
        let mut walks = Vec::new();
        let mut listing = None;
        for seen in seen.into_values() {
            walks.extend(seen.walks);
            listing = listing.or(seen.listing);
        }
        let missed = match self.wish.when {
            When::Exit => "was there",
            When::After(_) => "was there at the time of --walk-at",
        };
        let who = |pid: Option<u64>| pid.map_or("first process".to_owned(), |pid| format!("process {pid}"));
        for place in &self.wish.places {
            if !walks.iter().any(|walk| walk.asked == place.text) {
                let pid = place.pid.or(self.wish.pid);
                return Err(anyhow!("--walk {}: no {} {missed}", place.text, who(pid)));
            }
        }
        if let Some(path) = &self.wish.file {
            let bytes = listing.ok_or_else(|| anyhow!("--pt: no {} {missed}", who(self.wish.pid)))?;
            let name = || format!("cannot write {}", path.display());
            std::fs::write(path, bytes?).with_context(name)?;
        }
        Ok(walks)
    }
}

fn root(space: &Space<User>) -> Root {
    Root::new(TableFormat::X86_64, space.tables().root())
}

/// Everything that the space maps.
fn listing(space: &Space<User>, format: Format) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Tables that are unlinked meanwhile stay until this ends.
    let _reader = space.tables().reader();
    let phys = space.env().phys();
    let tables = Tables::new(phys.platform(), space.env().frames(), root(space), Half::Low);
    let headings = Headings::x86_64(&X86_64Parts::usual(false));
    pt::write(&tables, format, None, &headings, &mut bytes)?;
    Ok(bytes)
}

/// A line of `/proc/PID/maps`, for one line of the report.
fn line(entry: &MapsEntry<'_>) -> String {
    let mut bytes = Vec::new();
    entry.write(&mut bytes);
    let words: Vec<_> = String::from_utf8_lossy(&bytes)
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    words.join(" ")
}

fn explain(pid: u64, name: &str, place: &Place, space: &Space<User>) -> Walk {
    let mut walk = Walk {
        asked: place.text.clone(),
        pid,
        name: name.to_owned(),
        ..Walk::default()
    };
    let layout = space.layout();
    let vmas = space.vmas();
    let entries = || vmas.iter().map(|vma| vma.maps_entry(&layout));
    let found = place.resolve(|name| {
        let mut named = entries().filter(|entry| entry.name == name.as_bytes());
        named.next().map(|entry| entry.range)
    });
    let Some(at) = found else {
        walk.mapping = "no mapping has this name".to_owned();
        return walk;
    };
    walk.address = at.raw();
    let mapping = entries().find(|entry| entry.range.contains(at));
    walk.mapping = mapping.map_or("no mapping".to_owned(), |entry| line(&entry));

    let _reader = space.tables().reader();
    let root = root(space);
    walk.tables = format!("{} tables at {:#x}", root.format.name(), root.table.raw());
    let phys = space.env().phys();
    let told = |kind| Walked::new(phys.platform(), root, at, Access::user(kind));
    let read = told(AccessKind::Read);
    walk.steps = walk::steps(&read).lines().map(str::to_owned).collect();
    for kind in [AccessKind::Read, AccessKind::Write, AccessKind::Execute] {
        walk.accesses
            .push(format!("{}: {}", walk::verb(kind), walk::end(&told(kind))));
    }
    if let WalkEnd::Memory { at, .. } = read.end {
        let record = phys.find_record(at.frame());
        walk.frame = record.map(|record| {
            format!(
                "frame {:#x}: {}, references {}, mappings {}",
                at.raw() >> PAGE_SHIFT,
                record.owner().name(),
                record.refs.get(),
                record.maps.get()
            )
        });
    }
    walk
}
