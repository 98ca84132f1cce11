//! Source files that no module declares: they rot unseen.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use cargo_metadata::MetadataCommand;

use crate::tree::Source;

/// Crate roots outside of the workspace: the peer of one is not in the
/// registry, the other wants a C++ compiler.
const APART: [&str; 2] = ["bench/llfree/src/main.rs", "fuzz/engine/src/main.rs"];

/// Says which files are reached from no crate root.
pub(super) fn check(root: &Path, sources: &[Source]) -> Result<Vec<String>> {
    let manifest = root.join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?;
    let targets = metadata.packages.iter().flat_map(|package| &package.targets);

    let mut tree = Tree {
        root,
        sources,
        reached: BTreeSet::new(),
    };
    for target in targets {
        let file = target.src_path.as_std_path().to_path_buf();
        let folder = file.parent().unwrap_or(root).to_path_buf();
        tree.reach(file, &folder);
    }
    for file in APART.map(|file| root.join(file)) {
        let folder = file.parent().unwrap_or(root).to_path_buf();
        tree.reach(file, &folder);
    }
    let dead = sources
        .iter()
        .filter(|source| !tree.reached.contains(&root.join(&source.path)));
    Ok(dead
        .map(|source| format!("{}: no module declares it", source.path))
        .collect())
}

struct Tree<'a> {
    root: &'a Path,
    sources: &'a [Source],
    reached: BTreeSet<PathBuf>,
}

impl Tree<'_> {
    /// Marks `file` and the files of the modules it declares, which lie in `folder`.
    fn reach(&mut self, file: PathBuf, folder: &Path) {
        let sources = self.sources;
        let Some(source) = sources.iter().find(|source| self.root.join(&source.path) == file) else {
            return;
        };
        let beside = file.parent().unwrap_or(self.root).to_path_buf();
        if self.reached.insert(file) {
            self.descend(&source.syntax.items, &beside, folder);
        }
    }

    /// Follows module declarations: by `#[path]` from the folder `beside` the
    /// file, by name in `folder`.
    fn descend(&mut self, items: &[syn::Item], beside: &Path, folder: &Path) {
        for item in items {
            let syn::Item::Mod(module) = item else { continue };
            let name = module.ident.to_string();
            let below = folder.join(&name);
            if let Some((_, inline)) = &module.content {
                self.descend(inline, &below, &below);
            } else if let Some(path) = path_attribute(module) {
                let file = beside.join(path);
                let parent = file.parent().unwrap_or(beside).to_path_buf();
                self.reach(file, &parent);
            } else {
                self.reach(folder.join(format!("{name}.rs")), &below);
                self.reach(below.join("mod.rs"), &below);
            }
        }
    }
}

/// The value of `#[path = "..."]`.
fn path_attribute(module: &syn::ItemMod) -> Option<String> {
    module.attrs.iter().find_map(|attribute| {
        let syn::Meta::NameValue(pair) = &attribute.meta else {
            return None;
        };
        let syn::Expr::Lit(value) = &pair.value else {
            return None;
        };
        match &value.lit {
            syn::Lit::Str(text) if pair.path.is_ident("path") => Some(text.value()),
            _ => None,
        }
    })
}
