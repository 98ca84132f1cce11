//! What decides about a boot.

use std::path::PathBuf;

use anyhow::{Result, bail};
use foliant_arch::layout::{I386, I386Config, ImageRange, Paging, X86_64Bases};
use foliant_phys::boot::{CrashKernel, Dialect, KernelImage, Reservations};
use foliant_units::{Pfn, PhysAddr, PhysRange, VirtAddr, VirtRange};

use super::map_file::{self, Map, place};
use crate::layout::{Arch, Like, Split};
use crate::size::Size;

/// Boot a soft machine from a memory map, and print the boot log.
///
/// Maps: the BIOS-e820 lines of a boot log, /proc/iomem, or a table with lines
/// like `1M-3G usable node 0`. Example: dmesg | foliant boot --map /dev/stdin
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// RAM of a usual PC.
    #[arg(long, value_name = "SIZE", default_value = "4G")]
    ram: Size,
    /// The memory map, instead of --ram.
    #[arg(long, value_name = "FILE", conflicts_with = "ram")]
    map: Option<PathBuf>,
    /// Architecture: x86_64 or i386.
    #[arg(long, value_enum, default_value = "x86_64")]
    pub(super) arch: Arch,
    /// The version of Linux whose words the log uses; its layout, too.
    #[arg(long, value_enum, default_value = "6.18")]
    pub(super) like: Like,
    /// Levels of page tables, on x86_64.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(4..=5), default_value = "4")]
    pub(super) levels: u8,
    /// Where user space ends, on i386.
    #[arg(long, value_enum, default_value = "3g")]
    vmsplit: Split,
    /// Page tables with 8-byte entries, on i386.
    #[arg(long)]
    pub(super) pae: bool,
    /// Use no RAM from here up (`mem=`).
    #[arg(long, value_name = "SIZE")]
    pub(super) mem: Option<Size>,
    /// Physical place of the kernel's image, START-END.
    #[arg(long, value_name = "RANGE", default_value = "16M-48M", value_parser = range)]
    kernel: PhysRange,
    /// The sections of an i386 kernel in its own addresses:
    /// .text=A-B,.data=A-B,.init=A-B.
    #[arg(long, value_name = "LIST", value_parser = sections)]
    sections: Option<ImageRange>,
    /// Physical place of the initrd, START-END.
    #[arg(long, value_name = "RANGE", value_parser = range)]
    initrd: Option<PhysRange>,
    /// A place for a crash kernel, SIZE or SIZE@START.
    #[arg(long, value_name = "SIZE", value_parser = crash)]
    pub(super) crashkernel: Option<CrashKernel>,
    /// Add memory when the machine is up, START-END in whole blocks of 128 MiB,
    /// and put it online.
    #[arg(long, value_name = "RANGE,...", value_delimiter = ',', value_parser = range)]
    pub(super) add: Vec<PhysRange>,
    /// Then take memory offline and remove it.
    #[arg(long, value_name = "RANGE,...", value_delimiter = ',', value_parser = range)]
    pub(super) remove: Vec<PhysRange>,
    /// Print memblock's lists before they are handed over.
    #[arg(long)]
    pub(super) memblock: bool,
    /// Print /proc/iomem of the machine.
    #[arg(long)]
    pub(super) iomem: bool,
    /// Explain how the kernel's tables translate these addresses, hexadecimal.
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',', value_parser = crate::target::hex)]
    pub(super) walk: Vec<u64>,
    /// Write all mappings of the kernel to a file, as `foliant pt` does, in the
    /// format that its name ends with: .ptdump, .json, .csv, .parquet; else columns.
    #[arg(long, value_name = "FILE")]
    pub(super) pt: Option<PathBuf>,
    /// Look at every frame when the machine is up.
    #[arg(long)]
    pub(super) audit: bool,
}

impl Args {
    /// Whether memory comes or goes after the boot.
    pub(super) fn plugs(&self) -> bool {
        !self.add.is_empty() || !self.remove.is_empty()
    }

    /// Where the memory ends that is added.
    pub(super) fn end_of_added(&self) -> u64 {
        self.add.iter().map(|range| range.end.raw()).max().unwrap_or(0)
    }

    pub(super) fn memory_map(&self) -> Result<Map> {
        match &self.map {
            Some(path) => map_file::read(path),
            None => map_file::pc(self.ram.0),
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self.like {
            Like::Linux44 => Dialect::Linux44,
            Like::Linux618 => Dialect::Linux618,
        }
    }

    pub(super) fn refuse_strangers(&self) -> Result<()> {
        match self.arch {
            Arch::Arm64 => bail!("arm64 has no BIOS memory map to boot from"),
            Arch::X86_64 if self.pae || self.vmsplit != Split::ThreeOne || self.sections.is_some() => {
                bail!("--pae, --vmsplit and --sections are for --arch i386")
            }
            Arch::I386 if self.levels != 4 => bail!("--levels is for --arch x86_64"),
            Arch::X86_64 if self.levels == 5 && self.like == Like::Linux44 => {
                bail!("Linux 4.4 had no five levels")
            }
            Arch::X86_64 | Arch::I386 => Ok(()),
        }
    }

    pub(super) fn i386(&self) -> I386Config {
        I386Config {
            version: self.like.version(),
            split: self.vmsplit.vm_split(),
            btmap_slots: if self.like == Like::Linux44 { 4 } else { 8 },
            ..I386Config::new(self.pae)
        }
    }

    /// Where an x86-64 kernel without KASLR has things.
    pub(super) fn bases(&self) -> X86_64Bases {
        let paging = if self.levels == 5 {
            Paging::Five
        } else {
            Paging::Four
        };
        X86_64Bases::fixed(paging, self.like.version())
    }

    pub(super) fn reservations(&self) -> Result<Reservations> {
        Ok(Reservations {
            kernel: Some(self.image()?),
            initrd: self.initrd,
            ..Reservations::default()
        })
    }

    /// The kernel's image; if its sections are given, where they lie physically.
    fn image(&self) -> Result<KernelImage> {
        let Some(sections) = self.sections else {
            let image = KernelImage::sized(self.kernel.start, self.kernel.len());
            return image.ok_or_else(|| anyhow::anyhow!("the kernel passes the end of memory"));
        };
        let base = self.i386().split.page_offset();
        let physical = |range: VirtRange| -> Result<PhysRange> {
            let low = |at: VirtAddr| at.raw().checked_sub(base.raw()).map(PhysAddr::new);
            match (low(range.start), low(range.end)) {
                (Some(start), Some(end)) => Ok(PhysRange::new(start, end)),
                _ => bail!("the sections of the kernel begin at {base:#x}"),
            }
        };
        let nothing = PhysRange::default();
        let text = physical(sections.text)?;
        Ok(KernelImage {
            text,
            rodata: PhysRange::new(text.end, text.end),
            data: physical(sections.data)?,
            init: physical(sections.init)?,
            bss: PhysRange::new(text.end.max(nothing.end), text.end),
        })
    }

    /// The sections in the kernel's addresses, for its block of the log.
    pub(super) fn sections(&self, layout: &I386, image: &KernelImage) -> ImageRange {
        let virt = |range: PhysRange| VirtRange::new(layout.virt(range.start), layout.virt(range.end));
        self.sections.unwrap_or(ImageRange {
            text: virt(image.text),
            data: virt(PhysRange::new(image.text.end, image.data.end)),
            init: virt(image.init),
        })
    }

    /// The first frame that cannot be low memory, on i386.
    pub(super) fn lowmem(&self) -> Result<Pfn> {
        Ok(I386::lowmem_end(self.i386())?)
    }
}

fn range(text: &str) -> Result<PhysRange, String> {
    let (start, end) = ends(text)?;
    Ok(PhysRange::new(PhysAddr::new(start), PhysAddr::new(end)))
}

/// `START-END`, ascending.
fn ends(text: &str) -> Result<(u64, u64), String> {
    let (start, end) = text.split_once('-').ok_or("expected START-END")?;
    let read = |text: &str| place(text).map_err(|why| format!("{why:#}"));
    match (read(start)?, read(end)?) {
        (start, end) if start < end => Ok((start, end)),
        _ => Err("the range is empty".to_owned()),
    }
}

fn sections(text: &str) -> Result<ImageRange, String> {
    let section = |name: &str| {
        let found = text
            .split(',')
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let (start, end) = ends(found.ok_or(format!("{name} is missing"))?)?;
        Ok::<_, String>(VirtRange::new(VirtAddr::new(start), VirtAddr::new(end)))
    };
    Ok(ImageRange {
        text: section(".text")?,
        data: section(".data")?,
        init: section(".init")?,
    })
}

fn crash(text: &str) -> Result<CrashKernel, String> {
    let read = |text: &str| place(text).map_err(|why| format!("{why:#}"));
    match text.split_once('@') {
        None => Ok(CrashKernel {
            size: read(text)?,
            at: None,
        }),
        Some((size, at)) => Ok(CrashKernel {
            size: read(size)?,
            at: Some(PhysAddr::new(read(at)?)),
        }),
    }
}
