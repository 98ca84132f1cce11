//! `/proc/iomem`.

use alloc::string::String;
use alloc::vec::Vec;

use super::scan::{ParseError, ascii, expected, hex, lines, split};
use super::write::{Text, put};

/// Resources are not nested deeper; Linux shows eight levels.
const DEEPEST: usize = 64;

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IomemEntry {
    /// How many resources it lies in.
    pub depth: usize,
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub last: u64,
    /// What it is.
    pub name: String,
}

/// The file: resources in order, each directly before those inside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Iomem {
    /// Resources.
    pub entries: Vec<IomemEntry>,
}

impl Text for Iomem {
    fn write(&self, out: &mut Vec<u8>) {
        for entry in &self.entries {
            let indent = 2 * entry.depth;
            put!(
                out,
                "{:indent$}{:08x}-{:08x} : {}\n",
                "",
                entry.start,
                entry.last,
                entry.name
            );
        }
    }
}

impl Iomem {
    /// Reads the file.
    ///
    /// # Errors
    /// A line that is something else.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let entries = lines(text)
            .map(|line| entry(ascii(line, "a resource")?))
            .collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }
}

fn entry(line: &str) -> Result<IomemEntry, ParseError> {
    let inner = line.trim_start_matches(' ');
    let indent = line.len() - inner.len();
    if !indent.is_multiple_of(2) || indent > 2 * DEEPEST {
        return Err(expected("an indent of two for each level"));
    }
    let (range, name) = split(inner, " : ", "a resource")?;
    let (start, last) = split(range, "-", "a range")?;
    let entry = IomemEntry {
        depth: indent / 2,
        start: hex(start, "an address")?,
        last: hex(last, "an address")?,
        name: String::from(name),
    };
    if entry.start > entry.last {
        return Err(expected("a range that ascends"));
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_written_back() {
        let text = b"00000000-00000fff : Reserved\n\
                     00100000-bfffffff : System RAM\n  \
                       01000000-022090c7 : Kernel code\n\
                     eec00000-febfffff : Reserved\n  \
                       eec00000-eecfffff : PCI ECAM 0000 [bus 00-00]\n    \
                         eec00000-eecfffff : PCI Bus 0000:00\n\
                     100000000-63fffffff : System RAM\n";
        let iomem = Iomem::parse(text).unwrap();
        assert_eq!(iomem.entries.len(), 7);
        assert_eq!(iomem.entries[5].depth, 2);
        assert_eq!(iomem.to_bytes(), text);
        assert!(Iomem::parse(b"hello").is_err());
        assert!(Iomem::parse(b"2-1 : x\n").is_err());
        let deep = [" ".repeat(70_000).as_bytes(), b"1-2 : x\n"].concat();
        assert!(Iomem::parse(&deep).is_err());
    }
}
