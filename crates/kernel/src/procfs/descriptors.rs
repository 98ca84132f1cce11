//! The directories `fd` and `fdinfo`.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_uapi::open::OpenFlags;
use foliant_units::Errno;

use super::Subject;
use crate::fd::{Fd, OpenRef};
use crate::fs::pseudo::{Listing, Place, PseudoDirectory, PseudoLink, PseudoText, Unspliced};
use crate::fs::{Caller, Entry, FileNode, FileType, Link, NodeRef};
use crate::machine::UserMachine;

struct Descriptors<M: UserMachine> {
    subject: Subject<M>,
    info: bool,
}

/// `fd`, or `fdinfo`.
pub(super) fn directory<M: UserMachine>(place: Place, subject: Subject<M>, info: bool) -> NodeRef<M> {
    PseudoDirectory::new(place, Descriptors { subject, info })
}

fn open_file<M: UserMachine>(subject: &Subject<M>, fd: Fd) -> Result<OpenRef<M>, Errno> {
    let task = subject.task().map_err(|_| Errno::NOENT)?;
    task.files().table().get(fd).map_err(|_| Errno::NOENT)
}

/// What `/proc/PID/fd/N` leads to.
fn target<M: UserMachine>(open: &OpenRef<M>) -> NodeRef<M> {
    match open.file().node() {
        Some(node) => node,
        None => Arc::new(FileNode::new(open.file().clone())),
    }
}

fn info<M: UserMachine>(open: &OpenRef<M>, cloexec: bool) -> Vec<u8> {
    let mut flags = open.flags();
    flags.set(OpenFlags::CLOEXEC, cloexec);
    let ino = open.file().stat().map_or(0, |stat| stat.ino);
    let mut text = alloc::format!(
        "pos:\t{}\nflags:\t0{:o}\nmnt_id:\t15\nino:\t{ino}\n",
        open.position(),
        flags.bits()
    );
    text += &open.file().fdinfo();
    text.into_bytes()
}

impl<M: UserMachine> Listing<M> for Descriptors<M> {
    fn find(&self, place: &Place, name: &[u8], _: Caller) -> Result<NodeRef<M>, Errno> {
        let plain = name == b"0" || name.first().is_some_and(|&byte| byte != b'0');
        let number = core::str::from_utf8(name)
            .ok()
            .filter(|_| plain)
            .and_then(|text| text.parse().ok());
        let fd = Fd::new(number.ok_or(Errno::NOENT)?).map_err(|_| Errno::NOENT)?;
        let open = open_file(&self.subject, fd)?;
        let subject = self.subject.clone();
        if self.info {
            let make = move || {
                let task = subject.task().map_err(|_| Errno::NOENT)?;
                let cloexec = task.files().table().cloexec(fd).map_err(|_| Errno::NOENT)?;
                Ok(info(&open_file(&subject, fd)?, cloexec))
            };
            return Ok(PseudoText::new(place.below(name, 0o444), Unspliced(make)));
        }
        // Permissions tell how it is open.
        let flags = open.flags();
        let mode = (u32::from(flags.readable()) * 0o500) | (u32::from(flags.writable()) * 0o300);
        let link = PseudoLink::new(place.below(name, mode), move |_| {
            Ok(Link::Node(target(&open_file(&subject, fd)?)))
        });
        Ok(link)
    }

    fn names(&self, place: &Place, _: Caller) -> Result<Vec<Entry>, Errno> {
        let task = self.subject.task().map_err(|_| Errno::NOENT)?;
        let kind = if self.info {
            FileType::Regular
        } else {
            FileType::Symlink
        };
        let used = task.files().table().list();
        Ok(used
            .iter()
            .map(|(fd, _)| place.entry(fd.raw().to_string(), kind))
            .collect())
    }

    fn parent(&self) -> Result<NodeRef<M>, Errno> {
        self.subject.own_directory()
    }
}
