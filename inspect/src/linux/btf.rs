//! BTF: the kernel's description of its own types.

use std::collections::HashSet;

use super::error::LinuxError;
use super::kallsyms::Symbols;
use super::kernel::Kernel;
use crate::image::Image;
use crate::image::fields::{array, slice};

const MAGIC: u16 = 0xeb9f;
const HEADER: u64 = 24;
/// Magic, version and flags, as every kernel has them.
const BEGIN: [u8; 4] = [0x9f, 0xeb, 1, 0];
/// A kernel's types have at least this many bytes.
const FEWEST: u64 = 1 << 16;
/// More than this is nonsense; kernels have about 5 MiB.
const MOST: u64 = 1 << 28;
/// Modifiers of modifiers, more than this, are nonsense.
const MODIFIED: u32 = 16;

const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const MODIFIERS: [u32; 5] = [8, 9, 10, 11, 18];

/// A member of a structure.
struct Member {
    name: u32,
    kind: u32,
    /// In bits.
    offset: u32,
}

/// The types of a kernel, as far as places of members need them.
pub struct Btf {
    bytes: Vec<u8>,
    types: u64,
    strings: u64,
    strings_len: u64,
    /// Where type *n + 1* begins.
    places: Vec<u32>,
}

impl Btf {
    /// Reads the types between the kernel's `__start_BTF` and `__stop_BTF`.
    ///
    /// # Errors
    /// If the kernel has none, or they are damaged.
    pub fn read(kernel: &Kernel<'_>, symbols: &Symbols) -> Result<Self, LinuxError> {
        let part = |name: &'static str| symbols.get(name).ok_or(LinuxError::NoSymbol(name));
        let (start, end) = (part("__start_BTF")?, part("__stop_BTF")?);
        let len = end.raw().wrapping_sub(start.raw());
        if len > MOST {
            return Err(LinuxError::Nonsense("types"));
        }
        let mut bytes = vec![0; len as usize];
        kernel.read(start, &mut bytes)?;
        Self::parse(bytes).ok_or(LinuxError::Nonsense("types"))
    }

    /// Searches all memory for the types of a kernel whose symbols do not name
    /// them; the kernel's text and data lie in one piece.
    pub fn search(image: &Image) -> Option<Self> {
        image.search(|at, memory| {
            let (words, _) = memory.as_chunks::<4>();
            let places = words.iter().enumerate().filter(|(_, word)| **word == BEGIN);
            let mut found = places.filter_map(|(nth, _)| {
                let at = at + nth as u64 * 4;
                let mut header = [0; HEADER as usize];
                image.read(at, &mut header).ok()?;
                let end = u64::from(array(&header, 16).map(u32::from_le_bytes)?);
                let len = end + u64::from(array(&header, 20).map(u32::from_le_bytes)?) + HEADER;
                // Only the kernel itself has that many; its modules have few.
                if !(FEWEST..=MOST).contains(&len) {
                    return None;
                }
                let mut bytes = vec![0; len as usize];
                image.read(at, &mut bytes).ok()?;
                Self::parse(bytes).filter(|types| types.offset("task_struct", "mm").is_some())
            });
            found.next()
        })
    }

    /// Reads types from their bytes; `None` if they are damaged.
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let word = |at| array(&bytes, at).map(u32::from_le_bytes);
        if array(&bytes, 0).map(u16::from_le_bytes)? != MAGIC {
            return None;
        }
        let header = u64::from(word(4)?);
        if header < HEADER {
            return None;
        }
        let types = header + u64::from(word(8)?);
        let types_len = u64::from(word(12)?);
        let strings = header + u64::from(word(16)?);
        let strings_len = u64::from(word(20)?);
        slice(&bytes, types, types_len)?;
        slice(&bytes, strings, strings_len)?;
        let mut btf = Self {
            bytes,
            types,
            strings,
            strings_len,
            places: Vec::new(),
        };
        btf.index(types_len)?;
        Some(btf)
    }

    fn index(&mut self, len: u64) -> Option<()> {
        let mut at = 0;
        while at < len {
            let (_, kind, count) = self.head(at as u32)?;
            self.places.push(at as u32);
            at += 12 + rest(kind, count)?;
        }
        Some(())
    }

    /// Name, kind, and count of what follows, of the type at `at`.
    fn head(&self, at: u32) -> Option<(u32, u32, u64)> {
        let at = self.types + u64::from(at);
        let name = array(&self.bytes, at).map(u32::from_le_bytes)?;
        let info = array(&self.bytes, at + 4).map(u32::from_le_bytes)?;
        Some((name, info >> 24 & 0x1f, (info & 0xffff).into()))
    }

    /// Whether the string at `at` is `name`. No more of it is looked at, however
    /// long it claims to be.
    fn is_name(&self, at: u32, name: &str) -> bool {
        let strings = slice(&self.bytes, self.strings, self.strings_len);
        let rest = strings.and_then(|strings| strings.get(at as usize..));
        let rest = rest.and_then(|rest| rest.strip_prefix(name.as_bytes()));
        matches!(rest, Some([0, ..]))
    }

    /// Where a member of a structure lies, in bytes. Members of structures
    /// and unions without a name count as the structure's own.
    pub fn offset(&self, of: &str, member: &str) -> Option<u64> {
        let number = (1..).zip(&self.places).find_map(|(number, &place)| {
            let (name, kind, _) = self.head(place)?;
            (kind == KIND_STRUCT && name != 0 && self.is_name(name, of)).then_some(number)
        })?;
        let bits = self.find(number, member)?;
        Some(u64::from(bits) / 8)
    }

    /// The value of a constant of any enumeration.
    pub fn constant(&self, wanted: &str) -> Option<u32> {
        let word = |at| array(&self.bytes, at).map(u32::from_le_bytes);
        self.places.iter().find_map(|&place| {
            let (_, kind, count) = self.head(place)?;
            if kind != KIND_ENUM {
                return None;
            }
            let first = self.types + u64::from(place) + 12;
            let mut constants = (0..count).map(|nth| first + nth * 8);
            let found = constants.find(|&at| word(at).is_some_and(|name| self.is_name(name, wanted)));
            word(found? + 4)
        })
    }

    /// Where a member lies in type `number`, in bits. Looks into each type once,
    /// because types that contain each other would otherwise never end.
    fn find(&self, number: u32, wanted: &str) -> Option<u32> {
        let mut seen = HashSet::new();
        let mut ahead = vec![(number, 0_u32)];
        while let Some((number, base)) = ahead.pop() {
            let Some((at, count)) = self.compound(number).filter(|(at, _)| seen.insert(*at)) else {
                continue;
            };
            let flagged =
                array(&self.bytes, self.types + u64::from(at) + 4).map(u32::from_le_bytes)? >> 31 != 0;
            for nth in 0..count {
                let member = self.member(at, nth)?;
                // With the flag the upper byte is the size of a bit field.
                let offset = if flagged {
                    member.offset & 0xff_ffff
                } else {
                    member.offset
                };
                let offset = base.checked_add(offset)?;
                if member.name == 0 {
                    ahead.push((member.kind, offset));
                } else if self.is_name(member.name, wanted) {
                    return Some(offset);
                }
            }
        }
        None
    }

    /// Place and number of members of the structure or union that type `number`
    /// is, modifiers taken away.
    fn compound(&self, number: u32) -> Option<(u32, u64)> {
        let mut number = number;
        for _ in 0..MODIFIED {
            let at = *self.places.get(number.checked_sub(1)? as usize)?;
            let (_, kind, count) = self.head(at)?;
            match kind {
                KIND_STRUCT | KIND_UNION => return Some((at, count)),
                modifier if MODIFIERS.contains(&modifier) => {
                    number = array(&self.bytes, self.types + u64::from(at) + 8).map(u32::from_le_bytes)?;
                }
                _ => return None,
            }
        }
        None
    }

    fn member(&self, at: u32, nth: u64) -> Option<Member> {
        let at = self.types + u64::from(at) + 12 + nth * 12;
        let word = |at| array(&self.bytes, at).map(u32::from_le_bytes);
        Some(Member {
            name: word(at)?,
            kind: word(at + 4)?,
            offset: word(at + 8)?,
        })
    }
}

/// Bytes that follow a type's head.
fn rest(kind: u32, count: u64) -> Option<u64> {
    Some(match kind {
        // Numbers, variables, tags of declarations.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Members, sections, 64-bit enumerations.
        KIND_STRUCT | KIND_UNION | 15 | 19 => count * 12,
        // Enumerations and parameters.
        6 | 13 => count * 8,
        // Pointers, forward declarations, modifiers, functions, floats.
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRINGS: &[u8] = b"\0outer\0a\0b\0";
    /// Where these names begin.
    const OUTER: u32 = 1;
    const A: u32 = 7;
    const B: u32 = 9;

    fn made(types: &[u32]) -> Vec<u8> {
        let len = size_of_val(types) as u32;
        let header = [24, 0, len, len, STRINGS.len() as u32];
        let mut bytes = BEGIN.to_vec();
        bytes.extend(header.iter().chain(types).flat_map(|word| word.to_le_bytes()));
        bytes.extend(STRINGS);
        bytes
    }

    /// Head of a structure of some members.
    fn structure(name: u32, members: u32) -> [u32; 3] {
        [name, KIND_STRUCT << 24 | members, 12]
    }

    /// One structure `outer { int a; struct { int b; }; }`.
    fn small() -> Vec<u8> {
        let int = [0, 1 << 24, 4, 32];
        let inner = structure(0, 1);
        let outer = structure(OUTER, 2);
        made(&[&int[..], &inner, &[B, 1, 32], &outer, &[A, 1, 0, 0, 2, 32]].concat())
    }

    #[test]
    fn members_of_nameless_structures_are_found() {
        let btf = Btf::parse(small()).unwrap();
        assert_eq!(btf.offset("outer", "a"), Some(0));
        assert_eq!(btf.offset("outer", "b"), Some(8));
        assert_eq!(btf.offset("outer", "c"), None);
        assert_eq!(btf.offset("inner", "a"), None);
    }

    #[test]
    fn types_that_contain_each_other_are_looked_into_once() {
        // Forty members each: who followed all paths would never be back.
        let itself = [[0, 1, 0]; 20].concat();
        let other = [[0, 2, 0]; 20].concat();
        let first = structure(OUTER, 40);
        let second = structure(0, 41);
        let types = [&first[..], &itself, &other, &second, &itself, &other, &[B, 3, 64]].concat();
        let btf = Btf::parse(made(&types)).unwrap();
        assert_eq!(btf.offset("outer", "b"), Some(8));
        assert_eq!(btf.offset("outer", "a"), None);
    }

    #[test]
    fn structures_may_lie_as_deep_as_there_are_types() {
        let deep = 100_000;
        let mut types = [structure(OUTER, 1), [0, 2, 8]].concat();
        for number in 3..deep {
            types.extend([structure(0, 1), [0, number, 8]].concat());
        }
        types.extend([structure(0, 1), [A, 1, 8]].concat());
        let btf = Btf::parse(made(&types)).unwrap();
        assert_eq!(btf.offset("outer", "a"), Some(u64::from(deep) - 1));
    }

    #[test]
    fn a_name_is_neither_the_begin_nor_the_end_of_another() {
        let btf = Btf::parse(small()).unwrap();
        assert_eq!(btf.offset("oute", "a"), None);
        assert_eq!(btf.offset("uter", "a"), None);
        assert_eq!(btf.offset("outer", ""), None);
    }

    #[test]
    fn damage_is_no_panic() {
        let good = small();
        for at in 0..good.len() {
            for value in [0, 1, 4, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                if let Some(btf) = Btf::parse(bad) {
                    let _ = btf.offset("outer", "b");
                }
            }
            let _ = Btf::parse(good[..at].to_vec());
        }
    }
}
