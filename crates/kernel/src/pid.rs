//! Process numbers, and who is whose child.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::machine::UserMachine;
use crate::process::Process;
use crate::signal::Signal;
use crate::task::Task;
use crate::wait::Ended;

/// The number of a task, a process, a process group or a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pid(i32);

/// Numbers run from 1 to one below this (Linux's default `pid_max`).
pub const PID_MAX: i32 = 32768;

impl Pid {
    /// Nobody: the parent of the first process, a group outside the machine.
    pub const NONE: Self = Self(0);
    /// The first process, which adopts orphans.
    pub const INIT: Self = Self(1);

    /// Wraps a raw number.
    pub const fn new(raw: i32) -> Self {
        Self(raw)
    }

    /// The raw number.
    pub const fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid:{}", self.0)
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// All tasks and processes of a machine and their relations.
///
/// # Linux source concept
/// What `tasklist_lock` protects.
pub struct Tree<M: UserMachine> {
    tasks: BTreeMap<Pid, Arc<Task<M>>>,
    nodes: BTreeMap<Pid, Node<M>>,
    sessions: BTreeMap<Pid, Session>,
    last: i32,
}

/// A process among its relatives.
pub struct Node<M: UserMachine> {
    /// The process.
    pub process: Arc<Process<M>>,
    /// Who is told of its end.
    pub parent: Pid,
    /// Its children, zombies included, oldest first.
    pub children: Vec<Pid>,
    /// Its process group.
    pub group: Pid,
    /// Its session.
    pub session: Pid,
    /// Whether orphans below it come to it (`PR_SET_CHILD_SUBREAPER`).
    pub subreaper: bool,
    /// Whether it has called `execve` since its birth.
    pub has_execed: bool,
    /// How it ended; it is a zombie then.
    pub ended: Option<Ended>,
    /// A stop that no parent has waited for yet.
    pub stopped: Option<Signal>,
    /// A continuation that no parent has waited for yet.
    pub continued: bool,
    /// The signal that tells the parent of its end.
    pub exit_signal: Option<Signal>,
}

/// What the processes of a session share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session {
    /// The group that the controlling terminal listens to.
    pub foreground: Option<Pid>,
    /// Whether it has a controlling terminal.
    pub has_terminal: bool,
    /// The terminal's device number.
    pub device: u64,
}

impl<M: UserMachine> Tree<M> {
    /// Nobody lives here yet.
    pub fn new() -> Self {
        Self {
            tasks: BTreeMap::new(),
            nodes: BTreeMap::new(),
            sessions: BTreeMap::new(),
            last: 0,
        }
    }

    /// Keeps a number from being given away; numbers go on behind it.
    pub(crate) fn reserve(&mut self, pid: Pid) {
        self.last = self.last.max(pid.raw());
    }

    /// A number that names no task, process, group or session; `None` when all
    /// are taken. Numbers ascend and wrap around at [`PID_MAX`], to 300.
    pub fn unused(&mut self) -> Option<Pid> {
        for _ in 0..PID_MAX {
            self.last = if self.last + 1 >= PID_MAX {
                300
            } else {
                self.last + 1
            };
            let pid = Pid(self.last);
            if !self.is_used(pid) {
                return Some(pid);
            }
        }
        None
    }

    pub(crate) fn is_used(&self, pid: Pid) -> bool {
        self.tasks.contains_key(&pid)
            || self.nodes.contains_key(&pid)
            || self.sessions.contains_key(&pid)
            || self.group(pid).next().is_some()
    }

    /// The task with this number.
    pub fn task(&self, tid: Pid) -> Option<&Arc<Task<M>>> {
        self.tasks.get(&tid)
    }

    /// The process with this number, zombies included.
    pub fn node(&self, pid: Pid) -> Option<&Node<M>> {
        self.nodes.get(&pid)
    }

    /// The same, to change it.
    pub fn node_mut(&mut self, pid: Pid) -> Option<&mut Node<M>> {
        self.nodes.get_mut(&pid)
    }

    /// All processes by number, zombies included.
    pub fn nodes(&self) -> impl Iterator<Item = (Pid, &Node<M>)> {
        self.nodes.iter().map(|(pid, node)| (*pid, node))
    }

    /// How many tasks live.
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// The members of a process group, zombies included.
    pub fn group(&self, group: Pid) -> impl Iterator<Item = &Node<M>> {
        self.nodes.values().filter(move |node| node.group == group)
    }

    /// The state of a session.
    pub fn session(&self, session: Pid) -> Option<&Session> {
        self.sessions.get(&session)
    }

    /// The same, to change it; made if it was not there.
    pub fn session_mut(&mut self, session: Pid) -> &mut Session {
        self.sessions.entry(session).or_default()
    }

    /// Adds a task.
    pub(crate) fn add_task(&mut self, task: &Arc<Task<M>>) {
        self.tasks.insert(task.tid(), task.clone());
    }

    /// Removes a task.
    pub(crate) fn remove_task(&mut self, tid: Pid) {
        self.tasks.remove(&tid);
    }

    /// Adds a process below `node.parent`.
    pub(crate) fn add_process(&mut self, node: Node<M>) {
        let pid = node.process.id();
        if let Some(parent) = self.nodes.get_mut(&node.parent) {
            parent.children.push(pid);
        }
        self.sessions.entry(node.session).or_default();
        self.nodes.insert(pid, node);
    }

    /// Removes a zombie whose end was told.
    pub(crate) fn reap(&mut self, pid: Pid) -> Option<Node<M>> {
        let node = self.nodes.remove(&pid)?;
        if let Some(parent) = self.nodes.get_mut(&node.parent) {
            parent.children.retain(|child| *child != pid);
        }
        let session = node.session;
        if !self.nodes.values().any(|other| other.session == session) {
            self.sessions.remove(&session);
        }
        Some(node)
    }

    /// Whether no member of `group` has a parent in another group of the same
    /// session, so that nobody could continue it after a stop. `without` is
    /// left out: a process about to end.
    ///
    /// # Linux source concept
    /// `will_become_orphaned_pgrp()`.
    pub(crate) fn is_orphaned(&self, group: Pid, without: Option<Pid>) -> bool {
        !self.group(group).any(|node| {
            if node.parent == Pid::NONE {
                // Whoever started the machine's first program can continue it.
                return node.ended.is_none();
            }
            let Some(parent) = self.nodes.get(&node.parent) else {
                return false;
            };
            Some(node.process.id()) != without
                && node.ended.is_none()
                && node.parent != Pid::INIT
                && parent.group != group
                && parent.session == node.session
        })
    }
}

impl<M: UserMachine> Default for Tree<M> {
    fn default() -> Self {
        Self::new()
    }
}
