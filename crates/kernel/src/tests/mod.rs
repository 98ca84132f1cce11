//! The layer under programs that are closures.

mod children;
mod compaction;
mod exec;
mod fake;
mod futexes;
mod oom;
mod proc_memory;
mod signals;
mod timers;
