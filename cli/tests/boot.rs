//! `foliant boot`.

mod common;

use common::foliant;

fn boot(words: &[&str]) -> (Option<i32>, String, String) {
    foliant(&[&["boot"], words].concat())
}

/// A file with this text, for as long as the value lives.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("foliant-boot-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a file for the test");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

#[test]
fn an_i386_machine_prints_its_layout_to_the_byte() {
    let (status, log, why) = boot(&[
        "--arch",
        "i386",
        "--pae",
        "--like",
        "4.4",
        "--ram",
        "2G",
        "--sections",
        ".text=0xc0400000-0xc071ae6a,.data=0xc071ae6a-0xc08feb78,.init=0xc0906000-0xc0973000",
        "--audit",
    ]);
    assert_eq!(status, Some(0), "{log}{why}");
    let block = "virtual kernel memory layout:
    fixmap  : 0xffc57000 - 0xfffff000   (3744 kB)
    pkmap   : 0xff800000 - 0xffa00000   (2048 kB)
    vmalloc : 0xf7ffe000 - 0xff7fe000   ( 120 MB)
    lowmem  : 0xc0000000 - 0xf77fe000   ( 887 MB)
      .init : 0xc0906000 - 0xc0973000   ( 436 kB)
      .data : 0xc071ae6a - 0xc08feb78   (1935 kB)
      .text : 0xc0400000 - 0xc071ae6a   (3179 kB)
";
    assert!(log.contains(block), "{log}");
    assert!(
        log.contains("1160MB HIGHMEM available.\n887MB LOWMEM available.\n"),
        "{log}"
    );
    assert!(log.contains(" 0 violations\n"), "{log}");
}

#[test]
fn a_pc_boots_with_the_usual_log() {
    let (status, log, why) = boot(&[
        "--crashkernel",
        "256M",
        "--iomem",
        "--audit",
        "--initrd",
        "0x7f000000-0x7fff0000",
    ]);
    assert_eq!(status, Some(0), "{log}{why}");
    for line in [
        "BIOS-provided physical RAM map:",
        "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable",
        "e820: update [mem 0x00000000-0x00000fff] usable ==> reserved",
        "last_pfn = 0x140000 max_arch_pfn = 0x400000000",
        "init_memory_mapping: [mem 0x00000000-0x000fffff]",
        "RAMDISK: [mem 0x7f000000-0x7ffeffff]",
        "crashkernel reserved: 0x00000000b0000000 - 0x00000000c0000000 (256 MB)",
        "  DMA32    [mem 0x0000000001000000-0x00000000ffffffff]",
        "[mem 0xc0000000-0xfffbffff] available for PCI devices",
        "Built 1 zonelists, mobility grouping on.  Total pages: 1048478",
        "  b0000000-bfffffff : Crash kernel",
    ] {
        assert!(
            log.lines().any(|found| found == line),
            "{line} is missing:\n{log}"
        );
    }
    assert!(
        log.contains("\nMemory: ") && log.contains("K/4193912K available (16384K kernel code"),
        "{log}"
    );
    assert!(log.contains(" 0 violations\n"), "{log}");
}

#[test]
fn maps_come_from_logs_from_iomem_and_from_tables() {
    let table = File::new("table", "0-640K ram\n1M-1G ram node 0\n1G-2G ram node 1\n");
    let (status, log, why) = boot(&["--map", table.path(), "--levels", "5"]);
    assert_eq!(status, Some(0), "{log}{why}");
    assert!(
        log.contains("  node   1: [mem 0x0000000040000000-0x000000007fffffff]\n"),
        "{log}"
    );
    assert!(log.contains("Built 2 zonelists"), "{log}");

    // What one machine says of itself boots another.
    let (_, first, _) = boot(&["--ram", "1G", "--iomem"]);
    let at = first.find("\n00000000-").expect("the resources") + 1;
    let iomem = File::new("iomem", &first[at..]);
    let (status, second, why) = boot(&["--map", iomem.path()]);
    assert_eq!(status, Some(0), "{second}{why}");
    let log = File::new("log", &first[..at]);
    let (status, third, why) = boot(&["--map", log.path()]);
    assert_eq!(status, Some(0), "{third}{why}");
    let zones = |log: &str| {
        log.lines()
            .filter(|line| line.contains("node   0:"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(zones(&first), zones(&second));
    assert_eq!(zones(&first), zones(&third));
}

#[test]
fn what_cannot_boot_says_why() {
    let reserved = File::new("reserved", "0-4G reserved\n");
    let wraps = File::new(
        "wraps",
        "BIOS-e820: [mem 0x0000000000000000-0xffffffffffffffff] usable\n",
    );
    let far = File::new("far", "0xffff000000000000-0xffffffffffff0000 ram\n");
    for (words, word) in [
        (&["--map", reserved.path()][..], "no usable RAM"),
        (&["--map", wraps.path()], "line 1"),
        (&["--map", far.path()], "addresses"),
        (&["--map", "/nonexistent"], "cannot read"),
        (&["--ram", "1M"], "4 MiB"),
        (&["--mem", "1"], "no usable RAM"),
        (&["--pae"], "i386"),
        (&["--kernel", "0-64G", "--ram", "64M"], "memory"),
    ] {
        let (status, _, why) = boot(words);
        assert_eq!(status, Some(125), "{words:?}: {why}");
        assert!(why.contains(word), "{words:?}: {why}");
    }
}

#[test]
fn nothing_of_the_kernel_is_writable_and_executable() {
    for words in [
        &[][..],
        &["--levels", "5"],
        &["--arch", "i386", "--pae", "--ram", "1G"],
    ] {
        let (status, log, why) = boot(words);
        assert_eq!(status, Some(0), "{log}{why}");
        let passed = "\nx86/mm: Checked W+X mappings: passed, no W+X pages found.\n";
        assert!(log.contains(passed), "{words:?}: {log}");
    }
    // Without PAE there is no bit against execution, and Linux does not look.
    let (_, log, _) = boot(&["--arch", "i386", "--ram", "1G"]);
    assert!(!log.contains("W+X"), "{log}");
}

#[test]
fn the_kernels_tables_are_explained_and_dumped() {
    let path = std::env::temp_dir().join(format!("foliant-boot-{}.ptdump", std::process::id()));
    let name = path.display().to_string();
    let (status, log, why) = boot(&["--pt", &name, "--walk", "ffffffff81000000"]);
    assert_eq!(status, Some(0), "{log}{why}");
    assert!(
        log.contains("write: page fault, error code 0x3 (protection, write)"),
        "{log}"
    );
    let dump = std::fs::read_to_string(&path).expect("a dump");
    let _gone = std::fs::remove_file(path);
    for lines in [
        "0xffff888001000000-0xffff888002600000          22M     ro         PSE     GLB NX pmd\n",
        "---[ vmalloc() Area ]---\n0xffffc90000000000-",
        "0xffffffff81000000-0xffffffff82000000          16M     ro         PSE     GLB x  pmd\n\
         0xffffffff82000000-0xffffffff82600000           6M     ro         PSE     GLB NX pmd\n",
    ] {
        assert!(dump.contains(lines), "{dump}");
    }
}

#[test]
fn memory_that_comes_and_goes_is_in_the_dump() {
    let path = std::env::temp_dir().join(format!("foliant-plug-{}.ptdump", std::process::id()));
    let name = path.display().to_string();
    let plug = [
        "--ram",
        "2G",
        "--add",
        "4G-6G",
        "--remove",
        "4608M-4736M",
        "--audit",
    ];
    let (status, log, why) = boot(&[&plug[..], &["--pt", &name]].concat());
    assert_eq!(status, Some(0), "{log}{why}");
    for line in [
        "memory added: [mem 0x100000000-0x17fffffff]\n",
        "memory removed: [mem 0x120000000-0x127ffffff]\n",
        // The page of 1 GiB that a part went out of is many of 2 MiB now.
        "DirectMap1G:     2097152 kB\n",
        ", 0 violations\n",
    ] {
        assert!(log.contains(line), "{line}{log}");
    }
    let dump = std::fs::read_to_string(&path).expect("a dump");
    let _gone = std::fs::remove_file(&path);
    for lines in [
        "0xffff888100000000-0xffff888120000000         512M     RW         PSE     GLB NX pmd\n\
         0xffff888120000000-0xffff888128000000         128M                               pmd\n\
         0xffff888128000000-0xffff888140000000         384M     RW         PSE     GLB NX pmd\n\
         0xffff888140000000-0xffff888180000000           1G     RW         PSE     GLB NX pud\n",
        // The records of what was added, without those of what went.
        "0xffffea0004000000-0xffffea0004800000           8M     RW         PSE     GLB NX pmd\n\
         0xffffea0004800000-0xffffea0004a00000           2M                               pmd\n",
    ] {
        assert!(dump.contains(lines), "{lines}{dump}");
    }
    // Memory above the low part of a 32-bit machine is in no direct map.
    for words in [&["--pae"][..], &[]] {
        let plug = ["--arch", "i386", "--ram", "512M", "--add", "768M-1G", "--audit"];
        let (status, log, why) = boot(&[words, &plug[..]].concat());
        assert_eq!(status, Some(0), "{log}{why}");
        assert!(log.contains(", 0 violations\n"), "{log}");
    }
    let (status, _, why) = boot(&["--ram", "2G", "--add", "1G-2G"]);
    assert_eq!(status, Some(125), "{why}");
    assert!(why.contains("cannot add [mem 0x40000000-0x7fffffff]: some of the memory is there already"));
}
