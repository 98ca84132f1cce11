//! `/proc/PID/maps`.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use foliant_units::{VirtAddr, VirtRange};

use super::escape;
use super::scan::{ParseError, ascii, expected, hex, lines, number, split};
use super::write::{Text, put};
use crate::mman::Prot;

/// Column in which a name begins.
const NAME_COLUMN: usize = 72;

/// A device number, as the kernel's texts show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// The `rwxp` of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapsPerms {
    /// Access rights (only read, write, execute).
    pub prot: Prot,
    /// Whether writes reach the object.
    pub shared: bool,
}

/// One line: one VMA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapsEntry<'a> {
    /// Addresses.
    pub range: VirtRange,
    /// Rights.
    pub perms: MapsPerms,
    /// Offset into the file, bytes.
    pub offset: u64,
    /// Device of the file.
    pub device: Device,
    /// Inode of the file; 0 for none.
    pub inode: u64,
    /// Path, `[heap]` and the like; empty for none.
    pub name: Cow<'a, [u8]>,
}

impl<'a> MapsEntry<'a> {
    /// Reads one line, without its end.
    ///
    /// # Errors
    /// A line that is something else.
    pub fn parse(line: &'a [u8]) -> Result<Self, ParseError> {
        // Five fields of ASCII, then a name of any bytes.
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let mut field = |what| ascii(fields.next().unwrap_or_default(), what);
        let (start, end) = split(field("an address range")?, "-", "an address range")?;
        let perms = field("rights")?;
        let offset = hex(field("an offset")?, "an offset")?;
        let (major, minor) = split(field("a device")?, ":", "a device")?;
        let inode = number(field("an inode")?, "an inode")?;
        let name = fields.next().ok_or(expected("a space after the inode"))?;
        let name = &name[name.iter().take_while(|&&byte| byte == b' ').count()..];

        let start = VirtAddr::new(hex(start, "an address")?);
        let end = VirtAddr::new(hex(end, "an address")?);
        Ok(Self {
            range: VirtRange::new(start, end),
            perms: parse_perms(perms)?,
            offset,
            device: Device {
                major: hex(major, "a device")? as u32,
                minor: hex(minor, "a device")? as u32,
            },
            inode,
            name: escape::unoctal(name, b"\n"),
        })
    }
}

fn parse_perms(text: &str) -> Result<MapsPerms, ParseError> {
    let &[r, w, x, s] = text.as_bytes() else {
        return Err(expected("four rights"));
    };
    let mut prot = Prot::NONE;
    for (letter, shown, right) in [
        (r, b'r', Prot::READ),
        (w, b'w', Prot::WRITE),
        (x, b'x', Prot::EXEC),
    ] {
        if letter == shown {
            prot |= right;
        } else if letter != b'-' {
            return Err(expected("a right or a dash"));
        }
    }
    let shared = match s {
        b's' => true,
        b'p' => false,
        _ => return Err(expected("s or p")),
    };
    Ok(MapsPerms { prot, shared })
}

/// Reads the whole file.
///
/// # Errors
/// A line that is something else.
pub fn parse_maps(text: &[u8]) -> Result<Vec<MapsEntry<'_>>, ParseError> {
    lines(text).map(MapsEntry::parse).collect()
}

impl Text for MapsEntry<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let letter = |right, letter| {
            if self.perms.prot.contains(right) {
                letter
            } else {
                '-'
            }
        };
        put!(
            out,
            "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ",
            self.range.start.raw(),
            self.range.end.raw(),
            letter(Prot::READ, 'r'),
            letter(Prot::WRITE, 'w'),
            letter(Prot::EXEC, 'x'),
            if self.perms.shared { 's' } else { 'p' },
            self.offset,
            self.device.major,
            self.device.minor,
            self.inode,
        );
        if !self.name.is_empty() {
            let written = out.len() - start;
            out.resize(start + written.max(NAME_COLUMN), b' ');
            out.push(b' ');
            escape::octal(&self.name, b"\n", out);
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_back_to_equal_bytes() {
        let text: &[u8] = b"\
00400000-00401000 r-xp 00000000 fe:00 12                                 /bin/a b
7f9d847b8000-7f9d847da000 rw-s 00001000 00:01 4096                       /dev/zero (deleted)
7ffd847b8000-7ffd847da000 ---p 00000000 00:00 0 
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";
        let entries = parse_maps(text).unwrap();
        assert_eq!(&*entries[0].name, b"/bin/a b");
        let again: Vec<u8> = entries.iter().flat_map(Text::to_bytes).collect();
        assert_eq!(again, text);
        assert!(parse_maps(b"").unwrap().is_empty());
    }

    #[test]
    fn garbage_is_refused_not_guessed() {
        for line in [
            "",
            "x",
            "1-2 rwxp 0 0:0 0",
            "1-2 rwxq 0 0:0 0 ",
            "1-2 rwx 0 0:0 0 ",
        ] {
            assert!(MapsEntry::parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
