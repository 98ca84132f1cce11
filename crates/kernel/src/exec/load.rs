//! Mapping the segments of an ELF file.

use foliant_mm::{FileMap, MapRequest, TASK_END};
use foliant_uapi::elf::{PF_R, PF_W, PF_X, ProgramHeader};
use foliant_uapi::mman::{MapFlags, Prot};
use foliant_units::{Errno, PAGE_MASK, PAGE_SIZE, VirtAddr};

use crate::machine::UserMachine;
use crate::space::Space;

use super::elf::Elf;
use super::program::Program;

/// Where position-independent programs lie: two thirds up.
pub(super) const MOVABLE_BASE: u64 = TASK_END.raw() / 3 * 2;

const PAGE: u64 = PAGE_SIZE as u64;

/// Where an image came to lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Loaded {
    /// What is added to the addresses in the file.
    pub(super) bias: u64,
    /// The end of its last segment, in memory.
    pub(super) end: u64,
}

/// How an image is placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Placement {
    /// At the addresses in the file.
    Fixed,
    /// First page at this address, exactly.
    At(u64),
    /// Wherever there is room below the mmap base.
    Anywhere,
}

/// Maps all segments.
///
/// # Errors
/// Those of `mmap`; `INVAL` for segments that make no sense; `NOEXEC` if there is none.
///
/// # Linux source concept
/// The loop over `PT_LOAD` in `load_elf_binary()`, `load_elf_interp()`.
pub(super) fn load<M: UserMachine>(
    space: &Space<M>,
    program: &Program<M>,
    elf: &Elf,
    placement: Placement,
) -> Result<Loaded, Errno> {
    let mut loaded: Option<Loaded> = None;
    for segment in elf.loads() {
        check(segment)?;
        let base = match (loaded, placement) {
            (Some(loaded), _) => loaded.bias,
            (None, Placement::Fixed) => 0,
            (None, Placement::At(at)) => at.wrapping_sub(segment.vaddr & PAGE_MASK),
            (None, Placement::Anywhere) => (segment.vaddr & PAGE_MASK).wrapping_neg(),
        };
        let flags = match (loaded, placement) {
            (Some(_), _) => MapFlags::FIXED,
            (None, Placement::Fixed | Placement::At(_)) => MapFlags::FIXED_NOREPLACE,
            (None, Placement::Anywhere) => MapFlags::empty(),
        };
        // The first one reserves room for all.
        let span = if loaded.is_none() && placement != Placement::Fixed {
            elf.span()
        } else {
            0
        };
        let target = base.wrapping_add(segment.vaddr);
        let at = map(
            space,
            program,
            segment,
            Target {
                at: target,
                flags,
                span,
            },
        )?;
        let bias = loaded.map_or(at.wrapping_sub(segment.vaddr & PAGE_MASK), |loaded| loaded.bias);

        let end = bias.wrapping_add(segment.vaddr);
        let fits = end
            .checked_add(segment.memsz)
            .filter(|end| *end <= TASK_END.raw());
        let end = fits.ok_or(Errno::INVAL)?;
        let before = loaded.map_or(0, |loaded| loaded.end);
        loaded = Some(Loaded {
            bias,
            end: end.max(before),
        });
    }
    loaded.ok_or(Errno::NOEXEC)
}

/// Sizes that the file may not claim.
fn check(segment: &ProgramHeader) -> Result<(), Errno> {
    if segment.filesz > segment.memsz || segment.memsz > TASK_END.raw() {
        return Err(Errno::INVAL);
    }
    Ok(())
}

/// Where a segment is to lie.
struct Target {
    at: u64,
    flags: MapFlags,
    span: u64,
}

/// Maps one segment, zeroes the rest of its last page, and maps what follows.
/// Returns the address of its first page.
///
/// # Linux source concept
/// `elf_load()`.
fn map<M: UserMachine>(
    space: &Space<M>,
    program: &Program<M>,
    segment: &ProgramHeader,
    target: Target,
) -> Result<u64, Errno> {
    let in_page = segment.vaddr & !PAGE_MASK;
    let prot = rights(segment);
    let (start, file_end) = if segment.filesz != 0 {
        let start = map_file(space, program.file_map(), segment, target)?;
        (start, start + in_page + segment.filesz)
    } else {
        let start = target.at & PAGE_MASK;
        (start, start)
    };
    if segment.memsz <= segment.filesz {
        return Ok(start);
    }

    let rest = (PAGE - file_end % PAGE) % PAGE;
    if segment.filesz != 0
        && let Err(error) = space.clear(VirtAddr::new(file_end), rest as usize)
        && prot.contains(Prot::WRITE)
    {
        return Err(error.errno());
    }
    let zero_start = file_end.next_multiple_of(PAGE);
    let zero_end = start
        .checked_add(in_page)
        .and_then(|at| at.checked_add(segment.memsz));
    let zero_end = zero_end
        .and_then(|end| end.checked_next_multiple_of(PAGE))
        .ok_or(Errno::NOMEM)?;
    if zero_end > zero_start {
        map_zeroes(space, zero_start, zero_end - zero_start, prot)?;
    }
    Ok(start)
}

fn rights(segment: &ProgramHeader) -> Prot {
    let right = |bit, prot| {
        if segment.flags & bit != 0 {
            prot
        } else {
            Prot::empty()
        }
    };
    right(PF_R, Prot::READ) | right(PF_W, Prot::WRITE) | right(PF_X, Prot::EXEC)
}

/// # Linux source concept
/// `elf_map()`.
fn map_file<M: UserMachine>(
    space: &Space<M>,
    file: FileMap<M>,
    segment: &ProgramHeader,
    target: Target,
) -> Result<u64, Errno> {
    let in_page = segment.vaddr & !PAGE_MASK;
    let size = segment
        .filesz
        .checked_add(in_page)
        .and_then(|size| size.checked_next_multiple_of(PAGE));
    let size = size.ok_or(Errno::INVAL)?;
    let span = target.span.checked_next_multiple_of(PAGE).ok_or(Errno::INVAL)?;
    let request = |len| MapRequest {
        addr: VirtAddr::new(target.at & PAGE_MASK),
        len,
        prot: rights(segment),
        flags: MapFlags::PRIVATE | target.flags,
        offset: segment.offset.wrapping_sub(in_page),
        file: Some(file_again(&file)),
    };
    if span <= size {
        return space.mmap(&request(size)).map(VirtAddr::raw);
    }
    let start = space.mmap(&request(span))?;
    space.munmap(start + size, span - size)?;
    Ok(start.raw())
}

/// The same file once more: requests own theirs.
fn file_again<M: UserMachine>(file: &FileMap<M>) -> FileMap<M> {
    FileMap {
        mapping: file.mapping.clone(),
        ..*file
    }
}

/// # Linux source concept
/// `vm_brk_flags()`.
fn map_zeroes<M: UserMachine>(space: &Space<M>, start: u64, len: u64, prot: Prot) -> Result<(), Errno> {
    let request = MapRequest {
        addr: VirtAddr::new(start),
        len,
        prot: Prot::READ | Prot::WRITE | (prot & Prot::EXEC),
        flags: MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED,
        offset: 0,
        file: None,
    };
    space.mmap(&request).map(drop)
}
