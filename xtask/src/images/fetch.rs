//! Packages of Debian for any architecture, without being root: apt in a folder
//! of its own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::guests::Guest;
use super::progress::Progress;
use super::run_it;

/// Debian, and where its packages are put.
pub(super) struct Debian<'a> {
    pub(super) folder: PathBuf,
    pub(super) mirror: &'a str,
    pub(super) release: &'a str,
}

/// What a guest is made of.
pub(super) struct Packages {
    pub(super) kernel: PathBuf,
    pub(super) busybox: PathBuf,
}

impl Debian<'_> {
    /// Fetches kernel and busybox for a guest, if they are not here yet.
    pub(super) fn fetch(&self, guest: &Guest, progress: &mut Progress) -> Result<Packages> {
        let own = self.folder.join("apt").join(guest.architecture);
        if !own.join("sources.list").exists() {
            progress.at(2, "list of packages");
            self.prepare(guest, &own)?;
        }
        progress.at(8, "kernel");
        let kernel = self.newest_kernel(guest, &own)?;
        let unpacked = self.unpack(guest, &own, &kernel)?;
        let kernel = find(&unpacked.join("boot"), "vmlinuz")?;
        progress.at(16, "busybox");
        let unpacked = self.unpack(guest, &own, "busybox-static")?;
        let busybox = ["bin/busybox", "usr/bin/busybox"].map(|name| unpacked.join(name));
        let busybox = busybox.into_iter().find(|path| path.exists());
        Ok(Packages {
            kernel,
            busybox: busybox.context("busybox-static has no busybox")?,
        })
    }

    fn prepare(&self, guest: &Guest, own: &Path) -> Result<()> {
        for folder in ["state/lists/partial", "cache/archives/partial", "etc"] {
            fs::create_dir_all(own.join(folder))?;
        }
        fs::write(own.join("status"), "")?;
        let sources = own.join("sources.list");
        fs::write(&sources, format!("deb {} {} main\n", self.mirror, self.release))?;
        let updated = run_it(self.apt("apt-get", guest, own).arg("update"));
        if updated.is_err() {
            // The next run is to try again.
            fs::remove_file(&sources)?;
        }
        updated.map(drop)
    }

    fn apt(&self, program: &str, guest: &Guest, own: &Path) -> Command {
        let mut apt = Command::new(program);
        let option = |name: &str, value: &OsStr| {
            let mut text = OsStr::new(name).to_owned();
            text.push("=");
            text.push(value);
            text
        };
        for (name, value) in [
            ("APT::Architecture", OsStr::new(guest.architecture)),
            ("APT::Architectures", OsStr::new(guest.architecture)),
            ("Dir::State", own.join("state").as_os_str()),
            ("Dir::State::status", own.join("status").as_os_str()),
            ("Dir::Cache", own.join("cache").as_os_str()),
            ("Dir::Etc::SourceList", own.join("sources.list").as_os_str()),
            ("Dir::Etc::SourceParts", own.join("etc").as_os_str()),
            ("APT::Sandbox::User", OsStr::new("")),
            ("APT::Get::List-Cleanup", OsStr::new("0")),
        ] {
            apt.arg("-o").arg(option(name, value));
        }
        apt.env("LC_ALL", "C");
        apt
    }

    /// The package that the package of the newest kernel depends on.
    fn newest_kernel(&self, guest: &Guest, own: &Path) -> Result<String> {
        let said = run_it(self.apt("apt-cache", guest, own).args(["depends", guest.kernel]))?;
        let mut depends = said
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "));
        let found = depends.find(|name| name.starts_with("linux-image-"));
        found
            .map(str::to_owned)
            .ok_or_else(|| anyhow!("{} depends on no kernel:\n{said}", guest.kernel))
    }

    fn unpack(&self, guest: &Guest, own: &Path, package: &str) -> Result<PathBuf> {
        let unpacked = own.join(package);
        if unpacked.exists() {
            return Ok(unpacked);
        }
        let folder = own.join("downloads").join(package);
        fs::create_dir_all(&folder)?;
        let mut apt = self.apt("apt-get", guest, own);
        run_it(apt.args(["download", package]).current_dir(&folder))?;
        let archive = find(&folder, package)?;
        let half = own.join(format!("{package}.half"));
        run_it(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&half))?;
        fs::rename(half, &unpacked)?;
        fs::remove_dir_all(folder)?;
        Ok(unpacked)
    }
}

/// The file in `folder` whose name begins so.
fn find(folder: &Path, begins: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut names = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let fits = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with(begins))
    };
    let found = names.find(fits);
    found.with_context(|| format!("no {begins} in {}", folder.display()))
}
