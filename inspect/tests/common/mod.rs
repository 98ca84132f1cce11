//! Images of real Linux guests, if they are here.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use foliant_inspect::Image;

/// One guest: its memory, and what was true of it.
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    folder: PathBuf,
    unpacked: PathBuf,
}

/// Images are unpacked once, by one test at a time.
static UNPACKING: Mutex<()> = Mutex::new(());

impl Guest {
    /// The guest of this name; `None`, with a line that says so, without images.
    pub(crate) fn find(name: &'static str) -> Option<Self> {
        // Where somebody says, where they are kept, where the chore puts them.
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let places = [
            std::env::var_os("FOLIANT_IMAGES").map(PathBuf::from),
            Some(workspace.join("../shared/images")),
            Some(workspace.join("target/images")),
        ];
        let mut places = places.into_iter().flatten();
        let found = places.find(|place| place.join(name).join("mem.elf.zst").exists());
        let Some(folder) = found else {
            println!("skipped: no images; make them with cargo xtask images");
            return None;
        };
        let folder = folder.join(name);
        let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images").join(name);
        let guest = Self {
            name,
            folder,
            unpacked,
        };
        let _one = UNPACKING.lock().unwrap_or_else(|poison| poison.into_inner());
        guest.unpack().then_some(guest)
    }

    fn unpack(&self) -> bool {
        // Which image it was, in case that another one is there now.
        let done = self.unpacked.join("done");
        let memory = fs::metadata(self.folder.join("mem.elf.zst")).unwrap();
        let mark = format!("{} {:?}", self.folder.display(), memory.modified().unwrap());
        if fs::read_to_string(&done).is_ok_and(|found| found == mark) {
            return true;
        }
        let _old = fs::remove_dir_all(&self.unpacked);
        fs::create_dir_all(&self.unpacked).unwrap();
        let memory = self.folder.join("mem.elf.zst");
        let mut jobs = vec![("zstd", vec!["-qdf", "--long=27"], memory, "-o", "mem.elf")];
        let tlb = self.folder.join("info_tlb.txt.zst");
        jobs.push(("zstd", vec!["-qdf"], tlb, "-o", "info_tlb.txt"));
        let truth = self.folder.join("truth.tgz");
        jobs.push(("tar", vec!["-xzf"], truth, "-C", "."));
        for (program, options, from, to, name) in jobs {
            let mut command = Command::new(program);
            command
                .args(options)
                .arg(from)
                .arg(to)
                .arg(self.unpacked.join(name));
            match command.status() {
                Ok(status) if status.success() => {}
                Ok(status) => panic!("{command:?}: {status}"),
                Err(_) => {
                    println!("skipped: no {program} to unpack images with");
                    return false;
                }
            }
        }
        fs::write(done, mark).unwrap();
        true
    }

    /// Whether the chore made the image: then nobody knows its counts.
    pub(crate) fn is_new(&self) -> bool {
        self.folder.join("MADE").exists()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.unpacked.join("mem.elf")
    }

    /// A file beside the memory.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn image(&self) -> Image {
        Image::open(&self.path()).unwrap()
    }

    pub(crate) fn tlb(&self) -> String {
        fs::read_to_string(self.unpacked.join("info_tlb.txt")).unwrap()
    }

    /// The processes whose pagemap was kept, each with its present pages and frames.
    pub(crate) fn pagemaps(&self) -> Vec<(u32, Vec<(u64, u64)>)> {
        let mut all = Vec::new();
        for entry in fs::read_dir(self.unpacked.join("truth")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let Some(pid) = name.strip_prefix("pagemap.") else {
                continue;
            };
            let text = fs::read_to_string(&path).unwrap();
            let pages = text.lines().filter_map(|line| {
                let (page, word) = line.split_once(' ').unwrap();
                let hex = |text| u64::from_str_radix(text, 16).unwrap();
                let (page, word) = (hex(page), hex(word));
                (word >> 63 != 0).then_some((page, word & ((1 << 55) - 1)))
            });
            all.push((pid.parse().unwrap(), pages.collect()));
        }
        all.sort();
        all
    }

    /// The name of a process.
    pub(crate) fn name_of(&self, pid: u32) -> String {
        let path = self.unpacked.join(format!("truth/status.{pid}"));
        let status = fs::read_to_string(path).unwrap();
        let name = status
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("Name:\t"));
        name.unwrap().to_owned()
    }

    /// Whether `page` is in a private writable mapping of the process.
    pub(crate) fn is_private(&self, pid: u32, page: u64) -> bool {
        let path = self.unpacked.join(format!("truth/maps.{pid}"));
        let maps = fs::read_to_string(path).unwrap();
        maps.lines().any(|line| {
            let (range, rest) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let hex = |text| u64::from_str_radix(text, 16).unwrap();
            (hex(start)..hex(end)).contains(&page) && rest.starts_with("rw-p")
        })
    }
}
