//! What the memory manager tells people.

use core::fmt;
use std_alloc::string::String;
use std_alloc::sync::Arc;

use foliant_platform::Platform;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::PAGE_SIZE;

use crate::alloc::{AllocRequest, OnFailure};
use crate::phys::Phys;
use crate::zone::{Zone, ZoneId, ZoneKind};

/// On whose behalf something happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Who {
    /// The task.
    pub pid: i32,
    /// Its process.
    pub tgid: i32,
    /// The name of the task, padded with zeroes.
    pub comm: [u8; 16],
    /// What it is about, in a word: `page fault`, or the name of a system call.
    pub doing: &'static str,
}

impl Who {
    /// The name.
    pub fn name(&self) -> &str {
        let end = self.comm.iter().position(|&byte| byte == 0);
        let name = &self.comm[..end.unwrap_or(self.comm.len())];
        core::str::from_utf8(name).unwrap_or("?")
    }
}

/// The log of the machine, and who it is about.
pub trait Console: Send + Sync {
    /// The task that runs here. Called with any lock of the caller held.
    fn who(&self) -> Who;

    /// One line for the log, without its end. Called as [`who`](Self::who) is.
    fn line(&self, line: fmt::Arguments<'_>);
}

/// Failures closer together than this are not told, in nanoseconds.
const INTERVAL: u64 = 10_000_000_000;

impl<P: Platform> Phys<P> {
    /// Hands in the log; replaces the one that was there.
    pub fn set_console(&self, console: Option<Arc<dyn Console>>) {
        *self.console.lock() = console;
    }

    pub(crate) fn console(&self) -> Option<Arc<dyn Console>> {
        self.console.lock().clone()
    }

    /// Who runs here, as far as anybody knows.
    pub(crate) fn who(&self) -> Who {
        self.console().map(|console| console.who()).unwrap_or_default()
    }

    /// Tells that a request failed, and what memory looks like; at most once in
    /// ten seconds.
    ///
    /// # Linux source concept
    /// `warn_alloc()`, `show_free_areas()`.
    #[cold]
    pub(crate) fn warn(&self, request: &AllocRequest) {
        let Some(console) = self.console() else { return };
        if request.on_failure == OnFailure::Silent || self.is_too_soon() {
            return;
        }
        console.line(format_args!(
            "{}: page allocation failure: order:{}, mode:{}, nodemask=(null),cpuset=/,mems_allowed={}",
            console.who().name(),
            request.order.raw(),
            request.gfp(),
            Nodes(self.sections.nodes()),
        ));
        console.line(format_args!("Mem-Info:"));
        for (id, zone) in self.zones.iter() {
            self.tell_zone(&*console, id, zone);
        }
        for (id, zone) in self.zones.iter() {
            let (text, kib) = self.by_order(id);
            let (node, kind) = (zone.node().0, zone.kind().name());
            console.line(format_args!("Node {node} {kind}: {text}= {kib}kB"));
        }
    }

    /// Whether the last failure was told just now; if not, this one is.
    fn is_too_soon(&self) -> bool {
        let now = self.platform.now().0.max(1);
        let told = self.told.load(Ordering::Relaxed);
        let too_soon = told != 0 && now.saturating_sub(told) < INTERVAL;
        let taken = || {
            self.told
                .compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed)
        };
        too_soon || taken().is_err()
    }

    fn tell_zone(&self, console: &dyn Console, id: ZoneId, zone: &Zone) {
        let kib = |frames: u64| frames * (PAGE_SIZE as u64 / 1024);
        let (marks, boost) = (zone.watermarks(), zone.boost());
        let here = self.cached_by(self.platform.cpu().index(), id);
        console.line(format_args!(
            "Node {} {} free:{}kB boost:{}kB min:{}kB low:{}kB high:{}kB reserved_highatomic:{}KB \
             free_highatomic:{}KB present:{}kB managed:{}kB free_pcp:{}kB local_pcp:{}kB free_cma:{}kB",
            zone.node().0,
            zone.kind().name(),
            kib(self.free_exactly(id, zone)),
            kib(boost),
            kib(marks.min + boost),
            kib(marks.low + boost),
            kib(marks.high + boost),
            kib(zone.reserved_high_atomic()),
            kib(self.free_high_atomic(id)),
            kib(zone.present()),
            kib(zone.managed()),
            kib(self.cached(id)),
            kib(here),
            kib(zone.free_cma()),
        ));
        let reserve = zone.lowmem_reserve();
        let mut text = String::new();
        for kind in ZoneKind::ALL {
            text.push(' ');
            text.push_str(&std_alloc::format!("{}", reserve[kind.index()]));
        }
        console.line(format_args!("lowmem_reserve[]:{text}"));
    }

    /// The free folios of a zone by order, and their sum in KiB.
    fn by_order(&self, id: ZoneId) -> (String, u64) {
        const LETTERS: [(usize, char); 6] = [(0, 'U'), (1, 'M'), (2, 'E'), (5, 'H'), (3, 'C'), (4, 'I')];
        let stats = self.zone_stats(id);
        let (mut text, mut sum) = (String::new(), 0);
        for (order, &count) in stats.by_order.iter().enumerate() {
            let kib = 4_u64 << order;
            sum += count * kib;
            text += &std_alloc::format!("{count}*{kib}kB ");
            if count > 0 {
                let here = LETTERS.iter().filter(|(kind, _)| stats.by_kind[*kind][order] > 0);
                let letters: String = here.map(|(_, letter)| *letter).collect();
                text += &std_alloc::format!("({letters}) ");
            }
        }
        (text, sum)
    }
}

/// A list of all nodes, as `%*pbl` prints it.
struct Nodes(u8);

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 1 => f.write_str("0"),
            nodes => write!(f, "0-{}", nodes - 1),
        }
    }
}
