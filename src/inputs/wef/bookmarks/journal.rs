//! Bookmarks in a file of the state directory: lines that are only ever appended, and written anew when most are outdated.
//!
//! One thread writes. Whatever waits when it comes around is written and synced together, so that a thousand hosts cost no
//! thousand syncs. The folder's journal has a name that stands in a file outside of it: a folder that is gone, or replaced by
//! an older one, is noticed at the next start.

use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::kept::Kept;
use super::line::{self, Line, Scan};
use super::{Bookmarks, Known, NotKept, Owner, Seen};
use crate::clock::wall_s;
use crate::fs::{self, File, Fs, Readers};
use crate::inputs::wef::ids;
use crate::metrics;

/// The file.
const FILE: &str = "bookmarks.jsonl";
/// A longer file is none of ours: what is kept is bounded, and a journal is written anew long before.
const FILE_MAX: u64 = 1 << 30;
/// The file outside of the folder.
const WITNESS: &str = "wef.json";
/// Most bookmarks that wait to be written; whoever brings more waits.
const WAITING_MAX: usize = 4096;
/// A journal is written anew when it is larger than this, and four times what it must hold.
const REWRITE_MIN: u64 = 1 << 20;
/// The part, in the metric of damaged state.
const PART: &str = "wef_bookmarks";

/// Bookmarks in a file.
pub struct Journal {
    kept: Arc<Mutex<Kept>>,
    writer: mpsc::Sender<Request>,
}

struct Request {
    what: What,
    done: oneshot::Sender<Result<(), NotKept>>,
}

enum What {
    Keep(Owner, String),
    /// Every bookmark was told to this filling of what gateways share.
    Told(u64),
}

impl Journal {
    /// Opens the journal in a folder of the state directory, makes it if need be, and starts its thread.
    ///
    /// # Errors
    ///
    /// When the folder or the file cannot be read or made.
    pub fn open(fs: Arc<dyn Fs>, state_dir: &Path, folder: &str) -> io::Result<Self> {
        let dir = state_dir.join(folder);
        fs.create_dir(&dir)?;
        let witness = Witness { fs: Arc::clone(&fs), path: state_dir.join(WITNESS) };
        let (kept, name) = load(&*fs, &dir.join(FILE), &witness)?;
        let kept = Arc::new(Mutex::new(kept));
        let mut writer = Writer { file: None, end: 0, fs, dir, name, kept: Arc::clone(&kept) };
        writer.rewrite()?;
        witness.write(&writer.name)?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        std::thread::Builder::new().name("wef-bookmarks".to_owned()).spawn(move || writer.run(receiver))?;
        Ok(Self { kept, writer: sender })
    }

    /// How many bookmarks there are, and about how many bytes they take.
    pub fn size(&self) -> (usize, usize) {
        lock(&self.kept).size()
    }

    /// What is known here.
    pub(super) fn known(&self, owner: &Owner) -> Known {
        lock(&self.kept).find(owner, wall_s())
    }

    /// Every bookmark, with when it was kept.
    pub(super) fn all(&self) -> Vec<(Owner, u64, Arc<str>)> {
        lock(&self.kept).all().map(|(owner, at, text)| (owner.clone(), at, Arc::clone(text))).collect()
    }

    /// To which filling of what gateways share every bookmark was told.
    pub(super) fn told(&self) -> Option<u64> {
        lock(&self.kept).told
    }

    /// Resolves when it is durable that every bookmark was told to this filling.
    pub(super) fn note_told(&self, filling: u64) -> BoxFuture<'static, Result<(), NotKept>> {
        self.ask(What::Told(filling))
    }

    /// Resolves when the bookmark is durable.
    pub fn keep(&self, owner: Owner, bookmark: String) -> BoxFuture<'static, Result<(), NotKept>> {
        self.ask(What::Keep(owner, bookmark))
    }

    fn ask(&self, what: What) -> BoxFuture<'static, Result<(), NotKept>> {
        let writer = self.writer.clone();
        async move {
            let (done, kept) = oneshot::channel();
            let ended = || NotKept("its writer has ended".to_owned());
            writer.send(Request { what, done }).await.map_err(|_| ended())?;
            kept.await.map_err(|_| ended())?
        }
        .boxed()
    }
}

impl Bookmarks for Journal {
    fn look<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, (Known, Seen)> {
        ready((self.known(owner), Seen::default())).boxed()
    }

    fn keep(&self, owner: Owner, bookmark: String, _: Seen) -> BoxFuture<'static, Result<(), NotKept>> {
        Self::keep(self, owner, bookmark)
    }
}

/// What is in the file, and its name. Whatever is missing or damaged is told.
fn load(fs: &dyn Fs, path: &Path, witness: &Witness) -> io::Result<(Kept, String)> {
    let known = witness.read()?;
    let Some(bytes) = read(fs, path)? else {
        let mut kept = Kept::default();
        if known.is_some() {
            lost(&mut kept, path, "it is gone");
        }
        return Ok((kept, ids::random()));
    };
    let Scan { lines, damaged, .. } = line::scan(&bytes);
    let mut kept = Kept::default();
    let mut name = None;
    for line in lines {
        match line {
            Line::Head { journal, lost_s, told } => {
                kept.lost_s = kept.lost_s.max(lost_s);
                kept.told = told;
                name = Some(journal);
            }
            Line::Bookmark { client, machine, subscription, at, bookmark } => {
                // Lines of before kept a client's name as it came.
                kept.put(Owner::of(&client, &machine, &subscription), at, bookmark);
            }
        }
    }
    if damaged > 0 || name.is_none() {
        lost(&mut kept, path, "lines of it are damaged");
    } else if known.flatten().is_some_and(|known| Some(known) != name) {
        lost(&mut kept, path, "it is not the one that was here");
    }
    Ok((kept, name.unwrap_or_else(ids::random)))
}

fn lost(kept: &mut Kept, path: &Path, what: &str) {
    tracing::error!(
        file = %path.display(),
        what,
        "bookmarks of forwarding hosts were lost; hosts without one start at their oldest event, and events stored before are recognised as duplicates"
    );
    metrics::STATE_DAMAGED.add(&[PART], 1);
    kept.lost_s = Some(wall_s());
}

/// A whole file; `None` when there is none.
fn read(fs: &dyn Fs, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(fs, path, FILE_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Nothing in it can be believed: it is told as damaged, and written anew.
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(Some(Vec::new())),
        Err(error) => Err(error),
    }
}

/// The file outside of the folder, which knows which journal is in it.
struct Witness {
    fs: Arc<dyn Fs>,
    path: PathBuf,
}

impl Witness {
    /// The name of the journal; `Some(None)` when it cannot be told any more.
    fn read(&self) -> io::Result<Option<Option<String>>> {
        let Some(bytes) = read(&*self.fs, &self.path)? else { return Ok(None) };
        let name = match Line::read(&bytes) {
            Some(Line::Head { journal, .. }) => Some(journal),
            _ => None,
        };
        Ok(Some(name))
    }

    fn write(&self, name: &str) -> io::Result<()> {
        if self.read()?.flatten().as_deref() == Some(name) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        Line::Head { journal: name.to_owned(), lost_s: None, told: None }.write(&mut bytes);
        fs::replace(&*self.fs, &self.path, &bytes, Readers::Owner)
    }
}

/// Writes the file.
struct Writer {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    name: String,
    file: Option<Arc<dyn File>>,
    end: u64,
    kept: Arc<Mutex<Kept>>,
}

impl Writer {
    /// Keeps what comes until nobody can bring more.
    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut waiting = Vec::new();
        while requests.blocking_recv_many(&mut waiting, WAITING_MAX) > 0 {
            let together: Vec<Request> = std::mem::take(&mut waiting);
            let result = self.keep(&together).map_err(|error| NotKept(error.to_string()));
            if let Err(error) = &result {
                tracing::error!(%error, "bookmarks cannot be written; hosts get 503 and send again");
            }
            for Request { done, .. } in together {
                // Who does not wait any more has lost nothing.
                done.send(result.clone()).ok();
            }
        }
    }

    fn keep(&mut self, requests: &[Request]) -> io::Result<()> {
        let (at, began) = (wall_s(), Instant::now());
        let mut told = None;
        let mut written: Vec<(Owner, Arc<str>)> = Vec::new();
        for request in requests {
            match &request.what {
                What::Keep(owner, bookmark) => written.push((owner.clone(), bookmark.as_str().into())),
                What::Told(filling) => told = Some(*filling),
            }
        }
        let mut bytes = Vec::new();
        for (owner, bookmark) in &written {
            Line::bookmark(owner, at, bookmark).write(&mut bytes);
        }
        if !bytes.is_empty() {
            self.append(&bytes)?;
        }
        let mut kept = lock(&self.kept);
        let mut forgot = false;
        for (owner, bookmark) in written {
            forgot |= kept.put(owner, at, bookmark);
        }
        if forgot {
            // Whoever comes back without its bookmark must not begin with what happens from now on.
            kept.lost_s = Some(at);
        }
        let (count, needed) = kept.size();
        let needed = needed as u64;
        metrics::WEF_BOOKMARKS.set(&[], count as f64);
        metrics::WEF_BOOKMARK_SECONDS.observe(&[], began.elapsed().as_secs_f64());
        let is_news = told.is_some_and(|told| kept.told.replace(told) != Some(told));
        drop(kept);
        if forgot || is_news || (self.end > REWRITE_MIN && self.end / 4 > needed) {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Appends lines, durably. Where the file is not in its place any more, all of it is written there first.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let in_place = |file: &Arc<dyn File>| self.fs.names(&self.dir.join(FILE), &**file);
        let file = match self.file.clone().filter(in_place) {
            Some(file) => file,
            None => self.rewrite()?,
        };
        let written = file.write_all_at(bytes, self.end).and_then(|()| file.sync_data());
        match written {
            Ok(()) => self.end += bytes.len() as u64,
            // What part of it was written must not stand behind what comes next.
            Err(_) => drop(file.set_len(self.end)),
        }
        written
    }

    /// Writes everything that is kept into a file of its own, which takes the place of the old one.
    fn rewrite(&mut self) -> io::Result<Arc<dyn File>> {
        let mut bytes = Vec::new();
        {
            let kept = lock(&self.kept);
            Line::Head { journal: self.name.clone(), lost_s: kept.lost_s, told: kept.told }.write(&mut bytes);
            kept.lines().for_each(|line| line.write(&mut bytes));
        }
        self.file = None;
        self.fs.create_dir(&self.dir)?;
        let file = fs::replace_and_open(&*self.fs, &self.dir.join(FILE), &bytes, bytes.len() as u64)?;
        self.file = Some(Arc::clone(&file));
        self.end = bytes.len() as u64;
        Ok(file)
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock()
}
