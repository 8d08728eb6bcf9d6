//! A checked configuration becomes running parts.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::control::LastReload;
use super::expiry::Expiry;
use super::history::History;
use super::in_force::InForce;
use super::inside::Inside;
use super::kept::{Kept, keep, stand_in};
use super::leave::Leaving;
use super::objections::{self, STARTING};
use super::outputs::{Common, Outputs};
use super::replicas::Replicas;
use super::replicating::Replicating;
use super::rule_store::{LiveRules, RuleStore, SharedRules};
use super::rules;
use super::sharing::{self, Sharing};
use super::state::StateDir;
use super::state_sharing::StateSharing;
use crate::access_log::AccessLog;
use crate::admin::{self, Latch, Readiness};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::config::rule_files::Texts;
use crate::dedup::memory::MemoryStore;
use crate::dedup::store::Store;
use crate::event::KeyMaker;
use crate::filter::Rules;
use crate::fs::{Fs, RealFs};
use crate::hosts::Hosts;
use crate::ingest::bookkeeper::Bookkeeper;
use crate::ingest::{self, Ingest};
use crate::inputs::access_log::Requests;
use crate::inputs::protocol::Shared;
use crate::inputs::{Uploads, plane};
use crate::inputs::{ods, wef};
use crate::net::tls_server::ServerTls;
use crate::shared::Store as Documents;
use crate::shared::entries::Entries;
use crate::spool::Spool;
use crate::spool::dead_letter::SharedLetters;
use crate::tunnel::Tunnels;

/// Every part of a running gateway.
pub(super) struct Parts {
    /// Locked for as long as the parts live.
    _state: StateDir,
    /// Keeps everything that is durable.
    pub(super) fs: Arc<dyn Fs>,
    pub(super) clock: Clock,
    /// What keeps events could not be opened, and others stand in for it: no upload is taken and nothing is forwarded.
    pub(super) is_standing_in: AtomicBool,
    /// What was seen before this start is still being read: no upload is taken, and nothing is forwarded yet.
    pub(super) is_loading: AtomicBool,
    pub(super) readiness: Readiness,
    pub(super) spool: Spool,
    pub(super) dedup: Arc<MemoryStore>,
    /// What is shared with other gateways, if anything is.
    pub(super) sharing: Option<Sharing>,
    /// What is shared with them at the servers of replication, if anything is.
    pub(super) state_sharing: Option<StateSharing>,
    /// The log a second time, if it is replicated.
    pub(super) replicating: Option<Replicating>,
    /// The servers that keep it, if it is replicated.
    pub(super) replicas: Option<Replicas>,
    dead_letters: SharedLetters,
    pub(super) books: Bookkeeper,
    pub(super) rules: Arc<ArcSwap<Rules>>,
    pub(super) ingest: Ingest,
    /// Who sends.
    pub(super) hosts: Hosts,
    pub(super) outputs: Outputs,
    pub(super) uploads: Arc<Uploads>,
    /// Of the uploads; tunnels have their own.
    pub(super) access_log: AccessLog,
    pub(super) tunnels: Tunnels,
    admin: SocketAddr,
    pub(super) admin_tls: Option<Arc<ServerTls>>,
    pub(super) started_at: SystemTime,
    pub(super) config_path: Option<PathBuf>,
    pub(super) in_force: InForce,
    /// The files with rules as they were when the configuration came into force.
    pub(super) rule_texts: Arc<ArcSwap<Texts>>,
    pub(super) rule_store: Arc<RuleStore>,
    pub(super) expiry: Expiry,
    pub(super) history: History,
    pub(super) last_reload: ArcSwapOption<LastReload>,
    /// Held during a reload, and while outputs are tried again: two at a time would start an output twice. A stop keeps it.
    pub(super) reloading: tokio::sync::Mutex<()>,
    /// No reload begins any more.
    pub(super) stopping: CancellationToken,
    /// Held during a replay of dead letters: two at a time would send the same ones.
    pub(super) replaying: tokio::sync::Mutex<()>,
    /// The way out, once it has begun.
    pub(super) leaving: Mutex<Option<Leaving>>,
    /// Held while doors close after a drain, and while they open again.
    pub(super) doors: tokio::sync::Mutex<()>,
}

/// Opens the state directory and builds the parts; nothing runs yet but the spool's committer, and what was seen before is not
/// read yet (`loading.rs`).
pub(super) async fn parts(
    config: Config,
    config_path: Option<PathBuf>,
    machine: Machine,
    admin: SocketAddr,
) -> anyhow::Result<(Parts, Latch)> {
    let readiness = Readiness::new();
    let starting = readiness.hold(STARTING);
    let work = move || open(config, config_path, machine, admin, readiness);
    let parts = tokio::task::spawn_blocking(work).await.context("opening the state directory ended")??;
    Ok((parts, starting))
}

/// What of the machine a gateway stands on.
pub struct Machine {
    /// Keeps everything that is durable.
    pub fs: Arc<dyn Fs>,
    /// Tells the time.
    pub time: Arc<dyn clock::Source>,
}

impl Default for Machine {
    /// The one that everything but tests runs on.
    fn default() -> Self {
        Self { fs: Arc::new(RealFs), time: Arc::new(clock::System) }
    }
}

fn open(
    config: Config,
    config_path: Option<PathBuf>,
    machine: Machine,
    admin: SocketAddr,
    readiness: Readiness,
) -> anyhow::Result<Parts> {
    let state = StateDir::open(&config.state_dir)?;
    let admin_tls = admin::load_tls(&config.admin, state.path()).context("admin plane")?.map(Arc::new);
    let kept = state.secret(&*machine.fs).and_then(|secret| keep(&config, state.folder(), &machine, secret));
    let is_standing_in = kept.is_err();
    let Kept { secret, clock, spool, dead_letters, dedup, sharing, replicating, waiting, books, positions } = match kept
    {
        Ok(kept) => kept,
        Err(error) => stand_in(&config, &state, &machine, &error)?,
    };
    for (path, id) in state.held() {
        spool.hold(&path, id);
    }

    let rule_store = RuleStore::open(Arc::clone(&machine.fs), state.path().join(rules::FOLDER));
    let texts = Texts::of(&config);
    let rules = rules::build(&config, &texts, &rule_store.snapshot())?;
    let rules = Arc::new(ArcSwap::from_pointee(rules));
    let store: Arc<dyn Store> = match &sharing {
        Some(sharing) => Arc::new(sharing.store()),
        None => dedup.clone(),
    };
    let hosts = Hosts::new(config.hosts.clone(), clock.clone());
    super::hosts::restore(&hosts, &*machine.fs, state.path());
    let ingest = Ingest::new(
        config.ingest.clone(),
        ingest::Parts {
            rules: Arc::clone(&rules),
            keys: Arc::new(KeyMaker::new(&sharing::secret(&config.dedup).unwrap_or(secret))),
            dedup: store,
            spool: spool.clone(),
            replicated: replicating.as_ref().map(Replicating::replicated),
            dead_letters: dead_letters.clone(),
            waiting,
            hosts: hosts.clone(),
        },
    );
    let outputs = Outputs::new(Common {
        shared: crate::outputs::Shared::new(state.path()),
        positions,
        rates: crate::balancer::EventRates::default(),
        secret,
        spool: spool.clone(),
        decided: sharing.as_ref().map(Sharing::decided),
        permit: replicating.as_ref().map(|replicating| replicating.replicated().permit()),
        dead_letters: dead_letters.clone(),
    });
    let access_log = AccessLog::open(&config.access_log).context("access_log")?;
    let requests = Requests::new(access_log.clone());
    let state_sharing = StateSharing::open(&config)?;
    let others = Others { sharing: sharing.as_ref(), state_sharing: state_sharing.as_ref() };
    let shared = listeners_share(&config, &machine, state.path(), &rules, &others)?;
    let uploads = Arc::new(Uploads::new(shared, Arc::new(ingest.clone()), requests));
    let tunnels = Tunnels::new(&config.tunnel, state.path().to_owned(), Arc::new(Inside(Arc::clone(&uploads))))?;
    Ok(Parts {
        _state: state,
        fs: machine.fs,
        clock,
        is_standing_in: AtomicBool::new(is_standing_in),
        is_loading: AtomicBool::new(true),
        readiness,
        spool,
        dedup,
        sharing,
        state_sharing,
        replicating,
        replicas: Replicas::open(&config),
        dead_letters,
        books,
        rules,
        ingest,
        hosts,
        outputs,
        uploads,
        access_log,
        tunnels,
        admin,
        admin_tls,
        started_at: SystemTime::now(),
        config_path,
        expiry: Expiry::new(),
        history: History::default(),
        last_reload: ArcSwapOption::empty(),
        in_force: InForce::since_start(config),
        rule_texts: Arc::new(ArcSwap::from_pointee(texts)),
        rule_store: Arc::new(rule_store),
        reloading: tokio::sync::Mutex::default(),
        stopping: CancellationToken::new(),
        replaying: tokio::sync::Mutex::default(),
        leaving: Mutex::default(),
        doors: tokio::sync::Mutex::default(),
    })
}

/// Where other gateways have what this one has: in the engine that has their memory of events, or at the servers of replication.
struct Others<'a> {
    sharing: Option<&'a Sharing>,
    state_sharing: Option<&'a StateSharing>,
}

impl Others<'_> {
    /// Documents that nobody else can read or make.
    fn sealed_documents(&self, config: &Config) -> anyhow::Result<Option<Arc<dyn Documents>>> {
        let of_engine = self.sharing.map(|sharing| sharing.sealed_documents(&config.dedup)).transpose()?.flatten();
        Ok(of_engine.or_else(|| self.state_sharing.map(StateSharing::documents)))
    }

    /// Rules are no secret, and stand in the engine as they are. Whoever writes at the servers could put other ones in force.
    fn documents_of_rules(&self) -> Option<Arc<dyn Documents>> {
        let of_engine = self.sharing.and_then(Sharing::documents);
        of_engine.or_else(|| self.state_sharing.map(StateSharing::documents))
    }

    fn bookmarks(&self) -> Option<Arc<dyn Entries>> {
        self.sharing.and_then(Sharing::bookmarks).or_else(|| self.state_sharing.map(StateSharing::bookmarks))
    }
}

/// What listeners share, with each other and with those of other gateways.
fn listeners_share(
    config: &Config,
    machine: &Machine,
    state: &Path,
    rules: &Arc<ArcSwap<Rules>>,
    others: &Others<'_>,
) -> anyhow::Result<Shared> {
    let documents = others.sealed_documents(config)?;
    let wef = wef::Memory::new(Arc::clone(&machine.fs), state.to_owned(), Arc::clone(rules));
    let wef = Arc::new(wef.sharing(others.bookmarks()));
    let ods = ods::Memory::new(Arc::clone(&machine.fs), state.to_owned()).sharing(documents.clone());
    Ok(Shared { state_dir: state.to_owned(), wef, ods: Arc::new(ods), documents })
}

impl Parts {
    /// The sections that differ from what runs, until a restart.
    pub(super) fn waits_for_restart(&self) -> Vec<&'static str> {
        self.in_force.waits_for_restart(&self.uploads.limits_since_open())
    }

    /// The rules together with other gateways, where there are any.
    pub(super) fn shared_rules(&self) -> Option<Arc<SharedRules>> {
        let others = Others { sharing: self.sharing.as_ref(), state_sharing: self.state_sharing.as_ref() };
        let documents = others.documents_of_rules()?;
        Some(SharedRules::new(Arc::clone(&self.rule_store), Arc::new(self.activation()), documents))
    }

    /// The rules that are kept over the admin plane, with what puts a change of them in force.
    pub(super) fn live_rules(&self) -> LiveRules {
        let activate = self.activation();
        LiveRules::new(Arc::clone(&self.rule_store), Arc::new(activate), self.shared_rules())
    }

    fn activation(&self) -> rules::Activation {
        rules::Activation {
            config: self.in_force.cell(),
            texts: Arc::clone(&self.rule_texts),
            rules: Arc::clone(&self.rules),
        }
    }

    /// The dead letters.
    pub(super) fn dead_letters(&self) -> &SharedLetters {
        &self.dead_letters
    }

    /// Where the admin plane and uploads are reached once these listeners are in force: no tunnel may lead there.
    pub(super) fn own_addresses(&self, listeners: &plane::Prepared) -> Vec<SocketAddr> {
        let mut addresses = self.uploads.addresses_after(listeners);
        addresses.push(self.admin);
        addresses
    }

    /// Refuses uploads for as long as nobody can say where an event belongs, or keep it.
    pub(super) fn judge(&self) {
        self.ingest.hold(objections::no_judge(self).map(|reason| reason.text));
    }

    /// Whether what keeps events cannot be used: nothing is taken, and no output runs.
    pub(super) fn is_standing_in(&self) -> bool {
        self.is_standing_in.load(Ordering::Relaxed)
    }

    /// Whether what was seen before this start is still being read.
    pub(super) fn is_loading(&self) -> bool {
        self.is_loading.load(Ordering::Relaxed)
    }

    /// How long it has run.
    pub(super) fn uptime(&self) -> Duration {
        self.started_at.elapsed().unwrap_or_default()
    }
}
