//! `/sys/kernel/mm`: settings of the machine's memory.

use alloc::vec::Vec;

use super::debug;

/// Files by path below `/sys`, and what they hold.
const FILES: [(&[u8], &str); 17] = [
    (
        b"kernel/mm/transparent_hugepage/enabled",
        "always madvise [never]\n",
    ),
    (
        b"kernel/mm/transparent_hugepage/defrag",
        "always defer defer+madvise [madvise] never\n",
    ),
    (
        b"kernel/mm/transparent_hugepage/shmem_enabled",
        "always within_size advise [never] deny force\n",
    ),
    (b"kernel/mm/transparent_hugepage/use_zero_page", "1\n"),
    (b"kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n"),
    (b"kernel/mm/transparent_hugepage/khugepaged/defrag", "1\n"),
    (
        b"kernel/mm/transparent_hugepage/khugepaged/pages_collapsed",
        "0\n",
    ),
    (b"kernel/mm/transparent_hugepage/khugepaged/full_scans", "0\n"),
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

/// What the file at `path` holds.
pub(super) fn text(path: &[u8]) -> Option<&'static str> {
    FILES.iter().find(|(own, _)| *own == path).map(|(_, text)| *text)
}

/// All files that are the machine's own.
fn paths() -> impl Iterator<Item = &'static [u8]> {
    let debug = debug::File::ALL.into_iter().map(debug::File::path);
    FILES.iter().map(|(own, _)| *own).chain(debug)
}

/// Whether `path` is a directory on the way to one of the files.
pub(super) fn leads(path: &[u8]) -> bool {
    paths().any(|own| rest(own, path).is_some())
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
pub(super) fn names(path: &[u8]) -> Vec<(&'static [u8], bool)> {
    let mut names: Vec<(&[u8], bool)> = Vec::new();
    for own in paths() {
        let Some(rest) = rest(own, path) else { continue };
        let end = rest.iter().position(|&byte| byte == b'/');
        let name = (&rest[..end.unwrap_or(rest.len())], end.is_some());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_made_of_the_paths_of_files() {
        assert_eq!(names(b""), [(&b"kernel"[..], true)]);
        assert!(leads(b"kernel/mm/ksm"));
        assert!(!leads(b"kernel/mm/ksm/run"));
        assert!(!leads(b"kernel/mmm"));
        assert_eq!(names(b"kernel/mm/swap"), [(&b"vma_ra_enabled"[..], false)]);
        assert_eq!(text(b"kernel/mm/ksm/run"), Some("0\n"));
    }
}
