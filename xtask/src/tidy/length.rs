//! A file that grows past a screenful of screens holds a second concept.

use syn::visit::{self, Visit};

use crate::tree::Source;

/// Most lines of a file.
const FILE_LIMIT: usize = 700;
/// Most lines of a function that is not a test.
const FUNCTION_LIMIT: usize = 100;

/// Says which files and functions are too long.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let lines = source.text.lines().count();
        if lines > FILE_LIMIT {
            complaints.push(format!("{}: {lines} lines, at most {FILE_LIMIT}", source.path));
        }
        let mut finder = LongFunctions {
            path: &source.path,
            complaints: &mut complaints,
        };
        finder.visit_file(&source.syntax);
    }
    complaints
}

struct LongFunctions<'a> {
    path: &'a str,
    complaints: &'a mut Vec<String>,
}

impl LongFunctions<'_> {
    fn measure(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let braces = body.brace_token.span;
        let lines = braces.close().end().line - braces.open().start().line + 1;
        if lines > FUNCTION_LIMIT {
            let line = signature.ident.span().start().line;
            let name = &signature.ident;
            self.complaints.push(format!(
                "{}:{line}: `{name}` has {lines} lines, at most {FUNCTION_LIMIT}",
                self.path
            ));
        }
    }
}

impl<'ast> Visit<'ast> for LongFunctions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
}
