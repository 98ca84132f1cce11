//! Benchmarks: Foliant and its peers in one run, printed as ratios.

mod built;
mod floor;
mod frames;
mod gates;
mod initrd;
mod mmops;
mod peers;
mod program;
mod run;
mod slab;
mod tables;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args as ClapArgs, ValueEnum};

/// Arguments of `cargo xtask bench`.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// What to measure.
    name: Name,
    /// Exit with 1 and name every gate that is missed.
    #[arg(long)]
    gate: bool,
    /// How often every peer runs; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Pin every peer to this CPU (with taskset).
    #[arg(long)]
    cpu: Option<u32>,
    /// Where the LLFree crate lies, for `frames` (it is not in the registry).
    #[arg(long)]
    llfree: Option<PathBuf>,
    /// An ELF core of an x86-64 machine with four levels, for `images`.
    #[arg(long)]
    image: Option<PathBuf>,
    /// A Python that has volatility3, for `images` to compare with.
    #[arg(long, value_name = "PYTHON", requires = "image")]
    volatility: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Programs: bench/mmops.c natively, under Foliant, User-Mode Linux and gVisor.
    Run,
    /// Frame allocators: Foliant's and its peers in one process.
    Frames,
    /// vmalloc, stacks and per-CPU memory, on one CPU and on two.
    Kvirt,
    /// Object allocators: Foliant's, mimalloc and talc in one process.
    Slab,
    /// Page tables: Foliant's, x86_64's and page_table_multiarch's in one process.
    Tables,
    /// Walks over a memory image (--image), against a loop by hand and volatility3.
    Images,
}

/// Runs one benchmark.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match args.name {
        Name::Run => run::run(args.rounds.max(1), args.cpu, args.gate),
        Name::Slab => slab::run(args.gate),
        Name::Frames => frames::run(args.llfree.as_deref(), args.cpu, args.gate),
        Name::Kvirt => program::run("kvirt", program::Material::default(), args.gate),
        Name::Tables => tables::run(args.cpu, args.gate),
        Name::Images => {
            let material = program::Material {
                image: args.image.as_deref(),
                volatility: args.volatility.as_deref(),
            };
            program::run("images", material, args.gate)
        }
    }
}
