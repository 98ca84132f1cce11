//! What is measured.

use std::sync::{Arc, Mutex};

use foliant_phys::Phys;
use foliant_units::{Vpn, VpnRange};

use super::PAGES;
use super::multiarch::Multiarch;
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

/// The better of two peers counts.
#[derive(Clone, Copy)]
struct Peers {
    x86_64: f64,
    multiarch: f64,
}

fn row(what: &'static str, ours: f64, peers: Peers) -> Row {
    let (peer, theirs) = if peers.multiarch < peers.x86_64 {
        ("page_table_multiarch", peers.multiarch)
    } else {
        ("x86_64", peers.x86_64)
    };
    Row {
        what,
        threads: 1,
        peer,
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
    let fresh_multiarch = || {
        let mut peer = Multiarch::new();
        time(N, || peer.map_all())
    };
    let theirs = Peers {
        x86_64: median(fresh_peer),
        multiarch: median(fresh_multiarch),
    };
    rows.push(row("map, new, exclusive", median(fresh_exclusive), theirs));
    rows.push(row("map, new, shared", median(fresh_shared), theirs));
    again(phys, rows);
}

/// The same over tables that are there already.
fn again(phys: &Arc<Phys<Machine>>, rows: &mut Vec<Row>) {
    let (mut ours, mut peer) = (Ours::new(phys), Peer::new());
    ours.map_exclusive();
    peer.map_all();
    let mut multi = Multiarch::new();
    multi.map_all();
    let protect = Peers {
        x86_64: median(|| time(N, || peer.protect_all())),
        multiarch: median(|| time(N, || multi.protect_all())),
    };
    let unmap = Peers {
        x86_64: median(|| {
            peer.map_all();
            time(N, || peer.unmap_all())
        }),
        multiarch: median(|| {
            multi.map_all();
            time(N, || multi.unmap_all())
        }),
    };
    let map = Peers {
        x86_64: median(|| {
            peer.unmap_all();
            time(N, || peer.map_all())
        }),
        multiarch: median(|| {
            multi.unmap_all();
            time(N, || multi.map_all())
        }),
    };
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
    let (mut ours, mut peer, mut multi) = (Ours::new(phys), Peer::new(), Multiarch::new());
    ours.map_exclusive();
    peer.map_all();
    multi.map_all();
    let mut order: Vec<u64> = (0..PAGES).collect();
    let translate = |what, order: &[u64]| {
        let peers = Peers {
            x86_64: median(|| time(N, || peer.translate(order))),
            multiarch: median(|| time(N, || multi.translate(order))),
        };
        row(what, median(|| time(N, || ours.translate(order))), peers)
    };
    rows.push(translate("translate, in turn", &order));
    Random(1).shuffle(&mut order);
    rows.push(translate("translate, random", &order));
    let single = median(|| {
        ours.unmap(ours.everything());
        time(N, || order.iter().for_each(|&page| ours.map_one(page)))
    });
    let peers = Peers {
        x86_64: median(|| {
            peer.unmap_all();
            time(N, || order.iter().for_each(|&page| peer.map(page)))
        }),
        multiarch: median(|| {
            multi.unmap_all();
            time(N, || multi.map_each(&order))
        }),
    };
    rows.push(row("map one, random", single, peers));
    rows.push(sparse(phys));
}

/// One page in each leaf table, which is new.
fn sparse(phys: &Arc<Phys<Machine>>) -> Row {
    let pages: Vec<u64> = (0..PAGES).step_by(CHUNK as usize).collect();
    let ours = median(|| {
        let ours = Ours::new(phys);
        time(pages.len(), || pages.iter().for_each(|&page| ours.map_one(page)))
    });
    let peers = Peers {
        x86_64: median(|| {
            let mut peer = Peer::new();
            time(pages.len(), || pages.iter().for_each(|&page| peer.map(page)))
        }),
        multiarch: median(|| {
            let mut peer = Multiarch::new();
            time(pages.len(), || peer.map_each(&pages))
        }),
    };
    row("map one, sparse", ours, peers)
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
