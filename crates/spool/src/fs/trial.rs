//! What every durable file is put through: each change of the disk fails in turn, the power goes at each of them, and the
//! disk says that it wrote what it did not write.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Fs;
use super::faulty::FaultyFs;
use super::volatile::VolatileFs;

/// The folder of most files under trial.
const DIR: &str = "/state";

/// More changes than any replacement needs.
const CHANGES_MAX: u64 = 200;

/// A file, or several that belong together, of a component.
pub trait Durable {
    /// The folders that are there before anything is written.
    fn folders(&self) -> Vec<PathBuf> {
        vec![folder().to_owned()]
    }

    /// Writes this content, as the component does it.
    fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()>;

    /// Which content the component finds; `None` for none, and an error for one of which it notices that it is damaged.
    fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String>;
}

/// The folder that is always there.
pub fn folder() -> &'static Path {
    Path::new(DIR)
}

/// A file in it.
pub fn path(name: &str) -> PathBuf {
    folder().join(name)
}

/// All trials of a file with a checksum.
pub fn pass(subject: &impl Durable) {
    fails_at_every_change(subject);
    loses_power_at_every_change(subject);
    stands_on_a_disk_that_lies(subject);
}

/// A write that fails keeps the old content and says so, and the next one works.
pub fn fails_at_every_change(subject: &impl Durable) {
    let before = on_disk(subject);
    for lasts in [1, u64::MAX] {
        for nth in 1..CHANGES_MAX {
            let (fs, faults) = FaultyFs::new(Arc::new(before.copy()));
            let fs: Arc<dyn Fs> = fs;
            faults.fail_changes(nth, lasts);
            let written = subject.write(&fs, 2);
            let failed = faults.failed();
            faults.mend_changes();
            let found = subject.read(&fs);
            let case = format!("change {nth}, {failed:?} fails for {lasts}: {written:?}, then {found:?}");
            match (&written, failed) {
                (Ok(()), _) => assert_eq!(found, Ok(Some(2)), "{case}"),
                // The name has its new content, which may not be durable.
                (Err(_), Some("sync_dir")) => assert!(matches!(found, Ok(Some(1 | 2))), "{case}"),
                (Err(_), _) => assert_eq!(found, Ok(Some(1)), "{case}"),
            }
            subject.write(&fs, 3).unwrap_or_else(|error| panic!("{case}, and it does not work again: {error}"));
            assert_eq!(subject.read(&fs), Ok(Some(3)), "{case}");
            let left: Vec<_> =
                subject.folders().iter().flat_map(|dir| fs.list(dir).expect("the folder is there")).collect();
            assert!(!left.iter().any(|entry| super::is_unfinished(&entry.name)), "{case}: {left:?}");
            if failed.is_none() {
                assert!(nth > 2, "nothing was changed");
                break;
            }
            assert!(nth + 1 < CHANGES_MAX, "it never came to its end");
        }
    }
}

/// The power goes at each change: the old content is there, or the new one; the new one when that was answered.
pub fn loses_power_at_every_change(subject: &impl Durable) {
    let before = on_disk(subject);
    for nth in 0..CHANGES_MAX {
        let mut all_were_written = true;
        for seed in 0..8 {
            let disk = before.copy();
            disk.cut_after(nth);
            let written = subject.write(&on(&disk), 2);
            all_were_written &= disk.is_on();
            let left = on(&disk.cut(&mut fastrand::Rng::with_seed(seed)));
            let found = subject.read(&left);
            let case = format!("power cut at change {nth}, seed {seed}: {written:?}, then {found:?}");
            match written {
                Ok(()) => assert_eq!(found, Ok(Some(2)), "{case}"),
                Err(_) => assert!(matches!(found, Ok(Some(1 | 2))), "{case}"),
            }
            subject.write(&left, 3).unwrap_or_else(|error| panic!("{case}, and it does not work again: {error}"));
            assert_eq!(subject.read(&left), Ok(Some(3)), "{case}");
        }
        if all_were_written {
            return;
        }
    }
    panic!("it never came to its end");
}

/// The disk forgets what it said it had written: that is noticed, or the content is one that was written.
pub fn stands_on_a_disk_that_lies(subject: &impl Durable) {
    let before = on_disk(subject);
    for seed in 0..20 {
        let disk = before.copy();
        disk.ignore_syncs();
        subject.write(&on(&disk), 2).expect("it says that all is well");
        let left = on(&disk.cut(&mut fastrand::Rng::with_seed(seed)));
        let found = subject.read(&left);
        assert!(matches!(found, Ok(None | Some(1 | 2)) | Err(_)), "seed {seed}: {found:?}");
    }
}

/// A disk that holds the old content, and has said so.
fn on_disk(subject: &impl Durable) -> VolatileFs {
    let disk = VolatileFs::default();
    subject.folders().iter().for_each(|dir| disk.create_dir(dir).expect("an empty disk takes a folder"));
    subject.write(&on(&disk), 1).expect("nothing is wrong");
    assert_eq!(subject.read(&on(&disk)), Ok(Some(1)));
    disk
}

fn on(disk: &VolatileFs) -> Arc<dyn Fs> {
    Arc::new(disk.clone())
}
