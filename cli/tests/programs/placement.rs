//! Where a program finds itself: its image, heap, loader and stack.

use std::process::Command;

const FOLIANT: &str = env!("CARGO_BIN_EXE_foliant");

/// What `cat` says of itself: the mappings that do not depend on what else is mapped.
fn places(words: &[&str]) -> Option<Vec<String>> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .args(["cat", "/proc/self/maps"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let wanted = ["/cat", "[heap]", "ld-linux", "[stack]"];
    let lines = text
        .lines()
        .filter(|line| wanted.iter().any(|word| line.contains(word)));
    Some(lines.map(str::to_owned).collect())
}

fn foliant(options: &[&str]) -> Vec<String> {
    let mut words = vec!["timeout", "-s", "KILL", "60", FOLIANT, "run", "--report", "none"];
    words.extend(options);
    words.push("--");
    places(&words).expect("cat runs")
}

#[test]
fn without_randomness_everything_is_where_linux_puts_it() {
    let Some(native) = places(&["setarch", "-R"]) else {
        println!("skipped: setarch -R does not work here");
        return;
    };
    assert!(native.len() >= 4, "{native:#?}");
    assert_eq!(foliant(&["--no-aslr"]), native);
}

#[test]
fn a_seed_moves_everything_and_always_the_same_way() {
    let (one, again, other) = (
        foliant(&["--seed", "7"]),
        foliant(&["--seed", "7"]),
        foliant(&["--seed", "8"]),
    );
    assert_eq!(one, again);
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(&other) {
        assert_ne!(one, other);
    }
}
