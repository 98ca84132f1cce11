//! Runtimes that bring memory managers of their own: they reserve, commit,
//! protect and give back more than other programs do.

use std::path::Path;

use crate::harness::{Case, installed};

#[test]
fn node_compiles_collects_and_starts_workers() {
    Case::new(&[
        "node",
        "--max-old-space-size=64",
        "-e",
        "
const { Worker } = require('worker_threads'), { execFileSync } = require('child_process');
let kept = [];
for (let i = 0; i < 300000; i++) { kept[i % 1000] = { i, text: 'x'.repeat(i % 50) }; }
console.log(kept.length, kept.reduce((sum, one) => sum + one.i, 0));
const shared = new Int32Array(new SharedArrayBuffer(4));
const work = 'const { workerData: a } = require(`worker_threads`); for (let i = 0; i < 10000; i++) Atomics.add(a, 0, 1);';
let left = 3;
for (let n = 0; n < 3; n++)
  new Worker(work, { eval: true, workerData: shared }).on('exit', code => {
    if (--left == 0) console.log(code, shared[0], execFileSync('echo', ['from a child']).toString());
  });
",
    ])
    .same();
}

#[test]
fn java_collects_in_four_threads() {
    for collector in [
        "-XX:+UseSerialGC",
        "-XX:+UseParallelGC",
        "-XX:+UseG1GC",
        "-XX:+UseZGC",
    ] {
        let case = Case::new(&["java", "-Xmx96m", collector, "Garbage.java"]).seconds(300);
        case.before_each(|folder| {
            let source = include_str!("Garbage.java");
            std::fs::write(folder.join("Garbage.java"), source).expect("the source");
        })
        .same();
    }
}

/// The server refuses root, so it runs as nobody where this is root.
#[test]
fn postgresql_serves_its_clients() {
    if !["initdb", "pg_ctl", "psql", "setpriv"].into_iter().all(installed) {
        return;
    }
    // A folder, and a copy of the command, that anybody can reach.
    let folder = std::env::temp_dir().join(format!("foliant-postgresql-{}", std::process::id()));
    let foliant = folder.join("foliant");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::copy(env!("CARGO_BIN_EXE_foliant"), &foliant).expect("a copy");
    open_to_all(&folder);
    let script = folder.join("script");
    std::fs::write(&script, include_str!("postgresql.sh")).expect("the script");

    let user = "exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";
    let user = if is_root() { user } else { "exec \"$@\"" };
    let [native, ours] = [None, Some(&foliant)].map(|foliant| {
        let mut command = std::process::Command::new("timeout");
        command.args(["--signal=KILL", "250", "sh", "-c", user, "sh"]);
        if let Some(foliant) = foliant {
            command.arg(foliant).args(["run", "--report", "none", "--"]);
        }
        let output = command
            .arg("sh")
            .arg(&script)
            .current_dir(&folder)
            .env("LC_ALL", "C")
            .output();
        let output = output.expect("timeout");
        (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            output.status,
        )
    });
    std::fs::remove_dir_all(&folder).expect("the folder");
    assert_eq!(native, ours);
    assert!(native.1.success(), "the script works at all: {native:?}");
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).expect("permissions");
}
