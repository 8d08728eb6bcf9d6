//! A gateway's log a second time, at servers that keep it durably on several machines: what is acknowledged outlives the machine
//! of the gateway.
//!
//! What it promises:
//!
//! 1. Of what [`Replicated::reach`] has called replicated, a quorum of the servers holds every item that an output still needs.
//! 2. A replica has one writer. Each message names the one before it, so that of two who write one is refused. Who takes a log
//!    over closes it with a last message, behind which its former owner can write nothing.
//! 3. A gateway sends only while it can know that its log is its own ([`Permit`]). Another one takes the log over when it has seen
//!    no sign of life for twice as long.
//! 4. What is taken over is durable and replicated as the new owner's before it leaves the old replica. A log that was taken over is
//!    never forwarded by its former owner as well: when he is back, he passes over what was handed on.
//!
//! What the former owner had sent and not yet told arrives twice; whoever takes it over counts all of it as ambiguous.
//!
//! A log keeps its segments and its read positions at home, as without replication, and is forwarded from there. The replica is only
//! read when the home is gone. `docs/replication.md` tells why it is built so, and what each failure costs.
//!
//! The parts: [`servers`] is what is asked of the servers, [`jetstream`] asks NATS; [`message`] and [`state`] are what is written
//! there; [`writer`] replicates the log of this gateway; [`takeover`] takes over those that nobody owns any more. [`shared`] keeps
//! at the same servers what gateways have together beside their logs.

mod config;
mod connection;
mod credentials;
#[cfg(any(test, feature = "faulty"))]
pub mod in_memory;
pub mod jetstream;
pub mod message;
mod permit;
mod replicated;
pub mod seen;
pub mod servers;
pub mod shared;
pub mod state;
mod streams;
pub mod survey;
pub mod takeover;
#[cfg(test)]
mod tests;
mod writer;

pub use config::{Config, Kind};
pub use permit::Permit;
pub use replicated::{Counts, NotReplicated, Replicated, Standing};
pub use writer::{Identity, Writer};

use std::sync::Arc;
use std::time::Duration;

use crate::spool::Spool;
use servers::Servers;
use takeover::{Heir, Takeover};

/// The replication of one gateway's log.
#[derive(Clone)]
pub struct Replication {
    replicated: Replicated,
    servers: Arc<dyn Servers>,
    me: Identity,
    takeover_after: Duration,
}

impl Replication {
    /// To these servers. Uploads wait for `wait_max` at most; a gateway without a sign of life for `takeover_after` is taken over.
    pub fn new(servers: Arc<dyn Servers>, me: Identity, wait_max: Duration, takeover_after: Duration) -> Self {
        Self { replicated: Replicated::new(wait_max), servers, me, takeover_after }
    }

    /// How far it has come.
    pub fn replicated(&self) -> &Replicated {
        &self.replicated
    }

    /// What has to run to replicate this spool.
    pub fn writer(&self, spool: Spool) -> Writer {
        let (replicated, servers) = (self.replicated.clone(), Arc::clone(&self.servers));
        Writer::new(replicated, spool, servers, self.me.clone(), self.takeover_after)
    }

    /// What has to run to take over the logs of others.
    pub fn takeover(&self, heir: Arc<dyn Heir>) -> Takeover {
        let (replicated, servers) = (self.replicated.clone(), Arc::clone(&self.servers));
        Takeover::new(replicated, servers, self.me.clone(), self.takeover_after, heir)
    }
}
