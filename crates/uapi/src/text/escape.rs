//! How the kernel keeps odd names from breaking lines.

use alloc::borrow::Cow;
use alloc::vec::Vec;

/// Writes `name`, each of `special` as a backslash and three octal digits.
pub(super) fn octal(name: &[u8], special: &[u8], out: &mut Vec<u8>) {
    for &byte in name {
        if special.contains(&byte) {
            out.extend_from_slice(&[
                b'\\',
                b'0' + (byte >> 6),
                b'0' + (byte >> 3 & 7),
                b'0' + (byte & 7),
            ]);
        } else {
            out.push(byte);
        }
    }
}

/// Undoes [`octal`] for the same `special`.
pub(super) fn unoctal<'a>(text: &'a [u8], special: &[u8]) -> Cow<'a, [u8]> {
    let escape_at = |at: usize| -> Option<u8> {
        let digits = text.get(at + 1..at + 4)?;
        if text[at] != b'\\' || !digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
            return None;
        }
        let value = digits
            .iter()
            .fold(0u32, |value, digit| value << 3 | u32::from(digit - b'0'));
        u8::try_from(value).ok().filter(|byte| special.contains(byte))
    };
    if (0..text.len()).all(|at| escape_at(at).is_none()) {
        return Cow::Borrowed(text);
    }
    let mut name = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match escape_at(at) {
            Some(byte) => {
                name.push(byte);
                at += 4;
            }
            None => {
                name.push(text[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(name)
}

/// Writes a task's name: newline and backslash in C's way.
pub(super) fn task_name(name: &[u8], out: &mut Vec<u8>) {
    for &byte in name {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ => out.push(byte),
        }
    }
}

/// Undoes [`task_name`].
pub(super) fn untask_name(text: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        match (byte, rest.as_slice().first()) {
            (b'\\', Some(b'n')) => {
                name.push(b'\n');
                rest.next();
            }
            (b'\\', Some(b'\\')) => {
                name.push(b'\\');
                rest.next();
            }
            _ => name.push(byte),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_in_a_path_is_octal_and_comes_back() {
        let mut out = Vec::new();
        octal(b"/a\nb\\", b"\n", &mut out);
        assert_eq!(out, b"/a\\012b\\");
        assert_eq!(&*unoctal(&out, b"\n"), b"/a\nb\\");
    }

    #[test]
    fn a_task_name_may_hold_anything() {
        let mut out = Vec::new();
        task_name(b"a\n\\b", &mut out);
        assert_eq!(out, b"a\\n\\\\b");
        assert_eq!(untask_name(&out), b"a\n\\b");
    }
}
