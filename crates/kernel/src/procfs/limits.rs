//! `/proc/PID/limits`.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use foliant_uapi::resource::{Resource, Rlimit};
use foliant_units::Errno;

use super::Subject;
use crate::machine::UserMachine;

/// The text of the file.
pub(super) fn text<M: UserMachine>(subject: &Subject<M>) -> Result<Vec<u8>, Errno> {
    let process = subject.process()?;
    let limits = process.limits.lock().clone();
    let mut text = alloc::format!(
        "{:<25} {:<20} {:<20} {:<10}\n",
        "Limit",
        "Soft Limit",
        "Hard Limit",
        "Units"
    );
    let value = |raw: u64| {
        if raw == Rlimit::INFINITY {
            String::from("unlimited")
        } else {
            raw.to_string()
        }
    };
    for which in Resource::EVERY {
        let limit = limits.get(which);
        text += &alloc::format!(
            "{:<25} {:<20} {:<20} ",
            which.text(),
            value(limit.cur),
            value(limit.max)
        );
        if !which.unit().is_empty() {
            text += &alloc::format!("{:<10}", which.unit());
        }
        text.push('\n');
    }
    Ok(text.into_bytes())
}
