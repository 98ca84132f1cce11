//! Memory images: all leaves of some tables, and single translations.

mod by_hand;
mod volatility;

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;

use foliant_arch::x86_64::X86_64;
use foliant_arch::{Found, peek, survey};
use foliant_inspect::{Image, ImageError, Root, TableFormat};
use foliant_units::VirtAddr;

use crate::measure::{Random, cpu_time, median, middle, time};
use crate::row::Row;
use by_hand::ByHand;
use volatility::Volatility;

/// Turns of each contestant against volatility3.
const TURNS: usize = 5;

/// The most that a row may take of the peer's time.
const GATES: [(&str, &str, f64); 3] = [
    ("all leaves, each", "a loop by hand", 2.0),
    ("all leaves, at once", "volatility3", 0.001),
    ("translate, random", "volatility3", 0.02),
];

/// Rows over their gate, in words.
pub fn missed(rows: &[Row]) -> Vec<String> {
    let over = |row: &&Row| {
        let mut gates = GATES.iter();
        gates.any(|(what, peer, most)| (row.what, row.peer) == (*what, *peer) && row.ratio() > *most)
    };
    let words = |row: &Row| format!("{} against {}: {:.5}", row.what, row.peer, row.ratio());
    rows.iter().filter(over).map(words).collect()
}

/// Measures on an image of an x86-64 machine with four levels; also against
/// volatility3, if `python` is an interpreter that has it.
///
/// # Errors
/// If the image cannot be opened, or is of another machine, or volatility3
/// does not answer.
pub fn run(path: &Path, python: Option<&Path>) -> Result<Vec<Row>, ImageError> {
    let image = Image::open(path)?;
    let root = image
        .cpus()
        .first()
        .and_then(|cpu| Root::of_cpu(image.machine(), cpu));
    let root = root.filter(|root| root.format == TableFormat::X86_64);
    let root = root.ok_or(ImageError::Unsupported("images without tables of four levels"))?;
    let hand = ByHand::copy(&image)?;
    let mut pages = Vec::new();
    hand.leaves(root.table.raw(), |page, _| pages.push(page));
    let mut rows = vec![leaves(&image, root, &hand, pages.len())];
    Random(1).shuffle(&mut pages);
    rows.push(translate(&image, root, &hand, &pages));
    if let Some(python) = python {
        rows.extend(against_volatility(path, python, &image, root, &pages)?);
    }
    Ok(rows)
}

/// Both in turn, each in the time that it had a CPU.
fn against_volatility(
    path: &Path,
    python: &Path,
    image: &Image,
    root: Root,
    pages: &[u64],
) -> Result<[Row; 2], ImageError> {
    let mut peer = Volatility::start(python, path, root)?;
    let mut times: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..TURNS {
        let [leaves, single] = &mut times;
        leaves[0].push(cpu_time(1, || {
            black_box(sum_of_leaves(image, root));
        }));
        leaves[1].push(peer.time("mapping")?);
        single[0].push(cpu_time(pages.len(), || translate_all(image, root, pages)));
        single[1].push(peer.time("translate")?);
    }
    let row = |what, [ours, theirs]: [Vec<f64>; 2]| Row {
        what,
        threads: 1,
        peer: "volatility3",
        ours: middle(ours),
        theirs: middle(theirs),
    };
    let [leaves, single] = times;
    Ok([
        row("all leaves, at once", leaves),
        row("translate, random", single),
    ])
}

fn sum_of_leaves(image: &Image, root: Root) -> u64 {
    let mut sum = 0;
    survey::<X86_64>(image, root.table, &root.controls.x86, u64::MAX, |found| {
        if let Found::Leaf(leaf) = found {
            sum += leaf.page.raw() ^ leaf.frame.raw();
        }
        ControlFlow::Continue(())
    });
    sum
}

fn translate_all(image: &Image, root: Root, pages: &[u64]) {
    for &page in pages {
        let at = VirtAddr::new(page);
        black_box(peek::<X86_64>(image, root.table, at, &root.controls.x86));
    }
}

fn leaves(image: &Image, root: Root, hand: &ByHand, count: usize) -> Row {
    let ours = || {
        time(count, || {
            black_box(sum_of_leaves(image, root));
        })
    };
    let theirs = || {
        time(count, || {
            let mut sum = 0;
            hand.leaves(root.table.raw(), |page, frame| sum += (page ^ frame) >> 12);
            black_box(sum);
        })
    };
    Row {
        what: "all leaves, each",
        threads: 1,
        peer: "a loop by hand",
        ours: median(ours),
        theirs: median(theirs),
    }
}

fn translate(image: &Image, root: Root, hand: &ByHand, pages: &[u64]) -> Row {
    let ours = || time(pages.len(), || translate_all(image, root, pages));
    let theirs = || {
        time(pages.len(), || {
            for &page in pages {
                black_box(hand.translate(root.table.raw(), page));
            }
        })
    };
    Row {
        what: "translate, random",
        threads: 1,
        peer: "a loop by hand",
        ours: median(ours),
        theirs: median(theirs),
    }
}
