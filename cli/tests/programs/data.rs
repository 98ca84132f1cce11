//! Files that programs read, made once.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Mutex;

use crate::harness::temporary;

static MAKING: Mutex<()> = Mutex::new(());

/// A file of this many bytes that `fill` writes; always the same bytes.
fn made(name: &str, bytes: u64, fill: fn(&mut dyn Write, u64)) -> PathBuf {
    let path = temporary().join(name);
    let _one_at_a_time = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if path.metadata().is_ok_and(|metadata| metadata.len() == bytes) {
        return path;
    }
    let unfinished = temporary().join(format!("{name}.{}", std::process::id()));
    let mut out = BufWriter::new(File::create(&unfinished).expect("a file"));
    fill(&mut out, bytes);
    out.flush().expect("a file");
    std::fs::rename(&unfinished, &path).expect("a file");
    path
}

/// A generator of numbers that is the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Bytes that do not compress.
pub(crate) fn noise(megabytes: u64) -> PathBuf {
    made(&format!("noise-{megabytes}"), megabytes << 20, |out, bytes| {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        for _ in 0..bytes / 8 {
            out.write_all(&numbers.next().to_le_bytes()).expect("a file");
        }
    })
}

/// Lines of 16 bytes in no order.
pub(crate) fn lines(megabytes: u64) -> PathBuf {
    made(&format!("lines-{megabytes}"), megabytes << 20, |out, bytes| {
        let mut numbers = Numbers(42);
        for _ in 0..bytes / 16 {
            writeln!(out, "{:015}", numbers.next() % 1_000_000_000_000_000).expect("a file");
        }
    })
}
