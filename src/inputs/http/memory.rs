//! The memory that bodies take, shared out by client.
//!
//! All bodies of a listener, or of several, share one [`Memory`]. A body takes what its buffers need before they grow and gives
//! it back when the upload is over, so that many slow or swollen bodies together cannot use more than was set aside for them.
//!
//! An eighth is only for clients that hold little. Of the rest a client may hold at most three times what is left free, so that
//! each that comes finds something. Who holds too much is shed while others pass. Only an upload that is alone may have
//! everything: nobody is refused for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::turns::Who;

/// What one client may hold, in multiples of what is left free.
const OF_FREE_MAX: u64 = 3;
/// The part of all that is only for who holds little.
const RESERVE: u64 = 8;
/// The part of all that is little.
const LITTLE: u64 = 64;
/// The most memory that a configuration may name. What is above it is a slip of the pen.
pub const MEMORY_LIMIT_MAX: u64 = (u32::MAX as u64 >> 4) << 10;

/// Memory for the bodies of one listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Memory {
    bytes: u64,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    bytes: u64,
    by_client: HashMap<Who, u64>,
}

/// A share of a [`Memory`], given back on drop.
#[derive(Debug)]
pub struct Share {
    memory: Memory,
    who: Who,
    bytes: u64,
}

/// The memory of the listener's bodies is used up for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory for uploads, or this client's part of it, is used up")]
pub struct NoMemory;

impl Memory {
    /// So many bytes, at most [`MEMORY_LIMIT_MAX`].
    pub fn new(bytes: u64) -> Self {
        Self { bytes: bytes.min(MEMORY_LIMIT_MAX), taken: Arc::default() }
    }

    /// An empty share of a client.
    pub fn share(&self, who: &Who) -> Share {
        Share { memory: self.clone(), who: who.clone(), bytes: 0 }
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
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// The largest that it can become, when nobody else has a share.
    pub fn most(&self) -> u64 {
        self.memory.bytes
    }

    /// Makes the share at least so many bytes large.
    ///
    /// # Errors
    ///
    /// When there is not so much, or its client would hold more than it may.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), NoMemory> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else { return Ok(()) };
        let mut taken = self.memory.taken();
        let left = self.memory.bytes.checked_sub(taken.bytes.saturating_add(more)).ok_or(NoMemory)?;
        let is_alone = taken.bytes == self.bytes;
        let own = taken.by_client.get(&self.who).copied().unwrap_or_default() + more;
        if !is_alone && !self.memory.gives(own, left) {
            return Err(NoMemory);
        }
        taken.bytes += more;
        taken.by_client.insert(self.who.clone(), own);
        drop(taken);
        self.bytes = bytes;
        Ok(())
    }

    /// Gives back what is above so many bytes.
    pub fn shrink_to(&mut self, bytes: u64) {
        let Some(less) = self.bytes.checked_sub(bytes).filter(|less| *less > 0) else { return };
        self.bytes = bytes;
        let mut taken = self.memory.taken();
        taken.bytes -= less;
        if let Some(own) = taken.by_client.get_mut(&self.who) {
            *own -= less;
            if *own == 0 {
                taken.by_client.remove(&self.who);
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
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
    fn an_upload_that_is_alone_may_have_everything() {
        let memory = Memory::new(4096);
        let mut share = memory.share(&who("a"));
        assert_eq!((share.grow_to(1), share.grow_to(4096)), (Ok(()), Ok(())));
        assert_eq!(share.grow_to(4097), Err(NoMemory));
        assert_eq!(memory.share(&who("b")).grow_to(1), Err(NoMemory));
        drop(share);
        assert_eq!(memory.share(&who("b")).grow_to(1), Ok(()));
    }
}
