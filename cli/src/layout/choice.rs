//! Which layout is meant.

use anyhow::{Result, bail};
use clap::ValueEnum;
use foliant_arch::layout::{
    I386, I386Config, KaslrConfig, Layout, Paging, Randomised, Version, VmSplit, arm64, x86_64,
};
use foliant_units::{Pfn, PhysAddr};

use crate::size::Size;

/// Architectures with a layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Arch {
    /// 64 bits.
    #[value(name = "x86_64")]
    X86_64,
    /// 32 bits.
    #[value(name = "i386")]
    I386,
    /// 64 bits, 48 of them used.
    #[value(name = "arm64")]
    Arm64,
}

/// Versions of Linux with a layout of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Like {
    /// Linux 4.4.
    #[value(name = "4.4")]
    Linux44,
    /// Linux 6.18.
    #[value(name = "6.18")]
    Linux618,
}

impl Like {
    pub(crate) const fn version(self) -> Version {
        match self {
            Like::Linux44 => Version::Linux44,
            Like::Linux618 => Version::Linux618,
        }
    }
}

/// Where user space ends on i386.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Split {
    /// 3 GiB for user space.
    #[value(name = "3g")]
    ThreeOne,
    /// 2.75 GiB for user space.
    #[value(name = "3g_opt")]
    ThreeOneOpt,
    /// 2 GiB for user space.
    #[value(name = "2g")]
    TwoTwo,
    /// 1.875 GiB for user space.
    #[value(name = "2g_opt")]
    TwoTwoOpt,
    /// 1 GiB for user space.
    #[value(name = "1g")]
    OneThree,
}

impl Split {
    pub(crate) const fn vm_split(self) -> VmSplit {
        match self {
            Split::ThreeOne => VmSplit::ThreeOne,
            Split::ThreeOneOpt => VmSplit::ThreeOneOpt,
            Split::TwoTwo => VmSplit::TwoTwo,
            Split::TwoTwoOpt => VmSplit::TwoTwoOpt,
            Split::OneThree => VmSplit::OneThree,
        }
    }
}

/// What decides about a layout.
#[derive(clap::Args, Debug)]
pub(super) struct Choice {
    /// Architecture.
    #[arg(long, value_enum, default_value = "x86_64")]
    arch: Arch,
    /// The version of Linux whose layout it is.
    #[arg(long, value_enum, default_value = "6.18")]
    like: Like,
    /// Levels of page tables, on x86_64.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(4..=5), default_value = "4")]
    levels: u8,
    /// Where user space ends, on i386.
    #[arg(long, value_enum, default_value = "3g")]
    vmsplit: Split,
    /// Page tables with 8-byte entries, on i386.
    #[arg(long)]
    pae: bool,
    /// Without high memory, on i386.
    #[arg(long)]
    no_highmem: bool,
    /// RAM, which i386 splits and KASLR makes room for.
    #[arg(long, value_name = "SIZE", default_value = "4G")]
    ram: Size,
    /// Move what KASLR moves, by this seed, on x86_64.
    #[arg(long, value_name = "SEED")]
    kaslr: Option<u64>,
}

impl Choice {
    /// The layout.
    pub(super) fn layout(&self) -> Result<Layout> {
        self.refuse_strangers()?;
        match self.arch {
            Arch::X86_64 => self.x86_64(),
            Arch::I386 => self.i386(),
            Arch::Arm64 => Ok(arm64()),
        }
    }

    /// An option that would mean nothing is a mistake.
    fn refuse_strangers(&self) -> Result<()> {
        let i386 = self.arch == Arch::I386;
        let x86_64 = self.arch == Arch::X86_64;
        if !i386 && (self.pae || self.no_highmem || self.vmsplit != Split::ThreeOne) {
            bail!("--pae, --no-highmem and --vmsplit are for --arch i386");
        }
        if !x86_64 && (self.kaslr.is_some() || self.levels != 4) {
            bail!("--kaslr and --levels are for --arch x86_64");
        }
        if self.arch == Arch::Arm64 && self.like == Like::Linux44 {
            bail!("the layout of arm64 is known for --like 6.18 only");
        }
        Ok(())
    }

    fn x86_64(&self) -> Result<Layout> {
        let paging = if self.levels == 5 {
            Paging::Five
        } else {
            Paging::Four
        };
        if self.like == Like::Linux44 && paging == Paging::Five {
            bail!("Linux 4.4 had no five levels");
        }
        match self.kaslr {
            None => Ok(x86_64(paging, self.like.version())),
            Some(_) if self.like == Like::Linux44 => bail!("Linux 4.4 did not move its regions"),
            Some(seed) => {
                let config = KaslrConfig {
                    paging,
                    ..KaslrConfig::new(PhysAddr::new(self.ram.0))
                };
                Ok(Randomised::new(config, seed).layout())
            }
        }
    }

    fn i386(&self) -> Result<Layout> {
        let config = I386Config {
            version: self.like.version(),
            split: self.vmsplit.vm_split(),
            highmem: !self.no_highmem,
            btmap_slots: if self.like == Like::Linux44 { 4 } else { 8 },
            ..I386Config::new(self.pae)
        };
        let reach = if self.pae { 1 << 24 } else { 1 << 20 };
        let frames = (self.ram.0 >> 12).min(reach);
        Ok(I386::new(config, Pfn::new(frames))?.layout())
    }
}
