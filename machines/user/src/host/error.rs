//! What can go wrong between the machine and its host.

use thiserror::Error;

/// A host call that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{call}: {}{}", std::io::Error::from_raw_os_error(*.errno), self.advice())]
pub struct HostError {
    /// What was tried.
    pub call: &'static str,
    /// The host's errno.
    pub errno: i32,
}

impl HostError {
    /// What may be in the way, and what helps, to be put behind the message.
    fn advice(&self) -> &'static str {
        match (self.call, self.errno) {
            (_, libc::EMFILE) => "; allow more open files (ulimit -n)",
            (_, libc::EFBIG) => "; allow larger files (ulimit -f)",
            ("fork" | "clone", libc::EAGAIN | libc::ENOMEM) => {
                "; allow more processes (ulimit -u, or the container's limit of tasks) or memory (ulimit -d, -v)"
            }
            (_, libc::ENOMEM) => "; allow more memory (ulimit -v, -d) or ask for less (--ram)",
            ("memfd_create", libc::EACCES) => "; vm.memfd_noexec must not be 2",
            (_, libc::EPERM | libc::EACCES | libc::ENOSYS) => {
                "; in a container, its seccomp profile must allow this call"
            }
            _ => "",
        }
    }

    /// Whether the same call may succeed a little later.
    pub fn is_temporary(&self) -> bool {
        self.errno == libc::EAGAIN
    }

    /// The failure of `call` that `errno` tells of.
    pub fn last(call: &'static str) -> Self {
        Self {
            call,
            errno: std::io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO),
        }
    }
}

/// Why a machine cannot be made on this host.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum StartError {
    /// The processor lacks something.
    #[error("the user machine needs an x86-64 processor with XSAVE")]
    Processor,
    /// Seccomp's notifications are not there at all.
    #[error(
        "the user machine needs seccomp with user notifications (SECCOMP_FILTER_FLAG_NEW_LISTENER and \
         WAIT_KILLABLE_RECV, Linux 5.19): seccomp: {}; {}",
        std::io::Error::from_raw_os_error(.0.errno), listener_advice(.0.errno)
    )]
    NoListener(HostError),
    /// A filter that forbids what stubs do, or a listener above ours.
    #[error(
        "the stub process died while it was set up ({0}); is a seccomp filter of a container in the way?"
    )]
    StubDied(String),
    /// Any other host call.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// Why there may be no listener, by the host's errno.
fn listener_advice(errno: i32) -> &'static str {
    match errno {
        libc::EBUSY => "the manager of this container listens already, so run it outside",
        libc::ENOSYS | libc::EINVAL => "this kernel, or the container's seccomp profile, does not have it",
        _ => "in a container, its seccomp profile must allow the seccomp call",
    }
}
