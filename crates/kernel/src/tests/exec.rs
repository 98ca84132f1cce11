//! Programs from files in memory.

use std::vec::Vec;

use foliant_uapi::elf::{EM_X86_64, ET_EXEC, ElfHeader, PF_R, PF_W, PF_X, PT_INTERP, PT_LOAD, ProgramHeader};
use foliant_uapi::{IntoBytes, Sysno};
use foliant_units::{Errno, VirtAddr};

use super::fake::{SCRATCH, Signal, User, run_in};
use crate::WaitStatus;
use crate::testing::Files;

const BASE: u64 = 0x40_0000;

fn header(segments: u16) -> ElfHeader {
    let mut ident = [0; 16];
    ident[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    ElfHeader {
        ident,
        kind: ET_EXEC,
        machine: EM_X86_64,
        version: 1,
        entry: BASE + 0x100,
        phoff: 64,
        ehsize: 64,
        phentsize: 56,
        phnum: segments,
        ..ElfHeader::default()
    }
}

fn segment(vaddr: u64, filesz: u64, memsz: u64) -> ProgramHeader {
    let flags = PF_R | PF_W | PF_X;
    ProgramHeader {
        kind: PT_LOAD,
        flags,
        vaddr,
        filesz,
        memsz,
        align: 4096,
        ..ProgramHeader::default()
    }
}

fn elf(segments: &[ProgramHeader]) -> Vec<u8> {
    let mut bytes = header(segments.len() as u16).as_bytes().to_vec();
    segments
        .iter()
        .for_each(|segment| bytes.extend_from_slice(segment.as_bytes()));
    bytes.resize(0x800, 0xee);
    bytes
}

/// Runs `program` where these files are.
fn with(files: &[(&str, Vec<u8>)], program: impl FnOnce(&mut User) + Send + 'static) -> WaitStatus {
    let files = files
        .iter()
        .map(|(name, content)| ((*name).into(), content.clone()));
    let files = files.collect();
    run_in(
        |kernel| Files::new(files, kernel.memory().clone()).for_task(),
        program,
    )
}

/// Calls `execve` with these arguments.
fn exec(user: &mut User, path: &str, args: &[&str]) -> i64 {
    let mut at = SCRATCH + 0x1000;
    let mut put = |user: &mut User, text: &str| {
        let here = at;
        user.touch(here, true);
        let space = user.task.space().expect("a space");
        space
            .copy_out(VirtAddr::new(here), &[text.as_bytes(), b"\0"].concat())
            .expect("mapped");
        at += text.len() as u64 + 1;
        here
    };
    let path = put(user, path);
    let mut argv: Vec<u64> = args.iter().map(|arg| put(user, arg)).collect();
    argv.push(0);
    user.store(SCRATCH + 0x800, &argv);
    user.call(Sysno::EXECVE, &[path, SCRATCH + 0x800, 0])
}

fn string(user: &mut User, pointer: u64) -> Vec<u8> {
    let at = u64::from(user.load(pointer)) | u64::from(user.load(pointer + 4)) << 32;
    user.task
        .space()
        .expect("a space")
        .read_cstr(VirtAddr::new(at), 4096)
        .expect("a string")
}

#[test]
fn an_image_is_mapped_its_bss_zeroed_and_its_stack_filled() {
    let program = elf(&[segment(BASE, 0x700, 0x3000)]);
    with(&[("prog", program)], |user| {
        assert_eq!(exec(user, "/prog", &["prog", "-x"]), 0);
        assert_eq!(user.cpu.regs.rip, BASE + 0x100);
        let sp = user.cpu.regs.rsp;
        assert_eq!(sp % 16, 0);
        assert_eq!(user.load(sp), 2);
        assert_eq!(string(user, sp + 8), b"prog");
        assert_eq!(string(user, sp + 16), b"-x");
        assert_eq!(user.load(BASE + 0x6fc), 0xeeee_eeee);
        assert_eq!((user.load(BASE + 0x700), user.load(BASE + 0x2ffc)), (0, 0));
        assert_eq!(user.must(Sysno::BRK, &[0]), BASE + 0x3000);
        assert_eq!(&user.task.name()[..5], b"prog\0");
        assert_eq!(user.task.image().exe, b"/prog");
    });
}

#[test]
fn a_script_becomes_its_interpreter() {
    let program = elf(&[segment(BASE, 0x700, 0x700)]);
    let files = [
        ("sh", program),
        ("a", b"#!/sh -e x\n".to_vec()),
        ("b", b"#! /a\n".to_vec()),
    ];
    with(&files, |user| {
        assert_eq!(exec(user, "/b", &["ignored", "arg"]), 0);
        let sp = user.cpu.regs.rsp;
        let found: Vec<_> = (0..u64::from(user.load(sp)))
            .map(|at| string(user, sp + 8 + 8 * at))
            .collect();
        assert_eq!(found, [b"/sh".as_slice(), b"-e x", b"/a", b"/b", b"arg"]);
        assert_eq!(&user.task.name()[..2], b"b\0");
    });
}

#[test]
fn what_cannot_run_leaves_the_caller_as_it_was() {
    let mut lost = elf(&[segment(BASE, 0x700, 0x700), ProgramHeader::default()]);
    lost[0x400..0x404].copy_from_slice(b"/no\0");
    let interp = ProgramHeader {
        kind: PT_INTERP,
        offset: 0x400,
        filesz: 4,
        ..ProgramHeader::default()
    };
    lost[64 + 56..64 + 112].copy_from_slice(interp.as_bytes());
    let mut odd = lost.clone();
    odd[0x400..0x404].copy_from_slice(b"/tx\0");
    let files = [
        (
            "tx",
            b"just text, and long enough to hold the header of an ELF file, which it is not".to_vec(),
        ),
        ("empty", Vec::new()),
        ("loop", b"#!/loop\n".to_vec()),
        ("gone", b"#!/nowhere\n".to_vec()),
        ("lost", lost),
        ("odd", odd),
    ];
    with(&files, |user| {
        for (path, errno) in [
            ("/none", Errno::NOENT),
            ("/", Errno::ACCES),
            ("/tx", Errno::NOEXEC),
            ("/empty", Errno::NOEXEC),
            ("/loop", Errno::LOOP),
            ("/gone", Errno::NOENT),
            ("/lost", Errno::NOENT),
            ("/odd", Errno::LIBBAD),
            ("", Errno::NOENT),
        ] {
            assert_eq!(exec(user, path, &["x"]), errno.to_return(), "{path}");
        }
        user.store(SCRATCH + 0x800, &[0]);
        assert_eq!(
            user.call(Sysno::EXECVE, &[1, SCRATCH + 0x800, 0]),
            Errno::FAULT.to_return()
        );
    });
}

#[test]
fn segments_that_make_no_sense_kill_and_never_panic() {
    let hostile = [
        segment(BASE, 0x900, 0x700),
        segment(0x7fff_ffff_e000, 0x700, 0x10_0000),
        segment(u64::MAX - 0x800, 0x700, 0x700),
        segment(BASE, 0x700, u64::MAX),
        segment(BASE, u64::MAX, u64::MAX),
        ProgramHeader {
            offset: 0x123,
            ..segment(BASE, 0x700, 0x700)
        },
        ProgramHeader {
            offset: !0xfff,
            ..segment(BASE, 0x700, 0x700)
        },
    ];
    for segment in hostile {
        let status = with(&[("bad", elf(&[segment]))], |user| {
            let errno = exec(user, "/bad", &["bad"]);
            unreachable!("it lives, with {errno}");
        });
        assert_eq!(status, WaitStatus::Killed(Signal::SEGV, false), "{segment:?}");
    }
}

#[test]
fn a_thread_that_execs_becomes_the_process() {
    let program = elf(&[segment(BASE, 0x700, 0x700)]);
    let status = with(&[("prog", program)], |user| {
        let own = user.must(Sysno::GETPID, &[]);
        user.on(Signal::USR1, 0, |_, _| {});
        user.spawn(0, 0, move |user| {
            assert_eq!(exec(user, "/prog", &["prog"]), 0);
            assert_eq!(user.must(Sysno::GETTID, &[]), own);
            assert_eq!(user.task.process().tasks().len(), 1);
            let action = *user.task.process().actions().lock().get(Signal::USR1);
            assert_eq!(action.handler, 0, "handlers do not survive");
            user.call(Sysno::EXIT_GROUP, &[6]);
        });
        user.call(Sysno::PAUSE, &[]);
        unreachable!("it was replaced");
    });
    assert_eq!(status, WaitStatus::Exited(6));
}

#[test]
fn too_many_arguments_are_refused() {
    let program = elf(&[segment(BASE, 0x700, 0x700)]);
    with(&[("prog", program)], |user| {
        // The same long string many times over.
        let text = SCRATCH + 0x2000;
        user.touch(text, true);
        let space = user.task.space().expect("a space");
        space
            .copy_out(VirtAddr::new(text), &[b'a'; 0x1000])
            .expect("mapped");
        space
            .copy_out(VirtAddr::new(SCRATCH + 0x100), b"/prog\0")
            .expect("mapped");
        let mut argv = std::vec![text; 1000];
        argv.push(0);
        user.touch(SCRATCH + 0x4000, true);
        user.store(SCRATCH + 0x4000, &argv);
        let result = user.call(Sysno::EXECVE, &[SCRATCH + 0x100, SCRATCH + 0x4000, 0]);
        assert_eq!(result, Errno::TOOBIG.to_return());
    });
}
