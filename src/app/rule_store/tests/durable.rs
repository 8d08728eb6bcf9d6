//! What is answered is on the disk and in force; what failed has changed nothing.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::disk::Disk;
use super::*;
use crate::admin::azure::Entry;
use crate::fs::faulty::FaultyFs;
use crate::fs::trial::{self, Durable};
use crate::fs::{Access, DirEntry, File, Readers};

/// A file system whose n-th sync of a directory from now fails; 0 for none.
#[derive(Debug, Default)]
struct FailingDirs(AtomicU64);

impl FailingDirs {
    fn fail(&self, nth: u64) {
        self.0.store(nth, Ordering::SeqCst);
    }
}

impl Fs for FailingDirs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealFs.create_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealFs.list(dir)
    }
    fn create_for(&self, path: &Path, size: u64, readers: Readers) -> io::Result<Arc<dyn File>> {
        RealFs.create_for(path, size, readers)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        RealFs.open(path, access)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFs.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        if left == Ok(1) { Err(io::Error::other("the disk is gone")) } else { RealFs.sync_dir(dir) }
    }
    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        RealFs.free_space(dir)
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let dir = Place::new();
    let plane = Plane::open(dir.path());
    assert_eq!(plane.put_rule("b").await.status, 201);
    assert_eq!(plane.put_rule("A").await.status, 201);
    assert_eq!(plane.associate("web-%2A", "b").await.status, 201);
    let before = plane.in_force.last();
    let again = Plane::open(dir.path());
    assert_eq!(again.store.snapshot(), before);
    let ids: Vec<&str> = before.rules.iter().map(|kept| kept.id.as_str()).collect();
    assert_eq!(ids, [rule("A"), rule("b")]);
    let association = &before.associations[0];
    assert_eq!((association.host.as_str(), &association.rule_id), ("web-*", &rule("b")));
    assert!(association.resource_uri.ends_with("/machines/web-*"));
    let old = plane.ask(&format!("GET {}?{VERSION}", rule("b")), "", "").await.body;
    assert_eq!(again.ask(&format!("GET {}?{VERSION}", rule("B")), "", "").await.body, old);
}

#[tokio::test]
async fn a_change_that_is_refused_whole_changes_nothing() {
    let dir = Place::new();
    let plane = Plane::open(dir.path());
    *plane.in_force.refuses.lock() = Some("no output serves this workspace");
    let answered = plane.put_rule("a").await;
    assert_eq!(answered.status, 400);
    assert_eq!(answered.body["error"]["details"][0]["message"], "no output serves this workspace");
    assert_eq!(plane.in_force.changes(), 0);
    assert!(files(dir.path()).is_empty());
    assert!(plane.store.snapshot().rules.is_empty());
}

/// A rule and an association, and what must still be there after a change has failed.
struct Before {
    dir: Place,
    plane: Plane,
    files: Vec<String>,
    snapshot: Snapshot,
}

impl Before {
    async fn on(fs: Arc<dyn Fs>) -> Self {
        let dir = Place::new();
        let plane = Plane::new(fs, dir.path(), &admin::Config::default());
        plane.put_rule("a").await;
        plane.associate("host", "a").await;
        Self { files: files(dir.path()), snapshot: plane.store.snapshot(), plane, dir }
    }

    async fn fails(&self, line: &str, body: String) {
        let answered = self.plane.ask(&format!("{line}?{VERSION}"), "", body).await;
        assert_eq!((answered.status, &answered.body["error"]["code"]), (500, &json!("InternalServerError")), "{line}");
        assert_eq!(files(self.dir.path()), self.files, "{line}");
        assert_eq!(self.plane.store.snapshot(), self.snapshot, "{line}");
        let again = RuleStore::open(Arc::new(RealFs), self.dir.path().to_owned());
        assert_eq!(again.snapshot(), self.snapshot, "{line}");
        assert_eq!(self.plane.in_force.changes(), 2, "{line}");
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_written_changes_nothing() {
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    let before = Before::on(fs).await;
    for name in ["a", "b"] {
        let line = format!("PUT {}", rule(name));
        faults.disk_full(true);
        before.fails(&line, body(&["System!*"]).to_string()).await;
        faults.disk_full(false);
        faults.fail_syncs(1, 1);
        before.fails(&line, body(&["System!*"]).to_string()).await;
    }
    assert_eq!(before.plane.put_rule("b").await.status, 201, "and it works again");
}

#[tokio::test]
async fn a_change_whose_name_is_not_durable_is_undone() {
    let fs = Arc::new(FailingDirs::default());
    let before = Before::on(Arc::clone(&fs) as Arc<dyn Fs>).await;
    for name in ["a", "b"] {
        fs.fail(1);
        before.fails(&format!("PUT {}", rule(name)), body(&["System!*"]).to_string()).await;
    }
    fs.fail(1);
    before.fails(&format!("DELETE {}", association("host", "a")), String::new()).await;
    assert_eq!(before.plane.put_rule("b").await.status, 201, "and it works again");
}

#[tokio::test]
async fn a_removal_that_breaks_off_leaves_what_is_on_the_disk_in_force() {
    let fs = Arc::new(FailingDirs::default());
    let before = Before::on(Arc::clone(&fs) as Arc<dyn Fs>).await;
    before.plane.associate("host-2", "a").await;
    // Each removal syncs the folder of the copies and that of the files.
    fs.fail(4);
    let line = format!("DELETE {}?deleteAssociations=true&{VERSION}", rule("a"));
    assert_eq!(before.plane.ask(&line, "", "").await.status, 500);
    let left = before.plane.in_force.last();
    assert_eq!((left.rules.len(), left.associations.len()), (1, 1));
    assert_eq!(RuleStore::open(Arc::new(RealFs), before.dir.path().to_owned()).snapshot(), left);
}

/// A rule with its copy, as far as the description tells what it holds.
struct Described;

impl Durable for Described {
    fn folders(&self) -> Vec<PathBuf> {
        vec![trial::path("rules"), trial::path("rules-copy")]
    }

    fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()> {
        let mut resource = body(&["Security!*"]);
        resource["properties"]["description"] = json!(version.to_string());
        let entry = Entry::read(&rule("a"), resource).expect("it is a rule");
        Disk::new(Arc::clone(fs), trial::path("rules")).write(&Write::Put(Arc::new(entry)))
    }

    fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String> {
        let found = Disk::new(Arc::clone(fs), trial::path("rules")).load().map_err(|error| error.to_string())?;
        if let Some((file, reason)) = found.damaged.first_key_value() {
            return Err(format!("{file}: {reason}"));
        }
        let Some(entry) = found.shelf.rules.get(&key(&rule("a"))) else { return Ok(None) };
        let version = entry.resource["properties"]["description"].as_str().and_then(|text| text.parse().ok());
        version.map(Some).ok_or_else(|| "another one".to_owned())
    }
}

#[test]
fn a_rule_survives_a_failing_disk_and_a_power_cut() {
    trial::pass(&Described);
}

/// What can happen to a file, given what it holds.
fn damages(whole: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8(whole.to_vec()).unwrap();
    let other = text.replace("myResourceGroup", "otherGroup");
    let flipped = (0..whole.len() * 8).step_by(101).map(|bit| {
        let mut flipped = whole.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    });
    let texts = ["", &text[..text.len() / 2], "{}", other.as_str()].map(|text| text.as_bytes().to_vec());
    texts.into_iter().chain(flipped).collect()
}

/// A rule and its association, on the disk.
async fn kept() -> (Place, Plane, Vec<String>) {
    let dir = Place::new();
    let plane = Plane::open(dir.path());
    plane.put_rule("a").await;
    plane.associate("host", "a").await;
    let names = files(dir.path());
    (dir, plane, names)
}

fn reopened(dir: &Place) -> RuleStore {
    RuleStore::open(Arc::new(RealFs), dir.path().to_owned())
}

#[test]
fn the_names_of_the_folders_are_durable_before_a_rule_is() {
    let (dir, fs) = (Place::new(), Arc::new(FailingDirs::default()));
    for nth in [1, 2] {
        fs.fail(nth);
        let store = RuleStore::open(Arc::clone(&fs) as Arc<dyn Fs>, dir.path().to_owned());
        assert!(!store.faults().is_empty(), "sync {nth}");
    }
    assert!(RuleStore::open(fs, dir.path().to_owned()).faults().is_empty());
}

#[tokio::test]
async fn leftovers_go() {
    let (dir, plane, names) = kept().await;
    std::fs::write(dir.path().join(&names[0]).with_extension("new"), "half a fi").unwrap();
    assert_eq!(reopened(&dir).snapshot(), plane.store.snapshot());
    assert_eq!(files(dir.path()), names, "what a crash left unfinished is removed");
    assert_eq!(files(&dir.copies()), names);
}

#[tokio::test]
async fn a_damaged_or_lost_rule_is_made_anew_from_its_copy() {
    let (dir, plane, names) = kept().await;
    for folder in [dir.path().to_owned(), dir.copies()] {
        for name in &names {
            let path = folder.join(name);
            let whole = std::fs::read(&path).unwrap();
            for damage in damages(&whole) {
                std::fs::write(&path, &damage).unwrap();
                let looked = RuleStore::look(Arc::new(RealFs), dir.path().to_owned()).unwrap();
                let again = reopened(&dir);
                assert!(again.faults().is_empty());
                assert_eq!((&again.snapshot(), &looked), (&plane.store.snapshot(), &plane.store.snapshot()));
                assert_eq!(std::fs::read(&path).unwrap(), whole);
            }
            std::fs::remove_file(&path).unwrap();
            assert_eq!(reopened(&dir).snapshot(), plane.store.snapshot());
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }
    std::fs::remove_dir_all(dir.path()).unwrap();
    std::fs::create_dir(dir.path()).unwrap();
    assert_eq!(reopened(&dir).snapshot(), plane.store.snapshot(), "the whole folder was lost");
}

#[tokio::test]
async fn a_rule_that_is_damaged_with_its_copy_is_told_until_it_is_mended() {
    for mend in ["put", "delete", "offline"] {
        let (dir, _, names) = kept().await;
        let is_rule = |name: &&String| !std::fs::read_to_string(dir.path().join(name)).unwrap().contains("machines");
        let name = names.iter().find(is_rule).unwrap();
        for folder in [dir.path().to_owned(), dir.copies()] {
            std::fs::write(folder.join(name), "{}").unwrap();
        }
        let told = RuleStore::look(Arc::new(RealFs), dir.path().to_owned()).unwrap_err().to_string();
        let plane = Plane::open(dir.path());
        let faults = plane.store.faults().join("\n");
        assert_eq!(told, faults);
        assert!(faults.contains(&format!("{name} of the rules is damaged")), "{faults}");
        assert!(faults.contains("of which there is no file"), "{faults}");
        assert!(plane.store.snapshot().associations.is_empty(), "an association without its rule is not in force");
        match mend {
            "put" => assert_eq!(plane.put_rule("a").await.status, 201),
            "delete" => {
                let line = format!("DELETE {}?deleteAssociations=true&{VERSION}", rule("a"));
                assert_eq!(plane.ask(&line, "", "").await.status, 204);
            }
            _ => {
                assert!(RuleStore::delete_kept(Arc::new(RealFs), dir.path().to_owned(), name).unwrap());
                assert!(RuleStore::delete_kept(Arc::new(RealFs), dir.path().to_owned(), &rule("a")).unwrap());
            }
        }
        if mend != "offline" {
            assert_eq!(plane.store.faults(), Vec::<String>::new(), "{mend}");
        }
        let again = reopened(&dir);
        assert_eq!(again.faults(), Vec::<String>::new(), "{mend}");
        let left = usize::from(mend == "put");
        assert_eq!((again.snapshot().rules.len(), again.snapshot().associations.len()), (left, left), "{mend}");
    }
}

#[tokio::test]
async fn rules_of_a_former_version_are_read_and_get_a_checksum_and_a_copy() {
    let (dir, plane, names) = kept().await;
    for name in &names {
        let path = dir.path().join(name);
        let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert!(value.as_object_mut().unwrap().remove("crc32").is_some());
        std::fs::write(&path, value.to_string()).unwrap();
    }
    std::fs::remove_dir_all(dir.copies()).unwrap();
    assert_eq!(reopened(&dir).snapshot(), plane.store.snapshot());
    for name in &names {
        let bytes = std::fs::read(dir.path().join(name)).unwrap();
        assert!(bytes.ends_with(b"\"}") && String::from_utf8_lossy(&bytes).contains("crc32"));
        assert_eq!(std::fs::read(dir.copies().join(name)).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_rule_is_deleted_while_no_gateway_works() {
    let dir = Place::new();
    let plane = Plane::open(dir.path());
    plane.put_rule("a").await;
    plane.put_rule("b").await;
    for (host, name) in [("host", "a"), ("host-2", "a"), ("host", "b")] {
        plane.associate(host, name).await;
    }
    drop(plane);
    let fs = Arc::new(FailingDirs::default());
    let delete = |id: &str| RuleStore::delete_kept(Arc::clone(&fs) as Arc<dyn Fs>, dir.path().to_owned(), id);
    let kept = || RuleStore::look(Arc::new(RealFs), dir.path().to_owned()).unwrap();
    let before = kept();
    for none in [rule("c"), association("host", "a"), String::new()] {
        assert!(!delete(&none).unwrap(), "{none}");
    }
    assert_eq!(kept(), before);

    let id = rule("a").to_uppercase();
    // Before the removals, the names of both folders are made durable.
    fs.fail(6);
    assert!(format!("{:#}", delete(&id).unwrap_err()).ends_with("cannot be removed: the disk is gone"));
    assert_eq!((kept().rules.len(), kept().associations.len()), (2, 2), "the rule goes last");
    assert!(delete(&id).unwrap());
    let left = kept();
    assert_eq!(left.rules.iter().map(|kept| &kept.id).collect::<Vec<_>>(), [&rule("b")]);
    assert_eq!(left.associations.iter().map(|left| &left.rule_id).collect::<Vec<_>>(), [&rule("b")]);
    assert!(!delete(&id).unwrap(), "it is gone already");
    assert_eq!(files(dir.path()).len(), 2);
}

#[tokio::test]
async fn nothing_changes_while_somebody_holds_the_store() {
    let dir = Place::new();
    let plane = Plane::open(dir.path());
    let held = plane.store.hold().await;
    let line = format!("PUT {}?{VERSION}", rule("a"));
    let content = body(&["Security!*"]).to_string();
    let mut waiting = Box::pin(plane.ask(&line, "", content));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert_eq!(plane.in_force.changes(), 0);
    drop(held);
    assert_eq!(waiting.await.status, 201);
}
