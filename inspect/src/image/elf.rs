//! ELF cores: a program header per stretch of memory, and notes.

use object::Endianness;
use object::elf::{EM_386, EM_AARCH64, EM_X86_64, ET_CORE, FileHeader32, FileHeader64, PT_LOAD, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};

use super::cpu::{Cpu, from_qemu};
use super::error::ImageError;
use super::extents::{Extent, Extents};
use super::fields::slice;
use super::notes::notes;
use super::{Machine, Opened};
use crate::vmcoreinfo::Vmcoreinfo;

const CLASS_AT: usize = 4;
const CLASS_64: u8 = 2;

pub(crate) fn open(bytes: &[u8]) -> Result<Opened, ImageError> {
    match bytes.get(CLASS_AT) {
        Some(&CLASS_64) => read::<FileHeader64<Endianness>>(bytes),
        _ => read::<FileHeader32<Endianness>>(bytes),
    }
}

fn read<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Opened, ImageError> {
    let bad = |_| ImageError::Nonsense("ELF headers");
    let header = Elf::parse(bytes).map_err(bad)?;
    let endian = header.endian().map_err(bad)?;
    if endian == Endianness::Big {
        return Err(ImageError::Unsupported("ELF cores of big-endian machines"));
    }
    if header.e_type(endian) != ET_CORE {
        return Err(ImageError::Unsupported("ELF files that are no cores"));
    }
    let machine = match header.e_machine(endian) {
        EM_X86_64 => Machine::X86_64,
        EM_386 => Machine::X86,
        EM_AARCH64 => Machine::Arm64,
        _ => return Err(ImageError::Unsupported("ELF cores of other processors")),
    };
    let mut opened = Opened {
        extents: None,
        machine,
        cpus: Vec::new(),
        vmcoreinfo: None,
    };
    let mut memory = Vec::new();
    for segment in header.program_headers(endian, bytes).map_err(bad)? {
        let (offset, len) = segment.file_range(endian);
        match segment.p_type(endian) {
            PT_LOAD => memory.push(Extent {
                start: segment.p_paddr(endian).into(),
                len,
                offset,
            }),
            PT_NOTE => {
                let notes = slice(bytes, offset, len).ok_or(ImageError::Truncated("notes"))?;
                read_notes(notes, &mut opened)?;
            }
            _ => {}
        }
    }
    opened.extents = Some(Extents::new(memory, bytes.len() as u64)?);
    Ok(opened)
}

/// Takes from notes what is known: registers that QEMU wrote, and VMCOREINFO.
pub(crate) fn read_notes(bytes: &[u8], opened: &mut Opened) -> Result<(), ImageError> {
    for note in notes(bytes) {
        let note = note?;
        match note.owner {
            b"QEMU" => {
                let cpu: Option<Cpu> = from_qemu(note.content);
                opened.cpus.extend(cpu);
            }
            b"VMCOREINFO" if opened.vmcoreinfo.is_none() => {
                opened.vmcoreinfo = Some(Vmcoreinfo::parse(note.content));
            }
            _ => {}
        }
    }
    Ok(())
}
