//! Memory images: all leaves of some tables, and single translations.

mod by_hand;

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;

use foliant_arch::x86_64::X86_64;
use foliant_arch::{Found, peek, survey};
use foliant_inspect::{Image, ImageError, Root, TableFormat};
use foliant_units::VirtAddr;

use crate::measure::{Random, median, time};
use crate::row::Row;
use by_hand::ByHand;

/// Measures on an image of an x86-64 machine with four levels.
///
/// # Errors
/// If the image cannot be opened, or is of another machine.
pub fn run(path: &Path) -> Result<Vec<Row>, ImageError> {
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
    Ok(rows)
}

fn leaves(image: &Image, root: Root, hand: &ByHand, count: usize) -> Row {
    let control = root.controls.x86;
    let ours = || {
        time(count, || {
            let mut sum = 0;
            survey::<X86_64>(image, root.table, &control, u64::MAX, |found| {
                if let Found::Leaf(leaf) = found {
                    sum += leaf.page.raw() ^ leaf.frame.raw();
                }
                ControlFlow::Continue(())
            });
            black_box(sum);
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
    let control = root.controls.x86;
    let ours = || {
        time(pages.len(), || {
            for &page in pages {
                black_box(peek::<X86_64>(image, root.table, VirtAddr::new(page), &control));
            }
        })
    };
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
