//! Pipes.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;
use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_uapi::io::ioctl;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::poll::PollEvents;
use foliant_uapi::stat::Mode;
use foliant_units::{Errno, PAGE_SIZE, VirtAddr};

use crate::fs::{File, FileRef, FileStat, OpenHow, READABLE, Sink, Source, UserMemory, WRITABLE};
use crate::park::WaitQueue;

/// Writes of up to this many bytes are never interleaved.
pub const PIPE_BUF: usize = 4096;
/// Bytes that a new pipe holds.
const DEFAULT_CAPACITY: usize = 16 * PAGE_SIZE;
/// Bytes that an unprivileged process may ask for (`fs.pipe-max-size`).
const MAX_CAPACITY: usize = 1 << 20;

/// What both ends share.
#[derive(Debug)]
struct Pipe {
    number: u64,
    state: SpinLock<State>,
    changed: WaitQueue,
}

#[derive(Debug)]
struct State {
    bytes: VecDeque<u8>,
    capacity: usize,
    readers: usize,
    writers: usize,
    /// How often it was opened for reading and for writing.
    reads: u64,
    writes: u64,
}

/// A pipe with a name; what is in it goes with the last who has it open.
///
/// # Linux source concept
/// `fifo_open()`.
#[derive(Debug, Default)]
pub struct Fifo(SpinLock<Weak<Pipe>>);

impl Fifo {
    /// An end, or both; who must wait for the other one finds that in
    /// [`PipeEnd::partner`].
    ///
    /// # Errors
    /// `NXIO`: opened for writing without waiting, and nobody reads.
    pub fn open(&self, flags: OpenFlags) -> Result<PipeEnd, Errno> {
        let mut known = self.0.lock();
        let pipe = known.upgrade().unwrap_or_else(|| {
            let pipe = Pipe::new(0);
            *known = Arc::downgrade(&pipe);
            pipe
        });
        drop(known);
        let (readers, reads, writers, writes) = {
            let state = pipe.state.lock();
            (state.readers, state.reads, state.writers, state.writes)
        };
        let waits = !flags.contains(OpenFlags::NONBLOCK);
        let mut end = PipeEnd::reopen_of(&pipe, flags)?;
        match end.ways {
            Ways {
                reads: true,
                writes: false,
            } if writers == 0 => {
                end.awaits = waits.then_some(writes);
                // No writer has gone yet.
                end.calm = writes;
            }
            Ways {
                reads: false,
                writes: true,
            } if readers == 0 => end.awaits = waits.then_some(reads),
            _ => {}
        }
        Ok(end)
    }
}

impl Pipe {
    fn new(number: u64) -> Arc<Self> {
        let state = State {
            bytes: VecDeque::new(),
            capacity: DEFAULT_CAPACITY,
            readers: 0,
            writers: 0,
            reads: 0,
            writes: 0,
        };
        Arc::new(Self {
            number,
            state: SpinLock::new(state),
            changed: WaitQueue::new(),
        })
    }
}

/// Which way an end goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ways {
    reads: bool,
    writes: bool,
}

/// One end of a pipe, or both (a FIFO opened for reading and writing).
///
/// # Linux source concept
/// `struct pipe_inode_info`, fs/pipe.c. Differs: counts bytes, not pages, so a
/// pipe full of single bytes holds as many as its capacity says.
#[derive(Debug)]
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    ways: Ways,
    /// How often the other way had been opened when this end began to wait for that.
    awaits: Option<u64>,
    /// As long as it was opened for writing only so often, nobody has hung up.
    calm: u64,
}

/// Numbers for new pipes, as `/proc/PID/fd` shows them. One per machine.
#[derive(Debug)]
pub struct PipeNumbers(AtomicU64);

impl Default for PipeNumbers {
    fn default() -> Self {
        // Numbers of pipes look like inode numbers of a system in use.
        Self(AtomicU64::new(4096))
    }
}

impl PipeNumbers {
    /// The next number.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl PipeEnd {
    /// A new pipe: the reading and the writing end.
    pub fn pair(number: u64) -> (Self, Self) {
        let pipe = Pipe::new(number);
        let reader = Self::join(
            &pipe,
            Ways {
                reads: true,
                writes: false,
            },
        );
        (
            reader,
            Self::join(
                &pipe,
                Ways {
                    reads: false,
                    writes: true,
                },
            ),
        )
    }

    fn join(pipe: &Arc<Pipe>, ways: Ways) -> Self {
        let mut state = pipe.state.lock();
        state.readers += usize::from(ways.reads);
        state.writers += usize::from(ways.writes);
        state.reads += u64::from(ways.reads);
        state.writes += u64::from(ways.writes);
        drop(state);
        pipe.changed.wake_all();
        Self {
            pipe: pipe.clone(),
            ways,
            awaits: None,
            calm: 0,
        }
    }

    /// Whether the other end has come that the opening of this one waits for.
    ///
    /// # Errors
    /// `AGAIN` if not.
    pub fn partner(&self) -> Result<(), Errno> {
        let state = self.pipe.state.lock();
        let opened = if self.ways.reads {
            state.writes
        } else {
            state.reads
        };
        if self.awaits == Some(opened) {
            Err(Errno::AGAIN)
        } else {
            Ok(())
        }
    }

    /// Another end of the same pipe.
    ///
    /// # Errors
    /// `NXIO`: opened for writing without waiting, and nobody reads.
    pub fn reopen_end(&self, flags: OpenFlags) -> Result<Self, Errno> {
        Self::reopen_of(&self.pipe, flags)
    }

    fn reopen_of(pipe: &Arc<Pipe>, flags: OpenFlags) -> Result<Self, Errno> {
        let ways = Ways {
            reads: flags.readable(),
            writes: flags.writable(),
        };
        let lonely = pipe.state.lock().readers == 0;
        if ways.writes && !ways.reads && lonely && flags.contains(OpenFlags::NONBLOCK) {
            return Err(Errno::NXIO);
        }
        Ok(Self::join(pipe, ways))
    }

    /// Bytes that the pipe holds at most.
    pub fn capacity(&self) -> usize {
        self.pipe.state.lock().capacity
    }

    /// Changes how many bytes the pipe holds; returns what it is now.
    ///
    /// # Errors
    /// `BUSY` if more is inside, `PERM` above the machine's limit, `INVAL` for
    /// more than a pipe can ever have.
    pub fn set_capacity(&self, wanted: u32) -> Result<usize, Errno> {
        let capacity = (wanted as usize)
            .max(PAGE_SIZE)
            .checked_next_power_of_two()
            .ok_or(Errno::INVAL)?;
        if capacity > 1 << 31 {
            return Err(Errno::INVAL);
        }
        if capacity > MAX_CAPACITY {
            return Err(Errno::PERM);
        }
        let mut state = self.pipe.state.lock();
        if state.bytes.len() > capacity {
            return Err(Errno::BUSY);
        }
        state.capacity = capacity;
        drop(state);
        self.pipe.changed.wake_all();
        Ok(capacity)
    }

    /// Whether both are ends of one pipe.
    pub fn same_pipe(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pipe, &other.pipe)
    }

    /// Copies up to `most` bytes without taking them (`tee`).
    ///
    /// # Errors
    /// `AGAIN` if there are none but a writer.
    pub fn peek(&self, most: usize) -> Result<Vec<u8>, Errno> {
        let state = self.pipe.state.lock();
        if state.bytes.is_empty() && state.writers > 0 {
            return Err(Errno::AGAIN);
        }
        Ok(state.bytes.iter().take(most).copied().collect())
    }

    /// Bytes that could be written now.
    ///
    /// # Errors
    /// `AGAIN` if there are none, `PIPE` if nobody will ever read.
    pub fn room(&self) -> Result<usize, Errno> {
        let state = self.pipe.state.lock();
        if state.readers == 0 {
            return Err(Errno::PIPE);
        }
        match state.capacity.saturating_sub(state.bytes.len()) {
            0 => Err(Errno::AGAIN),
            room => Ok(room),
        }
    }

    /// Takes what a reader gets next; `None` if it must wait.
    fn take(&self, most: usize) -> Option<Vec<u8>> {
        let mut state = self.pipe.state.lock();
        if state.bytes.is_empty() && state.writers > 0 {
            return None;
        }
        let count = most.min(state.bytes.len());
        let (front, back) = state.bytes.as_slices();
        let mut taken = Vec::with_capacity(count);
        taken.extend_from_slice(&front[..count.min(front.len())]);
        taken.extend_from_slice(&back[..count - taken.len()]);
        state.bytes.drain(..count);
        Some(taken)
    }

    /// Puts back what a reader could not store.
    fn put_back(&self, bytes: &[u8]) {
        let mut state = self.pipe.state.lock();
        for &byte in bytes.iter().rev() {
            state.bytes.push_front(byte);
        }
    }
}

impl State {
    /// Whether `count` bytes may go in now: small writes whole or not at all.
    fn room_for(&self, count: usize) -> usize {
        let free = self.capacity.saturating_sub(self.bytes.len());
        if count <= PIPE_BUF && free < count {
            0
        } else {
            free.min(count)
        }
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        state.readers -= usize::from(self.ways.reads);
        state.writers -= usize::from(self.ways.writes);
        drop(state);
        self.pipe.changed.wake_all();
    }
}

impl<M: Mmu> File<M> for PipeEnd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(&self, _: u64, to: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        let mut total = 0;
        while to.room() > 0 {
            let Some(bytes) = self.take(to.room().min(DEFAULT_CAPACITY)) else {
                return if total > 0 { Ok(total) } else { Err(Errno::AGAIN) };
            };
            if bytes.is_empty() {
                break;
            }
            self.pipe.changed.wake_all();
            match to.put(&bytes) {
                Ok(count) if count == bytes.len() => total += count,
                Ok(count) => {
                    self.put_back(&bytes[count..]);
                    return Ok(total + count);
                }
                Err(errno) => {
                    self.put_back(&bytes);
                    return if total > 0 { Ok(total) } else { Err(errno) };
                }
            }
        }
        Ok(total)
    }

    fn write(&self, _: u64, from: &mut dyn Source, _: OpenFlags) -> Result<(usize, u64), Errno> {
        let mut total = 0;
        while from.left() > 0 || total == 0 {
            let wanted = from.left();
            let room = {
                let state = self.pipe.state.lock();
                if state.readers == 0 {
                    return if total > 0 {
                        Ok((total, 0))
                    } else {
                        Err(Errno::PIPE)
                    };
                }
                state.room_for(wanted)
            };
            if wanted == 0 {
                break;
            }
            if room == 0 {
                return if total > 0 {
                    Ok((total, 0))
                } else {
                    Err(Errno::AGAIN)
                };
            }
            let mut bytes = alloc::vec![0; room];
            let taken = match from.take(&mut bytes) {
                Ok(taken) => taken,
                Err(errno) => return if total > 0 { Ok((total, 0)) } else { Err(errno) },
            };
            let mut state = self.pipe.state.lock();
            // Another writer may have been faster while user memory was read.
            if state.room_for(taken) < taken {
                drop(state);
                from.give_back(taken);
                continue;
            }
            state.bytes.extend(&bytes[..taken]);
            drop(state);
            self.pipe.changed.wake_all();
            total += taken;
            if taken < room {
                break;
            }
        }
        Ok((total, 0))
    }

    fn takes_all(&self) -> bool {
        true
    }

    fn ready(&self) -> PollEvents {
        let state = self.pipe.state.lock();
        let mut ready = PollEvents::empty();
        if self.ways.reads {
            ready.set(READABLE, !state.bytes.is_empty());
            ready.set(PollEvents::HUP, state.writers == 0 && state.writes != self.calm);
        }
        if self.ways.writes {
            // Linux reports room when a whole page is free.
            ready.set(
                WRITABLE,
                state.capacity.saturating_sub(state.bytes.len()) >= PIPE_BUF,
            );
            ready.set(PollEvents::ERR, state.readers == 0);
        }
        ready
    }

    fn queue(&self) -> Option<WaitQueue> {
        Some(self.pipe.changed.clone())
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(FileStat {
            dev: 0xf,
            ino: self.pipe.number,
            nlink: 1,
            mode: Mode(Mode::FIFO | 0o600),
            blksize: 4096,
            ..FileStat::default()
        })
    }

    fn link(&self) -> Vec<u8> {
        alloc::format!("pipe:[{}]", self.pipe.number).into_bytes()
    }

    fn reopen(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        Ok(Arc::new(self.reopen_end(how.flags)?))
    }

    fn allocate(&self, _: crate::fs::SpaceHint) -> Result<(), Errno> {
        Err(Errno::SPIPE)
    }

    fn ioctl(&self, memory: &dyn UserMemory, command: u32, arg: VirtAddr) -> Result<u64, Errno> {
        match command {
            ioctl::FIONREAD => {
                let count = self.pipe.state.lock().bytes.len() as i32;
                memory.put(arg, &count.to_le_bytes())?;
                Ok(0)
            }
            _ => Err(Errno::NOTTY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{SliceSink, SliceSource};
    use foliant_platform::testing::TestPlatform;

    type Machine = TestPlatform<true>;

    fn write(end: &PipeEnd, bytes: &[u8]) -> Result<usize, Errno> {
        File::<Machine>::write(end, 0, &mut SliceSource::new(bytes), OpenFlags::empty())
            .map(|(count, _)| count)
    }

    fn read(end: &PipeEnd, most: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = alloc::vec![0; most];
        let count = File::<Machine>::read(end, 0, &mut SliceSink::new(&mut bytes), OpenFlags::empty())?;
        bytes.truncate(count);
        Ok(bytes)
    }

    #[test]
    fn bytes_come_out_in_order_and_the_end_after_them() {
        let (reader, writer) = PipeEnd::pair(1);
        assert_eq!(read(&reader, 9), Err(Errno::AGAIN));
        assert_eq!(write(&writer, b"hello"), Ok(5));
        assert_eq!(read(&reader, 3), Ok(b"hel".to_vec()));
        drop(writer);
        assert_eq!(read(&reader, 9), Ok(b"lo".to_vec()));
        assert_eq!(read(&reader, 9), Ok(Vec::new()));
    }

    #[test]
    fn small_writes_go_in_whole_or_not_at_all() {
        let (reader, writer) = PipeEnd::pair(1);
        assert_eq!(write(&writer, &[1; 65000]), Ok(65000));
        assert_eq!(write(&writer, &[2; 4096]), Err(Errno::AGAIN));
        assert_eq!(write(&writer, &[3; 5000]), Ok(536));
        assert_eq!(read(&reader, 65536).map(|bytes| bytes.len()), Ok(65536));
        assert_eq!(write(&writer, &[2; 4096]), Ok(4096));
    }

    #[test]
    fn nobody_writes_to_nobody() {
        let (reader, writer) = PipeEnd::pair(1);
        drop(reader);
        assert_eq!(write(&writer, b"x"), Err(Errno::PIPE));
        assert!(File::<Machine>::ready(&writer).contains(PollEvents::ERR));
    }

    #[test]
    fn a_pipe_shrinks_only_if_what_it_holds_still_fits() {
        let (reader, writer) = PipeEnd::pair(1);
        assert_eq!(write(&writer, &[0; 9000]), Ok(9000));
        assert_eq!(writer.set_capacity(4096), Err(Errno::BUSY));
        assert_eq!(writer.set_capacity(9001), Ok(16384));
        assert_eq!(reader.capacity(), 16384);
        assert_eq!(writer.set_capacity(1 << 21), Err(Errno::PERM));
    }
}
