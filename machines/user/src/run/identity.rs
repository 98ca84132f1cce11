//! Who runs the machine: what its first program inherits.

use foliant_kernel::signal::{SigSet, Signal};
use foliant_kernel::{Capabilities, Credentials, Hardware, Identity, Ids, Limits};
use foliant_uapi::resource::{Resource, Rlimit};
use std::sync::Arc;

/// The credentials of this process.
pub(super) fn credentials() -> Credentials {
    let status = Status::read();
    let groups: Vec<u32> = status.numbers("Groups", 10).map(|id| id as u32).collect();
    Credentials {
        uid: status.ids("Uid"),
        gid: status.ids("Gid"),
        groups: Arc::new(groups),
        caps: Capabilities {
            effective: status.word("CapEff"),
            permitted: status.word("CapPrm"),
            inheritable: status.word("CapInh"),
            bounding: status.word("CapBnd"),
            ambient: status.word("CapAmb"),
        },
        secure_bits: 0,
        no_new_privs: status.numbers("NoNewPrivs", 10).next() == Some(1),
    }
}

/// Signals that this process was started with as ignored, and as blocked.
pub(super) fn signals() -> (SigSet, SigSet) {
    let status = Status::read();
    let mut ignored = SigSet::from_bits(status.word("SigIgn"));
    // Rust programs ignore it themselves.
    ignored.remove(Signal::PIPE);
    (ignored, SigSet::from_bits(status.word("SigBlk")))
}

/// The resource limits of this process.
pub(super) fn limits() -> Limits {
    let mut limits = Limits::new();
    for raw in 0..16 {
        let Some(which) = Resource::from_raw(raw) else {
            continue;
        };
        let mut value = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `value` is writable.
        if unsafe { libc::getrlimit(raw, &raw mut value) } == 0 {
            limits.put(
                which,
                Rlimit {
                    cur: value.rlim_cur,
                    max: value.rlim_max,
                },
            );
        }
    }
    limits
}

/// The texts of `uname`: the host's name, and the kernel that Foliant follows.
pub(super) fn identity() -> Identity {
    let host = rustix::system::uname();
    Identity {
        node: host.nodename().to_string_lossy().into_owned(),
        release: "6.18.0-foliant".into(),
        version: concat!("#1 SMP PREEMPT_DYNAMIC Foliant ", env!("CARGO_PKG_VERSION")).into(),
        domain: host.domainname().to_string_lossy().into_owned(),
    }
}

/// What programs are told of the processor: what the host tells.
pub(super) fn hardware() -> Hardware {
    // SAFETY: reads words that the host's kernel gave this process.
    let word = |key| unsafe { libc::getauxval(key) };
    let signal_stack = match word(libc::AT_MINSIGSTKSZ) {
        0 => 2048,
        bytes => bytes,
    };
    Hardware {
        hwcap: word(libc::AT_HWCAP),
        hwcap2: word(libc::AT_HWCAP2),
        min_signal_stack: signal_stack,
    }
}

/// The text of `/proc/self/status`.
struct Status(String);

impl Status {
    fn read() -> Self {
        Self(std::fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    fn numbers(&self, key: &str, radix: u32) -> impl Iterator<Item = u64> {
        let line = self
            .0
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_default()
            .split_ascii_whitespace()
            .filter_map(move |word| u64::from_str_radix(word, radix).ok())
    }

    fn word(&self, key: &str) -> u64 {
        self.numbers(key, 16).next().unwrap_or(0)
    }

    fn ids(&self, key: &str) -> Ids {
        let mut ids = self.numbers(key, 10).map(|id| id as u32);
        let mut next = || ids.next().unwrap_or(u32::MAX);
        Ids {
            real: next(),
            effective: next(),
            saved: next(),
            files: next(),
        }
    }
}
