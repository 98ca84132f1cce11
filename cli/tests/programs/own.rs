//! Programs of our own that do what real ones rarely do.

use std::process::Command;

use crate::harness::{Case, build_c, is_root};

fn run(name: &str, flags: &[&str]) {
    if let Some(program) = build_c(name, flags) {
        Case::new(&[&program.to_string_lossy()]).same();
        std::fs::remove_file(program).expect("the program");
    }
}

#[test]
fn eight_threads_contend_on_mutexes_and_mmap() {
    run("threads", &["-pthread"]);
}

/// Calls for a thread's own numbers are answered without leaving its process.
#[test]
fn calls_leave_every_register_as_it_was_whatever_signals_come_between() {
    run("registers", &["-mno-red-zone", "-pthread"]);
}

#[test]
fn the_vdso_lies_where_linux_puts_it_and_tells_the_time() {
    run("vdso", &[]);
}

#[test]
fn a_segv_handler_continues() {
    run("segv", &[]);
}

#[test]
fn a_stack_that_overflows_kills() {
    run("overflow", &["-O0"]);
}

#[test]
fn system_v_segments() {
    run("segments", &[]);
}

#[test]
fn paths_stay_within_bounds() {
    run("bounds", &[]);
}

#[test]
fn waiters_are_moved_to_locks_that_name_their_owner() {
    run("requeue", &["-pthread"]);
}

#[test]
fn limits_end_in_signals_and_errors_and_zombies_have_names() {
    run("limited", &["-Wno-unused-result"]);
}

#[test]
fn watches_are_told_what_is_done_to_files() {
    run("watch", &["-pthread", "-Wno-unused-result"]);
}

#[test]
fn pipes_in_shared_memory_have_names() {
    run("fifo", &["-Wno-unused-result"]);
}

#[test]
fn a_file_that_runs_is_not_written() {
    run("busy", &[]);
}

#[test]
fn states_and_times_of_tasks() {
    run("states", &["-pthread"]);
}

#[test]
fn one_thread_executes_while_others_make_calls() {
    run("exec_storm", &["-pthread"]);
}

/// Not natively: the host's memory is none of a test's business.
#[test]
fn memory_is_compacted_while_programs_use_it() {
    let Some(program) = build_c("compact", &["-O1", "-pthread"]) else {
        return;
    };
    let output = Command::new(env!("CARGO_BIN_EXE_foliant"))
        .args(["run", "--ram", "256M", "--audit", "--report", "json", "--"])
        .arg(&program)
        .output()
        .expect("foliant");
    std::fs::remove_file(program).expect("the program");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said} {output:?}");
    assert!(
        ["skipped\n", "child 0, moved enough\n"].contains(&&*said),
        "{said}"
    );
}

/// Nor this.
#[test]
fn memory_in_pieces_is_put_in_order_though_nobody_asks() {
    let Some(program) = build_c("ahead", &[]) else {
        return;
    };
    let output = Command::new(env!("CARGO_BIN_EXE_foliant"))
        .args(["run", "--ram", "96M", "--audit", "--report", "none", "--"])
        .arg(&program)
        .output()
        .expect("foliant");
    std::fs::remove_file(program).expect("the program");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said} {output:?}");
    if !said.starts_with("not root\n") {
        let expected = "asleep: nothing moved\nawake: put in order\nscanned by the daemon: yes, woken: 0\n";
        assert_eq!(said, expected, "{output:?}");
    }
}

/// The clock that looks for fragments leaves no trace where there are none.
#[test]
fn a_machine_in_good_order_counts_no_compaction() {
    const PROGRAM: &str = "sleep 1.3; while read name count; do
        case $name in compact_*) [ $count = 0 ] || echo $name $count;; esac
        done < /proc/vmstat";
    let output = Command::new(env!("CARGO_BIN_EXE_foliant"))
        .args(["run", "--ram", "256M", "--audit", "--report", "none", "--"])
        .args(["/bin/sh", "-c", PROGRAM])
        .output()
        .expect("foliant");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

/// Not natively either, for the same reason. Block 1 is full of nothing that
/// stays; in block 0 are two zones, as on a PC.
#[test]
fn a_block_of_memory_goes_offline_and_comes_back_under_a_running_program() {
    const PROGRAM: &str = "cd /sys/devices/system/memory
        total() { read -r _ kib _ < /proc/meminfo; echo $kib; }
        cat block_size_bytes memory0/valid_zones memory1/state
        before=$(total)
        echo offline > memory1/state && cat memory1/state memory1/online
        echo $(((before - $(total)) / 1024)) MiB less
        echo online_movable > memory1/state || echo no zone for that
        echo online > memory1/state && cat memory1/state
        [ $(total) = $before ] && echo as before";
    let output = Command::new(env!("CARGO_BIN_EXE_foliant"))
        .args(["run", "--ram", "512M", "--audit", "--report", "json", "--"])
        .args(["/bin/sh", "-c", PROGRAM])
        .output()
        .expect("foliant");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said} {output:?}");
    // Who is not root is refused each time.
    let expected = match is_root() {
        true => "8000000\nnone\nonline\noffline\n0\n128 MiB less\nno zone for that\nonline\nas before\n",
        false => "8000000\nnone\nonline\n0 MiB less\nno zone for that\nas before\n",
    };
    assert_eq!(said, expected, "{output:?}");
}
