//! The layer under programs that are closures.

mod children;
mod exec;
mod fake;
mod futexes;
mod oom;
mod signals;
mod timers;
