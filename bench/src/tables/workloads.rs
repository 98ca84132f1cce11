//! What is measured.

use std::sync::{Arc, Mutex};

use foliant_phys::Phys;
use foliant_units::{Vpn, VpnRange};

use super::PAGES;
use super::ours::{Ours, boot};
use super::peer::Peer;
use crate::machine::{self, Machine};
use crate::measure::{Random, median, time, together};
use crate::row::Row;

const N: usize = PAGES as usize;
/// Pages that a thread maps and unmaps at once.
const CHUNK: u64 = 512;

/// Measures everything. Flushes are left out on both sides.
pub fn run() -> Vec<Row> {
    let phys = boot();
    let mut rows = Vec::new();
    bulk(&phys, &mut rows);
    one_by_one(&phys, &mut rows);
    for threads in [1, 2] {
        rows.push(shared_space(&phys, threads));
    }
    rows
}

fn row(what: &'static str, ours: f64, theirs: f64) -> Row {
    Row {
        what,
        threads: 1,
        peer: "x86_64",
        ours,
        theirs,
    }
}

fn bulk(phys: &Arc<Phys<Machine>>, rows: &mut Vec<Row>) {
    let fresh_peer = || {
        let mut peer = Peer::new();
        time(N, || peer.map_all())
    };
    let fresh_exclusive = || {
        let mut ours = Ours::new(phys);
        time(N, || ours.map_exclusive())
    };
    let fresh_shared = || {
        let ours = Ours::new(phys);
        time(N, || ours.map(ours.everything()))
    };
    let theirs = median(fresh_peer);
    rows.push(row("map, new, exclusive", median(fresh_exclusive), theirs));
    rows.push(row("map, new, shared", median(fresh_shared), theirs));

    let (mut ours, mut peer) = (Ours::new(phys), Peer::new());
    ours.map_exclusive();
    peer.map_all();
    let protect = median(|| time(N, || peer.protect_all()));
    let unmap = median(|| {
        peer.map_all();
        time(N, || peer.unmap_all())
    });
    let map = median(|| {
        peer.unmap_all();
        time(N, || peer.map_all())
    });
    rows.push(row(
        "protect, exclusive",
        median(|| {
            ours.map_exclusive();
            time(N, || ours.protect_exclusive())
        }),
        protect,
    ));
    rows.push(row(
        "unmap, exclusive",
        median(|| {
            ours.map_exclusive();
            time(N, || ours.unmap_exclusive())
        }),
        unmap,
    ));
    rows.push(row(
        "map, exclusive",
        median(|| {
            ours.unmap_exclusive();
            time(N, || ours.map_exclusive())
        }),
        map,
    ));
    rows.push(row(
        "protect, shared",
        median(|| {
            ours.map_exclusive();
            time(N, || ours.protect())
        }),
        protect,
    ));
    rows.push(row(
        "unmap, shared",
        median(|| {
            ours.map_exclusive();
            time(N, || ours.unmap(ours.everything()))
        }),
        unmap,
    ));
    rows.push(row(
        "map, shared",
        median(|| {
            ours.unmap_exclusive();
            time(N, || ours.map(ours.everything()))
        }),
        map,
    ));
}

fn one_by_one(phys: &Arc<Phys<Machine>>, rows: &mut Vec<Row>) {
    let (mut ours, mut peer) = (Ours::new(phys), Peer::new());
    ours.map_exclusive();
    peer.map_all();
    let mut order: Vec<u64> = (0..PAGES).collect();
    let in_turn = (
        median(|| time(N, || ours.translate(&order))),
        median(|| time(N, || peer.translate(&order))),
    );
    rows.push(row("translate, in turn", in_turn.0, in_turn.1));
    Random(1).shuffle(&mut order);
    let random = (
        median(|| time(N, || ours.translate(&order))),
        median(|| time(N, || peer.translate(&order))),
    );
    rows.push(row("translate, random", random.0, random.1));
    let single = (
        median(|| {
            ours.unmap(ours.everything());
            time(N, || order.iter().for_each(|&page| ours.map_one(page)))
        }),
        median(|| {
            peer.unmap_all();
            time(N, || order.iter().for_each(|&page| peer.map(page)))
        }),
    );
    rows.push(row("map one, random", single.0, single.1));
}

/// Threads map and unmap chunks of one space; the peer is behind a lock.
fn shared_space(phys: &Arc<Phys<Machine>>, threads: usize) -> Row {
    let (ours, mut peer) = (Ours::new(phys), Peer::new());
    ours.map(ours.everything());
    ours.unmap(ours.everything());
    peer.map_all();
    peer.unmap_all();
    let peer = Mutex::new(peer);
    let share = PAGES / threads as u64;
    let chunks = |thread: usize| {
        let start = thread as u64 * share;
        (start..start + share).step_by(CHUNK as usize)
    };
    let ours = median(|| {
        together(threads, |thread| {
            machine::on_cpu(thread);
            time(share as usize, || {
                for start in chunks(thread) {
                    let pages = VpnRange::new(Vpn::new(start), Vpn::new(start + CHUNK));
                    ours.map(pages);
                    ours.unmap(pages);
                }
            })
        })
    });
    let theirs = median(|| {
        together(threads, |thread| {
            time(share as usize, || {
                for page in chunks(thread).flat_map(|start| start..start + CHUNK) {
                    if let Ok(mut peer) = peer.lock() {
                        peer.map(page);
                    }
                    if let Ok(mut peer) = peer.lock() {
                        peer.unmap(page);
                    }
                }
            })
        })
    });
    Row {
        what: "map and unmap",
        threads,
        peer: "x86_64 in a mutex",
        ours,
        theirs,
    }
}
