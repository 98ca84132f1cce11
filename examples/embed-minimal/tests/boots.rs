//! The example runs, as a program whose every allocation goes through Foliant.

use std::collections::HashMap;
use std::thread;

fn main() {
    let kernel = foliant_embed_minimal::bring_up().unwrap_or_else(|why| panic!("{why}"));
    let said = kernel.show().unwrap_or_else(|why| panic!("{why}"));
    assert!(
        said.starts_with("1000 squares, the last is Some(998001); "),
        "{said}"
    );

    // The standard library's own allocations are served too, also at once.
    thread::scope(|scope| {
        for seed in 0..3u64 {
            scope.spawn(move || {
                let words: HashMap<u64, String> = (0..2000)
                    .map(|n| (n * seed, format!("{seed} times {n}")))
                    .collect();
                assert!(words.values().all(|text| text.starts_with(&seed.to_string())));
            });
        }
    });
    println!("{said}");
}
