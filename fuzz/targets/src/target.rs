//! The list of targets.

use crate::{arguments, boot, image, linux, maps, program, tables, texts};

/// One thing that is fuzzed.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is its corpus's folder too.
    pub name: &'static str,
    /// What reads the bytes.
    pub what: &'static str,
    /// Longer inputs find nothing more.
    pub longest: usize,
    /// Runs it once.
    ///
    /// # Panics
    /// If the subject is wrong.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("elf", "ELF cores", 32 << 10, image::elf),
    target("kdump", "compressed kdump files", 64 << 10, image::kdump),
    target(
        "kdump-page",
        "packed pages: zlib, lzo, snappy, zstd",
        8 << 10,
        image::page,
    ),
    target("flattened", "flattened kdump files", 64 << 10, image::flattened),
    target("lime", "LiME files", 48 << 10, image::lime),
    target("raw", "raw images, and VMCOREINFO in them", 32 << 10, image::raw),
    target(
        "tables",
        "page tables of every format, by words",
        16 << 10,
        tables::tables,
    ),
    target(
        "kernel",
        "kallsyms, BTF and the list of tasks",
        64 << 10,
        linux::kernel,
    ),
    target(
        "kernel-others",
        "the same of i386, PAE, arm64 and five levels",
        64 << 10,
        linux::others,
    ),
    target("btf", "BTF alone", 16 << 10, linux::btf),
    target("gdt", "segment descriptors", 512, arguments::gdt),
    target("arguments", "the command line", 2 << 10, arguments::arguments),
    target(
        "maps",
        "memory maps of firmware, to the zones",
        16 << 10,
        maps::maps,
    ),
    target(
        "boot",
        "foliant boot, by arguments and a map",
        16 << 10,
        boot::boot,
    ),
    target(
        "exec",
        "ELF programs, interpreters and scripts",
        16 << 10,
        program::exec,
    ),
    target(
        "proc",
        "files of /proc that are read and written",
        4 << 10,
        program::proc,
    ),
    target("calls", "system calls of one thread", 4 << 10, program::calls),
    target("texts", "texts of /proc, read back", 16 << 10, texts::texts),
];

const fn target(name: &'static str, what: &'static str, longest: usize, run: fn(&[u8])) -> Target {
    Target {
        name,
        what,
        longest,
        run,
    }
}

impl Target {
    /// The target of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }
}
