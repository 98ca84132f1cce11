//! What is measured.

use std::sync::{Arc, Mutex};

use foliant_phys::Phys;
use foliant_units::{Vpn, VpnRange};

use super::PAGES;
use super::multiarch::Multiarch;
use super::ours::{Ours, boot};
use super::peer::Peer;
use crate::machine::{self, Machine};
use crate::measure::{ROUNDS, Random, cpu_time, median, together};
use crate::row::Row;

const N: usize = PAGES as usize;
/// Pages that a thread maps and unmaps at once.
const CHUNK: u64 = 512;

/// Measures everything. Flushes are left out on both sides.
pub fn run() -> Vec<Row> {
    let phys = boot();
    let mut rows = Vec::new();
    fresh(&phys, &mut rows);
    let mut all = All {
        ours: Ours::new(&phys),
        peer: Peer::new(),
        multi: Multiarch::new(),
    };
    bulk(&mut all, &mut rows);
    one_by_one(&mut all, &mut rows);
    sparse(&phys, &mut rows);
    for threads in [1, 2] {
        rows.push(shared_space(&phys, threads));
    }
    rows
}

/// What one contestant does in one round: nanoseconds per operation.
type Round<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// Measures contestants in turn, round after round, and takes the best of each:
/// other users of the machine only ever add. The first is Foliant.
fn contest(what: &'static str, mut contestants: Vec<(&'static str, Round<'_>)>) -> Row {
    let mut best = vec![f64::INFINITY; contestants.len()];
    for _ in 0..ROUNDS {
        for (best, (_, round)) in best.iter_mut().zip(&mut contestants) {
            *best = best.min(round());
        }
    }
    let peers = contestants.iter().zip(&best).skip(1);
    let (peer, theirs) =
        peers
            .map(|((name, _), time)| (*name, *time))
            .fold(
                ("", f64::INFINITY),
                |better, one| if one.1 < better.1 { one } else { better },
            );
    Row {
        what,
        threads: 1,
        peer,
        ours: best[0],
        theirs,
    }
}

/// Contestants by name, each with what it does in a round.
macro_rules! contest {
    ($what:expr, $($name:ident => $round:expr),+ $(,)?) => {
        contest($what, vec![$((stringify!($name), Box::new($round) as Round<'_>)),+])
    };
}

/// Tables that are made on the way.
fn fresh(phys: &Arc<Phys<Machine>>, rows: &mut Vec<Row>) {
    let x86_64 = || {
        let mut peer = Peer::new();
        cpu_time(N, || peer.map_all())
    };
    let multiarch = || {
        let mut peer = Multiarch::new();
        cpu_time(N, || peer.map_all())
    };
    rows.push(contest!("map, new, exclusive",
        ours => || {
            let mut ours = Ours::new(phys);
            cpu_time(N, || ours.map_exclusive())
        },
        x86_64 => x86_64,
        page_table_multiarch => multiarch,
    ));
    rows.push(contest!("map, new, shared",
        ours => || {
            let ours = Ours::new(phys);
            cpu_time(N, || ours.map(ours.everything()))
        },
        x86_64 => x86_64,
        page_table_multiarch => multiarch,
    ));
}

/// The tables of everybody.
struct All {
    ours: Ours,
    peer: Peer,
    multi: Multiarch,
}

/// All pages of tables that are there already.
fn bulk(all: &mut All, rows: &mut Vec<Row>) {
    let All { ours, peer, multi } = all;
    for shared in [false, true] {
        rows.push(
            contest!(if shared { "protect, shared" } else { "protect, exclusive" },
                ours => || {
                    ours.map_exclusive();
                    cpu_time(N, || if shared { ours.protect() } else { ours.protect_exclusive() })
                },
                x86_64 => || {
                    peer.map_all();
                    cpu_time(N, || peer.protect_all())
                },
                page_table_multiarch => || {
                    multi.map_all();
                    cpu_time(N, || multi.protect_all())
                },
            ),
        );
        rows.push(contest!(if shared { "unmap, shared" } else { "unmap, exclusive" },
            ours => || {
                ours.map_exclusive();
                cpu_time(N, || if shared { ours.unmap(ours.everything()) } else { ours.unmap_exclusive() })
            },
            x86_64 => || {
                peer.map_all();
                cpu_time(N, || peer.unmap_all())
            },
            page_table_multiarch => || {
                multi.map_all();
                cpu_time(N, || multi.unmap_all())
            },
        ));
        rows.push(contest!(if shared { "map, shared" } else { "map, exclusive" },
            ours => || {
                ours.unmap_exclusive();
                cpu_time(N, || if shared { ours.map(ours.everything()) } else { ours.map_exclusive() })
            },
            x86_64 => || {
                peer.unmap_all();
                cpu_time(N, || peer.map_all())
            },
            page_table_multiarch => || {
                multi.unmap_all();
                cpu_time(N, || multi.map_all())
            },
        ));
    }
}

/// One page at a time.
fn one_by_one(all: &mut All, rows: &mut Vec<Row>) {
    let All { ours, peer, multi } = all;
    ours.map_exclusive();
    peer.map_all();
    multi.map_all();
    let mut order: Vec<u64> = (0..PAGES).collect();
    for what in ["translate, in turn", "translate, random"] {
        rows.push(contest!(what,
            ours => || cpu_time(N, || ours.translate(&order)),
            x86_64 => || cpu_time(N, || peer.translate(&order)),
            page_table_multiarch => || cpu_time(N, || multi.translate(&order)),
        ));
        Random(1).shuffle(&mut order);
    }
    for shared in [false, true] {
        rows.push(contest!(if shared { "map one, random, shared" } else { "map one, random" },
            ours => || {
                ours.unmap_exclusive();
                cpu_time(N, || if shared { ours.map_each(&order) } else { ours.map_each_exclusive(&order) })
            },
            x86_64 => || {
                peer.unmap_all();
                cpu_time(N, || order.iter().for_each(|&page| peer.map(page)))
            },
            page_table_multiarch => || {
                multi.unmap_all();
                cpu_time(N, || multi.map_each(&order))
            },
        ));
    }
}

/// One page in each leaf table, which is new.
fn sparse(phys: &Arc<Phys<Machine>>, rows: &mut Vec<Row>) {
    let pages: Vec<u64> = (0..PAGES).step_by(CHUNK as usize).collect();
    let mut peer = Peer::new();
    for shared in [false, true] {
        rows.push(
            contest!(if shared { "map one, sparse, shared" } else { "map one, sparse" },
                ours => || {
                    let mut ours = Ours::new(phys);
                    let time = cpu_time(pages.len(), || {
                        if shared { ours.map_each(&pages) } else { ours.map_each_exclusive(&pages) }
                    });
                    ours.clear();
                    time
                },
                x86_64 => || {
                    peer.start_again();
                    cpu_time(pages.len(), || pages.iter().for_each(|&page| peer.map(page)))
                },
                page_table_multiarch => || {
                    let mut peer = Multiarch::new();
                    cpu_time(pages.len(), || peer.map_each(&pages))
                },
            ),
        );
    }
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
            cpu_time(share as usize, || {
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
            cpu_time(share as usize, || {
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
