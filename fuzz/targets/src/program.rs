//! Programs: their files, what they write to `/proc`, and their calls.

use foliant_uapi::Sysno;

use crate::guest::{Guest, SCRATCH, SCRATCH_LEN};
use crate::input::Input;

const BASE: u64 = 0x40_0000;
/// Steps of one input.
const STEPS: usize = 64;
/// In the call's place of a directory: the current one.
const HERE: u64 = -100i64 as u64;

/// A program that can run: one segment, nothing in it.
pub(crate) fn sound() -> Vec<u8> {
    let mut file = vec![0; 0x800];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &[2, 0, 62, 0, 1, 0, 0, 0]);
    put(24, &(BASE + 0x100).to_le_bytes());
    put(32, &64u64.to_le_bytes());
    put(52, &[64, 0, 56, 0, 1, 0]);
    put(64, &[1, 0, 0, 0, 7, 0, 0, 0]);
    put(80, &BASE.to_le_bytes());
    put(96, &0x700u64.to_le_bytes());
    put(104, &0x3000u64.to_le_bytes());
    put(112, &4096u64.to_le_bytes());
    file
}

/// Two files, `/prog` and `/lib`; the first runs, by itself or from another
/// program, and is looked at.
pub(crate) fn exec(bytes: &[u8]) {
    let mut input = Input(bytes);
    let how = input.u8();
    let len = usize::from(input.u16());
    let files = vec![("prog", input.take(len).to_vec()), ("lib", input.rest().to_vec())];
    if how & 1 == 0 {
        let mut files = files;
        files.push(("sh", sound()));
        if let Ok(guest) = Guest::boot(files, "/prog") {
            look_around(guest);
        }
        return;
    }
    let mut guest = Guest::sound(files);
    guest.put(0, b"/prog\0argument\0");
    let argv = [SCRATCH, SCRATCH + 6, 0].map(u64::to_le_bytes).concat();
    guest.put(64, &argv);
    guest.call(Sysno::EXECVE, &[SCRATCH, SCRATCH + 64, 0]);
    look_around(guest);
}

/// What a program does first.
fn look_around(mut guest: Guest) {
    let (ip, sp) = guest.place();
    guest.touch(sp, true);
    guest.touch(sp.wrapping_sub(0x2000), true);
    let fixed_private_anonymous = 0x32;
    guest.call(
        Sysno::MMAP,
        &[SCRATCH, SCRATCH_LEN, 3, fixed_private_anonymous, !0, 0],
    );
    let end = guest.call(Sysno::BRK, &[0]);
    guest.call(Sysno::BRK, &[(end as u64).wrapping_add(0x3000)]);
    for name in ["maps", "smaps", "status", "auxv", "cmdline", "stat"] {
        read_proc(&mut guest, format!("/proc/self/{name}").as_bytes(), 0, 0x8000);
    }
    guest.touch(end as u64, true);
    guest.touch(ip, false);
}

/// Opens a file and reads once.
fn read_proc(guest: &mut Guest, path: &[u8], at: u64, len: u64) {
    guest.put(0, &[path, b"\0"].concat());
    let fd = guest.call(Sysno::OPENAT, &[HERE, SCRATCH, 0, 0]);
    if fd >= 0 {
        let room = len.min(SCRATCH_LEN - 4096);
        guest.call(Sysno::PREAD64, &[fd as u64, SCRATCH + 4096, room, at]);
        guest.call(Sysno::CLOSE, &[fd as u64]);
    }
}

/// Files below `/proc/self` and elsewhere in `/proc`.
const FILES: [&str; 32] = [
    "self/comm",
    "self/oom_score_adj",
    "self/oom_adj",
    "self/coredump_filter",
    "self/timerslack_ns",
    "self/clear_refs",
    "self/loginuid",
    "self/pagemap",
    "self/mem",
    "self/maps",
    "self/smaps",
    "self/smaps_rollup",
    "self/status",
    "self/stat",
    "self/statm",
    "self/limits",
    "self/auxv",
    "self/environ",
    "self/cmdline",
    "self/fd",
    "self/fdinfo",
    "self/task",
    "self/map_files",
    "meminfo",
    "vmstat",
    "zoneinfo",
    "sys/vm/overcommit_memory",
    "sys/vm/max_map_count",
    "sys/kernel/pid_max",
    "sysvipc/shm",
    "self/task/1/comm",
    "self/fdinfo/0",
];

/// Writes and reads, one after another.
pub(crate) fn proc(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut guest = Guest::sound(Vec::new());
    for _ in 0..STEPS {
        if input.is_empty() || !guest.lives() {
            return;
        }
        let how = input.u8();
        let path = if how & 0x80 == 0 {
            FILES[usize::from(input.u8()) % FILES.len()].as_bytes()
        } else {
            let len = usize::from(input.u8());
            input.take(len)
        };
        let path = [b"/proc/", path].concat();
        match how & 3 {
            0 => {
                let len = usize::from(input.u8());
                let text = input.take(len);
                let at = if how & 4 == 0 { 0 } else { input.u64() };
                write_proc(&mut guest, &path, at, text);
            }
            1 | 2 => {
                let at = if how & 4 == 0 { 0 } else { input.u64() };
                let len = if how & 8 == 0 { 4096 } else { input.u16().into() };
                read_proc(&mut guest, &path, at, len);
            }
            _ => {
                guest.put(0, &[&path, &b"\0"[..]].concat());
                guest.call(Sysno::NEWFSTATAT, &[HERE, SCRATCH, SCRATCH + 4096, 0]);
                guest.call(Sysno::READLINK, &[SCRATCH, SCRATCH + 8192, 256]);
                let fd = guest.call(Sysno::OPENAT, &[HERE, SCRATCH, 0, 0]);
                guest.call(Sysno::GETDENTS64, &[fd as u64, SCRATCH + 4096, 2048]);
                guest.call(Sysno::CLOSE, &[fd as u64]);
            }
        }
        guest.touch(SCRATCH + u64::from(how) * 256, how & 1 == 0);
    }
}

fn write_proc(guest: &mut Guest, path: &[u8], at: u64, text: &[u8]) {
    guest.put(0, &[path, b"\0"].concat());
    guest.put(4096, text);
    let write_only = 1;
    let fd = guest.call(Sysno::OPENAT, &[HERE, SCRATCH, write_only, 0]);
    if fd >= 0 {
        guest.call(
            Sysno::PWRITE64,
            &[fd as u64, SCRATCH + 4096, text.len() as u64, at],
        );
        guest.call(Sysno::CLOSE, &[fd as u64]);
    }
}

/// Scratch memory, then calls: a number and six arguments each.
pub(crate) fn calls(bytes: &[u8]) {
    let mut input = Input(bytes);
    let len = usize::from(input.u16());
    let scratch = input.take(len);
    let mut guest = Guest::sound(vec![("file", vec![0x5a; 5000])]);
    guest.put(0, scratch);
    let mut results = [0u64; 4];
    for step in 0..STEPS {
        if input.is_empty() || !guest.lives() {
            return;
        }
        let nr = u64::from(input.u16());
        if nr >= 1024 {
            step_of_program(&mut guest, nr, argument(&mut input, &results));
            continue;
        }
        let args = [(); 6].map(|()| argument(&mut input, &results));
        let result = guest.call_by_number(nr, &args);
        results[step % results.len()] = result as u64;
    }
}

/// What a program does that is no call.
fn step_of_program(guest: &mut Guest, what: u64, at: u64) {
    match what & 3 {
        0 => guest.touch(at, false),
        1 => guest.touch(at, true),
        2 => guest.raise((what >> 2) as u8),
        _ => guest.put(at % SCRATCH_LEN, &what.to_le_bytes()),
    }
}

/// Small numbers, addresses in scratch memory, earlier results, or anything.
fn argument(input: &mut Input<'_>, results: &[u64; 4]) -> u64 {
    let kind = input.u8();
    match kind {
        0..=63 => kind.into(),
        64..=127 => SCRATCH + u64::from(kind - 64) * 64,
        128..=159 => SCRATCH + u64::from(kind - 128) * 4096 / 2,
        160..=163 => results[usize::from(kind - 160)],
        164..=195 => 1 << (kind - 164),
        196 => input.u16().into(),
        197 => u64::from(input.u16()) << 12,
        198 => !u64::from(input.u8()),
        199 => HERE,
        200 => SCRATCH_LEN,
        201 => BASE + u64::from(input.u16()),
        202 => u64::from(input.u8()) << 20,
        203 => 1 << (32 + input.u8() % 32),
        _ => input.u64(),
    }
}
