//! The memory that bodies take, shared out by client.
//!
//! All bodies of a listener, or of several, share one [`Memory`]. A body takes what its buffers need before they grow and gives
//! it back when the upload is over, so that many slow or swollen bodies together cannot use more than was set aside for them.
//!
//! An eighth is only for clients that hold little. Of the rest a client may hold at most three times what is left free, so that
//! each that comes finds something. Who holds too much is shed while others pass. One upload at a time is the large one: it may
//! have all but that eighth, and waits a while for it, so nobody is refused for ever because others hold a little.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::turns::Who;

/// What one client may hold, in multiples of what is left free.
const OF_FREE_MAX: u64 = 3;
/// The part of all that is only for who holds little.
const RESERVE: u64 = 8;
/// The part of all that is little.
const LITTLE: u64 = 64;
/// How long the large upload waits for others to be over. Its client comes back later when that was too short.
const ROOM_WAIT: Duration = Duration::from_secs(5);
/// The most memory that a configuration may name. What is above it is a slip of the pen.
pub const MEMORY_LIMIT_MAX: u64 = (u32::MAX as u64 >> 4) << 10;

/// Memory for the bodies of one listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Memory {
    bytes: u64,
    taken: Arc<Mutex<Taken>>,
    freed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Taken {
    bytes: u64,
    by_client: HashMap<Who, u64>,
    /// What the large upload still lacks, if there is one: others that hold much leave it alone.
    lacking: Option<u64>,
}

/// A share of a [`Memory`], given back on drop.
#[derive(Debug)]
pub struct Share {
    memory: Memory,
    who: Who,
    bytes: u64,
    /// Whether this is the large upload.
    is_large: bool,
}

/// The memory of the listener's bodies is used up for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory for uploads, or this client's part of it, is used up")]
pub struct NoMemory;

impl Memory {
    /// So many bytes, at most [`MEMORY_LIMIT_MAX`].
    pub fn new(bytes: u64) -> Self {
        Self { bytes: bytes.min(MEMORY_LIMIT_MAX), taken: Arc::default(), freed: Arc::default() }
    }

    /// An empty share of a client.
    pub fn share(&self, who: &Who) -> Share {
        Share { memory: self.clone(), who: who.clone(), bytes: 0, is_large: false }
    }

    /// The least memory in which one share can hold so much, whatever little others hold.
    pub fn least_for(bytes: u64) -> u64 {
        bytes.saturating_add(bytes.div_ceil(RESERVE - 1))
    }

    /// What all shares hold together.
    pub fn held(&self) -> u64 {
        self.taken().bytes
    }

    /// Whether a client may hold so much when so much is left then.
    fn gives(&self, own: u64, left: u64) -> bool {
        own <= self.bytes / LITTLE || own <= left.saturating_sub(self.bytes / RESERVE) * OF_FREE_MAX
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock()
    }
}

impl Share {
    /// The largest that it can become.
    pub fn most(&self) -> u64 {
        self.memory.bytes - self.memory.bytes / RESERVE
    }

    /// How large it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the share at least so many bytes large.
    ///
    /// # Errors
    ///
    /// When there is not so much, or its client would hold more than it may and another upload is the large one.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), NoMemory> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else { return Ok(()) };
        let mut taken = self.memory.taken();
        let left = self.memory.bytes.checked_sub(taken.bytes.saturating_add(more)).ok_or(NoMemory)?;
        let own = taken.by_client.get(&self.who).copied().unwrap_or_default() + more;
        let for_large = taken.lacking.filter(|_| !self.is_large).unwrap_or_default();
        if !self.memory.gives(own, left.saturating_sub(for_large)) {
            let is_large = self.is_large || taken.lacking.is_none();
            if !is_large || bytes > self.most() {
                return Err(NoMemory);
            }
            self.is_large = true;
            taken.lacking.get_or_insert_default();
        }
        if let Some(lacking) = taken.lacking.as_mut().filter(|_| self.is_large) {
            *lacking = lacking.saturating_sub(more);
        }
        taken.bytes += more;
        taken.by_client.insert(self.who.clone(), own);
        drop(taken);
        self.bytes = bytes;
        Ok(())
    }

    /// The same; where others are in the way, it waits a while for them if it can be the large upload.
    ///
    /// # Errors
    ///
    /// Those of [`Share::grow_to`].
    pub async fn grow_or_wait(&mut self, bytes: u64) -> Result<(), NoMemory> {
        if self.grow_to(bytes).is_ok() {
            return Ok(());
        }
        self.become_large(bytes)?;
        let freed = Arc::clone(&self.memory.freed);
        let grown = async {
            while self.grow_to(bytes).is_err() {
                freed.notified().await;
            }
        };
        let waited = timeout(ROOM_WAIT, grown).await;
        waited.map_err(|_| {
            self.end_large();
            NoMemory
        })
    }

    fn become_large(&mut self, bytes: u64) -> Result<(), NoMemory> {
        let mut taken = self.memory.taken();
        if bytes > self.most() || !self.is_large && taken.lacking.is_some() {
            return Err(NoMemory);
        }
        self.is_large = true;
        taken.lacking = Some(bytes.saturating_sub(self.bytes));
        Ok(())
    }

    fn end_large(&mut self) {
        if std::mem::take(&mut self.is_large) {
            self.memory.taken().lacking = None;
        }
    }

    /// Gives back what is above so many bytes.
    pub fn shrink_to(&mut self, bytes: u64) {
        let Some(less) = self.bytes.checked_sub(bytes).filter(|less| *less > 0) else { return };
        self.bytes = bytes;
        let mut taken = self.memory.taken();
        taken.bytes -= less;
        let mut rest = 0;
        if let Some(own) = taken.by_client.get_mut(&self.who) {
            *own -= less;
            rest = *own;
        }
        if rest == 0 {
            taken.by_client.remove(&self.who);
        }
        let is_usual = self.memory.gives(rest, self.memory.bytes - taken.bytes);
        drop(taken);
        if is_usual {
            self.end_large();
        }
        self.memory.freed.notify_one();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
        self.end_large();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(name: &str) -> Who {
        Who::new(&name.into(), None)
    }

    #[test]
    fn one_client_cannot_take_what_others_need() {
        let memory = Memory::new(256 << 20);
        let mut bombs = Vec::new();
        for name in ["a", "b", "c", "d"] {
            for _ in 0..100 {
                let mut share = memory.share(&who(name));
                while share.bytes < 64 << 20 && share.grow_to(share.bytes + (1 << 20)).is_ok() {}
                bombs.push(share);
            }
        }
        assert!(memory.held() > 200 << 20, "they take what they can");
        let mut good: Vec<_> = (0..8).map(|n| memory.share(&who(&n.to_string()))).collect();
        for share in &mut good {
            assert_eq!(share.grow_to(1 << 20), Ok(()), "who wants little finds it");
        }
        drop(bombs);
        assert_eq!(memory.held(), 8 << 20);
        assert_eq!(memory.taken().by_client.len(), 8, "nobody is remembered who holds nothing");
    }

    #[test]
    fn an_upload_that_is_alone_may_have_all_but_what_is_for_small_ones() {
        let memory = Memory::new(4096);
        let mut share = memory.share(&who("a"));
        assert_eq!((share.most(), share.grow_to(1), share.grow_to(3584)), (3584, Ok(()), Ok(())));
        assert_eq!(share.grow_to(3585), Err(NoMemory));
        assert_eq!(memory.share(&who("b")).grow_to(64), Ok(()), "who wants little finds it");
        assert_eq!(memory.share(&who("b")).grow_to(65), Err(NoMemory));
        drop(share);
        assert_eq!(memory.share(&who("b")).grow_to(65), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_upload_that_takes_for_ever_keeps_no_large_one_out() {
        let memory = Memory::new(Memory::least_for(96 << 20));
        let mut slow = memory.share(&who("slow"));
        slow.grow_to(8).expect("it is little");
        let mut large = memory.share(&who("large"));
        for bytes in [1, 32, 64, 96].map(|mib| mib << 20) {
            assert_eq!(large.grow_to(bytes), Ok(()), "{bytes}");
        }
        assert_eq!(memory.share(&who("third")).grow_or_wait(90 << 20).await, Err(NoMemory), "there is one at a time");
        large.shrink_to(60 << 20);
        assert!(!large.is_large, "so much it may hold as everybody may");
    }

    #[tokio::test(start_paused = true)]
    async fn the_large_upload_waits_for_room_and_others_do_not_take_it_away() {
        let memory = Memory::new(128 << 20);
        let mut before = memory.share(&who("before"));
        before.grow_to(64 << 20).expect("there is nobody else");
        let mut large = memory.share(&who("large"));
        let waiting = large.grow_or_wait(100 << 20);
        let ends = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(memory.share(&who("third")).grow_to(20 << 20), Err(NoMemory), "it is kept for who waits");
            assert_eq!(memory.share(&who("third")).grow_to(1 << 20), Ok(()), "who wants little finds it");
            drop(before);
        };
        assert_eq!(tokio::join!(waiting, ends).0, Ok(()));
        let late = memory.share(&who("late")).grow_or_wait(100 << 20).await;
        drop(large);
        assert_eq!(late, Err(NoMemory));
        let (mut holder, mut tired) = (memory.share(&who("holder")), memory.share(&who("tired")));
        holder.grow_to(64 << 20).expect("there is nobody else");
        assert_eq!(tired.grow_or_wait(100 << 20).await, Err(NoMemory), "nothing was given back in time");
        assert_eq!(memory.taken().lacking, None, "the next one may try");
    }
}
