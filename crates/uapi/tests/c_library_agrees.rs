//! Sizes and numbers are those that the C library was built with.

use foliant_uapi::{
    Advice, MapFlags, Prot, Signal, Sysno, clone::CloneFlags, open::OpenFlags, poll, resource, signal, stat,
    time,
};

macro_rules! same_size {
    ($($ours:ty, $theirs:ty;)*) => { $(assert_eq!(size_of::<$ours>(), size_of::<$theirs>(), stringify!($ours));)* };
}

#[test]
fn structures_have_the_size_of_the_c_library() {
    same_size! {
        stat::Stat, libc::stat;
        stat::Statx, libc::statx;
        stat::Statfs, libc::statfs;
        time::Timespec, libc::timespec;
        time::Itimerspec, libc::itimerspec;
        time::SigEvent, libc::sigevent;
        resource::Rusage, libc::rusage;
        resource::Sysinfo, libc::sysinfo;
        resource::Utsname, libc::utsname;
        signal::SigInfo, libc::siginfo_t;
        signal::AltStack, libc::stack_t;
        poll::PollFd, libc::pollfd;
        poll::EpollEvent, libc::epoll_event;
        poll::SignalFdInfo, libc::signalfd_siginfo;
    }
}

#[test]
fn numbers_are_those_of_the_c_library() {
    assert_eq!(Prot::GROWSDOWN.bits(), libc::PROT_GROWSDOWN as u64);
    assert_eq!(MapFlags::POPULATE.bits(), libc::MAP_POPULATE as u64);
    assert_eq!(MapFlags::FIXED_NOREPLACE.bits(), libc::MAP_FIXED_NOREPLACE as u64);
    assert_eq!(Advice::Collapse.raw(), libc::MADV_COLLAPSE as u32);
    assert_eq!(OpenFlags::TMPFILE.bits(), libc::O_TMPFILE as u32);
    assert_eq!(OpenFlags::SYNC.bits(), libc::O_SYNC as u32);
    assert_eq!(OpenFlags::PATH.bits(), libc::O_PATH as u32);
    assert_eq!(
        CloneFlags::CHILD_CLEARTID.bits(),
        libc::CLONE_CHILD_CLEARTID as u64
    );
    assert_eq!(CloneFlags::IO.bits(), libc::CLONE_IO as u32 as u64);
    assert_eq!(Signal::SYS.raw() as i32, libc::SIGSYS);
    assert_eq!(i64::from(Sysno::CLONE3.raw()), libc::SYS_clone3);
    assert_eq!(i64::from(Sysno::FUTEX_WAITV.raw()), libc::SYS_futex_waitv);
}
