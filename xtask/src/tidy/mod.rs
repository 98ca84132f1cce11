//! Rules about the source itself.
//!
//! Each rule is a file here, a function from what it looks at to the list of
//! its complaints. A complaint begins with the place.

mod dead_files;
mod features;
mod layers;
mod length;
mod models;
mod names;
mod unsafety;

use std::process::ExitCode;

use anyhow::Result;

use crate::tree;

/// Runs every rule and prints what they say.
pub(crate) fn run() -> Result<ExitCode> {
    let root = tree::root()?;
    let sources = tree::sources(&root)?;
    let rules = [
        ("layers", layers::check(&root)?),
        ("length", length::check(&sources)),
        ("dead files", dead_files::check(&root, &sources)?),
        ("unsafe", unsafety::check(&root, &sources)?),
        ("names", names::check(&sources)),
        ("features", features::check(&root, &sources)?),
        ("models", models::check(&root, &sources)?),
    ];

    let mut complaints = 0;
    for (rule, said) in &rules {
        for line in said {
            println!("{rule}: {line}");
        }
        complaints += said.len();
    }
    println!(
        "tidy: {} files, {} rules, {complaints} complaints",
        sources.len(),
        rules.len()
    );
    Ok(if complaints == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
