//! `unsafe` lives in few files, and each use of it says why it is sound.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};

use crate::tree::Source;

/// The list of files that may hold `unsafe`.
const LIST: &str = "xtask/unsafe-files.txt";
/// How far above its `unsafe` a SAFETY comment may begin, for statements and
/// lists that span lines.
const REACH: usize = 16;

/// Says which files use `unsafe` without being listed, are listed without
/// using it, or leave a block or an `impl` unexplained.
pub(super) fn check(root: &Path, sources: &[Source]) -> Result<Vec<String>> {
    let listed = std::fs::read_to_string(root.join(LIST)).context(LIST)?;
    let listed: BTreeSet<&str> = listed
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();

    let mut complaints = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources {
        let tokens: TokenStream = source.text.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
        let mut found = Vec::new();
        collect(tokens, &mut found);
        if found.is_empty() {
            continue;
        }
        used.insert(source.path.as_str());
        if !listed.contains(source.path.as_str()) {
            complaints.push(format!(
                "{}:{}: `unsafe` in a file that {LIST} does not list",
                source.path, found[0].line
            ));
        }
        let lines: Vec<&str> = source.text.lines().collect();
        for place in found
            .iter()
            .filter(|place| place.needs_reason && !explained(&lines, place.line))
        {
            complaints.push(format!("{}:{}: no `// SAFETY:` above", source.path, place.line));
        }
    }
    for path in listed.difference(&used) {
        complaints.push(format!("{LIST}: {path} holds no `unsafe` any more"));
    }
    Ok(complaints)
}

struct Place {
    line: usize,
    /// A block or an `impl`; functions, traits and externs document theirs instead.
    needs_reason: bool,
}

fn collect(tokens: TokenStream, found: &mut Vec<Place>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => collect(group.stream(), found),
            TokenTree::Ident(word) if word == "unsafe" => {
                let needs_reason = match tokens.peek() {
                    Some(TokenTree::Group(_)) => true,
                    Some(TokenTree::Ident(next)) => next == "impl",
                    _ => false,
                };
                let line = word.span().start().line;
                // `#[unsafe(naked)]` is an attribute, `unsafe { }` a block.
                let attribute = matches!(tokens.peek(), Some(TokenTree::Group(group))
                    if group.delimiter() == proc_macro2::Delimiter::Parenthesis);
                if !attribute {
                    found.push(Place { line, needs_reason });
                }
            }
            _ => {}
        }
    }
}

/// Whether one of the lines above (or the line itself) begins the reason.
fn explained(lines: &[&str], line: usize) -> bool {
    let first = line.saturating_sub(REACH + 1);
    let last = line.min(lines.len());
    lines[first..last]
        .iter()
        .rev()
        .any(|text| text.contains("SAFETY"))
        || lines.get(line).is_some_and(|next| next.contains("SAFETY"))
}
