//! Small tools for taking texts apart.

use core::fmt;
use core::str::FromStr;

/// A text that is not what the kernel would have written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// What was expected where something else stood.
    pub expected: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl core::error::Error for ParseError {}

/// The error that something is missing.
pub(super) const fn expected(what: &'static str) -> ParseError {
    ParseError { expected: what }
}

/// Bytes as text; the kernel's numbers and labels are ASCII.
pub(super) fn ascii<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a str, ParseError> {
    core::str::from_utf8(bytes).map_err(|_| expected(what))
}

/// A number, spaces around it allowed.
pub(super) fn number<T: FromStr>(text: &str, what: &'static str) -> Result<T, ParseError> {
    text.trim().parse().map_err(|_| expected(what))
}

/// A hexadecimal number without prefix.
pub(super) fn hex(text: &str, what: &'static str) -> Result<u64, ParseError> {
    u64::from_str_radix(text, 16).map_err(|_| expected(what))
}

/// What follows `prefix`.
pub(super) fn after<'a>(text: &'a str, prefix: &str, what: &'static str) -> Result<&'a str, ParseError> {
    text.strip_prefix(prefix).ok_or(expected(what))
}

/// What stands before and after the first `mark`.
pub(super) fn split<'a>(
    text: &'a str,
    mark: &str,
    what: &'static str,
) -> Result<(&'a str, &'a str), ParseError> {
    text.split_once(mark).ok_or(expected(what))
}

/// The lines of a text, without their ends.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    text.split(|&byte| byte == b'\n')
        .filter(move |_| !bytes.is_empty())
}
