//! Memory that comes while others look.

use foliant_platform::sync::Arc;
use loom::thread;

use super::holds_and_catches;
use super::world::Pieces;
use crate::mutant::Mutant;
use crate::ram::Table;
use crate::sections::{Origin, SectionInfo, Sections};

#[test]
fn loom_whoever_finds_a_piece_sees_it_blank() {
    holds_and_catches(
        || {
            let one = Arc::new(Pieces::new());
            let two = one.clone();
            let other = thread::spawn(move || two.give());
            if let Some(element) = one.table.get(1) {
                element.read();
            }
            other.join().unwrap();
            assert!(one.table.get(1).is_some());
        },
        &[Mutant::PieceRelaxed],
    );
}

#[test]
fn loom_whoever_is_told_of_a_section_finds_its_pieces() {
    holds_and_catches(
        || {
            let sections = || Sections::new(Table::leaked(1), Table::leaked(0), core::iter::empty(), 1);
            let one = Arc::new((Pieces::new(), sections()));
            let two = one.clone();
            let other = thread::spawn(move || {
                two.0.give();
                let added = SectionInfo {
                    origin: Origin::Added,
                    ..SectionInfo::default()
                };
                two.1.set(0, added);
            });
            if one.1.info(0).origin == Origin::Added {
                one.0.table.get(1).expect("the piece comes first").read();
            }
            other.join().unwrap();
        },
        &[Mutant::SectionRelaxed],
    );
}
