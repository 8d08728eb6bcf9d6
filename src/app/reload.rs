//! When to load the configuration again: on SIGHUP, and when the file, or a file that it names to be read with it, has changed:
//! rules, certificates, authorities, secrets.
//!
//! Folders are watched, not files: editors replace files by renaming, and Kubernetes swaps a link beside them. What
//! a folder reports is only a reason to look. A reload is asked for when the content differs from what was seen last
//! and nothing moved for [`QUIET`], so that a half-written file is not read. SIGHUP always asks.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::Watcher as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::files;
use crate::limits::CONFIG_FILE_MAX_BYTES;

/// How long the folder must be still before the file is looked at.
pub const QUIET: Duration = Duration::from_millis(200);

/// After this long the file is looked at although the folder is not still: a busy log may live beside it.
const PATIENCE: Duration = Duration::from_secs(2);

/// After this long without a sign the files are looked at all the same: a folder that is gone, or one on another machine, gives
/// no sign.
const LOOK_ANYWAY: Duration = Duration::from_secs(15);

/// Why a reload is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGHUP.
    Signal,
    /// The file, or one that it names, holds something else than before.
    FileChanged,
}

impl Cause {
    /// In words, for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP",
            Self::FileChanged => "a file has changed",
        }
    }
}

/// Why changes cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// SIGHUP cannot be caught.
    #[error("SIGHUP cannot be caught: {0}")]
    Signal(#[from] std::io::Error),
    /// The folder cannot be watched (too many watches, a file system that cannot).
    #[error("the folder of {path} cannot be watched: {error}", path = path.display())]
    Folder {
        /// The configuration file.
        path: PathBuf,
        /// What the system said.
        error: notify::Error,
    },
}

/// Starts watching; must be called on a runtime, and before the file is loaded, so that no change falls in between.
/// Without a file only SIGHUP asks. Requests that are not yet taken count
/// as one. The channel closes when `stop` is cancelled.
pub fn watch(file: Option<&Path>, stop: CancellationToken) -> Result<mpsc::Receiver<Cause>, WatchError> {
    let (ask, asked) = mpsc::channel(1);
    let mut hangups = signal(SignalKind::hangup())?;
    let by_signal = ask.clone();
    let stopped = stop.clone();
    tokio::spawn(async move {
        while let Some(Some(())) = stopped.run_until_cancelled(hangups.recv()).await {
            request(&by_signal, Cause::Signal);
        }
    });
    if let Some(file) = file {
        let (stirred, stirs) = mpsc::channel(1);
        let mut folders =
            Folders::of(file, stirred).map_err(|error| WatchError::Folder { path: file.to_owned(), error })?;
        let seen = fingerprint(file);
        let look = move || {
            folders.watch_those_of_named_files();
            fingerprint(&folders.file)
        };
        tokio::spawn(async move {
            stop.run_until_cancelled(debounce(stirs, seen, look, ask)).await;
        });
    }
    Ok(asked)
}

/// The folders that are watched for a configuration.
struct Folders {
    file: PathBuf,
    watcher: notify::RecommendedWatcher,
}

impl Folders {
    /// Watches the folder of the file, and those of the files that it names.
    fn of(file: &Path, stirred: mpsc::Sender<()>) -> notify::Result<Self> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is no change, and we read the file ourselves. A full channel means that a look is due anyway.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                stirred.try_send(()).ok();
            }
        })?;
        let folder = parent(file);
        watcher.watch(folder, notify::RecursiveMode::NonRecursive)?;
        let mut folders = Self { file: file.to_owned(), watcher };
        folders.watch_those_of_named_files();
        Ok(folders)
    }

    /// The configuration may name other files than before, and a folder may have been made anew, so all are watched again. One
    /// that is not there will be looked for later.
    fn watch_those_of_named_files(&mut self) {
        let folder = |path: PathBuf| if path.is_dir() { path } else { parent(&path).to_owned() };
        let folders: BTreeSet<PathBuf> = files::named_in(&self.file).into_iter().map(folder).collect();
        for folder in folders.iter().filter(|folder| **folder != *parent(&self.file)) {
            if let Err(error) = self.watcher.watch(folder, notify::RecursiveMode::NonRecursive) {
                tracing::debug!(folder = %folder.display(), %error, "this folder is only looked at now and then");
            }
        }
    }
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Waits for the folder to be still, looks, and asks when what it sees is new. Ends when the watcher is gone.
async fn debounce(
    mut stirs: mpsc::Receiver<()>,
    mut seen: Option<u64>,
    mut look: impl FnMut() -> Option<u64>,
    ask: mpsc::Sender<Cause>,
) {
    loop {
        if let Ok(None) = tokio::time::timeout(LOOK_ANYWAY, stirs.recv()).await {
            return;
        }
        let latest = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < latest
            && matches!(tokio::time::timeout(QUIET, stirs.recv()).await, Ok(Some(())))
        {}
        let now = look();
        // A file that is away for a moment is being replaced: the running configuration stays.
        if now.is_some() && now != seen {
            seen = now;
            request(&ask, Cause::FileChanged);
        }
    }
}

fn request(ask: &mpsc::Sender<Cause>, cause: Cause) {
    // Full: a reload that has not begun will read what stands there now.
    ask.try_send(cause).ok();
}

/// What the file and those that it names hold, as a number; none when it cannot be read.
fn fingerprint(file: &Path) -> Option<u64> {
    use std::io::Read as _;

    let mut content = Vec::new();
    std::fs::File::open(file).ok()?.take(CONFIG_FILE_MAX_BYTES + 1).read_to_end(&mut content).ok()?;
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    files::fingerprint(&files::named_in(file)).hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_changes_make_one_request_and_no_change_makes_none() {
        let content = Arc::new(AtomicU64::new(1));
        let (stirred, stirs) = mpsc::channel(1);
        let (ask, mut asked) = mpsc::channel(1);
        let shown = Arc::clone(&content);
        let look = move || Some(shown.load(Ordering::SeqCst)).filter(|n| *n > 0);
        tokio::spawn(debounce(stirs, Some(1), look, ask));

        let start = tokio::time::Instant::now();
        for n in 2..12 {
            content.store(n, Ordering::SeqCst);
            stirred.send(()).await.expect("the debouncer listens");
            tokio::time::advance(QUIET / 2).await;
        }
        assert_eq!(asked.recv().await, Some(Cause::FileChanged));
        assert!(start.elapsed() >= QUIET / 2 * 10 + QUIET / 2, "asked while the file still moved");

        // Touched but equal, then away for a moment.
        stirred.send(()).await.expect("the debouncer listens");
        tokio::time::sleep(QUIET * 3).await;
        content.store(0, Ordering::SeqCst);
        stirred.send(()).await.expect("the debouncer listens");
        tokio::time::sleep(QUIET * 3).await;
        assert!(asked.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_file_replaced_by_renaming_and_a_hangup_both_ask() {
        let dir = tempfile::tempdir().expect("temp dir");
        let file = dir.path().join("gatepost.toml");
        std::fs::write(&file, "").expect("write");
        let stop = CancellationToken::new();
        let mut asked = watch(Some(&file), stop.clone()).expect("watch");
        std::fs::write(dir.path().join("new"), "# new").expect("write");
        std::fs::rename(dir.path().join("new"), &file).expect("rename");
        assert_eq!(asked.recv().await, Some(Cause::FileChanged));
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).expect("kill");
        assert_eq!(asked.recv().await, Some(Cause::Signal));
        stop.cancel();
        while asked.recv().await.is_some() {}
    }

    #[tokio::test]
    async fn a_rule_in_another_folder_asks_also_when_the_configuration_named_it_only_later() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (file, rules) = (dir.path().join("gatepost.toml"), dir.path().join("rules.d"));
        std::fs::write(&file, "").expect("write");
        std::fs::create_dir(&rules).expect("a folder");
        std::fs::write(rules.join("dmz.json"), "{}").expect("write");
        let stop = CancellationToken::new();
        let mut asked = watch(Some(&file), stop.clone()).expect("watch");
        std::fs::write(&file, "[[filter.rules]]\nfile = \"rules.d\"\n").expect("write");
        until_file_changed(&mut asked).await;
        std::fs::write(rules.join("dmz.json"), "{ }").expect("write");
        until_file_changed(&mut asked).await;
        std::fs::remove_dir_all(&rules).expect("removed");
        until_file_changed(&mut asked).await;
        std::fs::create_dir(&rules).expect("a folder");
        std::fs::write(rules.join("dmz.json"), "{  }").expect("write");
        until_file_changed(&mut asked).await;
        stop.cancel();
        while asked.recv().await.is_some() {}
    }

    #[tokio::test]
    async fn a_renewed_certificate_asks() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (file, certificates) = (dir.path().join("gatepost.toml"), dir.path().join("tls"));
        std::fs::create_dir(&certificates).expect("a folder");
        std::fs::write(certificates.join("ca.pem"), "old").expect("write");
        let output = "[[outputs]]\nkind = \"http\"\nname = \"siem\"\nca_file = \"tls/ca.pem\"\n";
        std::fs::write(&file, output).expect("write");
        let stop = CancellationToken::new();
        let mut asked = watch(Some(&file), stop.clone()).expect("watch");
        std::fs::write(certificates.join("new"), "new").expect("write");
        std::fs::rename(certificates.join("new"), certificates.join("ca.pem")).expect("rename");
        until_file_changed(&mut asked).await;
        stop.cancel();
    }

    /// Hangups that another test sends reach every test of this process.
    async fn until_file_changed(asked: &mut mpsc::Receiver<Cause>) {
        let noticed = async { while asked.recv().await.expect("still watching") != Cause::FileChanged {} };
        tokio::time::timeout(Duration::from_secs(60), noticed).await.expect("the change is noticed");
    }
}
