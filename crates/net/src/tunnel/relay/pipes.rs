//! Pipes for moving bytes inside the kernel, lent to a tunnel only while bytes are in them.
//!
//! A pipe costs two descriptors and counts against a limit of kernel memory that holds about 500 of them for one user.
//! A pipe for each tunnel would therefore cost an idle tunnel more than everything else together; a few pipes are
//! enough for all, because what is in a pipe is on its way out. When none is left the tunnel copies instead.

use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// Pipes at one time, lent and idle. Slow readers keep theirs for long, so this bounds what they can take.
const PIPES_MAX: usize = 32;

/// Bytes that a pipe is asked to hold: the most that an unprivileged process gets, if the kernel has not given too many
/// away already. Larger pipes take fewer system calls for bulk.
const PIPE_BYTES: usize = 1 << 20;

/// The pipes of the process.
pub(super) static PIPES: Pipes = Pipes { idle: Mutex::new(Vec::new()), made: AtomicUsize::new(0) };

/// Pipes to lend.
#[derive(Debug)]
pub(super) struct Pipes {
    idle: Mutex<Vec<Ends>>,
    made: AtomicUsize,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

/// A pipe that is lent, and how many bytes are in it. An empty one goes back when dropped; one with bytes is closed,
/// since the next tunnel must never see them.
#[derive(Debug)]
pub(super) struct Pipe {
    ends: Option<Ends>,
    held: usize,
}

impl Pipes {
    /// An empty pipe; none when there are as many as there may be or the system has none.
    pub(super) fn lend(&self) -> Option<Pipe> {
        let idle = self.idle.lock().pop();
        let ends = idle.or_else(|| self.make())?;
        Some(Pipe { ends: Some(ends), held: 0 })
    }

    fn make(&self) -> Option<Ends> {
        if self.made.fetch_add(1, Ordering::Relaxed) >= PIPES_MAX {
            self.made.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        match pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC) {
            Ok((read, write)) => {
                // A smaller pipe works too.
                fcntl_setpipe_size(&write, PIPE_BYTES).ok();
                Some(Ends { read, write })
            }
            Err(_) => {
                self.made.fetch_sub(1, Ordering::Relaxed);
                None
            }
        }
    }
}

impl Pipe {
    /// Moves bytes from a socket into the pipe, which must be empty: only then does `WouldBlock` mean that the socket
    /// has no more. 0 at the end of the stream.
    pub(super) fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0, "a full pipe and an empty socket could not be told apart");
        let Some(ends) = &self.ends else { return Ok(0) };
        let moved = splice(from, None, &ends.write, None, PIPE_BYTES, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?;
        self.held += moved;
        Ok(moved)
    }

    /// Moves bytes from the pipe to a socket.
    pub(super) fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let moved = splice(&ends.read, None, to, None, self.held, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?;
        self.held -= moved;
        Ok(moved)
    }

    /// Bytes in the pipe.
    pub(super) fn held(&self) -> usize {
        self.held
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        if self.held == 0 {
            PIPES.idle.lock().push(ends);
        } else {
            PIPES.made.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
