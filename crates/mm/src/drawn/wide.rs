//! Five levels of tables: who gets addresses above 47 bits.

use super::*;
use crate::layout::{TASK_END, TASK_END_FIVE};

const PAGE: u64 = 4096;

fn layout(growth: Growth) -> Layout {
    Layout::new(8 << 20, growth, Randomness::None)
}

fn paper(levels: u8, growth: Growth) -> Paper {
    let layout = match levels {
        5 => layout(growth).with_five_levels(),
        _ => layout(growth),
    };
    Paper {
        map: AddressMap::new(layout, Limits::default()),
    }
}

fn map(paper: &Paper, hint: u64, len: u64, flags: MapFlags) -> Result<u64, Errno> {
    let request = MapRequest {
        addr: VirtAddr::new(hint),
        len,
        prot: Prot::READ_WRITE,
        flags: flags | MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::NORESERVE,
        offset: 0,
        file: None,
    };
    paper
        .change(|change| change.mmap(&request))
        .map(|mapped| mapped.range.start.raw())
}

#[test]
fn who_does_not_hint_above_47_bits_stays_below() {
    let none = MapFlags::empty();
    for growth in [Growth::TopDown, Growth::BottomUp] {
        let (four, five) = (paper(4, growth), paper(5, growth));
        // Not even where there is no more room below.
        for len in [PAGE, 100 * PAGE, 1 << 44, 1 << 45, 1 << 46, 1 << 46] {
            for hint in [0, 0x1000_0000, TASK_END.raw() - PAGE, TASK_END.raw()] {
                assert_eq!(map(&five, hint, len, none), map(&four, hint, len, none));
            }
        }
    }
}

#[test]
fn who_hints_above_47_bits_gets_that_place_or_the_whole_space() {
    let none = MapFlags::empty();
    let five = paper(5, Growth::TopDown);
    assert_eq!(map(&five, 1 << 47, PAGE, none), Ok(1 << 47));
    assert_eq!(map(&five, 1 << 55, PAGE, none), Ok(1 << 55));
    // The place is taken, or none: from the top of what there is.
    let top = layout(Growth::TopDown).mmap_base.raw() + (TASK_END_FIVE.raw() - TASK_END.raw());
    assert_eq!(map(&five, 1 << 55, PAGE, none), Ok(top - PAGE));
    assert_eq!(map(&five, !0xfff, PAGE, none), Ok(top - 2 * PAGE));
    // More than 47 bits have.
    assert_eq!(map(&five, 0, 1 << 50, none), Err(Errno::NOMEM));
    assert!(map(&five, 1 << 47, 1 << 50, none).is_ok());

    let up = paper(5, Growth::BottomUp);
    assert_eq!(map(&up, 1 << 47, PAGE, none), Ok(1 << 47));
    let base = layout(Growth::BottomUp).mmap_base_up.raw();
    assert_eq!(map(&up, 1 << 47, PAGE, none), Ok(base), "the place is taken");
}

#[test]
fn a_hint_across_the_border_is_no_hint() {
    let none = MapFlags::empty();
    let (four, five) = (paper(4, Growth::TopDown), paper(5, Growth::TopDown));
    let across = TASK_END.raw() - PAGE;
    assert_eq!(map(&five, across, 2 * PAGE, none), map(&four, 0, 2 * PAGE, none));
    assert_eq!(map(&five, across, PAGE, none), Ok(across));
}

#[test]
fn a_fixed_address_may_lie_anywhere_in_the_space() {
    let (four, five) = (paper(4, Growth::TopDown), paper(5, Growth::TopDown));
    let fixed = |paper, at, len| map(paper, at, len, MapFlags::FIXED);
    assert_eq!(
        fixed(&five, TASK_END.raw() - PAGE, 2 * PAGE),
        Ok(TASK_END.raw() - PAGE)
    );
    let last = TASK_END_FIVE.raw() - PAGE;
    assert_eq!(fixed(&five, last, PAGE), Ok(last));
    assert_eq!(fixed(&five, last, 2 * PAGE), Err(Errno::NOMEM));
    assert_eq!(fixed(&four, 1 << 47, PAGE), Err(Errno::NOMEM));
}
