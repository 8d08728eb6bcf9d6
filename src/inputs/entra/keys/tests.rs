use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;
use crate::fs::faulty::FaultyFs;

const DAY: u64 = 24 * 60 * 60;
const LIFETIME: Duration = Duration::from_secs(30 * DAY);
const NOW: u64 = 1_800_000_000;

/// A place for keys that is not there yet.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("entra");
    (folder, path)
}

fn open(path: &Path, now: u64) -> Keys {
    Keys::open(path, LIFETIME, now).expect("it opens")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("an entry").path()).collect()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn a_key_is_kept_for_its_owner_alone_and_found_again() {
    let (_held, path) = place();
    let made = open(&path, NOW).signing(NOW);
    let again = open(&path, NOW + DAY).signing(NOW + DAY);
    assert_eq!(made.id, again.id);
    let mark = |key: &Key| hmac::sign(&key.marks, b"x").as_ref().to_vec();
    assert_eq!(mark(&made), mark(&again), "read or made, it is the same key");
    let files = files(&path);
    assert_eq!(files.len(), 1);
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&files[0]).expect("it is there").permissions().mode() & 0o777, 0o600);
    let (modulus, exponent) = made.components().expect("an RSA key");
    assert_eq!((modulus.len(), exponent.as_str()), (342, "AQAB"));
}

#[test]
fn what_others_may_use_is_refused_with_what_would_be_right() {
    let (_held, path) = place();
    open(&path, NOW);
    let refused = || Keys::open(&path, LIFETIME, NOW).expect_err("others may use it").to_string();
    chmod(&path, 0o705);
    assert!(refused().contains("chmod 700"), "{}", refused());
    chmod(&path, 0o700);
    chmod(&files(&path)[0], 0o604);
    assert!(refused().contains("chmod 600"), "{}", refused());
    chmod(&files(&path)[0], 0o600);
    open(&path, NOW);
}

#[test]
fn keys_that_an_orchestrator_gave_to_a_group_of_the_gateway_are_kept() {
    let (_held, path) = place();
    for open in [Keys::open_own, Keys::open] {
        let before = open(&path, LIFETIME, NOW).expect("it opens").signing(NOW);
        files(&path).iter().for_each(|file| chmod(file, 0o660));
        chmod(&path, 0o2770);
        let after = open(&path, LIFETIME, NOW + 1).expect("it opens").signing(NOW + 1);
        assert_eq!(before.id, after.id, "hosts keep their tokens");
    }
}

#[test]
fn in_the_state_directory_a_key_that_is_damaged_or_was_open_to_others_gives_way_to_another() {
    let (_held, path) = place();
    for spoil in [|file: &Path| chmod(file, 0o644), |file: &Path| fs::write(file, b"nonsense").expect("written")] {
        let before = Keys::open_own(&path, LIFETIME, NOW).expect("it opens").signing(NOW);
        files(&path).iter().for_each(|file| spoil(file));
        chmod(&path, 0o755);
        let after = Keys::open_own(&path, LIFETIME, NOW + 1).expect("it opens").signing(NOW + 1);
        assert_ne!(before.id, after.id);
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn a_new_key_signs_once_others_know_it_and_an_old_one_checks_until_its_last_token_has_ended() {
    let (_held, path) = place();
    let keys = open(&path, NOW);
    let first = keys.signing(NOW);
    let turn = NOW + 30 * DAY;
    keys.refresh(turn);
    assert_eq!(keys.signing(turn + LEAD_SECONDS - 1).id, first.id);
    let second = keys.signing(turn + LEAD_SECONDS);
    assert_ne!(first.id, second.id);
    assert!(keys.find(&first.id, turn + DAY).is_some());
    assert_eq!(keys.public(turn).len(), 2);
    assert!(keys.find(&first.id, turn + DAY + OVERLAP_SECONDS + 1).is_none());
    keys.refresh(turn + 30 * DAY);
    assert!(files(&path).iter().all(|file| !file.display().to_string().contains(&first.id)));
    assert_eq!(files(&path).len(), 2);
}

#[test]
fn a_key_that_was_made_while_the_wall_clock_had_jumped_keeps_no_next_one_from_being_made() {
    let (_held, path) = place();
    let keys = open(&path, NOW);
    let first = keys.signing(NOW);
    keys.refresh(NOW + 3650 * DAY);
    assert_eq!(files(&path).len(), 2);
    assert_eq!(keys.signing(NOW + DAY).id, first.id);
    let turn = NOW + 30 * DAY;
    keys.refresh(turn);
    keys.refresh(turn);
    assert_eq!(files(&path).len(), 3);
    assert_ne!(keys.signing(turn + LEAD_SECONDS).id, first.id);
    // One that stands far back makes none at all.
    keys.refresh(NOW - 3650 * DAY);
    assert_eq!(files(&path).len(), 3);
}

#[test]
fn the_old_key_goes_on_while_the_folder_is_gone() {
    let (_held, path) = place();
    let keys = open(&path, NOW);
    let first = keys.signing(NOW);
    let aside = path.with_extension("aside");
    fs::rename(&path, &aside).expect("it moves");
    let turn = NOW + 30 * DAY;
    keys.refresh(turn);
    assert_eq!(keys.signing(turn + DAY).id, first.id);
    assert!(keys.find(&first.id, turn + 5 * DAY).is_some());
    fs::rename(&aside, &path).expect("it moves");
    keys.refresh(turn);
    assert_eq!(files(&path).len(), 2, "the next one is made as soon as that works");
}

#[test]
fn a_key_that_could_not_be_made_durable_is_not_there_and_leaves_nothing() {
    for nth in 1..20 {
        let (_held, path) = place();
        let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
        let folder = Folder::own(fs, &path).expect("it opens");
        faults.fail_changes(nth, 1);
        let made = make(&folder, NOW + DAY);
        let failed = faults.failed();
        faults.mend_changes();
        let ids: Vec<String> = folder.read(&[]).expect("it can be read").iter().map(|key| key.id.clone()).collect();
        match (made, failed) {
            (Ok(key), _) => assert_eq!(ids, [key.id], "change {nth}"),
            (Err(_), Some(_)) => assert_eq!((ids.len(), files(&path).len()), (0, 0), "change {nth}: {failed:?}"),
            (Err(error), None) => panic!("{error}"),
        }
        if failed.is_none() {
            assert!(nth > 4, "nothing was changed");
            return;
        }
    }
    panic!("it never came to its end");
}

#[test]
fn what_a_crash_left_unfinished_of_a_key_goes() {
    let (_held, path) = place();
    Keys::open_own(&path, LIFETIME, NOW).expect("it opens");
    fs::write(path.join("000000000001-x.key.new"), b"half of it").expect("written");
    Keys::open_own(&path, LIFETIME, NOW).expect("it opens");
    assert_eq!(files(&path).len(), 1);
}

#[tokio::test]
async fn a_token_that_names_an_unknown_key_is_refused_at_once_and_makes_the_gateway_look() {
    let (_held, path) = place();
    let ours = Arc::new(open(&path, NOW));
    let theirs = make(&Folder::open(Arc::new(RealFs), &path).expect("it opens"), NOW + 1).expect("a key");
    fs::write(path.join("000000000001-x.key"), b"nonsense").expect("it can be written");
    assert!(ours.find(&theirs.id, NOW + 1).is_none());
    ours.tend(|| NOW + 1);
    let found = async {
        while ours.find(&theirs.id, NOW + 1).is_none() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), found).await.expect("it is looked for");
    let last = make(&Folder::open(Arc::new(RealFs), &path).expect("it opens"), NOW + 2).expect("a key");
    let found = async {
        while ours.find(&last.id, NOW + 2).is_none() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), found).await.expect("long before the next look by itself");
    assert_eq!(ours.signing(NOW + 2 + LEAD_SECONDS).id, last.id, "the newest signs");
}
