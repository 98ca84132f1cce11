//! The kernel's own address space.

use foliant_arch::arm64::Half;
use foliant_arch::peek;
use foliant_units::{PhysAddr, VirtAddr};

use super::error::LinuxError;
use crate::image::{Image, Machine};
use crate::root::{Root, TableFormat};
use crate::vmcoreinfo::Vmcoreinfo;
use crate::with_format;

/// Where the text of x86-64 kernels is linked.
const X86_64_TEXT: u64 = 0xffff_ffff_8000_0000;
/// The kernel's half on i386, unless it was built otherwise.
const X86_SPLIT: u64 = 0xc000_0000;
const PAGE: u64 = 4096;
/// Longer strings are not names.
const MOST_TEXT: usize = 256;

/// A kernel in an image, through its own tables.
pub struct Kernel<'a> {
    image: &'a Image,
    info: &'a Vmcoreinfo,
    root: Root,
}

impl<'a> Kernel<'a> {
    /// Finds the kernel's tables through VMCOREINFO.
    ///
    /// # Errors
    /// If VMCOREINFO or what is needed of it is missing.
    pub fn find(image: &'a Image) -> Result<Self, LinuxError> {
        let info = image.vmcoreinfo().ok_or(LinuxError::NoVmcoreinfo)?;
        let root = match machine(image, info) {
            Machine::X86_64 => x86_64(info)?,
            Machine::Arm64 => arm64(info)?,
            _ => x86(info)?,
        };
        Ok(Self { image, info, root })
    }

    /// The image.
    pub fn image(&self) -> &'a Image {
        self.image
    }

    /// What the kernel says of itself.
    pub fn info(&self) -> &'a Vmcoreinfo {
        self.info
    }

    /// The kernel's own tables.
    pub fn root(&self) -> Root {
        self.root
    }

    /// Tables of the same format elsewhere.
    pub fn root_at(&self, table: PhysAddr) -> Root {
        Root { table, ..self.root }
    }

    /// Whether the kernel's words and pointers have eight bytes.
    pub fn is_wide(&self) -> bool {
        !matches!(self.root.format, TableFormat::X86Legacy | TableFormat::X86Pae)
    }

    /// Translates an address of the kernel.
    ///
    /// # Errors
    /// If nothing is mapped there.
    pub fn translate(&self, at: VirtAddr) -> Result<PhysAddr, LinuxError> {
        let found = with_format!(self.root, F, control => {
            peek::<F>(self.image, self.root.table, at, control).map(|found| {
                let inside = at.raw() & (<F as foliant_arch::Format>::GEOMETRY.entry_span(found.level) - 1);
                found.frame.base() + inside
            })
        });
        found.ok_or(LinuxError::NotMapped(at))
    }

    /// Copies kernel memory.
    ///
    /// # Errors
    /// If some of it is not mapped.
    pub fn read(&self, mut at: VirtAddr, mut into: &mut [u8]) -> Result<(), LinuxError> {
        while !into.is_empty() {
            let len = (PAGE - at.raw() % PAGE).min(into.len() as u64) as usize;
            let (now, rest) = into.split_at_mut(len);
            let physical = self.translate(at)?;
            let missing = |_| LinuxError::NotMapped(at);
            self.image.read(physical, now).map_err(missing)?;
            into = rest;
            at = VirtAddr::new(at.raw().wrapping_add(len as u64));
        }
        Ok(())
    }

    /// A number of four bytes.
    ///
    /// # Errors
    /// If it is not mapped.
    pub fn u32(&self, at: VirtAddr) -> Result<u32, LinuxError> {
        let mut bytes = [0; 4];
        self.read(at, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// A number as long as a pointer.
    ///
    /// # Errors
    /// If it is not mapped.
    pub fn long(&self, at: VirtAddr) -> Result<u64, LinuxError> {
        if !self.is_wide() {
            return self.u32(at).map(u64::from);
        }
        let mut bytes = [0; 8];
        self.read(at, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// A pointer.
    ///
    /// # Errors
    /// If it is not mapped.
    pub fn pointer(&self, at: VirtAddr) -> Result<VirtAddr, LinuxError> {
        self.long(at).map(VirtAddr::new)
    }

    /// A text of at most `len` bytes that zero may end earlier.
    ///
    /// # Errors
    /// If it is not mapped.
    pub fn text(&self, at: VirtAddr, len: usize) -> Result<String, LinuxError> {
        let mut bytes = vec![0; len.min(MOST_TEXT)];
        self.read(at, &mut bytes)?;
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}

/// LiME and raw files do not name the processor, but VMCOREINFO has lines that
/// only one has.
fn machine(image: &Image, info: &Vmcoreinfo) -> Machine {
    match image.machine() {
        Machine::Unknown if info.number("kimage_voffset").is_some() => Machine::Arm64,
        Machine::Unknown if info.number("phys_base").is_some() => Machine::X86_64,
        known => known,
    }
}

fn symbol(info: &Vmcoreinfo, name: &str, line: &'static str) -> Result<u64, LinuxError> {
    info.symbol(name)
        .map(VirtAddr::raw)
        .ok_or(LinuxError::NoLine(line))
}

fn x86_64(info: &Vmcoreinfo) -> Result<Root, LinuxError> {
    let top = symbol(info, "swapper_pg_dir", "SYMBOL(swapper_pg_dir)")?;
    let base = info
        .number("phys_base")
        .ok_or(LinuxError::NoLine("NUMBER(phys_base)"))?;
    let format = match info.number("pgtable_l5_enabled") {
        Some(1) => TableFormat::X86_64La57,
        _ => TableFormat::X86_64,
    };
    let table = top.wrapping_sub(X86_64_TEXT).wrapping_add(base);
    Ok(Root::new(format, PhysAddr::new(table)))
}

fn x86(info: &Vmcoreinfo) -> Result<Root, LinuxError> {
    let top = symbol(info, "swapper_pg_dir", "SYMBOL(swapper_pg_dir)")?;
    // The kernel tells of PAE in its configuration line.
    let format = match info.get("CONFIG_X86_PAE") {
        Some("y") => TableFormat::X86Pae,
        _ => TableFormat::X86Legacy,
    };
    let table = top.wrapping_sub(X86_SPLIT);
    Ok(Root::new(format, PhysAddr::new(table)))
}

fn arm64(info: &Vmcoreinfo) -> Result<Root, LinuxError> {
    let top = symbol(info, "swapper_pg_dir", "SYMBOL(swapper_pg_dir)")?;
    let offset = info
        .number("kimage_voffset")
        .ok_or(LinuxError::NoLine("NUMBER(kimage_voffset)"))?;
    let page = info.get("PAGESIZE").and_then(|size| size.parse::<u64>().ok());
    let granule = page.unwrap_or(PAGE).trailing_zeros();
    let bits = match info.number("TCR_EL1_T1SZ") {
        Some(size) => foliant_arch::arm64::Tcr(size << 16).address_bits(Half::High),
        None => info.number("VA_BITS").unwrap_or(48) as u32,
    };
    let format = TableFormat::arm64(granule, bits).ok_or(LinuxError::Nonsense("table sizes"))?;
    Ok(Root::new(format, PhysAddr::new(top.wrapping_sub(offset))))
}
