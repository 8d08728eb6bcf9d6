//! A checked configuration becomes running parts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use arc_swap::ArcSwap;

use super::outputs::{Common, Outputs};
use super::rule_store::{LiveRules, RuleStore};
use super::rules;
use super::state::{Folder, Secret, StateDir};
use super::uploads::{self, Uploads};
use crate::admin::{Latch, Readiness};
use crate::config::Config;
use crate::config::rule_files::Texts;
use crate::dedup::journal::Journal;
use crate::dedup::memory::MemoryStore;
use crate::dedup::store::Store;
use crate::event::KeyMaker;
use crate::filter::Rules;
use crate::ingest::bookkeeper::Bookkeeper;
use crate::ingest::ledger::Waiting;
use crate::ingest::{self, Ingest};
use crate::metrics;
use crate::spool::Spool;
use crate::spool::dead_letter::DeadLetters;
use crate::spool::fs::{Fs, RealFs};
use crate::tunnel::Tunnels;

/// The folder that stands in for a state that cannot be used.
const STAND_IN: &str = "stand-in";

/// Why uploads are refused.
const NO_STATE: &str = "the state cannot be read";
/// Why uploads are refused.
const NO_RULES: &str = "a rule cannot be read";

/// Every part of a running gateway.
pub(super) struct Parts {
    pub(super) state: StateDir,
    /// What keeps events could not be opened, and others stand in for it: no upload is taken and nothing is forwarded.
    pub(super) is_standing_in: bool,
    pub(super) readiness: Readiness,
    pub(super) spool: Spool,
    pub(super) dedup: Arc<MemoryStore>,
    dead_letters: Arc<Mutex<DeadLetters>>,
    pub(super) books: Bookkeeper,
    pub(super) rules: Arc<ArcSwap<Rules>>,
    pub(super) ingest: Ingest,
    pub(super) outputs: Outputs,
    pub(super) uploads: Uploads,
    pub(super) tunnels: Tunnels,
    admin: SocketAddr,
    pub(super) started_at: SystemTime,
    pub(super) config_path: Option<PathBuf>,
    config: Arc<ArcSwap<Config>>,
    /// The files with rules as they were when the configuration came into force.
    pub(super) rule_texts: Arc<ArcSwap<Texts>>,
    pub(super) rule_store: Arc<RuleStore>,
    /// Held during a reload: two at a time would start an output twice.
    pub(super) reloading: tokio::sync::Mutex<()>,
    /// Held during a replay of dead letters: two at a time would send the same ones.
    pub(super) replaying: tokio::sync::Mutex<()>,
}

/// Opens the state directory and builds the parts; nothing runs yet but the spool's committer.
pub(super) async fn parts(
    config: Config,
    config_path: Option<PathBuf>,
    fs: Arc<dyn Fs>,
    admin: SocketAddr,
) -> anyhow::Result<(Parts, Latch)> {
    let readiness = Readiness::new();
    let starting = readiness.hold("starting");
    let work = move || open(config, config_path, fs, admin, readiness);
    let parts = tokio::task::spawn_blocking(work).await.context("opening the state directory ended")??;
    Ok((parts, starting))
}

/// The file system that everything but tests runs on.
pub(super) fn real_fs() -> Arc<dyn Fs> {
    Arc::new(RealFs)
}

fn open(
    config: Config,
    config_path: Option<PathBuf>,
    fs: Arc<dyn Fs>,
    admin: SocketAddr,
    readiness: Readiness,
) -> anyhow::Result<Parts> {
    let state = StateDir::open(&config.state_dir)?;
    let kept = state.secret().and_then(|secret| keep(&config, state.folder(), &fs, secret));
    let is_standing_in = kept.is_err();
    let Kept { secret, spool, dead_letters, dedup, waiting, books, cursors } = match kept {
        Ok(kept) => kept,
        Err(error) => stand_in(&config, &state, &fs, &error)?,
    };
    for (path, id) in state.held() {
        spool.hold(&path, id);
    }

    let rule_store = RuleStore::open(Arc::clone(&fs), state.path().join(rules::FOLDER));
    let texts = Texts::of(&config);
    let rules = rules::build(&config, &texts, &rule_store.snapshot())?;
    let rules = Arc::new(ArcSwap::from_pointee(rules));
    let store: Arc<dyn Store> = dedup.clone();
    let ingest = Ingest::new(
        config.ingest.clone(),
        config.spool.high_watermark.get(),
        ingest::Parts {
            rules: Arc::clone(&rules),
            keys: Arc::new(KeyMaker::new(&secret)),
            dedup: store,
            spool: spool.clone(),
            dead_letters: Arc::clone(&dead_letters),
            waiting,
        },
    );
    let outputs = Outputs::new(Common {
        shared: crate::outputs::Shared::new(state.path()),
        cursors,
        secret,
        spool: spool.clone(),
        dead_letters: Arc::clone(&dead_letters),
        fs,
    });
    let uploads = Uploads::new(state.path().to_owned(), Arc::new(ingest.clone()));
    let tunnels = Tunnels::new(&config.tunnel, state.path().to_owned())?;
    Ok(Parts {
        state,
        is_standing_in,
        readiness,
        spool,
        dedup,
        dead_letters,
        books,
        rules,
        ingest,
        outputs,
        uploads,
        tunnels,
        admin,
        started_at: SystemTime::now(),
        config_path,
        config: Arc::new(ArcSwap::from_pointee(config)),
        rule_texts: Arc::new(ArcSwap::from_pointee(texts)),
        rule_store: Arc::new(rule_store),
        reloading: tokio::sync::Mutex::default(),
        replaying: tokio::sync::Mutex::default(),
    })
}

/// What keeps events.
struct Kept {
    secret: Secret,
    spool: Spool,
    dead_letters: Arc<Mutex<DeadLetters>>,
    dedup: Arc<MemoryStore>,
    waiting: Arc<Waiting>,
    books: Bookkeeper,
    cursors: PathBuf,
}

/// Opens what keeps events.
fn keep(config: &Config, state: &Folder, fs: &Arc<dyn Fs>, secret: Secret) -> anyhow::Result<Kept> {
    let spool_dir = state.dir("spool")?;
    let (spool, recovered) = Spool::open(&config.spool, &spool_dir, Arc::clone(fs))
        .with_context(|| format!("the spool in {} cannot be opened", spool_dir.display()))?;
    tracing::info!(?recovered, "spool opened");
    let dead_letters_dir = state.dir("dead-letters")?;
    let dead_letters = open_letters(config, &dead_letters_dir, fs);
    let dead_letters = Arc::new(Mutex::new(dead_letters));

    let dedup = Arc::new(MemoryStore::new(&config.dedup));
    let waiting = Arc::new(Waiting::default());
    let journal = Journal::open(&state.dir("dedup")?, config.dedup.window.get()).context("the dedup journal")?;
    let books = Bookkeeper::open(state.path(), spool.clone(), Arc::clone(&waiting), journal, &dedup)?;
    let cursors = state.dir("outputs")?;
    Ok(Kept { secret, spool, dead_letters, dedup, waiting, books, cursors })
}

/// Letters that cannot be opened keep nothing else from its work: what would become one waits.
fn open_letters(config: &Config, dir: &Path, fs: &Arc<dyn Fs>) -> DeadLetters {
    let letters = match DeadLetters::open(Arc::clone(fs), dir, config.dead_letters.max_size.as_u64()) {
        Ok(letters) => letters,
        Err(error) => {
            tracing::error!(folder = %dir.display(), %error, "the dead letters cannot be opened: what is refused waits until they can");
            metrics::STATE_DAMAGED.add(&["dead_letters"], 1);
            return DeadLetters::unusable(Arc::clone(fs), dir);
        }
    };
    for file in &letters.damage().files {
        tracing::error!(folder = %dir.display(), file, "dead letters are damaged or lost");
    }
    metrics::STATE_DAMAGED.add(&["dead_letters"], letters.damage().files.len() as u64);
    metrics::DEAD_LETTERS_LOST.add(&[], letters.damage().letters);
    letters
}

/// Tunnels and the admin plane need nothing that keeps events. They go on over an empty folder in its place, in which nothing
/// is kept: uploads are refused, no output runs, and what could not be opened is left as it is.
fn stand_in(config: &Config, state: &StateDir, fs: &Arc<dyn Fs>, why: &anyhow::Error) -> anyhow::Result<Kept> {
    tracing::error!(
        error = format!("{why:#}"),
        "the state cannot be used: no upload is taken and nothing is forwarded until it is mended and the gateway restarted; tunnels are served"
    );
    metrics::STATE_DAMAGED.add(&["spool"], 1);
    keep(config, &state.folder().emptied(STAND_IN)?, fs, [0; 32])
}

impl Parts {
    /// The configuration that is in force.
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Puts another configuration in force.
    pub(super) fn set_config(&self, config: Config) {
        self.config.store(Arc::new(config));
    }

    /// The rules that are kept over the admin plane, with what puts a change of them in force.
    pub(super) fn live_rules(&self) -> LiveRules {
        let activate = rules::Activation {
            config: Arc::clone(&self.config),
            texts: Arc::clone(&self.rule_texts),
            rules: Arc::clone(&self.rules),
        };
        LiveRules::new(Arc::clone(&self.rule_store), Arc::new(activate))
    }

    /// The dead letters. Their calls block on the disk.
    pub(super) fn dead_letters(&self) -> MutexGuard<'_, DeadLetters> {
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the admin plane and uploads are reached once these listeners are in force: no tunnel may lead there.
    pub(super) fn own_addresses(&self, listeners: &uploads::Prepared) -> Vec<SocketAddr> {
        let mut addresses = self.uploads.addresses_after(listeners);
        addresses.push(self.admin);
        addresses
    }

    /// Refuses uploads for as long as nobody can say where an event belongs, or keep it.
    pub(super) fn judge(&self) {
        let faulty_rules = !self.rule_store.faults().is_empty();
        self.readiness.set(NO_STATE, self.is_standing_in);
        self.readiness.set(NO_RULES, faulty_rules);
        let reasons = [(NO_STATE, self.is_standing_in), (NO_RULES, faulty_rules)];
        self.ingest.hold(reasons.into_iter().find_map(|(reason, holds)| holds.then_some(reason)));
    }

    /// The outputs that may run: none over a folder that stands in for the state.
    pub(super) fn outputs_of<'a>(&self, config: &'a Config) -> &'a [crate::config::Output] {
        if self.is_standing_in { &[] } else { &config.outputs }
    }

    /// How long it has run.
    pub(super) fn uptime(&self) -> Duration {
        self.started_at.elapsed().unwrap_or_default()
    }
}
