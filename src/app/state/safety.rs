//! Whether the state directory is its gateway's alone.
//!
//! Whoever may write in it can forge events, read the spool, or swap a file for a link to another; whoever reads `secret.key` can
//! make events look like duplicates. So a directory that others share is refused before anything in it is used. A group
//! that the gateway is in is not others: orchestrators hand out volumes that way. The directory itself may be reached by a link
//! (systemd makes one for `DynamicUser`), what is in it may not.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{getegid, geteuid, getgroups};

/// Files that nobody else may even read.
const SECRETS: [&str; 2] = ["secret.key", "secret.copy"];
/// Folders with secrets in them.
const FOLDERS: [&str; 2] = ["tls", "entra"];
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
        problems.push(open_dir(dir, &found));
    }
    for secret in SECRETS.map(|name| dir.join(name)) {
        let Ok(found) = fs::symlink_metadata(&secret) else { continue };
        if found.is_file() && open_to(&found, OTHERS_ANY) {
            let (secret, mode) = (secret.display(), found.mode() & 0o7777);
            problems.push(format!("{secret} has mode {mode:04o}, so others may use it; run: chmod 0600 {secret}"));
        }
        problems.extend(foreign_owner(&secret, &found));
    }
    let folders = FOLDERS.map(|name| dir.join(name));
    problems.extend([dir].into_iter().chain(folders.iter().map(AsRef::as_ref)).flat_map(links));
    problems
}

fn open_dir(dir: &Path, found: &Metadata) -> String {
    let (dir, mode) = (dir.display(), found.mode() & 0o7777);
    format!("the state directory {dir} has mode {mode:04o}, so others may write in it; run: chmod 0700 {dir}")
}

/// Whether others, or a group that is none of ours, have one of these rights.
fn open_to(found: &Metadata, rights: u32) -> bool {
    let ours = getegid().as_raw() == found.gid()
        || getgroups().is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == found.gid()));
    let of_group = if ours { 0 } else { rights << 3 };
    found.mode() & (rights | of_group) != 0
}

/// Root may do everything anyway.
fn foreign_owner(path: &Path, found: &Metadata) -> Option<String> {
    let own = geteuid().as_raw();
    let is_foreign = found.uid() != own && found.uid() != 0;
    is_foreign.then(|| {
        let (path, uid) = (path.display(), found.uid());
        format!("{path} belongs to user {uid}, and this gateway runs as user {own}; run it as {uid}, or run: chown {own} {path}")
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
            assert_one_problem(dir.path(), &["4242", "chown"]);
            chown(dir.path(), Some(geteuid().as_raw()), None).expect("root may");
        }
        assert_eq!(problems(dir.path()), Vec::<String>::new());
    }
}
