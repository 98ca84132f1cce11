//! A fault holds its VMA, and whoever unmaps retires it first.

use alloc::sync::Arc as StdArc;

use foliant_platform::sync::{Arc, Mutex, SpinLock};
use foliant_units::{Vpn, VpnRange};

use crate::flags::VmFlags;
use crate::tree::{Published, Tree};
use crate::vma::{Backing, Lineage, Source, Vma};

/// VMAs without pages.
struct Drawn;

struct NoFamily;

impl Lineage for NoFamily {
    fn is_fork_child(&self) -> bool {
        false
    }
}

impl Backing for Drawn {
    type Object = ();
    type Family = NoFamily;
}

/// What a seeded mistake leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    NotRetired,
    ZappedFirst,
    NotHeld,
}

/// A space of one VMA of one page.
struct Machine {
    vmas: Published<Vma<Drawn>>,
    book: Mutex<()>,
    mapped: SpinLock<bool>,
}

const PAGE: Vpn = Vpn::new(7);

impl Machine {
    fn new() -> Self {
        let range = VpnRange::new(PAGE, Vpn::new(8));
        let vma = Vma::new(range, VmFlags::empty(), 7, Source::Anonymous);
        let mut tree = Tree::new();
        tree.insert(StdArc::new(vma));
        Self {
            vmas: Published::new(tree),
            book: Mutex::new(()),
            mapped: SpinLock::new(false),
        }
    }

    fn fault(&self, mistake: Mistake) {
        while let Some(vma) = self.vmas.with(|tree| tree.get(PAGE).cloned()) {
            let held = vma.read();
            if held.is_some() {
                if mistake == Mistake::NotHeld {
                    drop(held);
                }
                *self.mapped.lock() = true;
                return;
            }
            drop(self.book.lock());
        }
    }

    fn unmap(&self, mistake: Mistake) {
        let _book = self.book.lock();
        let mut tree = self.vmas.snapshot();
        if mistake == Mistake::ZappedFirst {
            *self.mapped.lock() = false;
        }
        if let Some(vma) = tree.get(PAGE).cloned() {
            if mistake != Mistake::NotRetired {
                vma.retire();
            }
            tree.remove(vma.range);
        }
        if mistake != Mistake::ZappedFirst {
            *self.mapped.lock() = false;
        }
        self.vmas.publish(tree);
    }
}

fn model(mistake: Mistake) {
    loom::model(move || {
        let machine = Arc::new(Machine::new());
        let faulting = machine.clone();
        let thread = loom::thread::spawn(move || faulting.fault(mistake));
        machine.unmap(mistake);
        thread.join().expect("the fault");
        assert!(!*machine.mapped.lock(), "a page is mapped where no VMA is");
    });
}

#[test]
fn loom_nothing_is_mapped_where_no_vma_is() {
    model(Mistake::None);
}

#[test]
#[should_panic(expected = "a page is mapped where no VMA is")]
fn loom_mutant_that_does_not_retire_is_caught() {
    model(Mistake::NotRetired);
}

#[test]
#[should_panic(expected = "a page is mapped where no VMA is")]
fn loom_mutant_that_zaps_first_is_caught() {
    model(Mistake::ZappedFirst);
}

#[test]
#[should_panic(expected = "a page is mapped where no VMA is")]
fn loom_mutant_that_lets_the_vma_go_is_caught() {
    model(Mistake::NotHeld);
}
