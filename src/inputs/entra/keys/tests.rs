use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;
use crate::fs::faulty::FaultyFs;
use crate::shared::in_memory::InMemory;
use crate::shared::sealed::Sealed;

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
    ours.tend(|| NOW + 1, None);
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

/// The keys of a gateway that shares them, in a folder of its own.
fn sharing(path: &Path, engine: &Arc<InMemory>, now: fn() -> u64) -> Arc<Keys> {
    let keys = Arc::new(Keys::open_own(path, LIFETIME, now()).expect("it opens"));
    let sealed = Sealed::over(engine.clone(), b"the secret").expect("a key");
    keys.tend(now, Some(Arc::new(sealed)));
    keys
}

async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), waiting).await.expect("it never holds");
}

fn same(one: &Keys, other: &Keys, now: u64) -> bool {
    let ids = |keys: &Keys| keys.public(now).iter().map(|key| key.id.clone()).collect::<Vec<_>>();
    ids(one) == ids(other) && one.signing(now).id == other.signing(now).id
}

#[tokio::test]
async fn gateways_that_share_an_engine_have_the_same_keys_and_a_new_one_is_known_everywhere_before_it_signs() {
    let engine = Arc::<InMemory>::default();
    let ((_one, here), (_two, there)) = (place(), place());
    let one = sharing(&here, &engine, || NOW);
    let two = sharing(&there, &engine, || NOW);
    until(|| one.public(NOW).len() == 2 && same(&one, &two, NOW)).await;
    // A rotation at one of them.
    let turn = NOW + 30 * DAY;
    one.refresh(turn);
    one.wanted.notify_one();
    until(|| two.public(turn).len() == 3 && same(&one, &two, turn)).await;
    let later = turn + LEAD_SECONDS;
    assert!(one.signing(turn).id != one.signing(later).id && same(&one, &two, later));
    // Each has all of them on its own disk, for its owner alone.
    for path in [&here, &there] {
        assert_eq!(files(path).len(), 3);
        let modes = files(path).into_iter().map(|file| fs::metadata(file).expect("it is there").permissions().mode());
        assert!(modes.into_iter().all(|mode| mode & 0o777 == 0o600));
    }
    engine.set_away(true);
    let again = sharing(&there, &engine, || NOW);
    assert!(same(&one, &again, later), "a start without the engine");
}

#[tokio::test]
async fn an_engine_that_forgot_gets_the_keys_again_and_what_is_no_key_changes_nothing() {
    let engine = Arc::<InMemory>::default();
    let ((_one, here), (_two, there)) = (place(), place());
    let one = sharing(&here, &engine, || NOW);
    until(|| engine.revision("token-keys").is_some()).await;
    engine.empty();
    until(|| engine.revision("token-keys").is_some()).await;
    let nonsense = crate::shared::Document::after("ffffffff", b"nonsense".to_vec());
    let revision = engine.revision("token-keys");
    assert_eq!(engine.compare_and_set("token-keys", revision.as_deref(), &nonsense).await, Ok(true));
    let two = sharing(&there, &engine, || NOW);
    let before = two.signing(NOW);
    two.refresh(NOW);
    assert_eq!((one.public(NOW).len(), two.public(NOW).len()), (1, 1), "each goes on with its own");
    assert_eq!(two.signing(NOW).id, before.id);
}

#[test]
fn a_key_that_has_ended_is_taken_out_by_no_clock_that_is_a_little_fast_and_not_taken_over_again() {
    let (_held, path) = place();
    let keys = Keys::open_own(&path, LIFETIME, NOW).expect("it opens");
    let turn = NOW + 30 * DAY;
    keys.refresh(turn);
    let both = keys.public(turn);
    let ended = turn + DAY + OVERLAP_SECONDS + 1;
    keys.refresh(ended);
    assert_eq!(keys.public(ended).len(), 1);
    assert_eq!(shared::needed(&keys.public(ended), &both, ended).len(), 2);
    assert_eq!(shared::needed(&keys.public(ended), &both, ended + 60 * 60).len(), 1);
    assert_eq!(keys.take_over(&both, ended).expect("it is written").len(), 1);
}
