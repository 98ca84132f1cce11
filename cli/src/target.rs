//! Which tables are meant: options that the commands which look at images share.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args as ClapArgs;
use foliant_inspect::foliant_arch::arm64::Half;
use foliant_inspect::linux::{Kernel, LinuxError, user_roots};
use foliant_inspect::live::LiveProcess;
use foliant_inspect::{Image, Machine, Root, TableFormat};
use foliant_units::VirtAddr;

/// Where to look.
#[derive(ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct Source {
    /// The memory image: ELF core, kdump (also flattened), LiME or raw; once for
    /// each part of a kdump that was split.
    #[arg(short = 's', long = "source", value_name = "IMAGE")]
    image: Vec<PathBuf>,
    /// This host, as it runs.
    #[arg(long)]
    pub(crate) live: bool,
}

impl Source {
    /// Opens the image.
    pub(crate) fn open(&self) -> Result<Image> {
        if self.image.is_empty() {
            bail!("this is not to be seen on the running host: give an image with -s");
        }
        Image::open_parts(&self.image).with_context(|| self.name())
    }

    /// The image's name, for messages.
    pub(crate) fn name(&self) -> String {
        let names: Vec<_> = self.image.iter().map(|path| path.display().to_string()).collect();
        if names.is_empty() {
            "this host".to_owned()
        } else {
            names.join(" ")
        }
    }
}

/// An image and tables in it.
#[derive(ClapArgs)]
pub(crate) struct Target {
    #[command(flatten)]
    source: Source,
    /// The top table, as CR3 has it.
    #[arg(long, value_name = "CR3", value_parser = hex, group = "which")]
    root: Option<u64>,
    /// The tables of programs on arm64, as TTBR0_EL1 has them.
    #[arg(long, value_name = "TTBR0", value_parser = hex, group = "which")]
    ttbr0: Option<u64>,
    /// The tables of the kernel on arm64, as TTBR1_EL1 has them.
    #[arg(long, value_name = "TTBR1", value_parser = hex, group = "which")]
    ttbr1: Option<u64>,
    /// The tables of this process of the Linux in the image, or of this host.
    #[arg(long, value_name = "PID", group = "which")]
    pid: Option<u32>,
    /// The kernel's own tables, of the Linux in the image.
    #[arg(long, group = "which")]
    kernel: bool,
    /// The tables of this processor, if the image has registers (the default: 0).
    #[arg(long, value_name = "N", group = "which")]
    cpu: Option<usize>,
    /// The tables' format, if the image does not tell or is wrong: i386, pae,
    /// x86-64, x86-64-5level, ept, npt, arm64-4k-48 and its relatives.
    #[arg(long, value_name = "FORMAT", value_parser = table_format)]
    tables: Option<TableFormat>,
}

/// A number as people write addresses: hexadecimal, with or without `0x`.
pub(crate) fn hex(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text).replace('_', "");
    u64::from_str_radix(&digits, 16).map_err(|_| "expected a hexadecimal number".to_owned())
}

fn table_format(name: &str) -> Result<TableFormat, String> {
    TableFormat::named(name).ok_or_else(|| {
        let names: Vec<_> = TableFormat::ALL.iter().map(|(_, name)| *name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

impl Target {
    /// Opens the image.
    pub(crate) fn open(&self) -> Result<Image> {
        self.source.open()
    }

    /// The process of this host, if it is that which is looked at.
    pub(crate) fn live(&self) -> Result<Option<LiveProcess>> {
        if !self.source.live {
            return Ok(None);
        }
        let Some(pid) = self.pid else {
            bail!("the running host shows the pages of processes only: say which with --pid");
        };
        Ok(Some(LiveProcess::open(pid)?))
    }

    /// The image's name, for messages.
    pub(crate) fn name(&self) -> String {
        self.source.name()
    }

    /// The tables that are meant, and under which of arm64's two roots they
    /// are; `at` is an address that they should translate.
    pub(crate) fn root(&self, image: &Image, at: Option<VirtAddr>) -> Result<(Root, Half)> {
        let (mut root, half) = self.find(image, at)?;
        if let Some(format) = self.tables {
            root.format = format;
        }
        Ok((root, half))
    }

    fn find(&self, image: &Image, at: Option<VirtAddr>) -> Result<(Root, Half)> {
        let registers = [
            (self.root, Half::Low),
            (self.ttbr0, Half::Low),
            (self.ttbr1, Half::High),
        ];
        for (register, half) in registers {
            if let Some(register) = register {
                let format = self.format(image, half)?;
                return Ok((Root::new(format, format.table_in(register)), half));
            }
        }
        let high = at.is_some_and(|at| Half::of(at) == Half::High);
        let arm = image.machine() == Machine::Arm64;
        if let Some(pid) = self.pid {
            let kernel = Kernel::find(image)?;
            // On arm64 the kernel's half has tables of its own.
            if arm && high {
                return Ok((kernel.root(), Half::High));
            }
            let root = kernel.process_root(pid).map_err(|why| match why {
                LinuxError::NoProcess(_) | LinuxError::NoSpace(_) => why.into(),
                why => self.explain(why.into(), &kernel),
            })?;
            return Ok((root, Half::Low));
        }
        if !self.kernel && !image.cpus().is_empty() {
            let number = self.cpu.unwrap_or(0);
            let cpu = image.cpus().get(number);
            let cpu = cpu.ok_or_else(|| anyhow!("the image has {} processors", image.cpus().len()))?;
            let root = Root::of_cpu(image.machine(), cpu);
            let root = root.ok_or_else(|| anyhow!("paging is off on processor {number}"))?;
            return Ok((root, Half::Low));
        }
        if self.cpu.is_some() {
            bail!("the image has no registers: say which tables with --root or --pid");
        }
        Ok((Kernel::find(image)?.root(), Half::High))
    }

    /// Where a kernel's processes cannot be told apart, their tables can be named.
    fn explain(&self, why: anyhow::Error, kernel: &Kernel<'_>) -> anyhow::Error {
        let roots = user_roots(kernel);
        if roots.is_empty() {
            return why;
        }
        let list: Vec<_> = roots
            .iter()
            .map(|root| format!("{:#x}", root.table.raw()))
            .collect();
        why.context(format!(
            "these look like tables of processes, for --root: {}",
            list.join(" ")
        ))
    }

    fn format(&self, image: &Image, half: Half) -> Result<TableFormat> {
        if let Some(format) = self.tables {
            return Ok(format);
        }
        if let Some(root) = image
            .cpus()
            .first()
            .and_then(|cpu| Root::of_cpu(image.machine(), cpu))
        {
            return Ok(root.format);
        }
        if let Ok(kernel) = Kernel::find(image) {
            return Ok(kernel.root().format);
        }
        match (image.machine(), half) {
            (Machine::X86_64, _) => Ok(TableFormat::X86_64),
            _ => bail!("the image does not tell the format of its tables: say it with --tables"),
        }
    }
}
