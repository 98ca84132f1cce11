//! The files of the workspace.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use walkdir::WalkDir;

/// Top folder of the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here
        .parent()
        .ok_or_else(|| anyhow!("xtask has no parent folder"))?;
    Ok(root.to_path_buf())
}

/// Where cargo builds: what `CARGO_TARGET_DIR` says, else the workspace's `target`.
pub(crate) fn target() -> Result<PathBuf> {
    Ok(target_of(&root()?, env::var_os("CARGO_TARGET_DIR")))
}

/// The chores start cargo in the workspace, from where it counts a relative path.
fn target_of(root: &Path, variable: Option<OsString>) -> PathBuf {
    let named = variable.filter(|named| !named.is_empty());
    root.join(named.unwrap_or_else(|| "target".into()))
}

/// A Rust source file, read and split into tokens.
pub(crate) struct Source {
    /// Path from the workspace's top folder.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// Its syntax tree.
    pub(crate) syntax: syn::File,
}

/// Every Rust source file of the workspace, in the order of their paths.
pub(crate) fn sources(root: &Path) -> Result<Vec<Source>> {
    let walk = WalkDir::new(root).sort_by_file_name().into_iter();
    let wanted = walk.filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name.starts_with('.') || name == "target")
    });
    let mut sources = Vec::new();
    for entry in wanted {
        let entry = entry?;
        if entry.path().extension().is_none_or(|ext| ext != "rs") {
            continue;
        }
        sources.push(read(root, entry.path())?);
    }
    Ok(sources)
}

fn read(root: &Path, file: &Path) -> Result<Source> {
    let path = file.strip_prefix(root)?.to_string_lossy().into_owned();
    let text = std::fs::read_to_string(file).with_context(|| path.clone())?;
    let syntax = syn::parse_file(&text).with_context(|| path.clone())?;
    Ok(Source { path, text, syntax })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_looked_for_where_cargo_puts_it() {
        let target = |variable: Option<&str>| target_of(Path::new("/tree"), variable.map(OsString::from));
        assert_eq!(target(None), Path::new("/tree/target"));
        assert_eq!(target(Some("")), Path::new("/tree/target"));
        assert_eq!(target(Some("/elsewhere")), Path::new("/elsewhere"));
        assert_eq!(target(Some("builds/one")), Path::new("/tree/builds/one"));
    }
}
