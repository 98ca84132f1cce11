//! `cargo xtask images`: memory images of real Linux guests with what is true
//! of them, for tests that want such.

mod fetch;
mod guests;
mod initrd;
mod program;
mod progress;
mod qemu;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;

use crate::tree;
use fetch::Debian;
use guests::{GUESTS, Guest};
use progress::Progress;

/// Arguments of `cargo xtask images`.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Make only these: x86_64-4level, x86_64-5level, i386-nonpae, i386-pae, arm64.
    #[arg(value_name = "GUEST")]
    only: Vec<String>,
    /// Where they go; tests look there, or where FOLIANT_IMAGES says.
    #[arg(long, value_name = "FOLDER", default_value = "target/images")]
    to: PathBuf,
    /// Debian's mirror that kernels and busybox come from.
    #[arg(long, value_name = "URL", default_value = "http://deb.debian.org/debian")]
    mirror: String,
    /// Debian's release.
    #[arg(long, default_value = "bookworm")]
    release: String,
}

/// Makes the images.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    for name in &args.only {
        if !GUESTS.iter().any(|guest| guest.name == name) {
            let all: Vec<_> = GUESTS.iter().map(|guest| guest.name).collect();
            bail!("no guest {name}: there are {}", all.join(", "));
        }
    }
    let wanted = |guest: &&Guest| args.only.is_empty() || args.only.iter().any(|name| name == guest.name);
    let wanted: Vec<&Guest> = GUESTS.iter().filter(wanted).collect();
    for guest in &wanted {
        needs(guest.qemu, guest.package)?;
    }
    for (program, package) in [
        ("zstd", "zstd"),
        ("tar", "tar"),
        ("apt-get", "apt"),
        ("dpkg-deb", "dpkg"),
    ] {
        needs(program, package)?;
    }
    let root = tree::root()?;
    let debian = Debian {
        folder: root.join("target/images-work"),
        mirror: &args.mirror,
        release: &args.release,
    };
    for guest in wanted {
        let to = root.join(&args.to).join(guest.name);
        make(guest, &debian, &root.join("xtask/guest"), &to).with_context(|| guest.name)?;
        println!("{}: {}", guest.name, to.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// An error that names the package, if a program is not there.
fn needs(program: &str, package: &str) -> Result<()> {
    let found = Command::new(program).arg("--version").output();
    if found.is_err() {
        bail!("{program} is not here: install it (Debian's package is {package})");
    }
    Ok(())
}

fn make(guest: &Guest, debian: &Debian<'_>, sources: &Path, to: &Path) -> Result<()> {
    let mut progress = Progress::new(guest.name);
    progress.at(0, "packages");
    let packages = debian.fetch(guest, &mut progress)?;
    let work = debian.folder.join(guest.name);
    fs::create_dir_all(&work)?;
    fs::create_dir_all(to)?;

    progress.at(20, "initial RAM disk");
    let program = program::compile(guest, sources, &work)?;
    if program.is_none() {
        progress.note(&format!(
            "no {}: the guest has no program with unusual mappings (Debian's package is {})",
            guest.compiler[0], guest.compiler_package
        ));
    }
    let initrd = work.join("initrd");
    initrd::write(&initrd, &packages.busybox, program.as_deref(), sources)?;

    progress.at(25, "boot");
    qemu::run(guest, &packages.kernel, &initrd, &work, to, &mut progress)?;
    progress.at(95, "packing");
    for (from, name) in [("mem.elf", "mem.elf.zst"), ("info_tlb.txt", "info_tlb.txt.zst")] {
        let mut zstd = Command::new("zstd");
        zstd.args(["-qf", "--long=27", "--rm"]).arg(work.join(from));
        run_it(zstd.arg("-o").arg(to.join(name)))?;
    }
    // Counts of others' images do not hold for these.
    fs::write(to.join("MADE"), "by cargo xtask images\n")?;
    progress.done();
    Ok(())
}

/// Runs a command that must succeed; what it says is part of the error.
fn run_it(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{command:?}: {}\n{}", output.status, said.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
