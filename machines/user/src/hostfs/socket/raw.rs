//! The few calls on sockets whose addresses and control messages are passed
//! as the bytes that they are.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use foliant_units::Errno;

use crate::hostfs::convert::last_errno;

/// Bytes of the longest socket address.
const NAME_MAX: usize = 128;

fn check(result: libc::c_int) -> Result<i32, Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

fn own(result: libc::c_int) -> Result<OwnedFd, Errno> {
    let fd = check(result)?;
    // SAFETY: the call has just returned the descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Flags of every descriptor that is made here.
const FLAGS: i32 = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

pub(super) fn socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes numbers only.
    own(unsafe { libc::socket(family, kind | FLAGS, protocol) })
}

pub(super) fn pair(family: i32, kind: i32, protocol: i32) -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [0; 2];
    // SAFETY: the array has room for the two descriptors.
    check(unsafe { libc::socketpair(family, kind | FLAGS, protocol, fds.as_mut_ptr()) })?;
    // SAFETY: the call has just returned both, so nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

pub(super) fn bind(fd: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the address is `name.len()` readable bytes.
    check(unsafe { libc::bind(fd.as_raw_fd(), name.as_ptr().cast(), name.len() as u32) }).map(drop)
}

pub(super) fn connect(fd: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the address is `name.len()` readable bytes.
    check(unsafe { libc::connect(fd.as_raw_fd(), name.as_ptr().cast(), name.len() as u32) }).map(drop)
}

pub(super) fn listen(fd: &OwnedFd, backlog: i32) -> Result<(), Errno> {
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) }).map(drop)
}

pub(super) fn shutdown(fd: &OwnedFd, how: i32) -> Result<(), Errno> {
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), how) }).map(drop)
}

/// Asks for an address with one of the calls that fill one.
fn named(call: impl FnOnce(*mut libc::sockaddr, *mut u32) -> libc::c_int) -> Result<(i32, Vec<u8>), Errno> {
    let mut name = vec![0u8; NAME_MAX];
    let mut len = NAME_MAX as u32;
    let result = check(call(name.as_mut_ptr().cast(), &mut len))?;
    name.truncate(len as usize);
    Ok((result, name))
}

pub(super) fn accept(fd: &OwnedFd) -> Result<(OwnedFd, Vec<u8>), Errno> {
    let (accepted, name) = named(|name, len| {
        // SAFETY: `name` has room for as many bytes as `len` says.
        unsafe { libc::accept4(fd.as_raw_fd(), name, len, FLAGS) }
    })?;
    Ok((own(accepted)?, name))
}

pub(super) fn name(fd: &OwnedFd) -> Result<Vec<u8>, Errno> {
    // SAFETY: `name` has room for as many bytes as `len` says.
    named(|name, len| unsafe { libc::getsockname(fd.as_raw_fd(), name, len) }).map(|(_, name)| name)
}

pub(super) fn peer(fd: &OwnedFd) -> Result<Vec<u8>, Errno> {
    // SAFETY: `name` has room for as many bytes as `len` says.
    named(|name, len| unsafe { libc::getpeername(fd.as_raw_fd(), name, len) }).map(|(_, name)| name)
}

pub(super) fn option(fd: &OwnedFd, level: i32, option: i32, room: usize) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0u8; room];
    let mut len = room as u32;
    // SAFETY: `value` has room for as many bytes as `len` says.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, option, value.as_mut_ptr().cast(), &mut len) })?;
    value.truncate(len as usize);
    Ok(value)
}

pub(super) fn set_option(fd: &OwnedFd, level: i32, option: i32, value: &[u8]) -> Result<(), Errno> {
    let (at, len) = (value.as_ptr().cast(), value.len() as u32);
    // SAFETY: the value is `len` readable bytes; options that hold addresses
    // (packet filters) are refused by the caller.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, at, len) }).map(drop)
}

/// Sends data with address and control messages.
pub(super) fn send(
    fd: &OwnedFd,
    bytes: &[u8],
    name: Option<&[u8]>,
    control: &[u8],
    flags: u32,
) -> Result<usize, Errno> {
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: a message header of zeroes is a valid, empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    if let Some(name) = name {
        message.msg_name = name.as_ptr().cast_mut().cast();
        message.msg_namelen = name.len() as u32;
    }
    if !control.is_empty() {
        message.msg_control = control.as_ptr().cast_mut().cast();
        message.msg_controllen = control.len() as _;
    }
    let flags = flags as i32 | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: everything that the header points to outlives the call, which
    // only reads it.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &message, flags) };
    usize::try_from(sent).map_err(|_| last_errno())
}

/// What [`receive`] found.
pub(super) struct Received {
    pub(super) length: usize,
    pub(super) name: Vec<u8>,
    pub(super) control: Vec<u8>,
    pub(super) flags: u32,
}

/// Receives data with address and control messages.
pub(super) fn receive(
    fd: &OwnedFd,
    bytes: &mut [u8],
    control_room: usize,
    flags: u32,
) -> Result<Received, Errno> {
    let mut name = vec![0u8; NAME_MAX];
    let mut control = vec![0u8; control_room];
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: a message header of zeroes is a valid, empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = NAME_MAX as u32;
    if control_room > 0 {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = control_room as _;
    }
    let flags = flags as i32 | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the header points to buffers of the lengths that it tells, and
    // they outlive the call.
    let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, flags) };
    let length = usize::try_from(got).map_err(|_| last_errno())?;
    name.truncate(message.msg_namelen as usize);
    control.truncate(message.msg_controllen as usize);
    Ok(Received {
        length,
        name,
        control,
        flags: message.msg_flags as u32 & !(libc::MSG_CMSG_CLOEXEC as u32),
    })
}

/// Takes ownership of a descriptor that came with a message.
pub(super) fn adopt(raw: i32) -> Option<OwnedFd> {
    // SAFETY: the host has put the descriptor into this process with the
    // message that the caller has just taken apart, so nobody else owns it.
    (raw >= 0).then(|| unsafe { OwnedFd::from_raw_fd(raw) })
}
