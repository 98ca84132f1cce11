//! System calls of files.

mod attr;
mod copying;
mod env;
mod lock;
mod mask;
mod message;
mod open;
mod poll;
mod rw;
mod socket;
mod special;
mod splicing;
mod tree;
mod watch;

use foliant_uapi::signal::SiCode;
use foliant_uapi::{SigInfo, Signal, Sysno};
use foliant_units::Errno;

use super::{Ctx, Handler};
use crate::machine::UserMachine;

/// The handler of a call that is about files.
pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    reading(nr)
        .or_else(|| sockets(nr))
        .or_else(|| opening(nr))
        .or_else(|| naming(nr))
        .or_else(|| attributes(nr))
        .or_else(|| waiting(nr))
}

fn reading<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::READ => rw::read,
        Sysno::WRITE => rw::write,
        Sysno::PREAD64 => rw::pread64,
        Sysno::PWRITE64 => rw::pwrite64,
        Sysno::READV => rw::readv,
        Sysno::WRITEV => rw::writev,
        Sysno::PREADV => rw::preadv,
        Sysno::PWRITEV => rw::pwritev,
        Sysno::PREADV2 => rw::preadv2,
        Sysno::PWRITEV2 => rw::pwritev2,
        Sysno::LSEEK => rw::lseek,
        Sysno::SENDFILE => copying::sendfile,
        Sysno::COPY_FILE_RANGE => copying::copy_file_range,
        Sysno::SPLICE => splicing::splice,
        Sysno::TEE => splicing::tee,
        Sysno::VMSPLICE => splicing::vmsplice,
        _ => return None,
    })
}

fn sockets<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::SOCKET => socket::socket,
        Sysno::SOCKETPAIR => socket::socketpair,
        Sysno::BIND => socket::bind,
        Sysno::CONNECT => socket::connect,
        Sysno::LISTEN => socket::listen,
        Sysno::ACCEPT => socket::accept,
        Sysno::ACCEPT4 => socket::accept4,
        Sysno::GETSOCKNAME => socket::getsockname,
        Sysno::GETPEERNAME => socket::getpeername,
        Sysno::SHUTDOWN => socket::shutdown,
        Sysno::SETSOCKOPT => socket::setsockopt,
        Sysno::GETSOCKOPT => socket::getsockopt,
        Sysno::SENDTO => socket::sendto,
        Sysno::RECVFROM => socket::recvfrom,
        Sysno::SENDMSG => socket::sendmsg,
        Sysno::RECVMSG => socket::recvmsg,
        Sysno::SENDMMSG => socket::sendmmsg,
        Sysno::RECVMMSG => socket::recvmmsg,
        _ => return None,
    })
}

fn opening<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::OPEN => open::open,
        Sysno::CREAT => open::creat,
        Sysno::OPENAT => open::openat,
        Sysno::OPENAT2 => open::openat2,
        Sysno::CLOSE => open::close,
        Sysno::CLOSE_RANGE => open::close_range,
        Sysno::DUP => open::dup,
        Sysno::DUP2 => open::dup2,
        Sysno::DUP3 => open::dup3,
        Sysno::FCNTL => open::fcntl,
        Sysno::IOCTL => open::ioctl_,
        Sysno::FLOCK => lock::flock,
        Sysno::PIPE => special::pipe,
        Sysno::PIPE2 => special::pipe2,
        Sysno::EVENTFD => special::eventfd,
        Sysno::EVENTFD2 => special::eventfd2,
        Sysno::TIMERFD_CREATE => special::timerfd_create,
        Sysno::TIMERFD_SETTIME => special::timerfd_settime,
        Sysno::TIMERFD_GETTIME => special::timerfd_gettime,
        Sysno::SIGNALFD => special::signalfd,
        Sysno::SIGNALFD4 => special::signalfd4,
        Sysno::MEMFD_CREATE => special::memfd_create,
        Sysno::INOTIFY_INIT => watch::inotify_init,
        Sysno::INOTIFY_INIT1 => watch::inotify_init1,
        Sysno::INOTIFY_ADD_WATCH => watch::inotify_add_watch,
        Sysno::INOTIFY_RM_WATCH => watch::inotify_rm_watch,
        _ => return None,
    })
}

fn naming<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::MKDIR => tree::mkdir,
        Sysno::MKDIRAT => tree::mkdirat,
        Sysno::MKNOD => tree::mknod,
        Sysno::MKNODAT => tree::mknodat,
        Sysno::UNLINK => tree::unlink,
        Sysno::UNLINKAT => tree::unlinkat,
        Sysno::RMDIR => tree::rmdir,
        Sysno::RENAME => tree::rename,
        Sysno::RENAMEAT => tree::renameat,
        Sysno::RENAMEAT2 => tree::renameat2,
        Sysno::LINK => tree::link,
        Sysno::LINKAT => tree::linkat,
        Sysno::SYMLINK => tree::symlink,
        Sysno::SYMLINKAT => tree::symlinkat,
        Sysno::READLINK => tree::readlink,
        Sysno::READLINKAT => tree::readlinkat,
        Sysno::GETCWD => tree::getcwd,
        Sysno::CHDIR => tree::chdir,
        Sysno::FCHDIR => tree::fchdir,
        Sysno::CHROOT => tree::chroot,
        Sysno::UMASK => tree::umask,
        _ => return None,
    })
}

fn attributes<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::STAT => attr::stat,
        Sysno::LSTAT => attr::lstat,
        Sysno::FSTAT => attr::fstat,
        Sysno::NEWFSTATAT => attr::newfstatat,
        Sysno::STATX => attr::statx,
        Sysno::STATFS => attr::statfs,
        Sysno::FSTATFS => attr::fstatfs,
        Sysno::ACCESS => attr::access,
        Sysno::FACCESSAT => attr::faccessat,
        Sysno::FACCESSAT2 => attr::faccessat2,
        Sysno::CHMOD => attr::chmod,
        Sysno::FCHMOD => attr::fchmod,
        Sysno::FCHMODAT => attr::fchmodat,
        Sysno::FCHMODAT2 => attr::fchmodat2,
        Sysno::CHOWN => attr::chown,
        Sysno::LCHOWN => attr::lchown,
        Sysno::FCHOWN => attr::fchown,
        Sysno::FCHOWNAT => attr::fchownat,
        Sysno::UTIMENSAT => attr::utimensat,
        Sysno::UTIMES => attr::utimes,
        Sysno::FUTIMESAT => attr::futimesat,
        Sysno::UTIME => attr::utime,
        Sysno::TRUNCATE => attr::truncate,
        Sysno::FTRUNCATE => attr::ftruncate,
        Sysno::FALLOCATE => attr::fallocate,
        Sysno::FSYNC => attr::fsync,
        Sysno::FDATASYNC => attr::fdatasync,
        Sysno::SYNC => attr::sync,
        Sysno::SYNC_FILE_RANGE | Sysno::SYNCFS => attr::sync_some,
        Sysno::READAHEAD | Sysno::FADVISE64 => attr::hint,
        Sysno::GETDENTS64 => attr::getdents64,
        Sysno::GETXATTR => attr::getxattr,
        Sysno::LGETXATTR => attr::lgetxattr,
        Sysno::FGETXATTR => attr::fgetxattr,
        Sysno::SETXATTR => attr::setxattr,
        Sysno::LSETXATTR => attr::lsetxattr,
        Sysno::FSETXATTR => attr::fsetxattr,
        Sysno::LISTXATTR => attr::listxattr,
        Sysno::LLISTXATTR => attr::llistxattr,
        Sysno::FLISTXATTR => attr::flistxattr,
        Sysno::REMOVEXATTR => attr::removexattr,
        Sysno::LREMOVEXATTR => attr::lremovexattr,
        Sysno::FREMOVEXATTR => attr::fremovexattr,
        _ => return None,
    })
}

fn waiting<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::POLL => poll::poll,
        Sysno::PPOLL => poll::ppoll,
        Sysno::SELECT => poll::select,
        Sysno::PSELECT6 => poll::pselect6,
        Sysno::EPOLL_CREATE => special::epoll_create,
        Sysno::EPOLL_CREATE1 => special::epoll_create1,
        Sysno::EPOLL_CTL => poll::epoll_ctl,
        Sysno::EPOLL_WAIT => poll::epoll_wait,
        Sysno::EPOLL_PWAIT => poll::epoll_pwait,
        Sysno::EPOLL_PWAIT2 => poll::epoll_pwait2,
        _ => return None,
    })
}

/// A file was to grow beyond the caller's limit.
fn file_too_large<M: UserMachine>(ctx: &Ctx<'_, M>) -> Errno {
    let process = ctx.task.process().id().raw();
    let user = ctx.task.creds().uid.real;
    ctx.task
        .send(SigInfo::sent(Signal::XFSZ, SiCode::USER, process as u32, user));
    Errno::FBIG
}

/// The caller wrote to something that nobody will ever read.
fn signal_pipe<M: UserMachine>(ctx: &Ctx<'_, M>) {
    ctx.task.send(SigInfo::kernel(Signal::PIPE));
}
