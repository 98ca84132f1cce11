//! What programs read in `/proc` about the machine's memory.

use std::process::Command;

/// The output of a shell script on a machine of 64 MiB, as the user with this number.
fn read(user: Option<u32>, script: &str) -> String {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "60"]);
    if let Some(user) = user {
        command.args(["setpriv", &format!("--reuid={user}"), "--clear-groups"]);
    }
    let output = command
        .args([
            env!("CARGO_BIN_EXE_foliant"),
            "run",
            "--report",
            "none",
            "--ram",
            "64M",
        ])
        .args(["--", "sh", "-c", script])
        .output()
        .expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[test]
fn the_machines_memory_is_told_as_linux_tells_it() {
    let places = "00000000-0009fbff : System RAM\n0009fc00-000fffff : Reserved\n  \
                  000f0000-000fffff : System ROM\n00100000-03ffffff : System RAM\n";
    let hidden = "00000000-00000000 : System RAM\n00000000-00000000 : Reserved\n  \
                  00000000-00000000 : System ROM\n00000000-00000000 : System RAM\n";
    let told = read(None, "cat /proc/iomem");
    assert_eq!(told, if is_root() { places } else { hidden });
    // The kernel's objects are the host's memory: there are none in the machine.
    let script = "grep -E '^(Slab|KernelStack|VmallocUsed|Percpu):' /proc/meminfo; \
                  stat -c '%a %n' /proc/slabinfo /proc/vmallocinfo /proc/pagetypeinfo /proc/iomem";
    let told = read(None, script);
    let modes = "400 /proc/slabinfo\n400 /proc/vmallocinfo\n400 /proc/pagetypeinfo\n444 /proc/iomem\n";
    let nothing = "Slab:                  0 kB\nKernelStack:           0 kB\n\
                   VmallocUsed:           0 kB\nPercpu:                0 kB\n";
    assert_eq!(told, [nothing, modes].concat());
    if is_root() {
        let caches = read(None, "cat /proc/slabinfo /proc/vmallocinfo");
        assert!(caches.starts_with("slabinfo - version: 2.1\n# name "), "{caches}");
        assert_eq!(caches.lines().count(), 2, "{caches}");
    }
}

#[test]
fn who_is_not_root_learns_no_places() {
    if !is_root() {
        println!("skipped: only root can become somebody else");
        return;
    }
    let script = "cat /proc/iomem | sort -u; cat /proc/slabinfo 2>&1";
    let told = read(Some(65534), script);
    let wanted = "  00000000-00000000 : System ROM\n00000000-00000000 : Reserved\n\
                  00000000-00000000 : System RAM\ncat: /proc/slabinfo: Permission denied\n";
    if told.is_empty() {
        println!("skipped: that user cannot execute this file");
        return;
    }
    assert_eq!(told, wanted);
}
