//! Processes of the running host: where their pages are, as far as the kernel
//! tells it.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use foliant_uapi::pagemap::{PagemapFlags, PagemapWord};
use foliant_uapi::text::{MapsEntry, ParseError};
use foliant_units::{PAGE_SHIFT, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use thiserror::Error;

use crate::listing::{Can, Mapping};

/// Words of a pagemap that are read at once.
const CHUNK: u64 = 4096;
const WORD: u64 = 8;
const PAGE: u64 = PAGE_SIZE as u64;

/// Why a process of the host cannot be looked at.
#[derive(Debug, Error)]
pub enum LiveError {
    /// Nobody has this number.
    #[error("no process {0}")]
    NoProcess(u32),
    /// The process is somebody else's.
    #[error("{0}: the kernel shows this only to the process's owner and to root")]
    Forbidden(String),
    /// Frame numbers read as zero.
    #[error("the kernel hides frame numbers from users without CAP_SYS_ADMIN: become root")]
    Hidden,
    /// A text of the kernel is not as it should be.
    #[error("{0}: {1}")]
    Text(String, ParseError),
    /// Anything else.
    #[error("{0}: {1}")]
    Io(String, io::Error),
}

/// A process of the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveName {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Whether it is a thread of the kernel.
    pub is_kernel: bool,
}

/// All processes of the host, by number. Those that end meanwhile are left out.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn processes() -> Result<Vec<LiveName>, LiveError> {
    let entries = fs::read_dir("/proc").map_err(|why| LiveError::Io("/proc".into(), why))?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut all: Vec<LiveName> = pids
        .filter_map(|pid: u32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
            Some(LiveName {
                pid,
                name: name.trim_end().to_owned(),
                is_kernel: statm.starts_with("0 "),
            })
        })
        .collect();
    all.sort_by_key(|process| process.pid);
    Ok(all)
}

/// A process whose pages are looked at.
pub struct LiveProcess {
    pid: u32,
    pagemap: File,
}

impl LiveProcess {
    /// The process of this number.
    ///
    /// # Errors
    /// If there is none, or it is not ours to look at.
    pub fn open(pid: u32) -> Result<Self, LiveError> {
        let path = format!("/proc/{pid}/pagemap");
        let pagemap = File::open(&path).map_err(|why| explain(pid, path, why))?;
        Ok(Self { pid, pagemap })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The text of its mappings; [`MapsEntry::parse`] reads a line.
    ///
    /// # Errors
    /// If it ended, or is not ours to look at.
    pub fn maps(&self) -> Result<Vec<u8>, LiveError> {
        let path = format!("/proc/{}/maps", self.pid);
        fs::read(&path).map_err(|why| explain(self.pid, path, why))
    }

    /// What the kernel says of the page at `at`.
    ///
    /// # Errors
    /// If it cannot be read. Frame numbers that are hidden are zero.
    pub fn page(&self, at: VirtAddr) -> Result<PagemapWord, LiveError> {
        let mut words = self.words(at, 1)?;
        Ok(words.next().unwrap_or(PagemapWord::EMPTY))
    }

    fn words(&self, at: VirtAddr, count: u64) -> Result<impl Iterator<Item = PagemapWord>, LiveError> {
        let mut bytes = vec![0; (count * WORD) as usize];
        let place = (at.raw() >> PAGE_SHIFT) * WORD;
        let read = self.pagemap.read_at(&mut bytes, place);
        // Behind user space the file ends.
        let read = read.map_err(|why| explain(self.pid, format!("/proc/{}/pagemap", self.pid), why))?;
        bytes.truncate(read);
        let (words, _) = bytes.as_chunks::<8>();
        let words: Vec<_> = words
            .iter()
            .map(|word| PagemapWord(u64::from_ne_bytes(*word)))
            .collect();
        Ok(words.into_iter())
    }

    /// Shows `each` every run of present pages that lie in memory in one piece
    /// and are alike, in ascending order. What they allow is what their mapping
    /// allows; the levels of the tables are not told.
    ///
    /// # Errors
    /// If the process ended, or frame numbers are hidden.
    pub fn list(&self, mut each: impl FnMut(Mapping) -> ControlFlow<()>) -> Result<(), LiveError> {
        let text = self.maps()?;
        let mut run: Option<Mapping> = None;
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let area = MapsEntry::parse(line)
                .map_err(|why| LiveError::Text(format!("/proc/{}/maps", self.pid), why))?;
            let mut at = area.range.start;
            while at < area.range.end {
                let count = CHUNK.min((area.range.end.raw() - at.raw()) >> PAGE_SHIFT);
                let words = self.words(at, count)?;
                let mut seen = 0;
                for (nth, word) in words.enumerate() {
                    seen += 1;
                    let Some(frame) = word.frame() else { continue };
                    if frame == Pfn::new(0) {
                        return Err(LiveError::Hidden);
                    }
                    let page = page(VirtAddr::new(at.raw() + nth as u64 * PAGE), frame, word, &area);
                    match &mut run {
                        Some(run) if follows(run, &page) => run.len += PAGE,
                        other => {
                            if let Some(done) = other.replace(page)
                                && each(done).is_break()
                            {
                                return Ok(());
                            }
                        }
                    }
                }
                if seen == 0 {
                    break;
                }
                at = VirtAddr::new(at.raw() + seen * PAGE);
            }
        }
        if let Some(last) = run {
            let _last = each(last);
        }
        Ok(())
    }
}

/// The words of a page that is there or not.
pub fn page_words(word: PagemapWord) -> String {
    let names = [
        (PagemapFlags::PRESENT, "present"),
        (PagemapFlags::SWAP, "swapped"),
        (PagemapFlags::FILE, "file or shared"),
        (PagemapFlags::MMAP_EXCLUSIVE, "exclusive"),
        (PagemapFlags::SOFT_DIRTY, "soft-dirty"),
        (PagemapFlags::UFFD_WP, "uffd-wp"),
        (PagemapFlags::GUARD_REGION, "guard"),
    ];
    let set = names.iter().filter(|(flag, _)| word.flags().contains(*flag));
    let words: Vec<_> = set.map(|(_, name)| *name).collect();
    if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join("; ")
    }
}

fn page(start: VirtAddr, frame: Pfn, word: PagemapWord, area: &MapsEntry<'_>) -> Mapping {
    use foliant_uapi::Prot;
    Mapping {
        start,
        memory: PhysAddr::new(frame.raw() << PAGE_SHIFT),
        len: PAGE,
        page: PAGE,
        level: "page",
        words: page_words(word),
        can: Can {
            user: true,
            write: area.perms.prot.contains(Prot::WRITE),
            execute: area.perms.prot.contains(Prot::EXEC),
        },
    }
}

fn follows(run: &Mapping, page: &Mapping) -> bool {
    run.start.raw() + run.len == page.start.raw()
        && run.memory.raw() + run.len == page.memory.raw()
        && (run.can, &run.words) == (page.can, &page.words)
}

fn explain(pid: u32, path: String, why: io::Error) -> LiveError {
    // A process that is gone, or going.
    const NO_SUCH_PROCESS: i32 = 3;
    match why.kind() {
        ErrorKind::NotFound => LiveError::NoProcess(pid),
        ErrorKind::PermissionDenied => LiveError::Forbidden(path),
        _ if why.raw_os_error() == Some(NO_SUCH_PROCESS) => LiveError::NoProcess(pid),
        _ => LiveError::Io(path, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_stack_is_where_the_pagemap_says() {
        let here = 7u64;
        let at = VirtAddr::new(&raw const here as u64);
        let process = LiveProcess::open(std::process::id()).unwrap();
        let word = process.page(at).unwrap();
        assert!(word.flags().contains(PagemapFlags::PRESENT), "{here}");
        let mut found = false;
        let listed = process.list(|run| {
            let inside = run.start <= at && at <= run.last();
            if inside {
                let frame = (run.memory.raw() + (at.raw() - run.start.raw())) >> PAGE_SHIFT;
                assert_eq!(word.frame(), Some(Pfn::new(frame)));
                found = true;
            }
            ControlFlow::Continue(())
        });
        match listed {
            Ok(()) => assert!(found),
            // Without root.
            Err(why) => assert!(matches!(why, LiveError::Hidden), "{why}"),
        }
    }

    #[test]
    fn who_is_not_there_is_named() {
        let why = LiveProcess::open(u32::MAX).err().unwrap();
        assert_eq!(why.to_string(), "no process 4294967295");
        let all = processes().unwrap();
        assert!(all.iter().any(|process| process.pid == std::process::id()));
    }
}
