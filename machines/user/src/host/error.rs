//! What can go wrong between the machine and its host.

use thiserror::Error;

/// A host call that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{call}: {}", std::io::Error::from_raw_os_error(*.errno))]
pub struct HostError {
    /// What was tried.
    pub call: &'static str,
    /// The host's errno.
    pub errno: i32,
}

impl HostError {
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
         WAIT_KILLABLE_RECV, Linux 5.19): {0}. In a container, allow the seccomp system call"
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
