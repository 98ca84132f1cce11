//! Small programs, shells, pipes.

use crate::harness::{Case, installed};

#[test]
fn true_and_false() {
    Case::new(&["true"]).same();
    Case::new(&["false"]).same();
}

#[test]
fn ls_of_usr_bin() {
    Case::new(&["ls", "-l", "/usr/bin"]).same();
}

#[test]
fn a_pipeline_of_five() {
    Case::shell("ls /usr/bin | sort -r | uniq | wc -l").same();
}

#[test]
fn bash_forks_and_execs_300_times() {
    Case::new(&["bash", "-c", "for ((i = 0; i < 300; i++)); do /bin/echo $i; done"]).same();
}

#[test]
fn busybox_is_static() {
    Case::new(&[
        "busybox",
        "sh",
        "-c",
        "busybox seq 1 2000 | busybox sort -n | busybox tail -n 3; busybox ls /",
    ])
    .same();
}

#[test]
fn statuses_and_signals_reach_the_shell() {
    Case::shell("exit 42").same();
    Case::shell("kill -TERM $$").same();
    Case::shell("(exit 3); echo $?; sh -c 'kill -9 $$'; echo $?").same();
    Case::shell("trap 'echo caught' USR1; kill -USR1 $$; echo after").same();
    Case::shell("sleep 1 & wait $!; echo $?").same();
}

#[test]
fn here_documents_substitution_and_background_jobs() {
    Case::new(&["bash", "-c", "cat <<EOF | tr a-z A-Z\nhello $(echo world)\nEOF\n(for i in 4 3 2 1; do (sleep 0.0$i; echo $i) & done; wait) | sort; diff <(seq 5) <(seq 6); echo $?"]).same();
}

/// Where the heap begins, and that it is a mapping of its own.
#[test]
fn the_heap_of_a_static_program_stays_apart() {
    Case::new(&[
        "setarch",
        "-R",
        "busybox",
        "sh",
        "-c",
        "busybox grep -B1 -F '[heap]' /proc/self/maps | busybox cut -c 18-",
    ])
    .same();
}

/// Without randomness every line is the same, the machine's own pages included.
#[test]
fn the_map_of_a_static_program_is_linuxs() {
    Case::new(&["setarch", "-R", "busybox", "sort", "/proc/self/maps"]).same();
}

/// What a shell sees of a job: by which signal it is stopped, that it goes on,
/// how it ends.
#[test]
fn jobs_are_stopped_and_continued_as_natively() {
    if !installed("python3") {
        return;
    }
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/jobs.py");
    let seen = |prefix: &[&str]| {
        let output = std::process::Command::new("timeout")
            .args(["-s", "KILL", "100", "python3"])
            .arg(&script)
            .args(prefix)
            .output()
            .expect("timeout");
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let foliant = [env!("CARGO_BIN_EXE_foliant"), "run", "--report", "none", "--"];
    assert_eq!(seen(&foliant), seen(&[]));
}

/// Natively they would live on; here the machine that they live on is gone.
#[test]
fn what_is_left_in_the_background_ends_with_the_machine() {
    let folder =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("left-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let start = std::time::Instant::now();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_foliant"))
        .args(["run", "--audit", "--report", "none", "--", "sh", "-c"])
        .arg("(sleep 30; echo late) > left & echo now; exit 3")
        .current_dir(&folder)
        .output()
        .expect("foliant");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert_eq!(output.stdout, b"now\n", "{said}");
    // It ended at once, and nobody is left who holds the output open.
    assert!(start.elapsed().as_secs() < 25);
    std::fs::remove_dir_all(folder).expect("the folder");
}
