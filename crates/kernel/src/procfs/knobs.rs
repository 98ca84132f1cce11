//! Files of a process that can be written.

use alloc::vec::Vec;

use foliant_mm::Mappings;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::Errno;

use super::Subject;
use crate::creds::Capability;
use crate::fs::Caller;
use crate::machine::UserMachine;
use crate::oom;
use crate::pid::Pid;

/// Bytes that Linux looks at of a number (`PROC_NUMBUF`, with its zero byte).
const NUMBER: usize = 12;
/// Kinds of memory that `coredump_filter` knows.
const DUMP_KINDS: u32 = 0x1ff;
/// `TIMER_SLACK`: what 0 asks for, in nanoseconds.
const DEFAULT_SLACK: u64 = 50_000;

/// The text of `name`, if it is one of these.
pub(super) fn read<M: UserMachine>(subject: &Subject<M>, name: &[u8]) -> Option<Result<Vec<u8>, Errno>> {
    let text = match name {
        b"oom_score" => oom_score(subject),
        b"oom_score_adj" => subject.process().map(|process| {
            let adjustment = process.oom_adjustment.load(Ordering::Relaxed);
            alloc::format!("{adjustment}\n")
        }),
        b"oom_adj" => subject.process().map(|process| {
            let adjustment = process.oom_adjustment.load(Ordering::Relaxed);
            alloc::format!("{}\n", oom::to_legacy(adjustment))
        }),
        b"coredump_filter" => subject
            .process()
            .map(|process| alloc::format!("{:08x}\n", process.dump_filter.load(Ordering::Relaxed))),
        b"timerslack_ns" => subject
            .task()
            .map(|task| alloc::format!("{}\n", task.timer_slack.load(Ordering::Relaxed))),
        _ => return None,
    };
    Some(text.map(alloc::string::String::into_bytes))
}

/// What writing `text` to `name` does.
///
/// # Errors
/// `INVAL` for a text without meaning and for files that take none; `ACCES`
/// for what only the administrator may.
pub(super) fn write<M: UserMachine>(
    subject: &Subject<M>,
    name: &[u8],
    text: &[u8],
    caller: Caller,
) -> Result<(), Errno> {
    match name {
        b"comm" => {
            let name = text.strip_suffix(b"\n").unwrap_or(text);
            subject.task()?.set_name(&name[..name.len().min(15)]);
            Ok(())
        }
        b"oom_score_adj" => {
            let value = integer(text)?;
            if !(-1000..=1000).contains(&value) {
                return Err(Errno::INVAL);
            }
            let least = subject.process()?.oom_least.load(Ordering::Relaxed);
            adjust(subject, value as i32, least, caller)
        }
        b"oom_adj" => {
            let value = integer(text)?;
            if !(-16..=15).contains(&value) && value != -17 {
                return Err(Errno::INVAL);
            }
            // The old scale may never go down.
            let now = subject.process()?.oom_adjustment.load(Ordering::Relaxed);
            adjust(subject, oom::from_legacy(value as i32), now, caller)
        }
        b"coredump_filter" => {
            let filter = u32::try_from(integer(text)?).map_err(|_| Errno::INVAL)?;
            let process = subject.process()?;
            process.dump_filter.store(filter & DUMP_KINDS, Ordering::Relaxed);
            Ok(())
        }
        b"timerslack_ns" => {
            let slack = u64::try_from(integer(text)?).map_err(|_| Errno::INVAL)?;
            let slack = if slack == 0 { DEFAULT_SLACK } else { slack };
            subject.task()?.timer_slack.store(slack, Ordering::Relaxed);
            Ok(())
        }
        // There is no audit whose records would show it.
        b"loginuid" => u32::try_from(integer(text)?).map(drop).map_err(|_| Errno::INVAL),
        b"clear_refs" => clear_refs(subject, text),
        _ => Err(Errno::INVAL),
    }
}

/// A number as `kstrtoint(strstrip(text), 0)` takes it.
pub(crate) fn integer(text: &[u8]) -> Result<i64, Errno> {
    let text = &text[..text.len().min(NUMBER)];
    let text = core::str::from_utf8(text).map_err(|_| Errno::INVAL)?.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return Err(Errno::INVAL);
    }
    let value = i64::from_str_radix(digits, radix).map_err(|_| Errno::INVAL)?;
    Ok(if negative { -value } else { value })
}

/// Makes a process more or less likely to be chosen when memory is out;
/// below `least` only the administrator may go.
///
/// # Linux source concept
/// `__set_oom_adj()`.
fn adjust<M: UserMachine>(subject: &Subject<M>, to: i32, least: i32, caller: Caller) -> Result<(), Errno> {
    let process = subject.process()?;
    let kernel = subject.kernel()?;
    let writer = kernel.tree().task(Pid::new(caller.thread)).cloned();
    let privileged = writer.is_some_and(|task| task.creds().has(Capability::SysResource));
    if !privileged && to < least {
        return Err(Errno::ACCES);
    }
    if privileged {
        process.oom_least.store(to, Ordering::Relaxed);
    }
    process.oom_adjustment.store(to, Ordering::Relaxed);
    Ok(())
}

fn oom_score<M: UserMachine>(subject: &Subject<M>) -> Result<alloc::string::String, Errno> {
    let kernel = subject.kernel()?;
    let total = kernel.memory().phys().stats().total.max(1) as i64;
    let badness = oom::badness(&*subject.process()?, total as u64);
    let score = badness.map_or(0, |points| (1000 + points * 1000 / total) * 2 / 3);
    Ok(alloc::format!("{score}\n"))
}

/// A write to `clear_refs`. Soft-dirty bits are those of a kernel that was
/// built without them: clearing them does nothing.
///
/// # Linux source concept
/// `clear_refs_write()`.
fn clear_refs<M: UserMachine>(subject: &Subject<M>, text: &[u8]) -> Result<(), Errno> {
    let which = integer(text)?;
    if !(1..=5).contains(&which) {
        return Err(Errno::INVAL);
    }
    let Some(space) = subject.task()?.space() else {
        return Ok(());
    };
    match which {
        1 => space.forget_references(Mappings::All),
        2 => space.forget_references(Mappings::Anonymous),
        3 => space.forget_references(Mappings::Files),
        5 => space.forget_peak(),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_linux() {
        assert_eq!(integer(b" 17\n"), Ok(17));
        assert_eq!(integer(b"-0x10"), Ok(-16));
        assert_eq!(integer(b"010"), Ok(8));
        assert_eq!(integer(b"0"), Ok(0));
        for bad in [&b""[..], b"abc", b"1 2", b"--1", b"0x", b"\xff"] {
            assert_eq!(integer(bad), Err(Errno::INVAL), "{bad:?}");
        }
    }
}
