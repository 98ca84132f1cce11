//! What is to run, and on what.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use foliant_kernel::Observer;
use foliant_mm::{Global, SizeSetting};
use foliant_units::Order;

use super::memory::MemoryPlan;
use crate::machine::User;

/// A machine to be made.
#[derive(Clone)]
pub struct Options {
    /// Its physical memory.
    pub memory: MemoryPlan,
    /// Its CPUs, one at least.
    pub cpus: u32,
    /// Whether address-space layouts are random.
    pub randomize: bool,
    /// Where their randomness starts.
    pub seed: u64,
    /// Sizes of folios that private memory gets when the machine starts.
    pub folios: FolioSizes,
    /// Host mappings that a process may have at most; what the host allows if
    /// `None`, or if that is less.
    pub host_mappings: Option<usize>,
    /// The number of the frame allocation that shall fail, counted from the
    /// start of the program.
    pub fail_at: Option<u64>,
    /// It is remembered who allocated each frame: text for the machine's
    /// `/sys/kernel/debug/page_owner`, and for reports.
    pub page_owner: bool,
    /// Who watches.
    pub observer: Option<Arc<dyn Observer<User>>>,
}

/// Which sizes of folios private memory gets; none, unless said otherwise. The
/// machine's administrator can change it later below `/sys`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FolioSizes {
    /// What sizes do that inherit, if not `never`.
    pub global: Option<Global>,
    /// The settings of single sizes; a later one replaces an earlier one.
    pub sizes: Vec<(Order, SizeSetting)>,
}

/// A program to be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Its file.
    pub path: PathBuf,
    /// Its arguments, the first of which is its name.
    pub args: Vec<OsString>,
    /// Its environment.
    pub env: Vec<(OsString, OsString)>,
}

impl Command {
    /// The command as a shell finds it: a name without a slash along `PATH`,
    /// with this process's environment.
    ///
    /// Names that are found nowhere stay as they are, and fail when they run.
    pub fn find(command: &[OsString]) -> Self {
        let name = command.first().cloned().unwrap_or_default();
        let path = if name.is_empty() || name.as_encoded_bytes().contains(&b'/') {
            PathBuf::from(&name)
        } else {
            search(&name).unwrap_or_else(|| PathBuf::from(&name))
        };
        Self {
            path,
            args: command.to_vec(),
            env: std::env::vars_os().collect(),
        }
    }
}

/// The first executable file of that name along `PATH`.
fn search(name: &OsString) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let found: Vec<PathBuf> = std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .collect();
    let is_executable =
        |file: &&PathBuf| file.is_file() && rustix::fs::access(*file, rustix::fs::Access::EXEC_OK).is_ok();
    found
        .iter()
        .find(is_executable)
        .or_else(|| found.iter().find(|file| file.exists()))
        .cloned()
}
