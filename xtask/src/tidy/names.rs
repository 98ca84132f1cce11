//! Words that do not belong in finished source.

use proc_macro2::{TokenStream, TokenTree};

use crate::tree::Source;

/// Macros that mean "not done".
const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];
/// Marks in comments that mean the same.
const MARKS: &[&str] = &["FIXME", "XXX", "HACK"];
/// Code reaches the model checker through one module only, so that what is
/// checked is what runs; the models themselves may name it.
const MODEL_CHECKER: &str = "loom";
const MODEL_CHECKER_HOME: &str = "crates/platform/src/sync/";
/// What stands before a file's models.
const MODELS: &str = "#[cfg(all(test, loom))]";

/// Says where such a word stands.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        if source.path.starts_with("xtask/") {
            continue;
        }
        let Ok(tokens) = source.text.parse::<TokenStream>() else {
            continue;
        };
        words(tokens, source, &mut complaints);
        for (number, line) in source.text.lines().enumerate() {
            if let Some(mark) = MARKS.iter().find(|mark| has_word(line, mark)) {
                complaints.push(format!("{}:{}: {mark}", source.path, number + 1));
            }
        }
    }
    complaints
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|letter: char| !letter.is_ascii_alphanumeric())
        .any(|part| part == word)
}

fn words(tokens: TokenStream, source: &Source, complaints: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => words(group.stream(), source, complaints),
            TokenTree::Ident(word) => {
                let followed_by = |sign: char| matches!(tokens.get(at + 1), Some(TokenTree::Punct(next)) if next.as_char() == sign);
                let name = word.to_string();
                let line = word.span().start().line;
                if UNFINISHED.contains(&name.as_str()) && followed_by('!') {
                    complaints.push(format!("{}:{line}: {name}!", source.path));
                }
                if name == "ignore" && at == 0 && tokens.len() <= 3 && is_attribute(source, line) {
                    complaints.push(format!(
                        "{}:{line}: a test that is ignored proves nothing",
                        source.path
                    ));
                }
                if name == MODEL_CHECKER && followed_by(':') && !may_name_loom(source, line) {
                    complaints.push(format!(
                        "{}:{line}: only {MODEL_CHECKER_HOME} names loom",
                        source.path
                    ));
                }
                if name == "static"
                    && matches!(tokens.get(at + 1), Some(TokenTree::Ident(next)) if next == "mut")
                {
                    complaints.push(format!("{}:{line}: static mut", source.path));
                }
            }
            _ => {}
        }
    }
}

fn may_name_loom(source: &Source, line: usize) -> bool {
    let model_file = source.path.contains("loom") || source.path.contains("model");
    source.path.starts_with(MODEL_CHECKER_HOME)
        || model_file
        || source.text.lines().take(line).any(|text| text.trim() == MODELS)
}

fn is_attribute(source: &Source, line: usize) -> bool {
    source
        .text
        .lines()
        .nth(line - 1)
        .is_some_and(|text| text.trim_start().starts_with("#[ignore"))
}
