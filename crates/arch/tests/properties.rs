//! Properties of entries and TLBs that hold for all inputs.
#![allow(clippy::unwrap_used)]

use foliant_arch::tlb::{Answer, Pcid, Shape, StructureShapes, Tlb, TlbConfig};
use foliant_arch::x86_64::{
    Absent, Control, Markers, MigrationKind, Pte, PteFlags, SwapEntry, SwapMarks, X86_64,
};
use foliant_arch::{Access, AccessKind, Entry, Format, Level, Start, Translation};
use foliant_units::{Pfn, PhysAddr, Vpn, VpnRange};
use proptest::prelude::*;

const ROOT: PhysAddr = PhysAddr::new(0x1000);
const SPACE: u64 = 2048;

/// One thing done to a TLB.
#[derive(Clone, Debug)]
enum Step {
    Fill {
        tag: u16,
        page: u64,
        frame: u64,
        level: Level,
        global: bool,
    },
    Page {
        tag: u16,
        page: u64,
    },
    Range {
        tag: u16,
        start: u64,
        len: u64,
    },
    Tag(u16),
    AllButGlobal,
    All,
}

fn level() -> impl Strategy<Value = Level> {
    prop_oneof![4 => Just(Level::PTE), 1 => Just(Level::PMD)]
}

fn step() -> impl Strategy<Value = Step> {
    let fill = (0..3u16, 0..SPACE, 1..1000u64, level(), prop::bool::weighted(0.1)).prop_map(
        |(tag, page, frame, level, global)| Step::Fill {
            tag,
            page,
            frame,
            level,
            global,
        },
    );
    prop_oneof![
        8 => fill,
        2 => (0..3u16, 0..SPACE).prop_map(|(tag, page)| Step::Page { tag, page }),
        2 => (0..3u16, 0..SPACE, 0..600u64).prop_map(|(tag, start, len)| Step::Range { tag, start, len }),
        1 => (0..3u16).prop_map(Step::Tag),
        1 => Just(Step::AllButGlobal),
        1 => Just(Step::All),
    ]
}

/// What a TLB without limits would hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    tag: u16,
    range: VpnRange,
    frame: Pfn,
    global: bool,
}

impl Held {
    fn serves(&self, tag: u16) -> bool {
        self.global || self.tag == tag
    }
}

fn translation(page: u64, frame: u64, level: Level, global: bool) -> Translation<X86_64> {
    let range = X86_64::GEOMETRY.entry_range(level, Vpn::new(page));
    let global = if global {
        PteFlags::GLOBAL
    } else {
        PteFlags::empty()
    };
    let flags = PteFlags::PRESENT | PteFlags::USER | PteFlags::ACCESSED | global;
    let via = Start {
        table: PhysAddr::new(frame << 12),
        level,
        rights: X86_64::OPEN,
    };
    let leaf = Pte::new(Pfn::new(frame << 9), flags);
    let rights = X86_64::narrow(X86_64::OPEN, leaf, level);
    Translation {
        page: range.start,
        frame: Pfn::new(frame << 9),
        level,
        rights,
        leaf,
        via,
    }
}

/// Does `step` to the TLB without limits.
fn act(held: &mut Vec<Held>, step: &Step) {
    match *step {
        Step::Fill {
            tag,
            page,
            frame,
            level,
            global,
        } => {
            let range = X86_64::GEOMETRY.entry_range(level, Vpn::new(page));
            held.push(Held {
                tag,
                range,
                frame: Pfn::new(frame << 9),
                global,
            });
        }
        Step::Page { tag, page } => {
            held.retain(|held| !(held.serves(tag) && held.range.contains(Vpn::new(page))))
        }
        Step::Range { tag, start, len } => {
            let pages = VpnRange::new(Vpn::new(start), Vpn::new(start + len));
            held.retain(|held| !(held.serves(tag) && held.range.overlaps(pages)));
        }
        Step::Tag(tag) => held.retain(|held| held.global || held.tag != tag),
        Step::AllButGlobal => held.retain(|held| held.global),
        Step::All => held.clear(),
    }
}

fn act_on_tlb(tlb: &mut Tlb<X86_64>, step: &Step) {
    match *step {
        Step::Fill {
            tag,
            page,
            frame,
            level,
            global,
        } => {
            tlb.fill(Pcid(tag), &translation(page, frame, level, global));
        }
        Step::Page { tag, page } => tlb.flush_page(Pcid(tag), Vpn::new(page)),
        Step::Range { tag, start, len } => {
            tlb.flush_range(
                Pcid(tag),
                VpnRange::new(Vpn::new(start), Vpn::new(start + len)),
                true,
            );
        }
        Step::Tag(tag) => tlb.flush_tag(Pcid(tag)),
        Step::AllButGlobal => tlb.flush_all_but_global(),
        Step::All => tlb.flush_all(),
    }
}

proptest! {
    /// A TLB forgets what it likes, but never knows what was flushed.
    #[test]
    fn a_tlb_never_answers_what_was_flushed(steps in prop::collection::vec(step(), 1..60)) {
        let small = Shape { sets: 4, ways: 2 };
        let mut tlb = Tlb::new(TlbConfig { base: small, large: small, huge: small, links: StructureShapes { pde: small, pdpte: small, pml4e: small, pml5e: small }, ..TlbConfig::default() });
        let mut held = Vec::new();
        for step in &steps {
            act(&mut held, step);
            act_on_tlb(&mut tlb, step);
            for tag in 0..3 {
                for page in (0..SPACE).step_by(37) {
                    let (page, at) = (Vpn::new(page), Vpn::new(page).base());
                    let access = Access::user(AccessKind::Read);
                    if let Answer::Hit(entry) = tlb.look_up(Pcid(tag), ROOT, at, access, &Control::default()) {
                        let known = held.iter().any(|held| {
                            held.serves(tag) && held.range == entry.range() && held.frame == entry.frame
                        });
                        prop_assert!(known, "{entry:?} for {page:?} was flushed");
                    }
                }
            }
        }
    }

    #[test]
    fn the_entry_of_a_frame_gives_back_what_went_in(
        frame in 0..1u64 << 40,
        bits in any::<u64>(),
        key in 0..16u8,
    ) {
        let flags = PteFlags::from_bits_truncate(bits).difference(PteFlags::PROT_NONE);
        let flags = if flags.contains(PteFlags::PRESENT) { flags } else { flags | PteFlags::PROT_NONE };
        let entry = Pte::new(Pfn::new(frame), flags).with_key(key);
        prop_assert_eq!((entry.frame(), entry.flags(), entry.key()), (Pfn::new(frame), flags, key));
        prop_assert!(entry.has_frame() && !entry.is_absent() && Absent::decode(entry).is_none());
        let hidden = entry.with_flags(PteFlags::PROT_NONE);
        prop_assert_eq!((hidden.frame(), hidden.key()), (Pfn::new(frame), key));
        prop_assert_eq!(hidden.with_flags(flags), entry);
    }

    #[test]
    fn an_absent_entry_is_never_present_and_keeps_what_it_says(
        area in 0..24u8,
        offset in 0..1u64 << 50,
        frame in 0..1u64 << 34,
        young in any::<bool>(),
        dirty in any::<bool>(),
        marks in 0..16u64,
    ) {
        let kinds = [
            Absent::Swap(SwapEntry::new(area, offset).unwrap()),
            Absent::Migration { frame: Pfn::new(frame), kind: MigrationKind::Write, young, dirty },
            Absent::HwPoison(Pfn::new(frame)),
            Absent::Marker(Markers::from_bits_truncate(offset)),
        ];
        let marks = SwapMarks::from_bits_truncate(marks);
        for kind in kinds {
            let entry = kind.encode().with_marks(marks);
            prop_assert!(!Entry::is_present(entry) && !entry.is_inaccessible() && entry.is_absent());
            prop_assert_eq!((Absent::decode(entry), entry.marks()), (Some(kind), marks));
        }
    }
}
