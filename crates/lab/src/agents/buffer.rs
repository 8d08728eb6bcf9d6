//! What an agent keeps until it is taken: chunks of a bounded size and number, tried a bounded number of times.

use std::collections::VecDeque;
use std::time::Duration;

use super::Kind;

/// How much an agent keeps, and how often it tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Most bytes of a chunk.
    pub chunk_bytes: usize,
    /// Most chunks that wait; the oldest goes for a new one.
    pub chunks: usize,
    /// How often a chunk is tried again.
    pub retries: u32,
    /// How long the first wait is.
    pub first_wait: Duration,
    /// Whether each wait is twice the one before.
    pub doubles: bool,
}

impl Budget {
    /// What the agents are shipped with.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Linux => Self {
                chunk_bytes: 15 << 20,
                chunks: 10,
                retries: 6,
                first_wait: Duration::from_secs(30),
                doubles: true,
            },
            Kind::Windows => Self {
                chunk_bytes: 1 << 20,
                chunks: 100,
                retries: 15,
                first_wait: Duration::from_secs(8 * 60),
                doubles: false,
            },
        }
    }

    /// How long an agent waits before it tries again for the nth time, from 1.
    pub fn wait(&self, nth: u32) -> Duration {
        if self.doubles { self.first_wait * 2_u32.saturating_pow(nth.saturating_sub(1)) } else { self.first_wait }
    }
}

/// What was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// Chunks for which there was no room.
    pub displaced: u64,
    /// Chunks that were tried too often.
    pub given_up: u64,
}

/// One upload of a chunk.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) items: usize,
}

/// Uploads that are taken or tried again together.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunk {
    pub(super) uploads: Vec<Upload>,
    pub(super) tries: u32,
}

/// Chunks that wait.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) budget: Budget,
    pub(super) lost: Lost,
    chunks: VecDeque<Chunk>,
}

impl Buffer {
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget, lost: Lost::default(), chunks: VecDeque::new() }
    }

    pub(super) fn push(&mut self, chunk: Chunk) {
        if self.chunks.len() == self.budget.chunks {
            self.chunks.pop_front();
            self.lost.displaced += 1;
        }
        self.chunks.push_back(chunk);
    }

    pub(super) fn first(&self) -> Option<&Chunk> {
        self.chunks.front()
    }

    /// The first was taken.
    pub(super) fn taken(&mut self) {
        self.chunks.pop_front();
    }

    /// The first was not. How long to wait now; `None` when it is given up.
    pub(super) fn failed(&mut self) -> Option<Duration> {
        let first = self.chunks.front_mut()?;
        first.tries += 1;
        if first.tries <= self.budget.retries {
            return Some(self.budget.wait(first.tries));
        }
        self.chunks.pop_front();
        self.lost.given_up += 1;
        None
    }

    pub(super) fn len(&self) -> usize {
        self.chunks.len()
    }
}
