//! The vDSO as a shared object: headers, symbols with their version, and how
//! to unwind, around the code.

use alloc::vec::Vec;

use foliant_uapi::IntoBytes;
use foliant_uapi::elf::*;

/// Offset of the code in the image.
pub(super) const TEXT: usize = 0x780;

/// What the object is called.
const SONAME: &str = "linux-vdso.so.1";
/// The version of every symbol.
const VERSION: &str = "LINUX_2.6";
/// Bytes of the ELF header and of each program header.
const HEADERS: usize = 64 + 4 * 56;

/// Builds the image. `functions` are ascending offsets in `code`; each gets
/// its own name as a weak symbol, and a global one with `__vdso_` before it.
pub(super) fn image(code: &[u8], functions: &[(&str, usize)]) -> Vec<u8> {
    let mut strings = Strings::new();
    let symbols = symbols(&mut strings, code.len(), functions);
    let names = symbols.iter().map(|symbol| symbol.name.clone());
    let (hash, gnu_hash) = (sysv_hash(symbols.len()), gnu_hash(names));

    let mut out = Image {
        bytes: alloc::vec![0; HEADERS],
    };
    let at_hash = out.put(8, &hash);
    let at_gnu = out.put(8, &gnu_hash);
    let table: Vec<u8> = symbols.iter().flat_map(Symbol::bytes).collect();
    let at_symbols = out.put(8, &[&[0; 24][..], &table].concat());
    let definitions = definitions(&mut strings);
    let at_strings = out.put(1, &strings.bytes);
    let versions: Vec<u8> = (0..=symbols.len())
        .flat_map(|i| [u8::from(i != 0) * 2, 0])
        .collect();
    let at_versions = out.put(2, &versions);
    let at_definitions = out.put(8, &definitions);
    let soname = strings.find(SONAME);
    let dynamic: [[u64; 2]; 12] = [
        [14, soname],
        [16, 0],
        [4, at_hash],
        [0x6fff_fef5, at_gnu],
        [5, at_strings],
        [6, at_symbols],
        [10, strings.bytes.len() as u64],
        [11, 24],
        [0x6fff_fffc, at_definitions],
        [0x6fff_fffd, 2],
        [0x6fff_fff0, at_versions],
        [0, 0],
    ];
    let at_dynamic = out.put(8, dynamic.as_bytes());
    let (at_unwind, unwind_size) = put_unwinding(&mut out, code.len());
    debug_assert!(out.bytes.len() <= TEXT, "the tables end before the code");
    out.bytes.resize(TEXT, 0);
    out.bytes.extend(code);
    let size = out.bytes.len() as u64;
    write_headers(
        &mut out.bytes,
        [
            (PT_LOAD, 0, size, 0x1000),
            (PT_DYNAMIC, at_dynamic, size_of_val(&dynamic) as u64, 8),
            (PT_GNU_EH_FRAME, at_unwind, unwind_size, 4),
        ],
    );
    out.bytes
}

/// The image as far as it is built; what is mapped at its first byte is at
/// address 0.
struct Image {
    bytes: Vec<u8>,
}

impl Image {
    /// Appends a piece; where it lies.
    fn put(&mut self, align: usize, piece: &[u8]) -> u64 {
        let at = self.bytes.len().next_multiple_of(align);
        self.bytes.resize(at, 0);
        self.bytes.extend(piece);
        at as u64
    }
}

/// Names, each once.
struct Strings {
    bytes: Vec<u8>,
}

impl Strings {
    fn new() -> Self {
        let mut bytes = alloc::vec![0];
        for name in [SONAME, VERSION] {
            bytes.extend(name.bytes());
            bytes.push(0);
        }
        Self { bytes }
    }

    fn add(&mut self, name: &[u8]) -> u32 {
        let at = self.bytes.len() as u32;
        self.bytes.extend(name);
        self.bytes.push(0);
        at
    }

    /// Where one of the first two is.
    fn find(&self, name: &str) -> u64 {
        let at = self.bytes.windows(name.len()).position(|w| w == name.as_bytes());
        at.unwrap_or(0) as u64
    }
}

struct Symbol {
    name: Vec<u8>,
    string: u32,
    info: u8,
    section: u16,
    value: u64,
    size: u64,
}

impl Symbol {
    fn bytes(&self) -> Vec<u8> {
        let mut out = self.string.to_le_bytes().to_vec();
        out.extend([self.info, 0]);
        out.extend(self.section.to_le_bytes());
        out.extend(self.value.to_le_bytes());
        out.extend(self.size.to_le_bytes());
        out
    }
}

fn symbols(strings: &mut Strings, code: usize, functions: &[(&str, usize)]) -> Vec<Symbol> {
    const GLOBAL_FUNCTION: u8 = 0x12;
    const WEAK_FUNCTION: u8 = 0x22;
    const GLOBAL_OBJECT: u8 = 0x11;
    const ABSOLUTE: u16 = 0xfff1;
    let ends = functions[1..].iter().map(|(_, start)| *start).chain([code]);
    let mut symbols = Vec::new();
    for ((name, start), end) in functions.iter().zip(ends) {
        for (prefix, info) in [("__vdso_", GLOBAL_FUNCTION), ("", WEAK_FUNCTION)] {
            let name = [prefix.as_bytes(), name.as_bytes()].concat();
            symbols.push(Symbol {
                string: strings.add(&name),
                name,
                info,
                // Any section that is not absent: there are no section headers.
                section: 1,
                value: (TEXT + start) as u64,
                size: (end - start) as u64,
            });
        }
    }
    symbols.push(Symbol {
        name: VERSION.into(),
        string: strings.find(VERSION) as u32,
        info: GLOBAL_OBJECT,
        section: ABSOLUTE,
        value: 0,
        size: 0,
    });
    symbols
}

/// `DT_HASH` with one bucket: a list of all symbols.
fn sysv_hash(symbols: usize) -> Vec<u8> {
    let count = symbols as u32 + 1;
    let chain = (0..count).map(|i| if i == 0 || i + 1 == count { 0 } else { i + 1 });
    [1, count, 1]
        .into_iter()
        .chain(chain)
        .flat_map(u32::to_le_bytes)
        .collect()
}

/// `DT_GNU_HASH` with one bucket, and a filter that lets everything through.
fn gnu_hash(names: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
    let hash = |name: Vec<u8>| {
        name.iter().fold(5381u32, |hash, byte| {
            hash.wrapping_mul(33).wrapping_add(u32::from(*byte))
        })
    };
    let last = names.len() - 1;
    let chain = names
        .enumerate()
        .map(|(i, name)| hash(name) & !1 | u32::from(i == last));
    [1, 1, 1, 6, u32::MAX, u32::MAX, 1]
        .into_iter()
        .chain(chain)
        .flat_map(u32::to_le_bytes)
        .collect()
}

/// The version definitions: the object's own, and the symbols'.
fn definitions(strings: &mut Strings) -> Vec<u8> {
    let hash = |name: &str| {
        name.bytes().fold(0u32, |hash, byte| {
            let hash = (hash << 4).wrapping_add(u32::from(byte));
            let top = hash & 0xf000_0000;
            (hash ^ top >> 24) & !top
        })
    };
    let mut out = Vec::new();
    for (number, (name, next)) in [(SONAME, 28u32), (VERSION, 0)].into_iter().enumerate() {
        let is_base = u16::from(number == 0);
        for half in [1, is_base, number as u16 + 1, 1] {
            out.extend(half.to_le_bytes());
        }
        for word in [hash(name), 20, next, strings.find(name) as u32, 0] {
            out.extend(word.to_le_bytes());
        }
    }
    out
}

/// `.eh_frame` for code that calls nothing and pushes nothing but, in one
/// place, a return address; and its header. Where the header is, and its size.
fn put_unwinding(out: &mut Image, code: usize) -> (u64, u64) {
    let header = out.bytes.len().next_multiple_of(4) as u64;
    let frame = (header + 20).next_multiple_of(8);
    let relative = |to: u64, from: u64| (to.wrapping_sub(from) as u32).to_le_bytes();
    let mut bytes = alloc::vec![1, 0x1b, 3, 0x3b];
    bytes.extend(relative(frame, header + 4));
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(relative(TEXT as u64, header));
    bytes.extend(relative(frame + 24, header));
    let at = out.put(4, &bytes);

    // Return address at the stack pointer, which is 8 below the frame.
    let common = *b"\x14\0\0\0\0\0\0\0\x01zR\0\x01\x78\x10\x01\x1b\x0c\x07\x08\x90\x01\0";
    let mut bytes = common.to_vec();
    bytes.extend(20u32.to_le_bytes());
    bytes.extend(28u32.to_le_bytes());
    bytes.extend(relative(TEXT as u64, frame + 32));
    bytes.extend((code as u32).to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend([0; 4]);
    out.put(8, &bytes);
    (at, 20)
}

/// Kind, offset, size and alignment of what the program headers show.
type Shown = (u32, u64, u64, u64);

fn write_headers(bytes: &mut [u8], shown: [Shown; 3]) {
    let mut ident = [0; 16];
    ident[..4].copy_from_slice(&ELF_MAGIC);
    ident[4..7].copy_from_slice(&[ELFCLASS64, ELFDATA2LSB, 1]);
    let header = ElfHeader {
        ident,
        kind: ET_DYN,
        machine: EM_X86_64,
        version: 1,
        phoff: 64,
        ehsize: 64,
        phentsize: 56,
        phnum: shown.len() as u16,
        ..ElfHeader::default()
    };
    bytes[..64].copy_from_slice(header.as_bytes());
    for (i, (kind, offset, size, align)) in shown.into_iter().enumerate() {
        let program = ProgramHeader {
            kind,
            flags: if kind == PT_LOAD { PF_R | PF_X } else { PF_R },
            offset,
            vaddr: offset,
            paddr: offset,
            filesz: size,
            memsz: size,
            align,
        };
        let at = 64 + i * 56;
        bytes[at..at + 56].copy_from_slice(program.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(image: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(image[at..at + 8].try_into().unwrap())
    }

    fn half(image: &[u8], at: usize) -> usize {
        u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize
    }

    /// The value of an entry of the dynamic section.
    fn dynamic(image: &[u8], key: u64) -> usize {
        let at = word(image, 64 + 56 + 8) as usize;
        let entries = (at..).step_by(16).take(12);
        let found = entries
            .filter(|at| word(image, *at) == key)
            .map(|at| word(image, at + 8));
        found.last().unwrap() as usize
    }

    /// Looks a name up as a C library does that knows only `DT_HASH`.
    fn find(image: &[u8], name: &str) -> Option<(u64, u8)> {
        let (hash, symbols) = (dynamic(image, 4), dynamic(image, 6));
        let (strings, versions) = (dynamic(image, 5), dynamic(image, 0x6fff_fff0));
        let buckets = half(image, hash);
        let mut symbol = half(image, hash + 8);
        while symbol != 0 {
            let at = symbols + 24 * symbol;
            let string = &image[strings + half(image, at)..];
            if string.starts_with(name.as_bytes()) && string[name.len()] == 0 {
                return Some((word(image, at + 8), image[versions + 2 * symbol]));
            }
            symbol = half(image, hash + 8 + 4 * buckets + 4 * symbol);
        }
        None
    }

    #[test]
    fn every_function_is_found_under_both_names_in_its_version() {
        let image = image(&[0xc3; 64], &[("one", 0), ("two", 32)]);
        assert_eq!(find(&image, "__vdso_one"), Some((TEXT as u64, 2)));
        assert_eq!(find(&image, "two"), Some((TEXT as u64 + 32, 2)));
        assert_eq!(find(&image, "LINUX_2.6"), Some((0, 2)));
        assert_eq!(find(&image, "three"), None);
        assert_eq!(image[TEXT..], [0xc3; 64]);
    }

    #[test]
    fn the_real_image_fits_in_one_page_with_its_tables_before_the_code() {
        let image = image(super::super::code::bytes(), &super::super::code::functions());
        assert!(image.len() < 4096);
        for name in ["clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu"] {
            assert!(find(&image, name).is_some_and(|(at, _)| at >= TEXT as u64));
        }
    }
}
