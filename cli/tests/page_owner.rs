//! Who allocated each frame: `foliant run --page-owner`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use std::process::{Command, Output};

/// 1024 pages and a few, filled by one call, in the first process.
const PROGRAM: &str = "exec dd if=/dev/zero of=/dev/null bs=4M count=1";

fn run(options: &[&str], script: &str) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_foliant"))
        .args(["run", "--ram", "256M"])
        .args(options)
        .args(["--", "/bin/sh", "-c", script])
        .output()
        .expect("foliant");
    assert!(output.status.success(), "{output:?}");
    output
}

fn temporary(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

/// What stands between two words of a line.
fn between<'a>(line: &'a str, before: &str, after: &str) -> &'a str {
    let rest = line.split_once(before).unwrap_or_else(|| panic!("{line}")).1;
    rest.split_once(after).unwrap_or_else(|| panic!("{line}")).0
}

#[test]
fn the_file_has_every_allocation_in_linuxs_format() {
    let file = temporary("page_owner");
    let option = format!("--page-owner={}", file.display());
    run(&[&option, "--report", "none"], PROGRAM);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(file).unwrap();

    let (mut next, mut filled, mut last) = (0, 0, 0);
    for record in text.split_terminator("\n\n") {
        let lines: Vec<&str> = record.lines().collect();
        assert!(lines.len() >= 3, "{record}");
        let order: u32 = between(lines[0], "Page allocated via order ", ", mask 0x")
            .parse()
            .unwrap();
        assert!(between(lines[0], "(", "), pid ").starts_with("GFP_"), "{record}");
        let _pid: u32 = between(lines[0], ", pid ", ", tgid ").parse().unwrap();
        let at: u64 = between(lines[0], "), ts ", " ns").parse().unwrap();
        last = last.max(at);
        let pfn = u64::from_str_radix(between(lines[1], "PFN 0x", " type "), 16).unwrap();
        assert!(pfn >= next, "one after the other: {record}");
        next = pfn + (1 << order);
        let block: u64 = between(lines[1], " Block ", " type ").parse().unwrap();
        assert_eq!(block, pfn / 512);
        assert!(
            lines[1].contains("|zone=") || lines[1].contains("(node=0"),
            "{record}"
        );
        assert!(lines[2..].iter().all(|line| line.starts_with(' ')), "{record}");
        if lines[0].contains(" (dd), ts ") && lines[2..] == [" anonymous", " read"] {
            filled += 1 << order;
        }
    }
    assert!(filled >= 1024, "{filled} of 4 MiB: {text}");
    assert!(last > 0);
}

#[test]
fn the_report_names_who_had_most() {
    let output = run(&["--page-owner", "--report", "json"], PROGRAM);
    let said = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value = serde_json::from_str(&said[said.find('{').unwrap()..]).unwrap();
    let most = &report["owners"][0];
    assert_eq!(
        [&most["name"], &most["purpose"], &most["doing"]],
        ["dd", "anonymous", "read"]
    );
    assert!(most["frames"].as_u64().unwrap() >= 1024, "{most}");
    let text = run(&["--page-owner"], PROGRAM);
    let text = String::from_utf8_lossy(&text.stderr);
    assert!(
        text.contains("who had the frames when the first process ended:"),
        "{text}"
    );
    let page = temporary("page_owner.html");
    let option = format!("html={}", page.display());
    run(&["--page-owner", "--report", &option], PROGRAM);
    let html = std::fs::read_to_string(&page).unwrap();
    std::fs::remove_file(page).unwrap();
    assert!(html.contains("<td>anonymous</td><td>read</td>"), "{html}");
}

#[test]
fn root_of_the_machine_reads_it_and_others_have_none() {
    const LOOK: &str = "cd /sys/kernel/debug && cat page_owner | head -n 1 | cut -c 1-25
        cd page_owner_stacks && cat count_threshold && echo
        echo 1000000 > count_threshold && cat count_threshold show_stacks && echo
        echo 0x10 > count_threshold && cat count_threshold && echo
        while read -r a b; do [ \"$a\" = nr_base_pages: ] && [ $b -lt 16 ] && echo $b; done < show_stacks
        echo nonsense > count_threshold || echo refused";
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if root {
        let output = run(&["--page-owner", "--audit", "--report", "none"], LOOK);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            said, "Page allocated via order \n0\n1000000\n16\nrefused\n",
            "{output:?}"
        );
        let output = run(
            &["--report", "none"],
            "ls /sys/kernel/debug; cat /sys/kernel/debug/page_owner || true",
        );
        assert_eq!(output.stdout, b"extfrag\n", "{output:?}");
    }
    let output = run(&[], "true");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("who had the frames"));
}
