use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;

use super::*;
use crate::fs::RealFs;
use crate::fs::faulty::{Faults, FaultyFs};

fn owner(machine: &str) -> Owner {
    Owner { client: "pc.test".into(), machine: machine.into(), subscription: "4D2C".into() }
}

fn open(dir: &Path) -> Journal {
    Journal::open(Arc::new(RealFs), dir, "wef").expect("it opens")
}

fn file(dir: &Path) -> std::path::PathBuf {
    dir.join("wef").join("bookmarks.jsonl")
}

async fn kept(dir: &Path, machines: usize) {
    let journal = open(dir);
    for n in 0..machines {
        journal.keep(owner(&format!("pc{n}")), format!("<b{n} x=\"é\"/>")).await.expect("it is kept");
    }
}

#[tokio::test]
async fn a_bookmark_is_there_after_a_restart_and_the_newest_counts() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    assert_eq!(journal.find(&owner("pc0")).await, Known::Never);
    for n in 0..5 {
        journal.keep(owner("pc0"), format!("<b{n}/>")).await.unwrap();
        journal.keep(owner("pc1"), format!("<c{n}/>")).await.unwrap();
    }
    drop(journal);
    let journal = open(dir.path());
    assert!(matches!(journal.find(&owner("pc0")).await, Known::At(text, _) if &*text == "<b4/>"));
    assert!(matches!(journal.find(&owner("pc1")).await, Known::At(text, _) if &*text == "<c4/>"));
    assert_eq!(journal.find(&owner("pc2")).await, Known::Never, "a host that is new is no loss");
}

#[tokio::test]
async fn a_journal_that_is_gone_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    kept(dir.path(), 1).await;
    std::fs::remove_dir_all(dir.path().join("wef")).unwrap();
    assert_eq!(open(dir.path()).find(&owner("pc0")).await, Known::Lost);
    assert_eq!(open(dir.path()).find(&owner("pc0")).await, Known::Lost, "also after another start");
}

#[tokio::test]
async fn a_journal_of_another_gateway_is_noticed() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    kept(dir.path(), 1).await;
    kept(other.path(), 0).await;
    std::fs::copy(file(other.path()), file(dir.path())).unwrap();
    assert_eq!(open(dir.path()).find(&owner("pc0")).await, Known::Lost);
}

#[tokio::test]
async fn a_journal_that_is_longer_than_any_of_ours_is_lost_and_takes_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    kept(dir.path(), 1).await;
    std::fs::OpenOptions::new().write(true).open(file(dir.path())).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(open(dir.path()).find(&owner("pc0")).await, Known::Lost);
    assert!(file(dir.path()).metadata().unwrap().len() < 1 << 10, "it is written anew");
}

#[tokio::test]
async fn a_damaged_line_costs_that_bookmark_and_its_host_begins_at_the_earliest_event() {
    let dir = tempfile::tempdir().unwrap();
    kept(dir.path(), 3).await;
    let text = std::fs::read_to_string(file(dir.path())).unwrap();
    std::fs::write(file(dir.path()), text.replace("<b1 ", "<b7 ")).unwrap();
    let journal = open(dir.path());
    assert!(matches!(journal.find(&owner("pc0")).await, Known::At(..)));
    assert_eq!(journal.find(&owner("pc1")).await, Known::Lost);
    assert!(matches!(journal.find(&owner("pc2")).await, Known::At(..)));
}

#[tokio::test]
async fn a_line_that_was_cut_off_was_never_answered_for() {
    let dir = tempfile::tempdir().unwrap();
    kept(dir.path(), 2).await;
    let mut bytes = std::fs::read(file(dir.path())).unwrap();
    bytes.extend_from_slice(b"{\"client\":\"pc.test\",\"mach");
    std::fs::write(file(dir.path()), bytes).unwrap();
    let journal = open(dir.path());
    assert_eq!(journal.find(&owner("pc9")).await, Known::Never);
    journal.keep(owner("pc9"), "<x/>".to_owned()).await.unwrap();
    assert!(matches!(open(dir.path()).find(&owner("pc9")).await, Known::At(..)));
}

#[tokio::test]
async fn a_file_that_was_removed_under_the_gateway_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.keep(owner("pc0"), "<a/>".to_owned()).await.unwrap();
    std::fs::remove_dir_all(dir.path().join("wef")).unwrap();
    journal.keep(owner("pc1"), "<b/>".to_owned()).await.unwrap();
    let again = open(dir.path());
    for machine in ["pc0", "pc1"] {
        assert!(matches!(again.find(&owner(machine)).await, Known::At(..)), "{machine}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_hosts_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    let journal = Journal::open(fs, dir.path(), "wef").unwrap();
    faults.slow_syncs(Duration::from_millis(20));
    let before = faults.syncs();
    let all = (0..500).map(|n| journal.keep(owner(&format!("pc{n}")), "<b/>".to_owned()));
    assert!(join_all(all).await.iter().all(Result::is_ok));
    let syncs = faults.syncs() - before;
    assert!(syncs < 50, "{syncs} syncs for 500 bookmarks");
}

#[tokio::test]
async fn a_bookmark_that_is_not_durable_is_not_promised_and_not_given_out() {
    let dir = tempfile::tempdir().unwrap();
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    let journal = Journal::open(fs, dir.path(), "wef").unwrap();
    journal.keep(owner("pc0"), "<a/>".to_owned()).await.unwrap();
    for fault in [Faults::fail_all_syncs, |faults: &Faults| faults.disk_full(true)] {
        fault(&faults);
        assert!(journal.keep(owner("pc0"), "<b/>".to_owned()).await.is_err());
        faults.mend_syncs();
        faults.disk_full(false);
        assert!(matches!(journal.find(&owner("pc0")).await, Known::At(text, _) if &*text == "<a/>"));
    }
    journal.keep(owner("pc0"), "<c/>".to_owned()).await.unwrap();
    assert!(matches!(open(dir.path()).find(&owner("pc0")).await, Known::At(text, _) if &*text == "<c/>"));
}

#[tokio::test]
async fn a_journal_of_outdated_lines_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let long = "x".repeat(100_000);
    for n in 0..40 {
        journal.keep(owner("pc0"), format!("<b{n} a=\"{long}\"/>")).await.unwrap();
    }
    let length = std::fs::metadata(file(dir.path())).unwrap().len();
    assert!(length < 2_000_000, "{length} bytes for one bookmark");
    assert!(matches!(open(dir.path()).find(&owner("pc0")).await, Known::At(text, _) if text.starts_with("<b39 ")));
}

#[cfg(unix)]
#[tokio::test]
async fn a_bookmark_that_is_long_as_json_does_not_have_everything_written_anew_each_time() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let long = "\u{1}".repeat(100_000);
    for n in 0..20 {
        journal.keep(owner(&format!("pc{n}")), long.clone()).await.unwrap();
    }
    let file = || std::fs::metadata(file(dir.path())).unwrap().ino();
    let before = file();
    for n in 0..3 {
        journal.keep(owner("other"), format!("<b{n}/>")).await.unwrap();
        assert_eq!(file(), before, "one line was appended");
    }
}

#[tokio::test]
async fn a_client_that_writes_its_name_otherwise_has_its_bookmark_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let of = |client: &str| Owner::of(client, "PC1", "4D2C");
    open(dir.path()).keep(of("PC1$@EXAMPLE.TEST"), "<b/>".to_owned()).await.unwrap();
    let journal = open(dir.path());
    for client in ["PC1$@EXAMPLE.TEST", "pc1$@EXAMPLE.TEST"] {
        assert!(matches!(journal.find(&of(client)).await, Known::At(..)), "{client}");
    }
    assert_eq!(journal.find(&of("pc1.example.test")).await, Known::Lost, "it may be the same host");
}
