//! docs/FEATURES.md names a test for every row that is done, and the test exists.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use syn::visit::{self, Visit};

use crate::tree::Source;

const TABLE: &str = "docs/FEATURES.md";

/// A row of the table.
struct Row<'a> {
    number: &'a str,
    state: &'a str,
    tests: &'a str,
}

/// Says which rows have a wrong state, lack a test, or name one that does not exist.
pub(super) fn check(root: &Path, sources: &[Source]) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join(TABLE)).context(TABLE)?;
    let known = tests(sources);

    let mut complaints = Vec::new();
    for row in text.lines().filter_map(row) {
        let quoted = row.tests.split('`').skip(1).step_by(2);
        // What else is quoted is a command or a file.
        let named: Vec<&str> = quoted.filter(|name| name.contains("::")).collect();
        match row.state {
            "not yet" => {}
            "done" | "partly" if named.is_empty() => {
                complaints.push(format!(
                    "{TABLE}: {} is {} but names no test",
                    row.number, row.state
                ));
            }
            "done" | "partly" => {}
            other => complaints.push(format!("{TABLE}: {} has the unknown state `{other}`", row.number)),
        }
        for name in named.iter().filter(|name| !known.contains(**name)) {
            complaints.push(format!(
                "{TABLE}: {} names `{name}`, which is no test",
                row.number
            ));
        }
    }
    Ok(complaints)
}

/// Reads `| A1 | system | works means | state | tests |`.
fn row(line: &str) -> Option<Row<'_>> {
    let cells: Vec<&str> = line
        .strip_prefix('|')?
        .trim_end()
        .strip_suffix('|')?
        .split('|')
        .map(str::trim)
        .collect();
    let [number, _system, _means, state, tests] = cells[..] else {
        return None;
    };
    let mut letters = number.chars();
    let numbered = letters.next()?.is_ascii_uppercase() && letters.next()?.is_ascii_digit();
    numbered.then_some(Row { number, state, tests })
}

/// Every test, as `path/to/file.rs::name`.
fn tests(sources: &[Source]) -> BTreeSet<String> {
    let mut finder = Tests {
        path: "",
        found: BTreeSet::new(),
    };
    for source in sources {
        finder.path = &source.path;
        finder.visit_file(&source.syntax);
    }
    finder.found
}

struct Tests<'a> {
    path: &'a str,
    found: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Tests<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if item
            .attrs
            .iter()
            .any(|attribute| attribute.path().is_ident("test"))
        {
            self.found.insert(format!("{}::{}", self.path, item.sig.ident));
        }
        visit::visit_item_fn(self, item);
    }

    /// Tests written by a macro, such as `proptest!`: its `fn`s count.
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let words: Vec<String> = call
            .tokens
            .clone()
            .into_iter()
            .map(|token| token.to_string())
            .collect();
        for pair in words.windows(2).filter(|pair| pair[0] == "fn") {
            self.found.insert(format!("{}::{}", self.path, pair[1]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    #[test]
    fn every_test_named_in_the_features_table_exists() {
        let root = tree::root().unwrap();
        let sources = tree::sources(&root).unwrap();
        assert_eq!(check(&root, &sources).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_row_has_five_cells_and_a_number() {
        let row = row("| A1 | x | y | done | `a.rs::b` |").unwrap();
        assert_eq!((row.number, row.state, row.tests), ("A1", "done", "`a.rs::b`"));
        assert!(super::row("| # | system | works means | state | test |").is_none());
    }
}
