//! Memory that comes and goes while programs run. Not natively, but for what changes
//! nothing: the host's memory is none of a test's business.

use std::process::Command;

use crate::harness::{Case, build_c, installed, is_root};

/// What `foliant run --ram 256M --hotplug 256M` comes to.
fn plugged(words: &[&str]) -> String {
    plugged_to("256M", words)
}

fn plugged_to(ram: &str, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_foliant"))
        .args(["run", "--ram", ram, "--hotplug", "256M"])
        .args(["--audit", "--report", "none", "--"])
        .args(words)
        .output()
        .expect("foliant");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("a text")
}

/// Whether what only root may do can be tried.
fn may_plug() -> bool {
    let root = is_root();
    if !root {
        println!("skipped: only root adds and removes memory; run the tests as root");
    }
    root
}

#[test]
fn memory_is_plugged_in_used_and_taken_out_under_a_running_program() {
    let Some(program) = build_c("hotplug", &[]).filter(|_| may_plug()) else {
        return;
    };
    let said = plugged(&[&program.to_string_lossy()]);
    std::fs::remove_file(program).expect("the program");
    let expected = "0x100001000 > probe: Invalid argument
0x8000000 > probe: File exists
0x140000000 > probe: Invalid argument
nonsense > probe: Invalid argument
probe: Permission denied
memory32/state: No such file or directory
0x100000000 > probe: done
4294967296 > probe: File exists
100000000-107ffffff : System RAM
memory32/state: offline
memory32/online: 0
memory32/phys_index: 00000020
memory32/phys_device: 0
memory32/removable: 1
memory32/valid_zones: Normal Movable
0 MiB more
online_movable > memory32/state: done
online > memory32/state: Invalid argument
memory32/state: online
memory32/valid_zones: Movable
128 MiB more, 32768 pages movable
used: all
offline > memory32/state: done
memory32/online: 0
memory32/valid_zones: Normal Movable
used: 0
0 MiB more, 0 pages movable
1 > memory32/online: done
memory32/valid_zones: Normal
0 > memory32/online: done
online_kernel > memory32/state: done
memory32/valid_zones: Normal
32768 pages normal
auto_online_blocks: offline
online_movable > auto_online_blocks: done
0x108000000 > probe: done
memory33/state: online
memory33/valid_zones: Movable
00000000-0009fbff : System RAM
00100000-0fffffff : System RAM
100000000-107ffffff : System RAM
108000000-10fffffff : System RAM
256 MiB more
";
    assert_eq!(said, expected);
}

/// Page tables and the like stay where they are.
#[test]
fn what_the_kernel_has_in_a_block_keeps_it_online() {
    const PROGRAM: &str = "cd /sys/devices/system/memory
        echo 0x100000000 > probe; echo online_kernel > memory32/state
        /bin/sh -c 'echo offline > memory32/state' 2>&1 | sed 's/.*: //'
        cat memory32/state
        read -r _ total _ < /proc/meminfo; [ $total -gt 300000 ] && echo all of it";
    if may_plug() {
        let said = plugged(&["/bin/sh", "-c", PROGRAM]);
        assert!(
            ["Device or resource busy", "I/O error"]
                .iter()
                .any(|why| said.starts_with(why)),
            "{said}"
        );
        assert!(said.ends_with("online\nall of it\n"), "{said}");
    }
}

#[test]
fn the_tools_of_util_linux_plug_memory() {
    const PROGRAM: &str = "export PATH=$PATH:/sbin:/usr/sbin
        echo 0x100000000 > /sys/devices/system/memory/probe
        chmem -e -z Movable -b 32-32 && lsmem -o RANGE,SIZE,STATE,REMOVABLE,BLOCK,NODE,ZONES --noheadings --raw
        chmem -d -b 32 && lsmem -o RANGE,STATE --noheadings --raw --summary=never";
    let known =
        |tool: &str| installed(&format!("/usr/bin/{tool}")) || installed(&format!("/usr/sbin/{tool}"));
    if may_plug() && known("lsmem") && known("chmem") {
        let said = plugged(&["/bin/sh", "-c", PROGRAM]);
        let expected = "0x0000000000000000-0x0000000007ffffff 128M online yes 0 0 None
0x0000000008000000-0x000000000fffffff 128M online yes 1 0 DMA32
0x0000000100000000-0x0000000107ffffff 128M online yes 32 0 Movable
0x0000000000000000-0x000000000fffffff online
0x0000000100000000-0x0000000107ffffff offline
";
        assert_eq!(said, expected);
    }
}

/// Natively, too, as far as nothing changes there: no write here does anything.
#[test]
fn a_block_of_memory_looks_and_answers_as_natively() {
    const BLOCK: &str = "/sys/devices/system/memory/memory1";
    let writable = |file: &str| std::fs::OpenOptions::new().write(true).open(file).is_ok();
    let online = std::fs::read(format!("{BLOCK}/valid_zones")).is_ok_and(|zones| zones == b"DMA32\n");
    if !online || !may_plug() || !writable(&format!("{BLOCK}/state")) {
        println!("skipped: this host has no such memory, or it is not to be written");
        return;
    }
    const PROGRAM: &str = "cd /sys/devices/system/memory
        cat block_size_bytes memory1/online memory1/state memory1/phys_index memory1/phys_device
        cat memory1/removable memory1/valid_zones memory0/valid_zones
        stat -c '%n %A %s %h %U' auto_online_blocks block_size_bytes memory1/[opsrv][!o]*
        readlink memory1/node0 memory1/subsystem
        for word in online onlin online_movable online_kernel 'online ' 1; do
            echo \"$word\" > memory1/state && echo yes; done 2>&1
        for word in 1 y maybe '' 2; do echo \"$word\" > memory1/online && echo yes; done 2>&1
        for file in phys_index phys_device removable valid_zones ../block_size_bytes; do
            echo 1 > memory1/$file; done 2>&1
        echo nonsense > auto_online_blocks; cat memory1/state memory9999999/state 2>&1";
    Case::shell(PROGRAM).same();
}

#[test]
fn the_report_tells_what_could_be_plugged_in() {
    let run = |size: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_foliant"))
            .args(["run", "--ram", "64M", "--hotplug", size, "--", "true"])
            .output()
            .expect("foliant");
        String::from_utf8(output.stderr).expect("a text")
    };
    let told = "to be plugged in at 0x100000000: 128 MiB, of which 0 MiB were, 0 MiB of them online";
    assert!(run("128M").contains(told), "{}", run("128M"));
    assert_eq!(
        run("100M"),
        "foliant: memory is plugged in in blocks of 128 MiB\n"
    );
}

#[test]
fn memory_goes_whatever_programs_do_with_it_meanwhile() {
    let Some(program) = build_c("unplug", &["-pthread"]).filter(|_| may_plug()) else {
        return;
    };
    let said = plugged(&[&program.to_string_lossy()]);
    std::fs::remove_file(program).expect("the program");
    assert_eq!(said, "child 0, nothing lost\n");
}

/// Where there is no room for what is in a block, whoever wants it offline waits
/// until a signal comes.
#[test]
fn a_signal_ends_the_wait_for_room() {
    const PROGRAM: &str = "cd /sys/devices/system/memory
        echo online_movable > auto_online_blocks; echo 0x100000000 > probe
        head -c 100M /dev/zero > /dev/shm/much
        timeout 0.5 sh -c 'echo offline > memory32/state'; echo $?; cat memory32/state
        rm /dev/shm/much
        echo offline > memory32/state; cat memory32/state";
    if may_plug() {
        assert_eq!(
            plugged_to("64M", &["/bin/sh", "-c", PROGRAM]),
            "124\nonline\noffline\n"
        );
    }
}
