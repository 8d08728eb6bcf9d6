//! The file in which the senders are kept over restarts.
//!
//! Its loss costs what it knows, who was there and has gone silent, and no event. So it is written once a minute, and a file that
//! cannot be read is put aside and told.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::build::Parts;
use crate::fs::sealed::{self, Seal};
use crate::fs::{self, Fs, Readers};
use crate::hosts::{Counts, Hosts};
use crate::metrics;

const FILE: &str = "hosts.json";

/// Longer than a full table.
const FILE_MAX: u64 = 1 << 30;

/// How often the metrics are renewed.
const SHOWN_EVERY: Duration = Duration::from_secs(5);

/// How often the file is.
const KEPT_EVERY: Duration = Duration::from_secs(60);

/// Takes back what an earlier gateway knew.
pub(super) fn restore(hosts: &Hosts, fs: &dyn Fs, dir: &Path) {
    let path = dir.join(FILE);
    let restored = match fs::read(fs, &path, FILE_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => Err(error.to_string()),
        Ok(bytes) if sealed::check(&bytes) != Seal::Whole => Err("it is not as it was written".to_owned()),
        Ok(bytes) => hosts.restore(&bytes).map_err(|error| error.to_string()),
    };
    if let Err(error) = restored {
        tracing::error!(file = %path.display(), error, "hosts.json is unreadable and was set aside; the list of senders starts empty");
        metrics::STATE_DAMAGED.add(&["hosts"], 1);
        // What cannot be put aside is overwritten.
        drop(fs.rename(&path, &path.with_extension("damaged")));
    }
}

/// Shows and keeps them until it is stopped.
pub(super) async fn run(parts: Arc<Parts>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(SHOWN_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut shown = Shown { groups: BTreeSet::new(), forgotten: parts.hosts.counts().forgotten };
    let mut kept_at = None;
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        shown.show(parts.hosts.counts());
        if kept_at.is_none_or(|at: Instant| at.elapsed() >= KEPT_EVERY) {
            keep(&parts).await;
            kept_at = Some(Instant::now());
        }
    }
}

/// What the metrics show.
struct Shown {
    groups: BTreeSet<String>,
    forgotten: u64,
}

impl Shown {
    fn show(&mut self, counts: Counts) {
        let Counts { known, silent, refused, forgotten } = counts;
        // A group that a reload took away has nobody any more.
        self.groups.extend(known.keys().cloned());
        for group in &self.groups {
            metrics::HOSTS_KNOWN.set(&[group], known.get(group).copied().unwrap_or_default() as f64);
            metrics::HOSTS_SILENT.set(&[group], silent.get(group).copied().unwrap_or_default() as f64);
        }
        metrics::HOSTS_REFUSED.set(&[], refused as f64);
        metrics::HOSTS_FORGOTTEN.add(&[], forgotten - self.forgotten);
        self.forgotten = forgotten;
    }
}

/// Writes the file, if there is anything new.
pub(super) async fn keep(parts: &Arc<Parts>) {
    let parts = Arc::clone(parts);
    let work = move || {
        // Of a state that was taken away nothing is written.
        if parts.is_standing_in() || !parts.spool.is_in_place() {
            return;
        }
        parts.hosts.tidy();
        if let Some(bytes) = parts.hosts.encode()
            && let Err(error) = write(&*parts.fs, &parts.in_force.started().state_dir, bytes)
        {
            parts.hosts.not_kept();
            tracing::warn!(%error, "hosts.json cannot be written");
        }
    };
    if let Err(ended) = tokio::task::spawn_blocking(work).await {
        tracing::error!(%ended, "the task that writes hosts.json failed");
    }
}

fn write(fs: &dyn Fs, dir: &Path, mut bytes: Vec<u8>) -> io::Result<()> {
    sealed::seal(&mut bytes, 0);
    fs::replace(fs, &dir.join(FILE), &bytes, Readers::Owner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::fs::RealFs;
    use crate::fs::trial::{self, Durable};
    use crate::hosts::{Config, Filter, Sender};

    fn sender(client: &str) -> Sender {
        Sender { input: "agents".into(), client: client.into(), address: None, agent: None }
    }

    /// The table, as far as the number of its senders tells what it holds.
    struct Senders;

    impl Durable for Senders {
        fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()> {
            let hosts = Hosts::new(Config::default(), Clock::system());
            (0..version).for_each(|number| hosts.refuse(&sender(&number.to_string())));
            write(&**fs, trial::folder(), hosts.encode().expect("something is new"))
        }

        fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String> {
            let hosts = Hosts::new(Config::default(), Clock::system());
            restore(&hosts, &**fs, trial::folder());
            let known = hosts.list(&Filter::default()).len();
            Ok(u8::try_from(known).ok().filter(|known| *known > 0))
        }
    }

    #[test]
    fn the_senders_survive_a_failing_disk_and_a_power_cut() {
        trial::pass(&Senders);
    }

    fn known(dir: &Path) -> usize {
        let hosts = Hosts::new(Config::default(), Clock::system());
        restore(&hosts, &RealFs, dir);
        hosts.list(&Filter::default()).len()
    }

    #[test]
    fn what_is_kept_comes_back_and_a_flipped_bit_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(known(dir.path()), 0);
        let hosts = Hosts::new(Config::default(), Clock::system());
        hosts.refuse(&sender("plant"));
        write(&RealFs, dir.path(), hosts.encode().expect("something is new")).expect("written");
        assert_eq!(known(dir.path()), 1);

        let path = dir.path().join(FILE);
        let mut bytes = std::fs::read(&path).expect("it is there");
        bytes[30] ^= 1;
        std::fs::write(&path, bytes).expect("written");
        assert_eq!(known(dir.path()), 0);
        assert!(!path.exists() && dir.path().join("hosts.damaged").exists());
    }
}
