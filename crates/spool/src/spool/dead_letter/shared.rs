//! The letters of a running gateway, which many use at a time.
//!
//! Threads for work that blocks are few, and uploads need them too. So whoever waits for the letters waits for a turn and holds
//! no thread; turns come in the order in which they were asked for. What takes long takes many short turns.

use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::sync::Arc;

use tokio::task::{JoinError, spawn_blocking};

use super::{Chosen, DeadLetters, Listing};

/// Letters that are shared. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SharedLetters {
    letters: Arc<Mutex<DeadLetters>>,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Reading needs no turn, but a thread: one at a time.
    reader: Arc<tokio::sync::Mutex<()>>,
}

impl From<DeadLetters> for SharedLetters {
    fn from(letters: DeadLetters) -> Self {
        Self { letters: Arc::new(Mutex::new(letters)), turn: Arc::default(), reader: Arc::default() }
    }
}

impl SharedLetters {
    /// For a look at what is in memory, and no work of the disk. Blocks for as long as a turn of somebody else lasts.
    pub fn look(&self) -> MutexGuard<'_, DeadLetters> {
        self.letters.lock()
    }

    /// Does work of the disk, in its turn and to its end.
    ///
    /// # Errors
    ///
    /// When it panicked, or the gateway stops.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut DeadLetters) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let letters = self.clone();
        spawn_blocking(move || {
            let _turn = turn;
            work(&mut letters.look())
        })
        .await
    }

    /// Removes letters, in as many turns as it takes; how many there were.
    pub async fn remove(&self, chosen: Chosen) -> io::Result<u64> {
        let mut removal = self.work(move |letters| letters.removal(chosen)).await??;
        loop {
            let some = move |letters: &mut DeadLetters| letters.remove_some(&mut removal).map(|done| (done, removal));
            let (done, rest) = self.work(some).await??;
            if done {
                return Ok(rest.removed());
            }
            removal = rest;
        }
    }

    /// Reads letters beside whoever writes some.
    pub async fn read<T: Send + 'static>(
        &self,
        chosen: Chosen,
        read: impl FnOnce(Listing) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let reader = Arc::clone(&self.reader).lock_owned().await;
        let listing = self.work(move |letters| letters.listing(chosen)).await?;
        let alone = move || {
            let _reader = reader;
            read(listing)
        };
        spawn_blocking(alone).await?
    }
}
