//! The running host: `foliant ps|walk|pt --live`.

mod common;

use common::foliant;

#[test]
fn the_hosts_processes_are_listed() {
    let own = std::process::id();
    let (status, out, said) = foliant(&["ps", "--live", "--format", "json"]);
    assert_eq!(status, Some(0), "{said}");
    let line = format!("{{\"pid\":{own},\"kernel\":false,\"name\":");
    assert!(out.lines().any(|found| found.starts_with(&line)), "{out}");
}

#[test]
fn a_page_of_a_process_is_found() {
    let here = 1u8;
    let (own, at) = (std::process::id().to_string(), format!("{:p}", &raw const here));
    let (status, out, said) = foliant(&["walk", "--live", "--pid", &own, &at]);
    assert_eq!(status, Some(0), "{out}{said} {here}");
    assert!(out.contains(": present"), "{out}");
    // The first page is nobody's.
    let (status, out, _) = foliant(&["walk", "--live", "--pid", &own, "10"]);
    assert_eq!(status, Some(1), "{out}");
    assert!(out.contains("= not present"), "{out}");
}

#[test]
fn all_pages_of_a_process_are_listed_or_root_is_asked_for() {
    let own = std::process::id().to_string();
    let (status, out, said) = foliant(&["pt", "--live", "--pid", &own, "--format", "csv"]);
    match status {
        Some(0) => assert!(out.lines().count() > 10 && out.contains("present"), "{out}"),
        _ => assert!(said.contains("become root"), "{said}"),
    }
}

#[test]
fn what_the_host_does_not_show_is_said() {
    for (words, message) in [
        (&["pt", "--live"][..], "say which with --pid"),
        (&["walk", "--live", "--pid", "4194305", "0"], "no process 4194305"),
        (&["ps"], "--source <IMAGE>|--live"),
        (&["ps", "--live", "-s", "x"], "cannot be used with"),
    ] {
        let (status, _, said) = foliant(words);
        assert_eq!(status, Some(125), "{words:?}: {said}");
        assert!(said.contains(message), "{words:?}: {said}");
    }
}
