//! The first stack of a program: strings, pointers and the auxiliary vector.

use alloc::vec::Vec;

use foliant_uapi::IntoBytes;
use foliant_uapi::auxv::*;
use foliant_units::{VirtAddr, VirtRange};

use super::args::Args;

/// Name of the processor family (`ELF_PLATFORM`).
const PLATFORM: &[u8] = b"x86_64\0";

/// What the vector tells besides addresses on the stack itself.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Keys and values, in their order; [`AT_RANDOM`], [`AT_EXECFN`] and
    /// [`AT_PLATFORM`] get theirs when the stack is laid out.
    pub(super) entries: Vec<AuxEntry>,
    /// Bytes for `AT_RANDOM`.
    pub(super) random: [u8; 16],
    /// Bytes by which the pointers move down from the strings at random.
    pub(super) shift: u64,
}

/// A stack as bytes, ready to be copied.
#[derive(Clone, Debug)]
pub(super) struct StackImage {
    /// The address of the first byte, which is the stack pointer.
    pub(super) start: VirtAddr,
    /// Up to the top of the stack.
    pub(super) bytes: Vec<u8>,
    /// The argument strings.
    pub(super) args: VirtRange,
    /// The environment strings.
    pub(super) env: VirtRange,
    /// The vector with its end mark.
    pub(super) auxv: Vec<AuxEntry>,
}

/// Lays the stack out below `top`.
///
/// # Linux source concept
/// `copy_strings()`, `create_elf_tables()`.
pub(super) fn build(top: VirtAddr, args: &Args, path: &[u8], facts: &Facts) -> StackImage {
    let size =
        |strings: &mut dyn Iterator<Item = &Vec<u8>>| strings.map(|string| string.len() as u64 + 1).sum();
    let arg_bytes: u64 = size(&mut args.argv.iter());
    let env_bytes: u64 = size(&mut args.envp.iter());
    // A null word ends the stack, above it is nothing.
    let path_at = top - 8 - (path.len() as u64 + 1);
    let env_at = path_at - env_bytes;
    let args_at = env_at - arg_bytes;

    let platform_at = VirtAddr::new((args_at - facts.shift).raw() & !15) - PLATFORM.len() as u64;
    let random_at = platform_at - 16;
    let auxv = fill(&facts.entries, random_at, path_at, platform_at);
    let pointers = (args.argv.len() + 1 + args.envp.len() + 1 + 1) as u64 * 8;
    let vector = auxv.len() as u64 * size_of::<AuxEntry>() as u64;
    let start = VirtAddr::new((random_at.raw() - vector - pointers) & !15);

    let mut bytes = alloc::vec![0; (top - start) as usize];
    let mut put = |at: VirtAddr, data: &[u8]| {
        let offset = (at - start) as usize;
        bytes[offset..offset + data.len()].copy_from_slice(data);
    };
    let mut word_at = start;
    let mut words = |value: u64, put: &mut dyn FnMut(VirtAddr, &[u8])| {
        put(word_at, &value.to_le_bytes());
        word_at = word_at + 8;
    };
    words(args.argv.len() as u64, &mut put);
    let mut string_at = args_at;
    for strings in [
        &mut args.argv.iter() as &mut dyn Iterator<Item = &Vec<u8>>,
        &mut args.envp.iter(),
    ] {
        for string in strings {
            words(string_at.raw(), &mut put);
            put(string_at, string);
            string_at = string_at + string.len() as u64 + 1;
        }
        words(0, &mut put);
    }
    put(path_at, path);
    put(platform_at, PLATFORM);
    put(random_at, &facts.random);
    put(start + pointers, auxv.as_slice().as_bytes());
    StackImage {
        start,
        bytes,
        args: VirtRange::new(args_at, env_at),
        env: VirtRange::new(env_at, path_at),
        auxv,
    }
}

fn fill(entries: &[AuxEntry], random: VirtAddr, path: VirtAddr, platform: VirtAddr) -> Vec<AuxEntry> {
    let known = entries.iter().map(|entry| {
        let value = match entry.key {
            AT_RANDOM => random.raw(),
            AT_EXECFN => path.raw(),
            AT_PLATFORM => platform.raw(),
            _ => entry.value,
        };
        AuxEntry {
            key: entry.key,
            value,
        }
    });
    known.chain([AuxEntry::default()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(image: &StackImage, index: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&image.bytes[index * 8..index * 8 + 8]);
        u64::from_le_bytes(bytes)
    }

    #[test]
    fn pointers_lead_to_strings_and_the_stack_is_aligned() {
        let args = Args {
            argv: [b"ls".to_vec(), b"-l".to_vec()].into(),
            envp: alloc::vec![b"A=1".to_vec()],
        };
        let entries = alloc::vec![
            AuxEntry {
                key: AT_EXECFN,
                value: 0
            },
            AuxEntry {
                key: AT_PAGESZ,
                value: 4096
            }
        ];
        let facts = Facts {
            entries,
            random: [7; 16],
            shift: 0,
        };
        let top = VirtAddr::new(0x7fff_ffff_f000);
        let image = build(top, &args, b"/bin/ls", &facts);

        assert!(image.start.is_aligned_to(16));
        assert_eq!(word(&image, 0), 2);
        let string = |at: u64| {
            let from = (at - image.start.raw()) as usize;
            image.bytes[from..].split(|byte| *byte == 0).next().unwrap()
        };
        assert_eq!(string(word(&image, 1)), b"ls");
        assert_eq!(string(word(&image, 2)), b"-l");
        assert_eq!(word(&image, 3), 0);
        assert_eq!(string(word(&image, 4)), b"A=1");
        assert_eq!(word(&image, 5), 0);
        assert_eq!(word(&image, 6), AT_EXECFN);
        assert_eq!(string(word(&image, 7)), b"/bin/ls");
        assert_eq!(
            (word(&image, 8), word(&image, 9), word(&image, 10)),
            (AT_PAGESZ, 4096, AT_NULL)
        );
        assert_eq!(image.bytes[image.bytes.len() - 8..], [0; 8]);
    }
}
