//! Sets of counters.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_platform::testing::TestPlatform;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::poll::{EpollEvent, PollEvents};
use foliant_units::Errno;

use super::{Change, Epoll};
use crate::eventfd::EventFd;
use crate::fd::{Fd, OpenRef};
use crate::fs::{OpenFile, SliceSink, SliceSource};

type Machine = TestPlatform<true>;

fn counter() -> OpenRef<Machine> {
    OpenFile::new(Arc::new(EventFd::new(0, false)), OpenFlags::RDWR)
}

fn raise(open: &OpenRef<Machine>) {
    open.write(&mut SliceSource::new(&1u64.to_le_bytes())).unwrap();
}

fn clear(open: &OpenRef<Machine>) {
    open.read(&mut SliceSink::new(&mut [0; 8])).unwrap();
}

fn event(events: PollEvents, data: u64) -> EpollEvent {
    EpollEvent {
        events: events.bits(),
        data,
    }
}

fn fd(raw: i32) -> Fd {
    Fd::new(raw).unwrap()
}

fn harvest(set: &Epoll<Machine>) -> Vec<u64> {
    set.harvest(10).iter().map(|event| event.data).collect()
}

#[test]
fn a_level_is_reported_until_it_falls() {
    let (set, open) = (Epoll::new(), counter());
    set.change(fd(3), &open, Change::Add(event(PollEvents::IN, 7)))
        .unwrap();
    assert_eq!(harvest(&set), []);
    raise(&open);
    assert_eq!(harvest(&set), [7]);
    assert_eq!(harvest(&set), [7]);
    clear(&open);
    assert_eq!(harvest(&set), []);
}

#[test]
fn an_edge_is_reported_once_per_change() {
    let (set, open) = (Epoll::new(), counter());
    raise(&open);
    set.change(
        fd(3),
        &open,
        Change::Add(event(PollEvents::IN | PollEvents::ET, 7)),
    )
    .unwrap();
    assert_eq!(harvest(&set), [7]);
    assert_eq!(harvest(&set), []);
    raise(&open);
    assert_eq!(harvest(&set), [7]);
}

#[test]
fn one_shot_waits_to_be_armed_again() {
    let (set, open) = (Epoll::new(), counter());
    let once = event(PollEvents::IN | PollEvents::ONESHOT, 7);
    set.change(fd(3), &open, Change::Add(once)).unwrap();
    raise(&open);
    assert_eq!(harvest(&set), [7]);
    raise(&open);
    assert_eq!(harvest(&set), []);
    set.change(fd(3), &open, Change::Modify(once)).unwrap();
    assert_eq!(harvest(&set), [7]);
}

#[test]
fn all_get_their_turn() {
    let set = Epoll::new();
    let files: Vec<_> = (0..4).map(|_| counter()).collect();
    for (number, open) in files.iter().enumerate() {
        raise(open);
        set.change(
            fd(number as i32),
            open,
            Change::Add(event(PollEvents::IN, number as u64)),
        )
        .unwrap();
    }
    let mut seen: Vec<u64> = Vec::new();
    for _ in 0..2 {
        seen.extend(set.harvest(2).iter().map(|event| event.data));
    }
    assert_eq!(seen, [0, 1, 2, 3]);
}

#[test]
fn what_is_closed_is_forgotten() {
    let (set, open) = (Epoll::new(), counter());
    set.change(fd(3), &open, Change::Add(event(PollEvents::IN, 7)))
        .unwrap();
    assert_eq!(
        set.change(fd(3), &open, Change::Add(event(PollEvents::IN, 7))),
        Err(Errno::EXIST)
    );
    raise(&open);
    drop(open);
    assert_eq!(harvest(&set), []);
    let other = counter();
    assert_eq!(set.change(fd(3), &other, Change::Delete), Err(Errno::NOENT));
}

#[test]
fn sets_in_sets_but_not_in_circles() {
    let inner: OpenRef<Machine> = OpenFile::new(Arc::new(Epoll::<Machine>::new()), OpenFlags::RDWR);
    let outer: OpenRef<Machine> = OpenFile::new(Arc::new(Epoll::<Machine>::new()), OpenFlags::RDWR);
    let set = |open: &OpenRef<Machine>, fd: Fd, other: &OpenRef<Machine>, change| {
        open.downcast::<Epoll<Machine>>()
            .unwrap()
            .change(fd, other, change)
    };
    let add = Change::Add(event(PollEvents::IN, 1));
    assert_eq!(set(&outer, fd(3), &inner, add), Ok(()));
    assert_eq!(set(&inner, fd(4), &outer, add), Err(Errno::LOOP));
    assert_eq!(set(&outer, fd(5), &outer, add), Err(Errno::INVAL));
    let open = counter();
    assert_eq!(set(&inner, fd(6), &open, add), Ok(()));
    raise(&open);
    let outer = outer.downcast::<Epoll<Machine>>().unwrap();
    assert_eq!(harvest(outer), [1]);
}
