//! Every combination of rights at every level, against a table written from
//! the manual (Intel SDM volume 3: 4.6 "Access rights", 4.7 "Page-fault
//! exceptions", 4.8 "Accessed and dirty flags") and not from the code.
//!
//! `cargo test` takes every 503rd case; with `FOLIANT_EXHAUSTIVE=1` it takes
//! all of them, tens of millions, which wants `--release`.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;

use foliant_arch::x86_64::{Control, Pkru, X86_64, X86_64La57};
use foliant_arch::x86_legacy::X86Legacy;
use foliant_arch::x86_pae::X86Pae;
use foliant_arch::{Access, AccessKind, EntryMemory, Fault, Format, Mode, walk};
use foliant_units::{PhysAddr, VirtAddr};

const P: u64 = 1;
const W: u64 = 1 << 1;
const U: u64 = 1 << 2;
const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const PS: u64 = 1 << 7;
const NX: u64 = 1 << 63;
/// Beyond the 40 bits that the processor of the test has.
const RESERVED: u64 = 1 << 45;
const KEY: u32 = 59;
const PHYSICAL: u32 = 40;

/// One chain of entries, the leaf last.
struct Chain {
    words: [Cell<u64>; 5],
}

impl EntryMemory for Chain {
    fn load(&self, at: PhysAddr, _bytes: u64) -> u64 {
        self.words[(at.raw() >> 12) as usize - 1].get()
    }

    fn compare_exchange(&self, at: PhysAddr, _bytes: u64, old: u64, new: u64) -> Result<(), u64> {
        let word = &self.words[(at.raw() >> 12) as usize - 1];
        assert_eq!(word.get(), old);
        word.set(new);
        Ok(())
    }
}

/// What the manual says of one access to one chain.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Said {
    /// It succeeds, and these are the words afterwards.
    Done([u64; 5]),
    /// It faults with this error code.
    Faults(u32),
}

/// A format as the manual describes it.
#[derive(Clone, Copy)]
struct Paging {
    /// Entries from CR3 to the leaf.
    chain: usize,
    /// The leaf is large.
    large: bool,
    /// Entries have NX and physical addresses beyond 32 bits.
    wide: bool,
    /// The first entry has neither rights nor an accessed bit.
    bare_top: bool,
    /// Keys exist.
    long: bool,
}

/// Tables 4-x and section 4.6, as literally as a program can put them.
fn manual(paging: Paging, words: [u64; 5], access: Access, cr: &Control) -> Said {
    let chain = &words[..paging.chain];
    let first = usize::from(paging.bare_top);
    let fetch = access.kind == AccessKind::Execute;
    let write = access.kind == AccessKind::Write;
    let user = access.mode == Mode::User;
    let nx_active = paging.wide && cr.no_execute;
    // 4.7: W/R, U/S, and I/D only with SMEP, or with NXE and entries that have NX.
    let mut code = 0u32;
    code |= u32::from(write) << 1 | u32::from(user) << 2;
    code |= u32::from(fetch && (cr.smep || nx_active)) << 4;

    // The walk ends at the first entry that is not present or malformed.
    for (nth, word) in chain.iter().enumerate() {
        if word & P == 0 {
            return Said::Faults(code);
        }
        let checked = nth >= first;
        let malformed = word & RESERVED != 0 || word & NX != 0 && !cr.no_execute;
        if paging.wide && checked && malformed {
            return Said::Faults(code | 1 | 1 << 3);
        }
    }

    // 4.6.1: a user-mode address has U/S set in every entry that has rights.
    let rights = &chain[first..];
    let user_address = rights.iter().all(|word| word & U != 0);
    let writable = rights.iter().all(|word| word & W != 0);
    let executable = !nx_active || rights.iter().all(|word| word & NX == 0);
    let leaf = chain[paging.chain - 1];
    let key = leaf >> KEY & 0xf;
    let register = if user_address { cr.pkru } else { cr.pkrs };
    let register = register.filter(|_| paging.long && (user_address || !user));
    let (key_ad, key_wd) = match register {
        Some(Pkru(bits)) => (bits >> (2 * key) & 1 != 0, bits >> (2 * key + 1) & 1 != 0),
        None => (false, false),
    };
    // 4.6.2: keys bind data accesses only; WD binds the kernel only with CR0.WP.
    let by_key = !fetch && (key_ad || write && key_wd && (user || cr.write_protect));
    let by_rights = match (user, access.kind) {
        (true, AccessKind::Read) => user_address,
        (true, AccessKind::Write) => user_address && writable,
        (true, AccessKind::Execute) => user_address && executable,
        (false, AccessKind::Read) => !(user_address && cr.smap),
        (false, AccessKind::Write) => !(user_address && cr.smap) && (writable || !cr.write_protect),
        (false, AccessKind::Execute) => !(user_address && cr.smep) && executable,
    };
    if by_key {
        return Said::Faults(code | 1 | 1 << 5);
    }
    if !by_rights {
        return Said::Faults(code | 1);
    }
    // 4.8: A in every entry used, D in the leaf of a write.
    let mut after = words;
    for word in &mut after[first..paging.chain] {
        *word |= A;
    }
    if write {
        after[paging.chain - 1] |= D;
    }
    Said::Done(after)
}

fn ours<F: Format<Control = Control>>(words: [u64; 5], access: Access, cr: &Control) -> Said {
    let chain = Chain {
        words: words.map(Cell::new),
    };
    match walk::<F>(&chain, PhysAddr::new(0x1000), VirtAddr::ZERO, access, cr) {
        Ok(_) => Said::Done(chain.words.map(|word| word.get())),
        Err(Fault::Page(fault)) => {
            let left = chain.words.map(|word| word.get());
            assert_eq!(left, words, "a fault leaves no trace");
            Said::Faults(fault.code.bits())
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Cases taken, of all that there are.
struct Sample {
    every: u64,
    at: u64,
    taken: u64,
}

impl Sample {
    fn new() -> Self {
        let all = std::env::var_os("FOLIANT_EXHAUSTIVE").is_some();
        Self {
            every: if all { 1 } else { 503 },
            at: 0,
            taken: 0,
        }
    }

    fn check<F: Format<Control = Control>>(
        &mut self,
        paging: Paging,
        words: [u64; 5],
        access: Access,
        cr: &Control,
    ) {
        self.at += 1;
        if !self.at.is_multiple_of(self.every) {
            return;
        }
        self.taken += 1;
        let (said, did) = (manual(paging, words, access, cr), ours::<F>(words, access, cr));
        assert_eq!(said, did, "{words:x?} {access:?} {cr:?}");
    }
}

const KINDS: [AccessKind; 3] = [AccessKind::Read, AccessKind::Write, AccessKind::Execute];
const MODES: [Mode; 2] = [Mode::User, Mode::Supervisor];

fn accesses() -> impl Iterator<Item = Access> {
    MODES
        .into_iter()
        .flat_map(|mode| KINDS.map(|kind| Access { kind, mode }))
}

/// Every setting of the control bits; key registers off, or with each of the
/// four settings of the key that the leaf has.
fn controls(keys: bool) -> Vec<Control> {
    let mut all = Vec::new();
    let registers: &[Option<Pkru>] = if keys {
        &[
            None,
            Some(Pkru(0)),
            Some(Pkru(1 << 6)),
            Some(Pkru(2 << 6)),
            Some(Pkru(3 << 6)),
        ]
    } else {
        &[None]
    };
    for bits in 0..16u32 {
        for &pkru in registers {
            for &pkrs in registers {
                all.push(Control {
                    write_protect: bits & 1 != 0,
                    no_execute: bits & 2 != 0,
                    smep: bits & 4 != 0,
                    smap: bits & 8 != 0,
                    pkru,
                    pkrs,
                    physical_bits: PHYSICAL,
                    ..Control::default()
                });
            }
        }
    }
    all
}

/// A chain with these rights (W, U, NX in bits 0 to 2) and states (0: well, A
/// set; 1: A clear; 2: absent; 3: reserved) at each level.
fn chain(paging: Paging, rights: u64, states: u64, dirty: bool) -> [u64; 5] {
    let mut words = [0; 5];
    for (nth, word) in words[..paging.chain].iter_mut().enumerate() {
        let (right, state) = (rights >> (3 * nth) & 7, states >> (2 * nth) & 3);
        let next = (nth as u64 + 2) << 12;
        *word = P | A | ((right & 1) * W) | ((right >> 1 & 1) * U);
        if paging.wide {
            *word |= (right >> 2) * NX;
        }
        let leaf = nth + 1 == paging.chain;
        *word |= match (leaf, paging.large) {
            (false, _) => next,
            (true, true) => PS,
            (true, false) => 0x5000,
        };
        if leaf {
            *word |= u64::from(dirty) * D;
            if paging.long {
                *word |= 3 << KEY;
            }
        }
        match state {
            0 => {}
            1 => *word &= !A,
            2 => *word &= !P,
            _ if paging.wide => *word |= RESERVED,
            // Here only the leaf of 4 MiB has reserved bits; another test has them.
            _ => *word &= !A,
        }
        if paging.bare_top && nth == 0 {
            *word &= P | 0xff_ffff_f000;
        }
    }
    words
}

/// All rights of all levels with all controls; then all states of all levels
/// with some rights.
fn every_case<F: Format<Control = Control>>(sample: &mut Sample, paging: Paging, keys: bool) {
    let all = controls(keys);
    let bits = 3 * paging.chain as u64;
    for rights in 0..1u64 << bits {
        let words = chain(paging, rights, 0, false);
        for cr in &all {
            for access in accesses() {
                sample.check::<F>(paging, words, access, cr);
            }
        }
    }
    let few = controls(false);
    let open = (0..paging.chain).fold(0, |rights, nth| rights | 3 << (3 * nth));
    let closed = [0, 1, 2, 4];
    for states in 0..1u64 << (2 * paging.chain) {
        for dirty in [false, true] {
            for less in closed {
                let words = chain(paging, open ^ less, states, dirty);
                for cr in &few {
                    for access in accesses() {
                        sample.check::<F>(paging, words, access, cr);
                    }
                }
            }
        }
    }
}

const LONG: Paging = Paging {
    chain: 4,
    large: false,
    wide: true,
    bare_top: false,
    long: true,
};

const fn large(chain: usize, of: Paging) -> Paging {
    Paging {
        chain,
        large: true,
        ..of
    }
}

#[test]
fn rights_of_four_levels_are_the_manuals() {
    let mut sample = Sample::new();
    every_case::<X86_64>(&mut sample, LONG, true);
    every_case::<X86_64>(&mut sample, large(3, LONG), true);
    every_case::<X86_64>(&mut sample, large(2, LONG), true);
    println!("{} cases", sample.taken);
}

#[test]
fn rights_of_five_levels_are_the_manuals() {
    let mut sample = Sample::new();
    let five = Paging { chain: 5, ..LONG };
    every_case::<X86_64La57>(&mut sample, five, false);
    every_case::<X86_64La57>(&mut sample, large(4, five), true);
    every_case::<X86_64La57>(&mut sample, large(3, five), true);
    println!("{} cases", sample.taken);
}

#[test]
fn rights_of_i386_are_the_manuals() {
    let mut sample = Sample::new();
    let two = Paging {
        chain: 2,
        large: false,
        wide: false,
        bare_top: false,
        long: false,
    };
    every_case::<X86Legacy>(&mut sample, two, true);
    every_case::<X86Legacy>(&mut sample, large(1, two), true);
    let pae = Paging {
        chain: 3,
        wide: true,
        bare_top: true,
        ..two
    };
    every_case::<X86Pae>(&mut sample, pae, true);
    every_case::<X86Pae>(&mut sample, large(2, pae), true);
    println!("{} cases", sample.taken);
}
