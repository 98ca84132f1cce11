//! `/sys/kernel/mm`: settings of the machine's memory.

use alloc::string::String;
use alloc::vec::Vec;

use foliant_mm::Thp;
use foliant_units::Errno;

use super::{debug, thp};

/// What stands in a file, and what a write to it changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Knob {
    /// Always the same.
    Fixed(&'static str),
    /// Something about large folios.
    Thp(thp::Knob),
}

/// Files by path below `/sys`, and what they hold.
const FIXED: [(&[u8], &str); 9] = [
    (b"kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0\n"),
    (b"kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0\n"),
    (b"kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "0\n"),
    (b"kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages", "0\n"),
    (
        b"kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages",
        "0\n",
    ),
    (b"kernel/mm/ksm/run", "0\n"),
    (b"kernel/mm/ksm/pages_shared", "0\n"),
    (b"kernel/mm/ksm/pages_sharing", "0\n"),
    (b"kernel/mm/swap/vma_ra_enabled", "true\n"),
];

/// Every file by its path below `/sys`.
fn files() -> Vec<(Vec<u8>, Knob)> {
    let fixed = FIXED.map(|(path, text)| (path.to_vec(), Knob::Fixed(text)));
    let thp = thp::files()
        .into_iter()
        .map(|(path, knob)| (path, Knob::Thp(knob)));
    fixed.into_iter().chain(thp).collect()
}

/// The file at `path`.
pub(super) fn find(path: &[u8]) -> Option<Knob> {
    let found = files().into_iter().find(|(own, _)| own == path);
    found.map(|(_, knob)| knob)
}

impl Knob {
    /// Its permissions.
    pub(super) const fn mode(self) -> u32 {
        match self {
            Self::Fixed(_) => 0o644,
            Self::Thp(knob) => knob.mode(),
        }
    }

    /// What it holds now.
    pub(super) fn text(self, thp: &Thp) -> String {
        match self {
            Self::Fixed(text) => text.into(),
            Self::Thp(knob) => knob.text(thp),
        }
    }

    /// Changes it.
    ///
    /// # Errors
    /// `INVAL` for a text without meaning, `IO` if it cannot change.
    pub(super) fn write(self, thp: &Thp, text: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Fixed(_) => Err(Errno::IO),
            Self::Thp(knob) => knob.write(thp, text),
        }
    }
}

/// The paths of all files that are the machine's own.
fn paths() -> impl Iterator<Item = Vec<u8>> {
    let debug = debug::Name::ALL.into_iter().map(|file| file.path().to_vec());
    files().into_iter().map(|(path, _)| path).chain(debug)
}

/// Whether `path` is a directory on the way to one of the files.
pub(super) fn leads(path: &[u8]) -> bool {
    paths().any(|own| rest(&own, path).is_some())
}

/// What of `own` comes after the directory `path`.
fn rest<'a>(own: &'a [u8], path: &[u8]) -> Option<&'a [u8]> {
    if path.is_empty() {
        return Some(own);
    }
    own.strip_prefix(path)?.strip_prefix(b"/")
}

/// The machine's own names in the directory `path`, and whether they are
/// directories.
pub(super) fn names(path: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let mut names: Vec<(Vec<u8>, bool)> = Vec::new();
    for own in paths() {
        let Some(rest) = rest(&own, path) else { continue };
        let end = rest.iter().position(|&byte| byte == b'/');
        let name = rest[..end.unwrap_or(rest.len())].to_vec();
        if names.iter().all(|(known, _)| *known != name) {
            names.push((name, end.is_some()));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_made_of_the_paths_of_files() {
        assert_eq!(names(b""), [(b"kernel".to_vec(), true)]);
        assert!(leads(b"kernel/mm/ksm"));
        assert!(!leads(b"kernel/mm/ksm/run"));
        assert!(!leads(b"kernel/mmm"));
        assert_eq!(names(b"kernel/mm/swap"), [(b"vma_ra_enabled".to_vec(), false)]);
        assert_eq!(find(b"kernel/mm/ksm/run"), Some(Knob::Fixed("0\n")));
    }
}
