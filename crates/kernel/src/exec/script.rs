//! The first line of a script.

use alloc::vec::Vec;

use foliant_units::Errno;

/// How much of a file decides what it is (`BINPRM_BUF_SIZE`).
pub(super) const HEAD: usize = 256;

/// What a script's first line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shebang {
    /// The interpreter's path.
    pub(super) interpreter: Vec<u8>,
    /// Everything behind it, as one argument.
    pub(super) argument: Option<Vec<u8>>,
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Reads the first line of `head`, the file's first [`HEAD`] bytes padded
/// with zeros; `None` if it is no script.
///
/// # Errors
/// `NOEXEC` if the line names nobody, or is cut off within the name.
///
/// # Linux source concept
/// `load_script()`.
pub(super) fn shebang(head: &[u8; HEAD]) -> Result<Option<Shebang>, Errno> {
    let Some(line) = head.strip_prefix(b"#!") else {
        return Ok(None);
    };
    let end = line.iter().position(|byte| *byte == b'\n');
    let text = match end {
        Some(end) => &line[..end],
        None => {
            // Without an end of line the name must at least be over.
            let text = &line[..line.len() - 1];
            let name = text
                .iter()
                .position(|byte| !is_blank(byte))
                .ok_or(Errno::NOEXEC)?;
            let over = text[name..].iter().any(|byte| is_blank(byte) || *byte == 0);
            if !over {
                return Err(Errno::NOEXEC);
            }
            text
        }
    };
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let start = text
        .iter()
        .position(|byte| !is_blank(byte))
        .ok_or(Errno::NOEXEC)?;
    let stop = text
        .iter()
        .rposition(|byte| !is_blank(byte))
        .ok_or(Errno::NOEXEC)?;
    let text = &text[start..=stop];

    let name_end = text.iter().position(is_blank).unwrap_or(text.len());
    let rest = &text[name_end..];
    let argument = rest
        .iter()
        .position(|byte| !is_blank(byte))
        .map(|at| rest[at..].to_vec());
    Ok(Some(Shebang {
        interpreter: text[..name_end].to_vec(),
        argument,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    fn read(text: &[u8]) -> Result<Option<(String, Option<String>)>, Errno> {
        let mut head = [0; HEAD];
        let len = text.len().min(HEAD);
        head[..len].copy_from_slice(&text[..len]);
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_string();
        let found = shebang(&head)?;
        Ok(found.map(|found| {
            (
                show(&found.interpreter),
                found.argument.map(|argument| show(&argument)),
            )
        }))
    }

    #[test]
    fn the_rest_of_the_line_is_one_argument() {
        let both = |a: &str, b: &str| Ok(Some((a.to_string(), Some(b.to_string()))));
        assert_eq!(read(b"#! /bin/sh \t -e -x  \necho"), both("/bin/sh", "-e -x"));
        assert_eq!(read(b"#!/bin/sh\n"), Ok(Some(("/bin/sh".to_string(), None))));
        assert_eq!(read(b"#!/bin/sh"), Ok(Some(("/bin/sh".to_string(), None))));
    }

    #[test]
    fn a_line_without_a_name_is_no_program() {
        assert_eq!(read(b"#!\n"), Err(Errno::NOEXEC));
        assert_eq!(read(b"#!   \t \n"), Err(Errno::NOEXEC));
        assert_eq!(read(b"#!"), Err(Errno::NOEXEC));
        assert_eq!(read(b"#"), Ok(None));
    }

    #[test]
    fn a_name_that_does_not_end_within_the_head_is_refused() {
        let mut long = b"#!/".to_vec();
        long.resize(400, b'x');
        assert_eq!(read(&long), Err(Errno::NOEXEC));
        long[200] = b' ';
        assert!(read(&long).is_ok());
    }
}
