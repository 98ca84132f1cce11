//! Who may be given the secret.
//!
//! A thread in its signal handler has all signals blocked, so nothing stores
//! its registers while the secret is among them. But guest code can jump to the
//! stub's trap call with signals open, and have itself single-stepped or
//! signalled just when the answer is in RAX: the host then writes the secret to
//! the signal stack. The thread itself never gets to read it, because the trap
//! that follows shows an instruction pointer inside the stub and is its death;
//! and no other process sees that stack, since moving it takes the secret too.
//!
//! Another thread of the same space sees it, and can change frames while they
//! wait to be returned to. So once a space has had a second thread, the
//! supervisor asks the host what a thread blocks before it answers.
//!
//! It asks for the opposite, too. A thread in guest code has nothing blocked,
//! unless another one changed its frame. Whoever is to come in by a signal as
//! soon as its call is answered must not have that blocked: it would run guest
//! code while everybody believes it inside, and keep mappings that a flush was
//! to take away.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::lane::Lane;
use crate::host::KICK;

/// Signals 1 to 31 without those that nothing can block.
const BLOCKABLE: u64 = 0x7fff_ffff & !(1 << (libc::SIGKILL - 1)) & !(1 << (libc::SIGSTOP - 1));

/// Whether a host thread that waits for an answer has every signal blocked.
/// False where the host does not tell.
pub(crate) fn blocks_all_signals(lane: &Lane) -> bool {
    blocked_by(lane).is_some_and(|mask| mask & BLOCKABLE == BLOCKABLE)
}

/// Whether a host thread that waits for the answer to a call of guest code
/// comes in at once if it is kicked. False where the host does not tell.
pub(crate) fn hears_kicks(lane: &Lane) -> bool {
    blocked_by(lane).is_some_and(|mask| mask & 1 << (KICK - 1) == 0)
}

/// What a host thread blocks.
fn blocked_by(lane: &Lane) -> Option<u64> {
    let file = match lane.stat.get() {
        Some(file) => file,
        None => {
            let (process, thread) = lane.numbers();
            let file = File::open(format!("/proc/{process}/task/{thread}/stat")).ok()?;
            lane.stat.get_or_init(|| file)
        }
    };
    blocked_in(file)
}

fn blocked_in(file: &File) -> Option<u64> {
    let mut text = [0; 1024];
    let len = file.read_at(&mut text, 0).ok()?;
    blocked(&text[..len])
}

/// The mask of blocked signals in the text of a `stat` file.
fn blocked(text: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(text).ok()?;
    // The name may hold anything but ends at the last parenthesis; the state
    // follows it, and the mask is the thirtieth field from there.
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(29)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_blocks_nothing_is_refused() {
        let this = File::open("/proc/thread-self/stat").expect("a file of /proc");
        assert_eq!(blocked_in(&this).map(|mask| mask & BLOCKABLE), Some(0));
    }

    #[test]
    fn the_mask_is_found_behind_any_name() {
        let rest = (0..29).map(|n| format!(" {n}")).collect::<String>();
        assert_eq!(
            blocked(format!("1 (a) b 7){rest} 2147483647 0").as_bytes()),
            Some(0x7fff_ffff)
        );
    }
}
