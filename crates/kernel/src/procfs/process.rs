//! The directories `/proc/PID` and `/proc/PID/task/TID`.

use alloc::string::ToString;
use alloc::vec::Vec;

use foliant_uapi::IntoBytes;
use foliant_uapi::text::Text;
use foliant_units::{Errno, VirtRange};

use super::{Subject, descriptors, knobs, limits, memory, root, status};
use crate::fs::pseudo::{Listing, Place, PseudoDirectory, PseudoLink, PseudoText, TextSource};
use crate::fs::{Caller, Entry, FileType, Last, Link, NodeRef, Splices, Walk};
use crate::machine::UserMachine;

/// A file of a process.
#[derive(Clone, Copy)]
struct Name {
    name: &'static [u8],
    kind: FileType,
    mode: u32,
    /// Whether the directory of a process has it.
    of_process: bool,
    /// Whether that of a thread has it.
    of_thread: bool,
}

impl Name {
    /// Whether the directory of `subject` has it.
    fn is_in<M: UserMachine>(&self, subject: &Subject<M>) -> bool {
        if subject.thread.is_some() {
            self.of_thread
        } else {
            self.of_process
        }
    }
}

const fn file(name: &'static [u8], mode: u32) -> Name {
    Name {
        name,
        kind: FileType::Regular,
        mode,
        of_process: true,
        of_thread: true,
    }
}

const fn of_process(name: &'static [u8], mode: u32) -> Name {
    Name {
        of_thread: false,
        ..file(name, mode)
    }
}

const fn link(name: &'static [u8]) -> Name {
    Name {
        name,
        kind: FileType::Symlink,
        mode: 0o777,
        of_process: true,
        of_thread: true,
    }
}

const fn directory_name(name: &'static [u8], mode: u32, of_thread: bool) -> Name {
    Name {
        name,
        kind: FileType::Directory,
        mode,
        of_process: true,
        of_thread,
    }
}

const NAMES: [Name; 37] = [
    directory_name(b"task", 0o555, false),
    directory_name(b"fd", 0o500, true),
    directory_name(b"fdinfo", 0o555, true),
    directory_name(b"net", 0o555, true),
    link(b"cwd"),
    link(b"root"),
    link(b"exe"),
    file(b"environ", 0o400),
    file(b"auxv", 0o400),
    file(b"status", 0o444),
    file(b"limits", 0o444),
    file(b"comm", 0o644),
    file(b"cmdline", 0o444),
    file(b"stat", 0o444),
    file(b"statm", 0o444),
    file(b"maps", 0o444),
    file(b"mem", 0o600),
    file(b"mounts", 0o444),
    file(b"mountinfo", 0o444),
    file(b"mountstats", 0o400),
    file(b"clear_refs", 0o200),
    file(b"smaps", 0o444),
    file(b"smaps_rollup", 0o444),
    file(b"pagemap", 0o400),
    file(b"oom_score", 0o444),
    file(b"oom_adj", 0o644),
    file(b"oom_score_adj", 0o644),
    file(b"cgroup", 0o444),
    file(b"loginuid", 0o644),
    file(b"sessionid", 0o444),
    file(b"wchan", 0o444),
    file(b"personality", 0o400),
    file(b"ksm_merging_pages", 0o400),
    file(b"ksm_stat", 0o400),
    of_process(b"coredump_filter", 0o644),
    of_process(b"timerslack_ns", 0o666),
    Name {
        of_process: false,
        ..file(b"children", 0o444)
    },
];

/// Nothing is merged.
const NO_KSM: &[u8] = b"ksm_rmap_items 0
ksm_zero_pages 0
ksm_merging_pages 0
ksm_process_profit 0
ksm_merge_any: no
ksm_mergeable: no
";

struct Files<M: UserMachine> {
    subject: Subject<M>,
    host: Option<NodeRef<M>>,
}

/// The directory of `subject`; `host` is the host's `/proc`.
pub(super) fn directory<M: UserMachine>(
    place: Place,
    subject: Subject<M>,
    host: Option<NodeRef<M>>,
) -> NodeRef<M> {
    PseudoDirectory::new(place, Files { subject, host })
}

impl<M: UserMachine> Files<M> {
    fn link(&self, place: Place, name: &'static [u8]) -> NodeRef<M> {
        let subject = self.subject.clone();
        PseudoLink::new(place, move |caller| {
            let task = subject.task().map_err(|_| Errno::NOENT)?;
            let context = task.files().context();
            Ok(Link::Node(match name {
                b"cwd" => context.cwd(),
                b"root" => context.root(),
                _ => {
                    let exe = task.image().exe.clone();
                    if exe.is_empty() {
                        return Err(Errno::NOENT);
                    }
                    let root = subject.kernel()?.files().root();
                    Walk {
                        start: root.clone(),
                        root,
                        chrooted: false,
                        bounds: foliant_uapi::open::ResolveFlags::empty(),
                        caller,
                    }
                    .node(&exe, Last::Keep)?
                }
            }))
        })
    }

    /// What the host says of its own process, for what is the same for all.
    fn of_host(&self, name: &[u8], caller: Caller) -> Result<NodeRef<M>, Errno> {
        let host = self.host.as_ref().ok_or(Errno::NOENT)?;
        // The host's own link "self" names the supervisor.
        let Link::Text(own) = host.lookup(b"self", caller)?.link(caller)? else {
            return Err(Errno::NOENT);
        };
        host.lookup(&own, caller)?.lookup(name, caller)
    }
}

impl<M: UserMachine> Listing<M> for Files<M> {
    fn find(&self, place: &Place, name: &[u8], caller: Caller) -> Result<NodeRef<M>, Errno> {
        let known = NAMES
            .iter()
            .find(|known| known.name == name)
            .ok_or(Errno::NOENT)?;
        if !known.is_in(&self.subject) {
            return Err(Errno::NOENT);
        }
        let place = place.below(name, known.mode);
        let subject = self.subject.clone();
        Ok(match known.name {
            b"task" => PseudoDirectory::new(
                place,
                Tasks {
                    subject,
                    host: self.host.clone(),
                },
            ),
            b"fd" | b"fdinfo" => descriptors::directory(place, subject, name == b"fdinfo"),
            b"cwd" | b"root" | b"exe" => self.link(place, known.name),
            b"mem" => memory::mem(place, subject),
            b"pagemap" => memory::pagemap(place, subject),
            b"mounts" | b"mountinfo" | b"mountstats" | b"cgroup" | b"net" => {
                return self.of_host(name, caller);
            }
            name => PseudoText::new(place, Fact { subject, name }),
        })
    }

    fn names(&self, place: &Place, _: Caller) -> Result<Vec<Entry>, Errno> {
        let names = NAMES.iter().filter(|name| name.is_in(&self.subject));
        Ok(names.map(|name| place.entry(name.name, name.kind)).collect())
    }

    fn parent(&self) -> Result<NodeRef<M>, Errno> {
        let (proc, caller) = self.subject.proc()?;
        match self.subject.thread {
            None => Ok(proc),
            Some(_) => {
                let process = self.subject.process()?.id().raw().to_string();
                proc.lookup(process.as_bytes(), caller)?.lookup(b"task", caller)
            }
        }
    }
}

/// The directory `task`.
struct Tasks<M: UserMachine> {
    subject: Subject<M>,
    host: Option<NodeRef<M>>,
}

impl<M: UserMachine> Listing<M> for Tasks<M> {
    fn find(&self, place: &Place, name: &[u8], _: Caller) -> Result<NodeRef<M>, Errno> {
        let id = root::parse_id(name).ok_or(Errno::NOENT)?;
        let tasks = self.subject.process().map_err(|_| Errno::NOENT)?.tasks();
        tasks.iter().find(|task| task.tid() == id).ok_or(Errno::NOENT)?;
        let subject = Subject {
            thread: Some(id),
            id,
            ..self.subject.clone()
        };
        Ok(directory(place.below(name, 0o555), subject, self.host.clone()))
    }

    fn names(&self, place: &Place, _: Caller) -> Result<Vec<Entry>, Errno> {
        let tasks = self.subject.process().map_err(|_| Errno::NOENT)?.tasks();
        Ok(tasks
            .iter()
            .map(|task| place.entry(task.tid().raw().to_string(), FileType::Directory))
            .collect())
    }

    fn parent(&self) -> Result<NodeRef<M>, Errno> {
        self.subject.own_directory()
    }
}

/// A text about a process.
struct Fact<M: UserMachine> {
    subject: Subject<M>,
    name: &'static [u8],
}

impl<M: UserMachine> Fact<M> {
    fn strings(&self, range: impl Fn(&crate::exec::Image) -> VirtRange) -> Result<Vec<u8>, Errno> {
        let Ok(task) = self.subject.task() else {
            return Ok(Vec::new());
        };
        let Some(space) = task.space() else {
            return Ok(Vec::new());
        };
        let range = range(&task.image());
        let mut bytes = alloc::vec![0; range.len().min(1 << 21) as usize];
        if let Err(error) = space.copy_in(range.start, &mut bytes) {
            bytes.truncate(error.done);
        }
        Ok(bytes)
    }

    /// The children that this thread made.
    fn children(&self) -> Result<Vec<u8>, Errno> {
        let process = self.subject.process()?;
        if self.subject.thread.is_some_and(|thread| thread != process.id()) {
            // The tree knows processes; the leader stands for its threads.
            return Ok(Vec::new());
        }
        let kernel = self.subject.kernel()?;
        let mut text = alloc::string::String::new();
        for (id, node) in kernel.tree().nodes() {
            if node.parent == process.id() && id != process.id() {
                text += &alloc::format!("{} ", id.raw());
            }
        }
        Ok(text.into_bytes())
    }

    fn comm(&self) -> Result<Vec<u8>, Errno> {
        let mut name = status::name(&self.subject)?;
        name.push(b'\n');
        Ok(name)
    }
}

impl<M: UserMachine> TextSource for Fact<M> {
    fn splices(&self) -> Splices {
        Splices::empty()
    }

    fn read(&self) -> Result<Vec<u8>, Errno> {
        let space = || self.subject.task().ok().and_then(|task| task.space());
        Ok(match self.name {
            b"environ" => self.strings(|image| image.env)?,
            b"cmdline" => self.strings(|image| image.args)?,
            b"auxv" => {
                let image = self.subject.task()?.image();
                image
                    .auxv
                    .iter()
                    .flat_map(|entry| entry.as_bytes().to_vec())
                    .collect()
            }
            b"status" => status::status(&self.subject)?.to_bytes(),
            b"stat" => status::stat(&self.subject)?.to_bytes(),
            b"statm" => status::statm(&self.subject).to_bytes(),
            b"limits" => limits::text(&self.subject)?,
            b"comm" => self.comm()?,
            b"maps" => space().map_or(Vec::new(), |space| memory::maps(&space)),
            b"smaps" => space().map_or(Vec::new(), |space| memory::smaps(&space)),
            b"smaps_rollup" => space().ok_or(Errno::SRCH)?.smaps_rollup().to_bytes(),
            b"children" => self.children()?,
            b"ksm_merging_pages" => b"0\n".to_vec(),
            b"ksm_stat" => NO_KSM.to_vec(),
            b"loginuid" => b"4294967295".to_vec(),
            b"sessionid" => b"4294967295".to_vec(),
            b"wchan" => b"0".to_vec(),
            b"personality" => alloc::format!("{:08x}\n", self.subject.process()?.personality()).into_bytes(),
            name => return knobs::read(&self.subject, name).unwrap_or(Ok(Vec::new())),
        })
    }

    fn write(&self, text: &[u8], by: Caller) -> Result<(), Errno> {
        knobs::write(&self.subject, self.name, text, by)
    }
}
