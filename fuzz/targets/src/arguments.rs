//! What people type.

use std::ffi::OsString;

use crate::input::Input;

/// Arguments, one a line.
pub(crate) fn arguments(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let arguments = std::iter::once("foliant").chain(text.lines());
    let arguments = arguments.map(OsString::from);
    if let Err(why) = foliant_cli::check_arguments(arguments) {
        assert!(!why.trim().is_empty(), "an error says why");
    }
}

/// Descriptors, for both sorts of processors.
pub(crate) fn gdt(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut words = Vec::new();
    while !input.is_empty() {
        words.push(input.u64());
    }
    for long in [false, true] {
        let table = foliant_cli::gdt_table(&words, long);
        assert_eq!(table.lines().count(), words.len() + 1);
    }
}
