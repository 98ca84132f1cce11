//! The texts of the running kernel survive parsing and writing.
//!
//! The host may be older or built otherwise; what its texts do not have is not
//! compared, but what they have must come back to equal bytes.

use foliant_uapi::text::{
    Buddyinfo, Counters, Extfrag, ExtfragKind, Meminfo, MemoryBlock, Pagetypeinfo, ParseError, PidStat,
    Slabinfo, SmapsRollup, Statm, Status, Text, Vmallocinfo, Zoneinfo, parse_maps, parse_smaps,
};

/// Processes looked at: enough to see every kind of mapping.
const PROCESSES: usize = 60;

/// Processes of which this user may read `file`.
fn of_every_process(file: &str) -> Vec<(String, Vec<u8>)> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) && name != "self" {
            continue;
        }
        let path = format!("/proc/{name}/{file}");
        if let Ok(text) = std::fs::read(&path) {
            texts.push((path, text));
        }
        if texts.len() == PROCESSES {
            break;
        }
    }
    assert!(!texts.is_empty(), "no process shows its {file}");
    texts
}

fn same(path: &str, text: &[u8], again: Result<Vec<u8>, ParseError>) {
    let again = again.unwrap_or_else(|error| panic!("{path}: {error}"));
    let (text, again) = (String::from_utf8_lossy(text), String::from_utf8_lossy(&again));
    for (line, (theirs, ours)) in text.lines().zip(again.lines()).enumerate() {
        assert_eq!(theirs, ours, "{path}:{}", line + 1);
    }
    assert_eq!(text, again, "{path}");
}

/// One file of the machine, if this kernel has it and this user may read it.
fn of_the_machine(path: &str, again: fn(&[u8]) -> Result<Vec<u8>, ParseError>) {
    match std::fs::read(path) {
        Ok(text) => same(path, &text, again(&text)),
        Err(why) => println!("skipped: {path}: {why}"),
    }
}

fn joined<T: Text>(parts: &[T]) -> Vec<u8> {
    parts.iter().flat_map(Text::to_bytes).collect()
}

#[test]
fn maps_of_every_process() {
    for (path, text) in of_every_process("maps") {
        same(&path, &text, parse_maps(&text).map(|entries| joined(&entries)));
    }
}

#[test]
fn smaps_of_every_process() {
    for (path, text) in of_every_process("smaps") {
        same(&path, &text, parse_smaps(&text).map(|entries| joined(&entries)));
    }
}

#[test]
fn smaps_rollup_of_every_process() {
    for (path, text) in of_every_process("smaps_rollup") {
        same(
            &path,
            &text,
            SmapsRollup::parse(&text).map(|rollup| rollup.to_bytes()),
        );
    }
}

#[test]
fn status_of_every_process() {
    for (path, text) in of_every_process("status") {
        same(&path, &text, Status::parse(&text).map(|status| status.to_bytes()));
    }
}

#[test]
fn stat_and_statm_of_every_process() {
    for (path, text) in of_every_process("stat") {
        same(&path, &text, PidStat::parse(&text).map(|stat| stat.to_bytes()));
    }
    for (path, text) in of_every_process("statm") {
        same(&path, &text, Statm::parse(&text).map(|statm| statm.to_bytes()));
    }
}

#[test]
fn slabinfo() {
    of_the_machine("/proc/slabinfo", |text| {
        Slabinfo::parse(text).map(|slabinfo| slabinfo.to_bytes())
    });
}

#[test]
fn texts_of_the_machine() {
    of_the_machine("/proc/meminfo", |text| {
        Meminfo::parse(text).map(|info| info.to_bytes())
    });
    of_the_machine("/proc/vmstat", |text| {
        Counters::parse(text).map(|info| info.to_bytes())
    });
    of_the_machine("/proc/zoneinfo", |text| {
        Zoneinfo::parse(text).map(|info| info.to_bytes())
    });
    of_the_machine("/proc/buddyinfo", |text| {
        Buddyinfo::parse(text).map(|info| info.to_bytes())
    });
    of_the_machine("/proc/pagetypeinfo", |text| {
        Pagetypeinfo::parse(text).map(|info| info.to_bytes())
    });
    of_the_machine("/sys/kernel/debug/extfrag/extfrag_index", |text| {
        Extfrag::parse(ExtfragKind::Index, text).map(|info| info.to_bytes())
    });
    of_the_machine("/sys/kernel/debug/extfrag/unusable_index", |text| {
        Extfrag::parse(ExtfragKind::Unusable, text).map(|info| info.to_bytes())
    });
    of_the_machine("/proc/vmallocinfo", |text| {
        Vmallocinfo::parse(text).map(|info| info.to_bytes())
    });
}

/// The blocks of this machine's memory, if its kernel has them.
#[test]
fn memory_blocks() {
    let root = std::path::Path::new("/sys/devices/system/memory");
    let blocks = std::fs::read_dir(root).into_iter().flatten().flatten();
    for block in blocks.map(|entry| entry.path()) {
        let name = block.file_name().unwrap_or_default().to_string_lossy();
        let Some(index) = name.strip_prefix("memory").and_then(|index| index.parse().ok()) else {
            continue;
        };
        let parsed = MemoryBlock::from_files(|file| std::fs::read(block.join(file)).ok());
        let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", block.display()));
        assert_eq!(parsed.index, index);
        for file in MemoryBlock::FILES {
            if let Ok(text) = std::fs::read(block.join(file)) {
                same(file, &text, Ok(parsed.file(file).unwrap_or_default()));
            }
        }
    }
}

/// Each text of the live kernel with bytes overwritten, removed and doubled:
/// parsers say what they miss, they do not panic.
#[test]
fn spoilt_texts_are_refused_or_read_but_never_panic() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    let files = [
        "/proc/self/maps",
        "/proc/self/smaps",
        "/proc/self/smaps_rollup",
        "/proc/self/status",
        "/proc/self/stat",
        "/proc/self/statm",
        "/proc/meminfo",
        "/proc/vmstat",
        "/proc/zoneinfo",
        "/proc/buddyinfo",
        "/proc/pagetypeinfo",
        "/proc/vmallocinfo",
    ];
    for file in files {
        let Ok(text) = std::fs::read(file) else { continue };
        for _ in 0..30 {
            let mut spoilt = text.clone();
            for _ in 0..1 + random(4) {
                let at = random(spoilt.len());
                match random(4) {
                    0 => spoilt.truncate(at),
                    1 => spoilt[at..].fill(b'9'),
                    2 => spoilt.insert(at, b" \n:-\xff("[random(6)]),
                    _ => drop(spoilt.drain(at..(at + random(40)).min(spoilt.len()))),
                }
                if spoilt.is_empty() {
                    spoilt.push(b'x');
                }
            }
            let _parsed = (
                parse_maps(&spoilt),
                parse_smaps(&spoilt),
                SmapsRollup::parse(&spoilt),
                Status::parse(&spoilt),
                PidStat::parse(&spoilt),
                Statm::parse(&spoilt),
                Meminfo::parse(&spoilt),
                Counters::parse(&spoilt),
                Zoneinfo::parse(&spoilt),
                Buddyinfo::parse(&spoilt),
                Pagetypeinfo::parse(&spoilt),
                Vmallocinfo::parse(&spoilt),
            );
        }
    }
}
