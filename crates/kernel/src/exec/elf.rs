//! What an ELF file says about itself.

use alloc::vec::Vec;

use foliant_uapi::FromBytes;
use foliant_uapi::elf::{
    ELF_MAGIC, EM_X86_64, ET_DYN, ET_EXEC, ElfHeader, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD, ProgramHeader,
};
use foliant_units::{Errno, PAGE_MASK, PAGE_SIZE, VirtAddr, VirtRange};

/// Bytes of program headers that are read at most.
const HEADERS_MAX: usize = 65536;
/// Longest path of an interpreter.
const PATH_MAX: u64 = 4096;

/// Whence an ELF file is read.
pub(super) trait Bytes {
    /// Fills `to` from `offset`; returns the bytes that were there.
    ///
    /// # Errors
    /// Those of the file.
    fn read(&self, offset: u64, to: &mut [u8]) -> Result<usize, Errno>;
}

/// A file that could be mapped as a program or as an interpreter.
#[derive(Clone, Debug)]
pub(super) struct Elf {
    /// The header.
    pub(super) header: ElfHeader,
    /// All program headers.
    pub(super) segments: Vec<ProgramHeader>,
}

impl Elf {
    /// Reads the headers.
    ///
    /// # Errors
    /// `NOEXEC` for whatever is not a program of this machine; those of the file.
    ///
    /// # Linux source concept
    /// `load_elf_binary()`, `load_elf_phdrs()`.
    pub(super) fn read(file: &dyn Bytes) -> Result<Self, Errno> {
        let mut head = [0; size_of::<ElfHeader>()];
        file.read(0, &mut head)?;
        let header = ElfHeader::read_from_bytes(&head).map_err(|_| Errno::NOEXEC)?;
        let known = header.ident[..4] == ELF_MAGIC
            && matches!(header.kind, ET_EXEC | ET_DYN)
            && header.machine == EM_X86_64;
        let size = usize::from(header.phnum) * size_of::<ProgramHeader>();
        let plausible =
            usize::from(header.phentsize) == size_of::<ProgramHeader>() && size != 0 && size <= HEADERS_MAX;
        if !known || !plausible {
            return Err(Errno::NOEXEC);
        }

        let mut bytes = alloc::vec![0; size];
        if !matches!(file.read(header.phoff, &mut bytes), Ok(read) if read == size) {
            return Err(Errno::NOEXEC);
        }
        let pieces = bytes.chunks_exact(size_of::<ProgramHeader>());
        let segments = pieces
            .filter_map(|piece| ProgramHeader::read_from_bytes(piece).ok())
            .collect();
        Ok(Self { header, segments })
    }

    /// The path of the interpreter, if the file asks for one.
    ///
    /// # Errors
    /// `NOEXEC` for a path that is none; `IO` if the file is too short for it.
    pub(super) fn interpreter(&self, file: &dyn Bytes) -> Result<Option<Vec<u8>>, Errno> {
        let Some(segment) = self.segments.iter().find(|segment| segment.kind == PT_INTERP) else {
            return Ok(None);
        };
        if !(2..=PATH_MAX).contains(&segment.filesz) {
            return Err(Errno::NOEXEC);
        }
        let mut path = alloc::vec![0; segment.filesz as usize];
        if file.read(segment.offset, &mut path)? != path.len() {
            return Err(Errno::IO);
        }
        if path.last() != Some(&0) {
            return Err(Errno::NOEXEC);
        }
        path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
        Ok(Some(path))
    }

    /// Whether the stack is to be executable.
    pub(super) fn wants_executable_stack(&self) -> bool {
        let mut stacks = self
            .segments
            .iter()
            .filter(|segment| segment.kind == PT_GNU_STACK);
        stacks
            .next_back()
            .is_some_and(|segment| segment.flags & PF_X != 0)
    }

    /// What is to be mapped.
    pub(super) fn loads(&self) -> impl DoubleEndedIterator<Item = &ProgramHeader> {
        self.segments.iter().filter(|segment| segment.kind == PT_LOAD)
    }

    /// Whether it may lie anywhere.
    pub(super) fn is_movable(&self) -> bool {
        self.header.kind == ET_DYN
    }

    /// Bytes from the first page to the end of the last segment; zero if
    /// nothing is to be mapped, or the numbers make no sense.
    ///
    /// # Linux source concept
    /// `total_mapping_size()`.
    pub(super) fn span(&self) -> u64 {
        let lowest = self.loads().map(|segment| segment.vaddr & PAGE_MASK).min();
        let highest = self
            .loads()
            .map(|segment| segment.vaddr.wrapping_add(segment.memsz))
            .max();
        match (lowest, highest) {
            (Some(lowest), Some(highest)) => highest.wrapping_sub(lowest),
            _ => 0,
        }
    }

    /// The largest alignment that a segment asks for, at least a page.
    /// Alignments that are no powers of two are nobody's.
    ///
    /// # Linux source concept
    /// `maximum_alignment()`.
    pub(super) fn alignment(&self) -> u64 {
        let sensible = self
            .loads()
            .map(|segment| segment.align)
            .filter(|align| align.is_power_of_two());
        sensible
            .max()
            .unwrap_or(0)
            .next_multiple_of(PAGE_SIZE as u64)
            .max(PAGE_SIZE as u64)
    }

    /// Where the program headers lie in memory before the image is moved; 0
    /// if no segment holds them.
    pub(super) fn headers_at(&self) -> u64 {
        let at = self.header.phoff;
        let holds = |segment: &&ProgramHeader| segment.offset <= at && at - segment.offset < segment.filesz;
        let holder = self.loads().rfind(holds);
        holder.map_or(0, |segment| (at - segment.offset).wrapping_add(segment.vaddr))
    }

    /// First to last byte of code and of data, before the image is moved.
    pub(super) fn extents(&self) -> (VirtRange, VirtRange) {
        let (mut code, mut data) = ((u64::MAX, 0), (0, 0));
        for segment in self.loads() {
            let end = segment.vaddr.saturating_add(segment.filesz);
            code.0 = code.0.min(segment.vaddr);
            if segment.flags & PF_X != 0 {
                code.1 = code.1.max(end);
            }
            data.0 = data.0.max(segment.vaddr);
            data.1 = data.1.max(end);
        }
        let range = |(start, end): (u64, u64)| VirtRange::new(VirtAddr::new(start), VirtAddr::new(end));
        (range(code), range(data))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use foliant_uapi::IntoBytes;

    impl Bytes for Vec<u8> {
        fn read(&self, offset: u64, to: &mut [u8]) -> Result<usize, Errno> {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
            let len = to.len().min(self.len() - start);
            to[..len].copy_from_slice(&self[start..start + len]);
            Ok(len)
        }
    }

    pub(crate) fn header(segments: u16) -> ElfHeader {
        let mut ident = [0; 16];
        ident[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        ElfHeader {
            ident,
            kind: ET_DYN,
            machine: EM_X86_64,
            version: 1,
            phoff: 64,
            ehsize: 64,
            phentsize: 56,
            phnum: segments,
            ..ElfHeader::default()
        }
    }

    pub(crate) fn file(header: ElfHeader, segments: &[ProgramHeader]) -> Vec<u8> {
        let mut bytes = header.as_bytes().to_vec();
        segments
            .iter()
            .for_each(|segment| bytes.extend_from_slice(segment.as_bytes()));
        bytes
    }

    fn load(vaddr: u64, memsz: u64) -> ProgramHeader {
        ProgramHeader {
            kind: PT_LOAD,
            vaddr,
            filesz: memsz,
            memsz,
            align: 4096,
            ..ProgramHeader::default()
        }
    }

    #[test]
    fn what_is_no_program_of_this_machine_is_refused() {
        let good = header(1);
        let segments = [load(0, 10)];
        assert!(Elf::read(&file(good, &segments)).is_ok());
        let spoilt = [
            ElfHeader { machine: 3, ..good },
            ElfHeader { kind: 4, ..good },
            ElfHeader { phnum: 0, ..good },
            ElfHeader { phnum: 2000, ..good },
            ElfHeader { phnum: 2, ..good },
            ElfHeader {
                phentsize: 32,
                ..good
            },
            ElfHeader {
                phoff: u64::MAX - 3,
                ..good
            },
        ];
        for header in spoilt {
            assert_eq!(
                Elf::read(&file(header, &segments)).err(),
                Some(Errno::NOEXEC),
                "{header:?}"
            );
        }
    }

    #[test]
    fn truncation_at_every_byte_never_panics() {
        let interp = ProgramHeader {
            kind: PT_INTERP,
            offset: 176,
            filesz: 8,
            ..ProgramHeader::default()
        };
        let mut whole = file(header(2), &[load(0, 10), interp]);
        whole.extend_from_slice(b"/bin/ld\0");
        for len in 0..whole.len() {
            let cut = whole[..len].to_vec();
            if let Ok(elf) = Elf::read(&cut) {
                assert_eq!(elf.interpreter(&cut), Err(Errno::IO));
            }
        }
        assert_eq!(
            Elf::read(&whole).unwrap().interpreter(&whole),
            Ok(Some(b"/bin/ld".to_vec()))
        );
    }

    #[test]
    fn random_headers_never_panic() {
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 33) as u8
        };
        for _ in 0..20_000 {
            let mut bytes = file(header(3), &[load(0, 1), load(0x1000, 2), load(0x3000, 9)]);
            for byte in &mut bytes[16..] {
                if next() < 24 {
                    *byte = next();
                }
            }
            if let Ok(elf) = Elf::read(&bytes) {
                let _ = (
                    elf.span(),
                    elf.alignment(),
                    elf.headers_at(),
                    elf.extents(),
                    elf.interpreter(&bytes),
                );
            }
        }
    }
}
