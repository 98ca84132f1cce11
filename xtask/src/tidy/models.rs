//! docs/models.md tells of every atomic and every lock of the crates below the
//! kernel which model shows that it holds, and with which seeded mistakes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::tree::Source;

const TABLE: &str = "docs/models.md";

/// The crates that the table is about.
const CRATES: [&str; 5] = ["platform", "phys", "paging", "kvirt", "mm"];

/// Types whose fields make a file one that the table must name.
const LOCKS: [&str; 4] = ["SpinLock", "Mutex", "RwLock", "CpuFlag"];

/// Compares the table with the code.
pub(super) fn check(root: &Path, sources: &[Source]) -> Result<Vec<String>> {
    let table = std::fs::read_to_string(root.join(TABLE)).context(TABLE)?;
    Ok(compare(&table, sources))
}

/// A row of the table: what is guarded, where, by which models with which mutants.
struct Row<'a> {
    what: &'a str,
    files: Vec<&'a str>,
    models: Vec<&'a str>,
    /// Why there is no model, if there is none.
    reason: bool,
    mutants: Vec<&'a str>,
}

/// What the code has.
#[derive(Default)]
struct Code {
    /// Files with an atomic or a lock in a field.
    shared: BTreeSet<String>,
    /// Tests whose names begin with `loom_`, as `path/to/file.rs::name`.
    models: BTreeSet<String>,
    /// Mutants, as `crate::Name`.
    mutants: BTreeMap<String, Uses>,
}

/// Where a mutant is named.
#[derive(Default)]
struct Uses {
    is_declared: bool,
    in_code: bool,
    in_test: bool,
}

fn compare(table: &str, sources: &[Source]) -> Vec<String> {
    let rows: Vec<Row<'_>> = table.lines().filter_map(row).collect();
    let code = Code::of(sources);
    let mut complaints = Vec::new();
    let mut say = |text: String| complaints.push(format!("{TABLE}: {text}"));

    for row in &rows {
        for file in row.files.iter().filter(|file| !exists(sources, file)) {
            say(format!("`{}` names `{file}`, which is no file", row.what));
        }
        for model in row.models.iter().filter(|model| !code.models.contains(**model)) {
            say(format!("`{}` names `{model}`, which is no model", row.what));
        }
        for mutant in row.mutants_by_crate() {
            if !code.mutants.get(&mutant).is_some_and(|uses| uses.is_declared) {
                say(format!("`{}` names `{mutant}`, which is no mutant", row.what));
            }
        }
        let caught = !row.mutants.is_empty() || row.models.iter().any(|name| name.contains("::loom_mutant"));
        if row.models.is_empty() && !row.reason {
            say(format!("`{}` has neither a model nor a reason", row.what));
        } else if !row.models.is_empty() && !caught {
            say(format!("the models of `{}` catch no mutant", row.what));
        }
    }

    let files: BTreeSet<&str> = rows.iter().flat_map(|row| row.files.iter().copied()).collect();
    for file in code.shared.iter().filter(|file| !files.contains(file.as_str())) {
        say(format!("`{file}` has an atomic or a lock and is in no row"));
    }
    let models: BTreeSet<&str> = rows.iter().flat_map(|row| row.models.iter().copied()).collect();
    for model in code
        .models
        .iter()
        .filter(|model| !models.contains(model.as_str()))
    {
        say(format!("the model `{model}` is in no row"));
    }
    let mutants: BTreeSet<String> = rows.iter().flat_map(Row::mutants_by_crate).collect();
    for (mutant, uses) in code.mutants.iter().filter(|(_, uses)| uses.is_declared) {
        if !mutants.contains(mutant) {
            say(format!("the mutant `{mutant}` is in no row"));
        }
        if !uses.in_code {
            say(format!("the mutant `{mutant}` changes nothing"));
        }
        if !uses.in_test {
            say(format!("no test uses the mutant `{mutant}`"));
        }
    }
    complaints
}

fn exists(sources: &[Source], file: &str) -> bool {
    sources.iter().any(|source| source.path == file)
}

/// Reads `| what | files | models, or why none | mutants |`.
fn row(line: &str) -> Option<Row<'_>> {
    let cells: Vec<&str> = line
        .strip_prefix('|')?
        .trim_end()
        .strip_suffix('|')?
        .split('|')
        .map(str::trim)
        .collect();
    let [what, files, models, mutants] = cells[..] else {
        return None;
    };
    let files = quoted(files);
    let text = models.split('`').step_by(2).any(|words| words.trim().len() > 3);
    (!files.is_empty()).then(|| Row {
        what,
        files,
        models: quoted(models)
            .into_iter()
            .filter(|name| name.contains("::"))
            .collect(),
        reason: text,
        mutants: quoted(mutants),
    })
}

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

impl Row<'_> {
    /// Mutants belong to the crate of the row's first file.
    fn mutants_by_crate(&self) -> Vec<String> {
        let of = self.files.first().and_then(|file| crate_of(file)).unwrap_or("");
        self.mutants.iter().map(|name| format!("{of}::{name}")).collect()
    }
}

/// The crate of a file, if the table is about it.
fn crate_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("crates/")?.split("/src/").next()?;
    CRATES.contains(&name).then_some(name)
}

impl Code {
    fn of(sources: &[Source]) -> Self {
        let tests = files_of_tests(sources);
        let mut code = Self::default();
        for source in sources {
            let Some(name) = crate_of(&source.path) else {
                continue;
            };
            let mut finder = Finder {
                path: &source.path,
                of: name,
                for_tests: tests.iter().any(|prefix| source.path.starts_with(prefix)),
                in_test: false,
                code: &mut code,
            };
            finder.visit_file(&source.syntax);
        }
        code
    }
}

/// Beginnings of the paths of files that are compiled for tests only.
fn files_of_tests(sources: &[Source]) -> Vec<String> {
    let mut prefixes = Vec::new();
    for source in sources {
        let Some((folder, file)) = source.path.rsplit_once('/') else {
            continue;
        };
        let below = match file.strip_suffix(".rs") {
            Some("lib" | "mod") | None => folder.to_string(),
            Some(name) => format!("{folder}/{name}"),
        };
        for item in &source.syntax.items {
            if let syn::Item::Mod(module) = item
                && module.content.is_none()
                && is_for_tests(&module.attrs)
            {
                prefixes.push(format!("{below}/{}.rs", module.ident));
                prefixes.push(format!("{below}/{}/", module.ident));
            }
        }
    }
    prefixes
}

/// Whether there is a `#[cfg(test)]` or `#[cfg(all(test, ...))]`.
fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let words = list.tokens.to_string().replace(' ', "");
        list.path.is_ident("cfg") && (words == "test" || words.starts_with("all(test,"))
    })
}

struct Finder<'a> {
    path: &'a str,
    of: &'a str,
    for_tests: bool,
    in_test: bool,
    code: &'a mut Code,
}

impl Finder<'_> {
    fn names_mutant(&mut self, name: &str) {
        let uses = self
            .code
            .mutants
            .entry(format!("{}::{name}", self.of))
            .or_default();
        uses.in_test |= self.in_test;
        uses.in_code |= !self.in_test && !self.for_tests;
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let outer = self.for_tests;
        self.for_tests |= is_for_tests(&item.attrs);
        visit::visit_item_mod(self, item);
        self.for_tests = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let is_test = item
            .attrs
            .iter()
            .any(|attribute| attribute.path().is_ident("test"));
        let name = item.sig.ident.to_string();
        if is_test && name.starts_with("loom_") {
            self.code.models.insert(format!("{}::{name}", self.path));
        }
        let outer = self.in_test;
        self.in_test |= is_test;
        visit::visit_item_fn(self, item);
        self.in_test = outer;
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        if item.ident == "Mutant" {
            for variant in &item.variants {
                let name = format!("{}::{}", self.of, variant.ident);
                self.code.mutants.entry(name).or_default().is_declared = true;
            }
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        let mut types = Types(false);
        types.visit_type(&field.ty);
        if types.0 && !self.for_tests {
            self.code.shared.insert(self.path.to_string());
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if let [.., of, name] = &names[..]
            && of == "Mutant"
        {
            self.names_mutant(name);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let mut words = Vec::new();
        flatten(call.tokens.clone(), &mut words);
        for group in words.windows(4).filter(|group| group[0] == "Mutant") {
            self.names_mutant(&group[3]);
        }
    }
}

/// The words of a macro call, those in brackets too.
fn flatten(tokens: TokenStream, words: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => flatten(group.stream(), words),
            other => words.push(other.to_string()),
        }
    }
}

/// Whether a type has an atomic or a lock in it.
struct Types(bool);

impl<'ast> Visit<'ast> for Types {
    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        let name = segment.ident.to_string();
        self.0 |= name.starts_with("Atomic") || LOCKS.contains(&&*name);
        visit::visit_path_segment(self, segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.to_string(),
            text: text.to_string(),
            syntax: syn::parse_file(text).unwrap(),
        }
    }

    /// A crate with one word, one mutant and one model.
    fn small() -> Vec<Source> {
        let word = "struct Word(AtomicU32);
            impl Word { fn set(&self) { if is_on(Mutant::InTwoSteps) { self.two() } } }
            #[cfg(all(test, loom))] mod models {
                struct Machine { word: SpinLock<u32> }
                #[test] fn loom_it_holds() { holds_and_catches(model, &[Mutant::InTwoSteps]); }
            }";
        vec![
            source("crates/phys/src/word.rs", word),
            source("crates/phys/src/mutant.rs", "enum Mutant { InTwoSteps }"),
            source("crates/phys/src/plain.rs", "struct Plain(u32);"),
            source("crates/phys/src/lib.rs", "#[cfg(test)] mod helper; mod word;"),
            source("crates/phys/src/helper.rs", "struct Helper(AtomicU32);"),
            source("crates/uapi/src/other.rs", "struct Elsewhere(AtomicU32);"),
        ]
    }

    const ROW: &str =
        "| a word | `crates/phys/src/word.rs` | `crates/phys/src/word.rs::loom_it_holds` | `InTwoSteps` |";

    #[test]
    fn every_word_and_lock_is_in_the_table() {
        let root = tree::root().unwrap();
        let sources = tree::sources(&root).unwrap();
        assert_eq!(check(&root, &sources).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_table_that_names_everything_is_well() {
        assert_eq!(compare(ROW, &small()), Vec::<String>::new());
    }

    #[test]
    fn a_missing_row_is_noticed() {
        let said = compare("", &small());
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].contains("`crates/phys/src/word.rs` has an atomic"));
        assert!(said[1].contains("loom_it_holds` is in no row"));
        assert!(said[2].contains("the mutant `phys::InTwoSteps` is in no row"));
    }

    #[test]
    fn what_does_not_exist_is_noticed() {
        let row = "| b | `crates/phys/src/gone.rs` | `crates/phys/src/gone.rs::loom_gone` | `Gone` |";
        let said = compare(&format!("{ROW}\n{row}"), &small());
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said.iter().all(|line| line.contains("which is no")));
    }

    #[test]
    fn a_row_without_a_model_says_why() {
        let silent = "| b | `crates/phys/src/plain.rs` | | |";
        let said = compare(&format!("{ROW}\n{silent}"), &small());
        assert!(said[0].contains("neither a model nor a reason"), "{said:?}");
        let reasoned = "| b | `crates/phys/src/plain.rs` | statistics | |";
        assert_eq!(
            compare(&format!("{ROW}\n{reasoned}"), &small()),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_mutant_that_no_test_uses_is_noticed() {
        let mut sources = small();
        sources.push(source("crates/phys/src/more.rs", "enum Mutant { Idle }"));
        let row = ROW.replace("`InTwoSteps`", "`InTwoSteps`, `Idle`");
        let said = compare(&row, &sources);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("changes nothing") && said[1].contains("no test uses"));
    }

    #[test]
    fn models_that_catch_nothing_are_noticed() {
        let row = ROW.replace("`InTwoSteps` |", " |");
        let said = compare(&row, &small());
        assert!(
            said.iter().any(|line| line.contains("catch no mutant")),
            "{said:?}"
        );
    }
}
