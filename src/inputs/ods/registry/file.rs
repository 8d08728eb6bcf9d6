//! The registry in a file of the state directory, and a copy of it.
//!
//! Both are replaced whole, the copy first, by one thread: whatever waits when it comes around is written together, so that a
//! thousand agents that register at once cost no thousand syncs. A change is in force when both are durable. A file that is lost
//! or damaged is made anew from the other; without either, agents register again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::state::Written;
use super::{Change, NotKept, Registry, State};
use crate::fs::sealed::{self, Seal};
use crate::fs::{self, Fs, Readers};
use crate::metrics;

/// The file and its copy.
const FILE: &str = "agents.json";
const COPY: &str = "agents.copy";
/// Where a file goes that cannot be read.
const DAMAGED: &str = "agents.damaged";
/// A longer file is none of ours: what is registered is bounded.
const FILE_MAX: u64 = 64 << 20;
/// Most changes that wait to be written; whoever brings more waits.
const WAITING_MAX: usize = 4096;
/// The part, in the metric of damaged state.
const PART: &str = "agents";

/// Registrations in a file.
pub struct FileRegistry {
    state: Arc<ArcSwap<State>>,
    in_use: InUse,
    writer: mpsc::Sender<Asked>,
}

/// For how long it had been in use at a moment, and when that was.
type InUse = Arc<Mutex<(u64, Instant)>>;

struct Asked {
    what: What,
    done: oneshot::Sender<Result<usize, NotKept>>,
}

enum What {
    Change(Change),
    /// This takes the place of everything.
    Put(Box<State>),
}

/// What a file holds.
enum Found {
    Nothing,
    Damaged,
    Whole(State),
}

impl FileRegistry {
    /// Reads what is registered, and starts the thread that writes. Nothing is made on the disk before the first change.
    ///
    /// # Errors
    ///
    /// When the file system does not give the file.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path) -> io::Result<Self> {
        let loaded = load(&*fs, dir)?;
        let in_use: InUse = Arc::new(Mutex::new((loaded.use_s, Instant::now())));
        let state = Arc::new(ArcSwap::from_pointee(loaded));
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let writer = Writer { fs, dir: dir.to_owned(), state: Arc::clone(&state), in_use: Arc::clone(&in_use) };
        std::thread::Builder::new().name("agents".to_owned()).spawn(move || writer.run(receiver))?;
        Ok(Self { state, in_use, writer: sender })
    }

    /// Resolves when this is durable in the place of everything.
    pub(super) fn put(&self, state: State) -> BoxFuture<'static, Result<usize, NotKept>> {
        self.ask(What::Put(Box::new(state)))
    }

    fn ask(&self, what: What) -> BoxFuture<'static, Result<usize, NotKept>> {
        let writer = self.writer.clone();
        async move {
            let (done, kept) = oneshot::channel();
            let ended = || NotKept::Failed("its writer has ended".to_owned());
            writer.send(Asked { what, done }).await.map_err(|_| ended())?;
            kept.await.map_err(|_| ended())?
        }
        .boxed()
    }
}

impl Registry for FileRegistry {
    fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    fn change(&self, change: Change) -> BoxFuture<'static, Result<usize, NotKept>> {
        self.ask(What::Change(change))
    }

    fn use_s(&self) -> u64 {
        use_s(&self.in_use)
    }
}

fn use_s(in_use: &InUse) -> u64 {
    let (before, since) = *in_use.lock();
    before.saturating_add(since.elapsed().as_secs())
}

/// Writes the file.
struct Writer {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    state: Arc<ArcSwap<State>>,
    in_use: InUse,
}

impl Writer {
    /// Makes changes until nobody can bring more.
    fn run(self, mut asked: mpsc::Receiver<Asked>) {
        let mut waiting = Vec::new();
        while asked.blocking_recv_many(&mut waiting, WAITING_MAX) > 0 {
            self.keep(std::mem::take(&mut waiting));
        }
    }

    fn keep(&self, asked: Vec<Asked>) {
        let mut state = State::clone(&self.state.load());
        let results: Vec<_> =
            asked.into_iter().map(|Asked { what, done }| (self.apply(&mut state, what), done)).collect();
        let kept = if results.iter().any(|(result, _)| result.is_ok()) {
            write(&*self.fs, &self.dir, &state).map(|()| self.state.store(Arc::new(state)))
        } else {
            Ok(())
        };
        let failed = kept.err().map(|error| NotKept::Failed(error.to_string()));
        if let Some(error) = &failed {
            tracing::error!(%error, "agents get 503 and come again");
        }
        for (result, done) in results {
            let result = match &failed {
                Some(failed) => result.and(Err(failed.clone())),
                None => result,
            };
            // Who does not wait any more has lost nothing.
            done.send(result).ok();
        }
    }
}

impl Writer {
    fn apply(&self, state: &mut State, what: What) -> Result<usize, NotKept> {
        match what {
            What::Change(change) => state.apply(change, use_s(&self.in_use)),
            What::Put(all) => {
                *state = *all;
                // Of gateways that share it the one that has used it for the longest time tells the time.
                let mut in_use = self.in_use.lock();
                if state.use_s > in_use.0.saturating_add(in_use.1.elapsed().as_secs()) {
                    *in_use = (state.use_s, Instant::now());
                }
                Ok(0)
            }
        }
    }
}

fn write(fs: &dyn Fs, dir: &Path, state: &State) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(&Written::from(state)).map_err(io::Error::other)?;
    sealed::seal(&mut bytes, 0);
    bytes.push(b'\n');
    fs.create_dir(dir)?;
    fs::replace(fs, &dir.join(COPY), &bytes, Readers::Owner)?;
    fs::replace(fs, &dir.join(FILE), &bytes, Readers::Owner)
}

/// What is registered. Whatever is lost or damaged is told, and mended as far as there is something to mend it with.
fn load(fs: &dyn Fs, dir: &Path) -> io::Result<State> {
    let (file, copy) = match (read(fs, &dir.join(FILE)), read(fs, &dir.join(COPY))) {
        // What the disk does not give any more is as good as damaged, as long as the other is whole.
        (Err(error), Ok(whole @ Found::Whole(_))) => (unreadable(&error), whole),
        (Ok(whole @ Found::Whole(_)), Err(error)) => (whole, unreadable(&error)),
        (file, copy) => (file?, copy?),
    };
    let (state, what) = match (file, copy) {
        (Found::Whole(state), Found::Whole(copy)) if copy == state => return Ok(state),
        // A crash came between the two, or the copy is damaged.
        (Found::Whole(state), _) => (state, None),
        (Found::Nothing, Found::Nothing) => return Ok(State::default()),
        (Found::Nothing, Found::Whole(copy)) => (copy, Some("it is gone; it was made anew from its copy")),
        (Found::Damaged, Found::Whole(copy)) => (copy, Some("it is damaged; it was made anew from its copy")),
        _ => (State::default(), Some("it is lost, and so is its copy: agents have to register again")),
    };
    if let Some(what) = what {
        tracing::error!(file = %dir.join(FILE).display(), what, "the registry of agents");
        metrics::STATE_DAMAGED.add(&[PART], 1);
        // What is left of it is for people to look at; it need not be there.
        fs.rename(&dir.join(FILE), &dir.join(DAMAGED)).ok();
    }
    if let Err(error) = write(fs, dir, &state) {
        tracing::error!(%error, "the registry of agents cannot be mended yet; the next change will");
    }
    Ok(state)
}

fn unreadable(error: &io::Error) -> Found {
    tracing::error!(%error, "one file of the registry of agents cannot be read");
    Found::Damaged
}

fn read(fs: &dyn Fs, path: &Path) -> io::Result<Found> {
    let bytes = match fs::read(fs, path, FILE_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Ok(Found::Damaged),
        Err(error) => return Err(error),
    };
    let written = (sealed::check(&bytes) == Seal::Whole).then(|| serde_json::from_slice::<Written>(&bytes).ok());
    Ok(written.flatten().map_or(Found::Damaged, |written| Found::Whole(written.into())))
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;

    use super::super::tests::agent;
    use super::super::{Agent, Proof};
    use super::*;
    use crate::fs::trial::{self, Durable};

    /// The registry under trial: its content is how many agents there are.
    struct Trial;

    impl Durable for Trial {
        fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()> {
            let mut state = State::default();
            for n in 0..version {
                state.apply(Change::Register(Box::new(agent(n, n)), Proof::Shown), 1).expect("there is room");
            }
            write(&**fs, trial::folder(), &state)
        }

        fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String> {
            let found = [FILE, COPY].map(|name| read(&**fs, &trial::path(name)));
            if found.iter().all(|found| matches!(found, Ok(Found::Damaged))) {
                return Err("both are damaged".to_owned());
            }
            let state = load(&**fs, trial::folder()).map_err(|error| error.to_string())?;
            let names: HashSet<Arc<str>> = state.agents().map(|agent: &Arc<Agent>| Arc::clone(&agent.agent)).collect();
            Ok(u8::try_from(names.len()).ok().filter(|count| *count > 0))
        }
    }

    #[test]
    fn it_survives_failing_disks_power_cuts_and_disks_that_lie() {
        trial::pass(&Trial);
    }

    #[tokio::test]
    async fn what_was_changed_is_there_after_a_restart_and_one_damaged_file_costs_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let fs: Arc<dyn Fs> = Arc::new(crate::fs::RealFs);
        let open = || FileRegistry::open(Arc::clone(&fs), &dir.path().join("ods")).expect("it opens");
        let registry = open();
        let changes = (0..50).map(|n| registry.change(Change::Register(Box::new(agent(n, n)), Proof::Shown)));
        assert!(futures_util::future::join_all(changes).await.iter().all(Result::is_ok));
        let kept = registry.state();
        assert_eq!(kept.agents().count(), 50);
        for name in [FILE, COPY] {
            let path = dir.path().join("ods").join(name);
            let whole = std::fs::read(&path).expect("it is there");
            std::fs::write(&path, &whole[..whole.len() / 2]).expect("it can be written");
            assert_eq!(*open().state(), *kept, "{name} is cut");
            std::fs::remove_file(&path).expect("it is there");
            assert_eq!(*open().state(), *kept, "{name} is gone");
            assert_eq!(std::fs::read(&path).expect("it is mended"), whole);
        }
        for name in [FILE, COPY] {
            let path = dir.path().join("ods").join(name);
            std::fs::remove_file(&path).expect("it is there");
            std::fs::create_dir(&path).expect("something that cannot be read as a file");
            assert_eq!(*open().state(), *kept, "{name} cannot be read");
            // A folder cannot be mended; what is gone is.
            std::fs::remove_dir(&path).expect("it was left alone");
            assert_eq!(*open().state(), *kept, "{name} is gone");
        }
        for name in [FILE, COPY] {
            std::fs::write(dir.path().join("ods").join(name), b"{}").expect("it can be written");
        }
        assert_eq!(open().state().agents().count(), 0, "without either, agents register again");
    }
}
