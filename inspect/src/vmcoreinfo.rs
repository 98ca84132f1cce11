//! VMCOREINFO: what a kernel says of itself to those who look at its memory.

use std::collections::BTreeMap;

use foliant_units::VirtAddr;

/// Lines `KEY=VALUE`, as the kernel wrote them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Vmcoreinfo {
    lines: BTreeMap<String, String>,
}

impl Vmcoreinfo {
    /// Reads the text; lines without `=` and bytes that are no text are skipped.
    pub fn parse(text: &[u8]) -> Self {
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        let lines = text.split(|&byte| byte == b'\n');
        let pairs = lines.filter_map(|line| std::str::from_utf8(line).ok()?.split_once('='));
        Self {
            lines: pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// The value of a line.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.lines.get(key).map(String::as_str)
    }

    /// The kernel's release, as `uname -r` prints it.
    pub fn release(&self) -> Option<&str> {
        self.get("OSRELEASE")
    }

    /// The address of a symbol.
    pub fn symbol(&self, name: &str) -> Option<VirtAddr> {
        let value = self.get(&format!("SYMBOL({name})"))?;
        u64::from_str_radix(value, 16).ok().map(VirtAddr::new)
    }

    /// A number, decimal or after `0x`; negative ones as two's complement.
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = self.get(&format!("NUMBER({name})"))?;
        match value.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => value
                .parse::<i64>()
                .map(|number| number as u64)
                .or_else(|_| value.parse())
                .ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_kind_and_name() {
        let info = Vmcoreinfo::parse(
            b"OSRELEASE=6.1.0\nSYMBOL(_stext)=ffffffffa2a00000\nNUMBER(phys_base)=-161480704\n\
              NUMBER(kimage_voffset)=0xffff7fffc0000000\nrubbish\n\xff=\n\0OSRELEASE=no\n",
        );
        assert_eq!(info.release(), Some("6.1.0"));
        assert_eq!(info.symbol("_stext"), Some(VirtAddr::new(0xffff_ffff_a2a0_0000)));
        assert_eq!(info.number("phys_base"), Some(-161_480_704i64 as u64));
        assert_eq!(info.number("kimage_voffset"), Some(0xffff_7fff_c000_0000));
        assert_eq!(info.symbol("absent"), None);
    }
}
