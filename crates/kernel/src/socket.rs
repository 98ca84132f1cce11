//! Sockets: what their system calls need of a file that is one.

use alloc::vec::Vec;

use foliant_platform::Mmu;
use foliant_units::Errno;

use crate::fd::OpenRef;
use crate::fs::FileRef;

/// What `socket(2)` asks for, without the flags in the type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketKind {
    /// `AF_*`.
    pub family: i32,
    /// `SOCK_*`.
    pub kind: i32,
    /// The protocol, 0 for the usual one.
    pub protocol: i32,
}

/// A name that a socket is to have.
#[derive(Clone, Copy, Debug)]
pub struct NewName<'a> {
    /// The address; if it is a path, from the root.
    pub name: &'a [u8],
    /// The path as the program wrote it, which [`Socket::name`] tells.
    pub path: Option<&'a [u8]>,
    /// Permissions that the file of a path does not get.
    pub umask: u32,
}

/// A message that is sent.
pub struct Outgoing<'a, M: Mmu> {
    /// The data.
    pub bytes: &'a [u8],
    /// The destination, if one was named.
    pub name: Option<&'a [u8]>,
    /// Control messages as user space wrote them, without `SCM_RIGHTS`.
    pub control: &'a [u8],
    /// Open files that are sent along.
    pub files: Vec<OpenRef<M>>,
    /// `MSG_*`.
    pub flags: u32,
}

/// What is wanted of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Bytes of data at most.
    pub bytes: usize,
    /// Bytes of control messages at most.
    pub control: usize,
    /// `MSG_*`.
    pub flags: u32,
}

/// A message that was received.
pub struct Incoming<M: Mmu> {
    /// The data, as much as was wanted.
    pub bytes: Vec<u8>,
    /// What the call returns: more than there is data with `MSG_TRUNC`.
    pub length: usize,
    /// The sender.
    pub name: Vec<u8>,
    /// Control messages without `SCM_RIGHTS`.
    pub control: Vec<u8>,
    /// Open files that were sent along.
    pub files: Vec<OpenRef<M>>,
    /// `MSG_*`.
    pub flags: u32,
}

/// A socket. As with every file, nothing blocks: what would answers `AGAIN`.
///
/// # Linux source concept
/// `struct proto_ops`.
pub trait Socket<M: Mmu>: Send + Sync {
    /// Gives the socket a name.
    ///
    /// # Errors
    /// Those of `bind(2)`.
    fn bind(&self, name: NewName<'_>) -> Result<(), Errno>;

    /// Starts to connect.
    ///
    /// # Errors
    /// `INPROGRESS` until the socket is writable, then [`Socket::error`].
    fn connect(&self, name: &[u8]) -> Result<(), Errno>;

    /// Takes the pending error.
    ///
    /// # Errors
    /// That error.
    fn error(&self) -> Result<(), Errno>;

    /// Lets others connect.
    ///
    /// # Errors
    /// Those of `listen(2)`.
    fn listen(&self, backlog: i32) -> Result<(), Errno>;

    /// Takes a connection and its peer's name.
    ///
    /// # Errors
    /// `AGAIN` if there is none.
    fn accept(&self) -> Result<(FileRef<M>, Vec<u8>), Errno>;

    /// Its own name.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    fn name(&self) -> Result<Vec<u8>, Errno>;

    /// The name of the other end.
    ///
    /// # Errors
    /// `NOTCONN`.
    fn peer(&self) -> Result<Vec<u8>, Errno>;

    /// Ends receiving (0), sending (1) or both (2).
    ///
    /// # Errors
    /// `NOTCONN`, `INVAL`.
    fn shutdown(&self, how: i32) -> Result<(), Errno>;

    /// An option's value, at most `room` bytes.
    ///
    /// # Errors
    /// `NOPROTOOPT`.
    fn option(&self, level: i32, name: i32, room: usize) -> Result<Vec<u8>, Errno>;

    /// Sets an option.
    ///
    /// # Errors
    /// `NOPROTOOPT`, `INVAL`.
    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno>;

    /// Sends a message.
    ///
    /// # Errors
    /// `AGAIN`; `PIPE` without a signal.
    fn send(&self, message: Outgoing<'_, M>) -> Result<usize, Errno>;

    /// Receives a message.
    ///
    /// # Errors
    /// `AGAIN`.
    fn receive(&self, wanted: Wanted) -> Result<Incoming<M>, Errno>;
}

/// Where sockets come from.
pub trait SocketFactory<M: Mmu>: Send + Sync {
    /// A socket.
    ///
    /// # Errors
    /// `AFNOSUPPORT` and others of `socket(2)`.
    fn socket(&self, kind: SocketKind) -> Result<FileRef<M>, Errno>;

    /// Two connected sockets.
    ///
    /// # Errors
    /// `OPNOTSUPP` and others of `socketpair(2)`.
    fn pair(&self, kind: SocketKind) -> Result<(FileRef<M>, FileRef<M>), Errno>;
}
