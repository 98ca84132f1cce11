//! `/sys/kernel/mm/transparent_hugepage`: sizes of folios of private memory.
//!
//! What is not there is not counted: folios are single frames from the start,
//! so there is no number of whole ones (`nr_anon`) and none is split.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use foliant_mm::{Defrag, Global, Orders, SizeSetting, Thp, ThpEvent};
use foliant_units::{Errno, Order};

/// Where the files are below `/sys`.
const FOLDER: &str = "kernel/mm/transparent_hugepage";

/// What stands in a file, and what a write to it changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Knob {
    /// Always the same, because nothing else is possible here.
    Fixed(&'static str),
    /// What sizes do that inherit.
    Global,
    /// Who waits for memory.
    Defrag,
    /// The setting of one size.
    Size(Order),
    /// How often something happened with a size.
    Count(Order, ThpEvent),
}

/// Files that never change.
const FIXED: [(&str, &str); 7] = [
    ("shmem_enabled", "always within_size advise [never] deny force\n"),
    ("use_zero_page", "1\n"),
    ("hpage_pmd_size", "2097152\n"),
    ("khugepaged/defrag", "1\n"),
    ("khugepaged/full_scans", "0\n"),
    ("khugepaged/pages_collapsed", "0\n"),
    ("hugepages-2048kB/enabled", "always inherit madvise [never]\n"),
];

/// What is zero for every size: shared memory has single pages only, nothing is
/// swapped, and no group is charged.
const ZEROES: [&str; 10] = [
    "anon_fault_fallback_charge",
    "shmem_alloc",
    "shmem_fallback",
    "shmem_fallback_charge",
    "swpin",
    "swpin_fallback",
    "swpin_fallback_charge",
    "swpout",
    "swpout_fallback",
    "zswpout",
];

/// Every file by its path below `/sys`.
pub(super) fn files() -> Vec<(Vec<u8>, Knob)> {
    let mut files = Vec::new();
    let mut add = |name: String, knob| files.push((format!("{FOLDER}/{name}").into_bytes(), knob));
    add("enabled".into(), Knob::Global);
    add("defrag".into(), Knob::Defrag);
    for (name, text) in FIXED {
        add(name.into(), Knob::Fixed(text));
    }
    for order in Order::all().filter(|order| Orders::ANONYMOUS.contains(*order) || *order == Order::PMD) {
        let size = format!("hugepages-{}kB", order.bytes() >> 10);
        if order != Order::PMD {
            add(format!("{size}/enabled"), Knob::Size(order));
        }
        let shared = Knob::Fixed("always inherit within_size advise [never]\n");
        add(format!("{size}/shmem_enabled"), shared);
        let stats = format!("{size}/stats");
        let filled = Knob::Count(order, ThpEvent::Filled);
        add(format!("{stats}/anon_fault_alloc"), filled);
        let fallback = Knob::Count(order, ThpEvent::Fallback);
        add(format!("{stats}/anon_fault_fallback"), fallback);
        for name in ZEROES {
            add(format!("{stats}/{name}"), Knob::Fixed("0\n"));
        }
    }
    files
}

impl Knob {
    /// Its permissions.
    pub(super) const fn mode(self) -> u32 {
        match self {
            Self::Global | Self::Defrag | Self::Size(_) => 0o644,
            Self::Fixed(_) | Self::Count(..) => 0o444,
        }
    }

    /// What it holds now.
    pub(super) fn text(self, thp: &Thp) -> String {
        match self {
            Self::Fixed(text) => text.into(),
            Self::Global => choice(Global::ALL, Global::word, thp.global()),
            Self::Defrag => choice(Defrag::ALL, Defrag::word, thp.defrag()),
            Self::Size(order) => choice(SizeSetting::ALL, SizeSetting::word, thp.size(order)),
            Self::Count(order, event) => format!("{}\n", thp.events(order, event)),
        }
    }

    /// Changes it to the word in `text`.
    ///
    /// # Errors
    /// `INVAL` if that is none of its words, `ACCES` if it cannot change.
    ///
    /// # Linux source concept
    /// The `_store()` functions of mm/huge_memory.c, which compare by `sysfs_streq()`.
    pub(super) fn write(self, thp: &Thp, text: &[u8]) -> Result<(), Errno> {
        // The file system does not ask the file for nothing.
        if text.is_empty() {
            return Ok(());
        }
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        let word = text[..end].strip_suffix(b"\n").unwrap_or(&text[..end]);
        match self {
            Self::Fixed(_) | Self::Count(..) => return Err(Errno::ACCES),
            Self::Global => thp.set_global(Global::from_word(word).ok_or(Errno::INVAL)?),
            Self::Defrag => thp.set_defrag(Defrag::from_word(word).ok_or(Errno::INVAL)?),
            Self::Size(order) => {
                let setting = SizeSetting::from_word(word).ok_or(Errno::INVAL)?;
                thp.set_size(order, setting);
            }
        }
        Ok(())
    }
}

/// All words, the chosen one in brackets.
fn choice<T: Copy + PartialEq>(all: &[T], word: fn(T) -> &'static str, chosen: T) -> String {
    let mut text = String::new();
    for &value in all {
        if !text.is_empty() {
            text.push(' ');
        }
        if value == chosen {
            text.push('[');
            text.push_str(word(value));
            text.push(']');
        } else {
            text.push_str(word(value));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str) -> Knob {
        let path = format!("{FOLDER}/{name}").into_bytes();
        let found = files().into_iter().find(|(own, _)| *own == path);
        found.map(|(_, knob)| knob).expect("it is there")
    }

    #[test]
    fn a_machine_starts_as_linux_does_but_for_2_mib() {
        let thp = Thp::default();
        let text = |name: &str| find(name).text(&thp);
        assert_eq!(text("enabled"), "always madvise [never]\n");
        assert_eq!(text("defrag"), "always defer defer+madvise [madvise] never\n");
        for size in ["16", "32", "64", "128", "256", "512", "1024", "2048"] {
            let name = format!("hugepages-{size}kB/enabled");
            assert_eq!(text(&name), "always inherit madvise [never]\n", "{name}");
        }
    }

    #[test]
    fn words_are_taken_as_linux_takes_them() {
        let thp = Thp::default();
        let size = find("hugepages-64kB/enabled");
        let order = Order::new(4).expect("an order");
        for (text, now) in [
            (&b"madvise"[..], SizeSetting::Madvise),
            (b"always\n", SizeSetting::Always),
            (b"", SizeSetting::Always),
            (b"never\0rest", SizeSetting::Never),
        ] {
            assert_eq!(size.write(&thp, text), Ok(()));
            assert_eq!(thp.size(order), now);
        }
        for bad in [&b"never\n\n"[..], b"inheritx", b" madvise", b"\n", b"NEVER"] {
            assert_eq!(size.write(&thp, bad), Err(Errno::INVAL));
        }
        assert_eq!(find("enabled").write(&thp, b"inherit"), Err(Errno::INVAL));
        assert_eq!(find("enabled").write(&thp, b"madvise"), Ok(()));
        assert_eq!(find("enabled").text(&thp), "always [madvise] never\n");
    }

    #[test]
    fn what_cannot_change_says_so() {
        let thp = Thp::default();
        for name in [
            "hugepages-2048kB/enabled",
            "hugepages-64kB/shmem_enabled",
            "hugepages-64kB/stats/anon_fault_alloc",
        ] {
            assert_eq!(find(name).mode(), 0o444);
            assert_eq!(find(name).write(&thp, b"always"), Err(Errno::ACCES));
        }
    }
}
