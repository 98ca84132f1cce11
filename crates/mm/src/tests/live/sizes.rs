//! Sizes of folios, switched on here and on the kernel that runs the test.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use foliant_units::Order;

use crate::{SizeSetting, Thp};

/// 16 KiB and 64 KiB: one that is a part of the other.
const ORDERS: [u8; 2] = [2, 4];

/// Switches the sizes on where they are advised.
pub(super) fn enable(thp: &Thp) {
    for order in ORDERS {
        let order = Order::new(order).expect("an order");
        assert!(thp.set_size(order, SizeSetting::Madvise));
    }
}

/// The same on the live kernel, whose settings come back when this is dropped.
/// Nobody notices who does not ask for huge pages by `madvise`.
pub(super) struct Sizes {
    before: Vec<(PathBuf, String)>,
    /// Locked, so that two who test do not restore each other's settings.
    _lock: File,
}

fn folder(order: u8) -> PathBuf {
    let kib = 4 << order;
    PathBuf::from(std::format!(
        "/sys/kernel/mm/transparent_hugepage/hugepages-{kib}kB"
    ))
}

fn set(path: &PathBuf, word: &str) -> std::io::Result<()> {
    File::options().write(true).open(path)?.write_all(word.as_bytes())
}

/// Whether a size is off, or not there.
fn is_off(folder: &Path) -> bool {
    fs::read_to_string(folder.join("enabled")).is_ok_and(|shown| shown.contains("[never]"))
        || !folder.exists()
}

impl Sizes {
    /// `None`, with a line that says why, where the kernel cannot be asked.
    pub(super) fn enable_live() -> Option<Self> {
        let skipped = |why: std::io::Error| {
            std::eprintln!("skipped: sizes of folios cannot be set on this kernel: {why}");
        };
        let lock = File::open(folder(ORDERS[0]).join("enabled"))
            .map_err(skipped)
            .ok()?;
        lock.lock().map_err(skipped).ok()?;
        let others = (2..=8).filter(|order| !ORDERS.contains(order));
        if let Some(on) = others.map(folder).find(|folder| !is_off(folder)) {
            std::eprintln!("skipped: {} is on, which is another machine", on.display());
            return None;
        }
        let mut sizes = Self {
            before: Vec::new(),
            _lock: lock,
        };
        for order in ORDERS {
            let path = folder(order).join("enabled");
            let shown = fs::read_to_string(&path).map_err(skipped).ok()?;
            let chosen = shown.split(['[', ']']).nth(1).unwrap_or("never").to_owned();
            set(&path, "madvise").map_err(skipped).ok()?;
            sizes.before.push((path, chosen));
        }
        Some(sizes)
    }

    /// How often the kernel wanted a block and had none.
    pub(super) fn fallbacks(&self) -> u64 {
        let count = |order: u8| {
            let path = folder(order).join("stats/anon_fault_fallback");
            let text = fs::read_to_string(path).unwrap_or_default();
            text.trim().parse::<u64>().unwrap_or(0)
        };
        ORDERS.into_iter().map(count).sum()
    }
}

impl Drop for Sizes {
    fn drop(&mut self) {
        for (path, word) in &self.before {
            if let Err(error) = set(path, word) {
                std::eprintln!("{} is not {word} again: {error}", path.display());
            }
        }
    }
}
