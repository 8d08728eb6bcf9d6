//! The demo's hosts: each writes its events once; an agent, or two, upload them until they are acknowledged.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cli::send::uploader::{Patience, Tally, Target, UploadError, Uploader};
use crate::lab::events::{Host, Identity, Shape};
use crate::net::upload_client::Client;

/// Where the demo's Logs Ingestion uploads go, below the gateway's address.
const STREAM: &str = "/dataCollectionRules/dcr-00000000000000000000000000000001/streams/Custom-SecurityEvent";

/// Every so many hosts, one has two agents that upload the same events.
const SECOND_AGENT_EVERY: usize = 4;

/// This share of the events is from the System channel, which the event set leaves out.
const SYSTEM_SHARE: f64 = 0.1;

/// What the hosts write and how fast they upload it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fleet {
    pub(super) hosts: usize,
    pub(super) events_per_host: usize,
    pub(super) batch: usize,
    pub(super) span: Duration,
}

/// The events that hosts wrote, each with whether the event set keeps it.
pub(super) type Written = HashMap<Identity, bool>;

/// What the agents did so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    tally: Mutex<Tally>,
}

impl Progress {
    fn guard(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock()
    }

    pub(super) fn tally(&self) -> Tally {
        self.guard().clone()
    }
}

impl Fleet {
    /// One host. Clones of it write the same events again, which is what a second agent uploads.
    fn host(&self, number: usize) -> Host {
        Host::new(format!("HMI-{number:02}.plant.example"), number as u64).with_system_share(SYSTEM_SHARE)
    }

    pub(super) fn written(&self) -> Written {
        (0..self.hosts)
            .flat_map(|number| self.host(number).take(self.events_per_host))
            .map(|event| (event.identity(), event.channel() == "Security"))
            .collect()
    }

    /// How many agents there are.
    pub(super) fn agents(&self) -> usize {
        self.hosts + self.hosts.div_ceil(SECOND_AGENT_EVERY)
    }

    /// How many events all agents together have to upload.
    pub(super) fn workload(&self) -> u64 {
        (self.agents() * self.events_per_host) as u64
    }

    /// Starts every agent. `base` is the gateway's upload address, perhaps by way of a relay.
    pub(super) fn start(
        &self,
        client: &Client,
        base: &str,
        progress: &Arc<Progress>,
    ) -> anyhow::Result<JoinSet<Result<(), UploadError>>> {
        let mut agents = JoinSet::new();
        for number in 0..self.hosts {
            let two = number % SECOND_AGENT_EVERY == 0;
            // The second agent writes another shape than the first: still the same events.
            for shape in [Some(number), two.then_some(number + 1)].into_iter().flatten().map(|n| Shape::ALL[n % 3]) {
                let target = match shape {
                    Shape::Row => Target::parse(&format!("{base}{STREAM}"))?,
                    Shape::Xml | Shape::EvtxJson => Target::parse(base)?,
                };
                let rng = fastrand::Rng::with_seed((number * 10) as u64 + shape as u64);
                let patience = Patience { first_wait: Duration::from_millis(200), ..Patience::default() };
                let uploader = Uploader::new(client.clone(), target, None, patience, rng.clone(), Arc::new(|_| {}));
                agents.spawn(agent(*self, self.host(number), shape, uploader, rng, Arc::clone(progress)));
            }
        }
        Ok(agents)
    }
}

async fn agent(
    fleet: Fleet,
    mut host: Host,
    shape: Shape,
    uploader: Uploader,
    mut rng: fastrand::Rng,
    progress: Arc<Progress>,
) -> Result<(), UploadError> {
    let begin = Instant::now();
    let uploads = fleet.events_per_host.div_ceil(fleet.batch);
    let mut left = fleet.events_per_host;
    for number in 0..uploads {
        let due = fleet.span.mul_f64((number as f64 + rng.f64()) / uploads as f64);
        tokio::time::sleep_until(begin + due).await;
        let events = left.min(fleet.batch);
        left -= events;
        let records: Vec<Bytes> = host.by_ref().take(events).map(|event| event.render(shape).into()).collect();
        let mut tally = Tally::default();
        let result = uploader.upload(&records, &mut tally).await;
        progress.guard().add(&tally);
        result?;
    }
    Ok(())
}
