//! One direction only: a layer uses those above it, never those below.

use std::path::Path;

use anyhow::Result;
use cargo_metadata::{DependencyKind, MetadataCommand};

/// The layers from the top. Packages of one row may not use each other.
const LAYERS: &[&[&str]] = &[
    &["foliant-units"],
    &["foliant-platform"],
    &["foliant-uapi"],
    &["foliant-arch"],
    &["foliant-phys"],
    &["foliant-paging"],
    &["foliant-kvirt"],
    &["foliant-mm"],
    &["foliant-reclaim"],
    &["foliant-virt"],
    &["foliant-kernel"],
    &["foliant"],
    &["foliant-soft", "foliant-user", "foliant-metal"],
    &["foliant-inspect"],
    &["foliant-cli"],
];

/// Packages that only test or build: they may use every layer, no layer uses
/// them outside its tests.
const BESIDE: &[&str] = &[
    "foliant-bench",
    "foliant-embed-minimal",
    "foliant-fuzz-targets",
    "foliant-laws",
    "foliant-tests-linux",
    "foliant-tests-programs",
    "xtask",
];

fn layer_of(package: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&package))
}

/// Says which dependency goes against the order, and which package has no place in it.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let manifest = root.join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?;
    let members: Vec<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();

    let mut complaints = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        if BESIDE.contains(&name) {
            continue;
        }
        let Some(own) = layer_of(name) else {
            complaints.push(format!("{name} has no place in the order of layers"));
            continue;
        };
        for dependency in &package.dependencies {
            let used = dependency.name.as_str();
            if !members.contains(&used) || dependency.kind == DependencyKind::Development {
                continue;
            }
            if layer_of(used).is_none_or(|layer| layer >= own) {
                complaints.push(format!("{name} uses {used}, which is not above it"));
            }
        }
    }
    Ok(complaints)
}
