//! Whether the state directory is its gateway's alone.
//!
//! Whoever may write in it can forge events, read the spool, or swap a file for a link to another; whoever reads `secret.key` can
//! make events look like duplicates; whoever reads a private key can be this gateway. So a directory that others share is refused before anything in it is used. A group
//! that the gateway is in is not others: orchestrators hand out volumes that way. The directory itself may be reached by a link
//! (systemd makes one for `DynamicUser`), what is in it may not.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::faults::is_own_group;

/// Files that nobody else may even read.
const SECRETS: [&str; 2] = ["secret.key", "secret.copy"];
/// Folders with secrets in them: files whose names end so are for nobody else.
const FOLDERS: [&str; 2] = ["tls", "entra"];
const PRIVATE: [&str; 3] = ["key", "pem", "p12"];
/// Who may do what, in the bits of a mode.
const OTHERS_WRITE: u32 = 0o002;
const OTHERS_ANY: u32 = 0o007;

/// What is wrong with a state directory, each with its remedy. One that is not there yet is fine.
pub(super) fn problems(dir: &Path) -> Vec<String> {
    let Ok(found) = fs::metadata(dir) else { return Vec::new() };
    let mut problems = Vec::new();
    if !found.is_dir() {
        return vec![format!(
            "the state directory {} is no directory; move it away, or name another one",
            dir.display()
        )];
    }
    problems.extend(foreign_owner(dir, &found));
    if open_to(&found, OTHERS_WRITE) {
        problems.push(open_dir("the state directory", dir, &found));
    }
    problems.extend(folders(dir).iter().filter_map(|(folder, found)| {
        let is_open = open_to(found, OTHERS_WRITE);
        is_open.then(|| open_dir("the folder", folder, found))
    }));
    for secret in SECRETS.map(|name| dir.join(name)) {
        let Ok(found) = fs::symlink_metadata(&secret) else { continue };
        problems.extend(open_secret(&secret, &found));
        problems.extend(foreign_owner(&secret, &found));
    }
    let secret_folders = FOLDERS.map(|name| dir.join(name));
    problems.extend(secret_folders.iter().flat_map(|folder| open_keys(folder)));
    problems.extend([dir].into_iter().chain(secret_folders.iter().map(AsRef::as_ref)).flat_map(links));
    problems
}

fn open_dir(what: &str, dir: &Path, found: &Metadata) -> String {
    let (shown, mode, uid) = (dir.display(), found.mode() & 0o7777, found.uid());
    let wrong = format!("{what} {shown} has mode {mode:04o}, so others may write in it");
    // Only its owner can change that: a volume of an orchestrator is often root's.
    if may_change(found) {
        format!("{wrong}; run: chmod 0700 {shown}")
    } else {
        let state = dir.join("state");
        format!(
            "{wrong}, and it belongs to user {uid}; name a subfolder, which is made: state_dir = {:?}",
            state.display()
        )
    }
}

fn open_secret(secret: &Path, found: &Metadata) -> Option<String> {
    let is_open = found.is_file() && open_to(found, OTHERS_ANY);
    is_open.then(|| {
        let (secret, mode) = (secret.display(), found.mode() & 0o7777);
        format!("{secret} has mode {mode:04o}, so others may use it; run: chmod 0600 {secret}")
    })
}

/// The folders in a directory. Links are told of elsewhere.
fn folders(dir: &Path) -> Vec<(PathBuf, Metadata)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let folders = entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)));
    folders.filter(|(_, found)| found.is_dir()).collect()
}

/// Private keys that others may use. What is behind a folder that nobody else may search is safe; but a folder is opened more
/// easily than a file is.
fn open_keys(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_private = |path: &Path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| PRIVATE.contains(&ending)) && path.file_name() != Some("cert.pem".as_ref())
    };
    let keys = entries.map(|entry| entry.path()).filter(|path| is_private(path));
    keys.filter_map(|key| open_secret(&key, &fs::symlink_metadata(&key).ok()?)).collect()
}

/// Whether this process may change who may do what.
fn may_change(found: &Metadata) -> bool {
    geteuid().is_root() || geteuid().as_raw() == found.uid()
}

/// Whether others, or a group that is none of ours, have one of these rights.
fn open_to(found: &Metadata, rights: u32) -> bool {
    let of_group = if is_own_group(found.gid()) { 0 } else { rights << 3 };
    found.mode() & (rights | of_group) != 0
}

/// Root may do everything anyway.
fn foreign_owner(path: &Path, found: &Metadata) -> Option<String> {
    let own = geteuid().as_raw();
    let is_foreign = found.uid() != own && found.uid() != 0;
    is_foreign.then(|| {
        let (path, uid, gid) = (path.display(), found.uid(), found.gid());
        let told = format!("{path} belongs to user {uid}, and this runs as user {own}; run it as {uid}");
        // Who took it away from that user would break the service that is run by them.
        match geteuid().is_root() {
            true => format!("{told}: setpriv --reuid={uid} --regid={gid} --clear-groups gatepost …"),
            false => format!("{told}, or run: chown {own} {path}"),
        }
    })
}

/// The user whose directory it is, where this process is root's and the directory is not.
pub(in crate::app) fn owner_beside_root(dir: &Path) -> Option<u32> {
    let owner = || fs::metadata(dir).ok().map(|found| found.uid());
    if geteuid().is_root() { owner().filter(|uid| *uid != 0) } else { None }
}

fn links(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let links = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    let told = |path: &Path| {
        let path = path.display();
        format!(
            "{path} is a link, which could lead anywhere; put the file or folder itself there (a mount will do), or remove it"
        )
    };
    links.map(|entry| told(&entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    #[track_caller]
    fn assert_one_problem(dir: &Path, parts: &[&str]) {
        let found = problems(dir);
        assert!(found.len() == 1 && parts.iter().all(|part| found[0].contains(part)), "{parts:?}: {found:?}");
    }

    #[test]
    fn a_state_directory_that_others_share_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("state");
        assert_eq!(problems(&state), Vec::<String>::new(), "it is made private");
        fs::create_dir(&state).expect("a folder");
        for (mode, is_fine) in [(0o700, true), (0o755, true), (0o770, true), (0o777, false), (0o1777, false)] {
            fs::set_permissions(&state, Permissions::from_mode(mode)).expect("it is ours");
            match is_fine {
                true => assert_eq!(problems(&state), Vec::<String>::new(), "{mode:o}"),
                false => assert_one_problem(&state, &["chmod 0700", &format!("{mode:04o}")]),
            }
        }
        fs::set_permissions(&state, Permissions::from_mode(0o700)).expect("it is ours");
        let key = state.join("secret.key");
        fs::write(&key, "x").expect("it is written");
        for (mode, is_fine) in [(0o644, false), (0o604, false), (0o660, true), (0o600, true)] {
            fs::set_permissions(&key, Permissions::from_mode(mode)).expect("it is ours");
            match is_fine {
                true => assert_eq!(problems(&state), Vec::<String>::new(), "{mode:o}"),
                false => assert_one_problem(&state, &["chmod 0600", "secret.key"]),
            }
        }
    }

    #[test]
    fn folders_that_others_may_write_in_and_private_keys_that_they_may_use_are_refused_with_the_remedy() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).expect("it is ours");
        let chmod = |path: &str, mode| {
            fs::set_permissions(dir.path().join(path), Permissions::from_mode(mode)).expect("it is ours");
        };
        for folder in ["spool", "rules", "tls", "entra"] {
            fs::create_dir(dir.path().join(folder)).expect("a folder");
            chmod(folder, 0o777);
            assert_one_problem(dir.path(), &[folder, "0777", "chmod 0700"]);
            chmod(folder, 0o755);
        }
        fs::write(dir.path().join("tls/cert.pem"), "x").expect("it is written");
        chmod("tls/cert.pem", 0o644);
        for key in ["tls/key.pem", "entra/000000000001-x.key"] {
            fs::write(dir.path().join(key), "x").expect("it is written");
            chmod(key, 0o644);
            assert_one_problem(dir.path(), &[key, "0644", "chmod 0600"]);
            chmod(key, 0o660);
            assert_eq!(problems(dir.path()), Vec::<String>::new(), "our group is not others");
        }
    }

    #[test]
    fn who_cannot_change_a_volume_is_told_to_name_a_subfolder() {
        // Everybody may write there, and it is root's.
        let tmp = Path::new("/tmp");
        let Ok(found) = fs::metadata(tmp) else { return };
        let told = open_dir("the state directory", tmp, &found);
        let is_told = if may_change(&found) { "chmod 0700 /tmp" } else { "state_dir = \"/tmp/state\"" };
        assert!(told.contains(is_told), "{told}");
    }

    #[test]
    fn a_directory_may_be_reached_by_a_link_but_what_is_in_it_may_not_be_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let (state, by_link) = (dir.path().join("private"), dir.path().join("state"));
        fs::create_dir_all(state.join("tls")).expect("a folder");
        symlink(&state, &by_link).expect("a link");
        assert_eq!(problems(&by_link), Vec::<String>::new());
        for name in ["secret.key", "spool", "tls/key.pem"] {
            symlink("/etc/hostname", state.join(name)).expect("a link");
            assert_one_problem(&by_link, &[name, "is a link"]);
            fs::remove_file(state.join(name)).expect("it is there");
        }
        fs::write(dir.path().join("file"), "x").expect("it is written");
        assert_one_problem(&dir.path().join("file"), &["no directory"]);
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).expect("it is ours");
        // Only root can give something away; everybody else is shown root's own, which is fine.
        if chown(dir.path(), Some(4242), None).is_ok() {
            assert_one_problem(dir.path(), &["4242", "setpriv --reuid=4242"]);
            assert!(!problems(dir.path())[0].contains("chown"), "that would break the service");
            chown(dir.path(), Some(geteuid().as_raw()), None).expect("root may");
        }
        assert_eq!(problems(dir.path()), Vec::<String>::new());
    }
}
