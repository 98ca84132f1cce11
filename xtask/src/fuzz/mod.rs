//! Fuzzing: `cargo xtask fuzz`.

mod bundle;
mod engine;
mod keep;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;

use engine::{Engine, Target};

/// Arguments of `cargo xtask fuzz`.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// What to fuzz; everything, one after another, if nothing is named.
    targets: Vec<String>,
    /// How long each target is fuzzed.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Processes that fuzz a target together.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Print the targets, and do nothing.
    #[arg(long)]
    list: bool,
    /// Put the program, the corpus and a script that runs them on machines
    /// without a compiler into target/fuzz/bundle.
    #[arg(long)]
    build_only: bool,
    /// Add what is new in FOLDER/TARGET to the corpus that is kept.
    #[arg(long, value_name = "FOLDER")]
    merge: Option<PathBuf>,
}

/// Does what was asked for.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let engine = Engine::build()?;
    if args.build_only {
        return bundle::make(&engine);
    }
    let chosen = choose(&engine, &args.targets)?;
    if args.list {
        for target in &chosen {
            println!("{:<12} {}", target.name, target.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = &args.merge {
        for target in &chosen {
            keep::merge(&engine, target, folder)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    session::run(&engine, &chosen, args.seconds, args.jobs)
}

fn choose(engine: &Engine, names: &[String]) -> Result<Vec<Target>> {
    let mut all = engine.targets()?;
    if let Some(stranger) = names
        .iter()
        .find(|name| all.iter().all(|target| target.name != **name))
    {
        let known: Vec<&str> = all.iter().map(|target| target.name.as_str()).collect();
        bail!("no target `{stranger}`; there are {}", known.join(", "));
    }
    all.retain(|target| names.is_empty() || names.contains(&target.name));
    Ok(all)
}
