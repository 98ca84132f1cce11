//! The parts of ELF that exec reads.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// ELF header, 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ElfHeader {
    /// Magic, class, byte order, version, ABI.
    pub ident: [u8; 16],
    /// [`ET_EXEC`], [`ET_DYN`], [`ET_CORE`].
    pub kind: u16,
    /// [`EM_X86_64`].
    pub machine: u16,
    /// 1.
    pub version: u32,
    /// Entry point.
    pub entry: u64,
    /// Offset of the program headers.
    pub phoff: u64,
    /// Offset of the section headers.
    pub shoff: u64,
    /// Processor flags.
    pub flags: u32,
    /// Bytes of this header.
    pub ehsize: u16,
    /// Bytes of a program header.
    pub phentsize: u16,
    /// Program headers.
    pub phnum: u16,
    /// Bytes of a section header.
    pub shentsize: u16,
    /// Section headers.
    pub shnum: u16,
    /// Section that holds names.
    pub shstrndx: u16,
}

/// Program header, 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProgramHeader {
    /// [`PT_LOAD`] and its relatives.
    pub kind: u32,
    /// [`PF_X`], [`PF_W`], [`PF_R`].
    pub flags: u32,
    /// Where it starts in the file.
    pub offset: u64,
    /// Where it starts in memory.
    pub vaddr: u64,
    /// Unused.
    pub paddr: u64,
    /// Bytes in the file.
    pub filesz: u64,
    /// Bytes in memory.
    pub memsz: u64,
    /// Alignment.
    pub align: u64,
}

/// Note header; name and descriptor follow, each padded to 4 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NoteHeader {
    /// Bytes of the name.
    pub namesz: u32,
    /// Bytes of the descriptor.
    pub descsz: u32,
    /// Kind of note.
    pub kind: u32,
}

/// First four bytes of every ELF file.
pub const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
/// `ident[4]`: 64 bits.
pub const ELFCLASS64: u8 = 2;
/// `ident[4]`: 32 bits.
pub const ELFCLASS32: u8 = 1;
/// `ident[5]`: little-endian.
pub const ELFDATA2LSB: u8 = 1;
/// Executable at fixed addresses.
pub const ET_EXEC: u16 = 2;
/// Shared object or position-independent executable.
pub const ET_DYN: u16 = 3;
/// Core dump.
pub const ET_CORE: u16 = 4;
/// x86, 32 bits.
pub const EM_386: u16 = 3;
/// x86-64.
pub const EM_X86_64: u16 = 62;
/// Arm, 64 bits.
pub const EM_AARCH64: u16 = 183;
/// To be mapped.
pub const PT_LOAD: u32 = 1;
/// Dynamic linking information.
pub const PT_DYNAMIC: u32 = 2;
/// Path of the interpreter.
pub const PT_INTERP: u32 = 3;
/// Notes.
pub const PT_NOTE: u32 = 4;
/// The program headers themselves.
pub const PT_PHDR: u32 = 6;
/// Thread-local storage.
pub const PT_TLS: u32 = 7;
/// Where `.eh_frame_hdr` is.
pub const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
/// Whether the stack is executable.
pub const PT_GNU_STACK: u32 = 0x6474_e551;
/// Read-only after relocation.
pub const PT_GNU_RELRO: u32 = 0x6474_e552;
/// Properties.
pub const PT_GNU_PROPERTY: u32 = 0x6474_e553;
/// Executable.
pub const PF_X: u32 = 1;
/// Writable.
pub const PF_W: u32 = 2;
/// Readable.
pub const PF_R: u32 = 4;

const _: () = assert!(size_of::<ElfHeader>() == 64);
const _: () = assert!(size_of::<ProgramHeader>() == 56);
