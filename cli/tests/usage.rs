//! The command line itself.

mod common;

use common::foliant;

#[test]
fn help_is_enough_to_get_going() {
    let (status, help, _) = foliant(&["run", "--help"]);
    assert_eq!(status, Some(0));
    for word in [
        "--ram",
        "--cpus",
        "--zones",
        "--no-aslr",
        "--seed",
        "--report",
        "--trace",
        "--strace",
        "--audit",
        "--fail-frame",
        "--walk",
        "--walk-at",
        "--pt",
        "foliant run",
    ] {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
}

#[test]
fn wrong_options_are_said_to_be_wrong() {
    for words in [
        &["run"][..],
        &["run", "--ram", "lots", "--", "true"],
        &["run", "--report", "pdf", "--", "true"],
        &["run", "--zones", "high=1G", "--", "true"],
        &["fly"],
    ] {
        let (status, _, said) = foliant(words);
        assert_eq!(status, Some(125), "{words:?}: {said}");
        assert!(said.contains("error"), "{words:?}: {said}");
    }
}

#[test]
fn the_report_comes_as_asked() {
    let (status, out, said) = foliant(&["run", "--", "echo", "hello"]);
    assert_eq!((status, out.as_str()), (Some(0), "hello\n"), "{said}");
    assert!(said.contains("faults") && said.contains("zone"), "{said}");

    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let page = folder.join(format!("report-{}.html", std::process::id()));
    let (status, _, said) = foliant(&[
        "run",
        "--report",
        &format!("html={}", page.display()),
        "--",
        "ls",
        "/",
    ]);
    assert_eq!(status, Some(0), "{said}");
    let text = std::fs::read_to_string(&page).expect("the page");
    assert!(text.starts_with("<!doctype html>") && text.contains("Address space of ls"));
    assert!(
        !text.contains("http://") && !text.contains("https://"),
        "the page needs nothing else"
    );
    std::fs::remove_file(page).expect("the page");

    let (_, _, said) = foliant(&["run", "--report", "json", "--", "true"]);
    let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert!(
        report["processes"][0]["minor_faults"]
            .as_u64()
            .is_some_and(|faults| faults > 0)
    );
}

#[test]
fn strace_and_trace_show_calls() {
    let (status, _, said) = foliant(&["run", "--report", "none", "--strace", "--", "true"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("mmap(") && said.contains("exit_group("), "{said}");
}
