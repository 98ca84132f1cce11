//! `foliant layout`.

mod common;

use common::foliant;

fn layout(words: &[&str]) -> (Option<i32>, String, String) {
    foliant(&[&["layout"], words].concat())
}

#[test]
fn tables_begin_and_end_where_they_should() {
    let (status, out, _) = layout(&["--like", "4.4"]);
    assert_eq!(status, Some(0));
    let out = squeezed(&out);
    assert!(
        out.contains("ffff880000000000 ffffc7ffffffffff 64 TB direct"),
        "{out}"
    );
    let (_, out, _) = layout(&[]);
    assert!(out.contains("ffff888000000000"), "{out}");
    let (_, out, _) = layout(&["--levels", "5"]);
    assert!(out.contains("ff11000000000000"), "{out}");
    let (_, out, _) = layout(&["--arch", "i386", "--pae", "--like", "4.4"]);
    assert!(out.contains("f7ffe000"), "{out}");
}

#[test]
fn an_address_has_a_name() {
    let name = |words: &[&str]| {
        let (status, out, why) = layout(words);
        assert_eq!(status, Some(0), "{why}");
        out
    };
    let out = name(&["--like", "4.4", "0xffff880000001000"]);
    assert!(out.starts_with("0xffff880000001000 is in direct"), "{out}");
    assert!(out.contains("shows physical address 0x1000"), "{out}");
    // The same address is the LDT's copy today.
    assert!(name(&["ffff880000001000"]).contains("is in ldt"));
    assert!(name(&["--arch", "i386", "c0000000"]).contains("is in lowmem"));
    assert!(name(&["ffffffef00000000"]).contains("only while its own tables are loaded"));
}

#[test]
fn a_seed_moves_the_same_regions_the_same_way() {
    let (_, one, _) = layout(&["--kaslr", "7"]);
    let (_, again, _) = layout(&["--kaslr", "7"]);
    let (_, other, _) = layout(&["--kaslr", "8"]);
    assert_eq!(one, again);
    assert_ne!(one, other);
}

#[test]
fn what_makes_no_layout_is_refused() {
    for words in [
        &["--arch", "i386", "--pae", "--vmsplit", "3g_opt"][..],
        &["--like", "4.4", "--levels", "5"],
        &["--like", "4.4", "--kaslr", "1"],
        &["--pae"],
        &["--arch", "i386", "100000000"],
        &["hello"],
    ] {
        let (status, _, why) = layout(words);
        assert_eq!(status, Some(125), "{words:?}");
        assert!(!why.is_empty());
    }
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
