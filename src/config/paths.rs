//! Where relative paths start: at the folder of the configuration file, all of them.
//!
//! Before there was one rule, some started at the working directory, and those of file outputs at the state directory. Whoever
//! still has something there is told, and a state directory is never exchanged for an empty one in silence: what waits in it
//! would not be sent.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::mend::at_path;
use super::schema::Text;
use super::tree::Config;
use crate::faults::Fault;

/// A path that was relative.
pub(super) struct Moved {
    key: String,
    written: PathBuf,
    /// Where it leads.
    now: PathBuf,
    is_read: bool,
}

/// The folder at which the paths of a configuration start.
pub(super) fn folder_of(config: &Path) -> &Path {
    config.parent().unwrap_or(Path::new("/"))
}

/// A path from `folder` on, whole, and without detours as far as they can be told without following links.
pub(super) fn whole(folder: &Path, path: &Path) -> PathBuf {
    let joined = folder.join(path);
    let joined = std::path::absolute(&joined).unwrap_or(joined);
    let parts: Vec<_> = joined.components().collect();
    let Some(last) = parts.iter().rposition(|part| *part == Component::ParentDir) else { return joined };
    let before: PathBuf = parts[..=last].iter().collect();
    // Where a link leads, its parent is another one than the text says.
    before.canonicalize().map_or(joined.clone(), |before| before.join(parts[last + 1..].iter().collect::<PathBuf>()))
}

/// Lets every path start at `folder`. Those that were relative are returned.
pub(super) fn resolve(value: &mut Value, files: &[(String, Text)], folder: &Path) -> Vec<Moved> {
    let mut moved = Vec::new();
    for (key, kind) in files {
        let Some(text) = at_path(value, key) else { continue };
        let written = PathBuf::from(text.as_str().unwrap_or_default());
        if written.as_os_str().is_empty() || written.is_absolute() {
            continue;
        }
        let now = whole(folder, &written);
        *text = now.to_string_lossy().into();
        moved.push(Moved { key: key.clone(), written, now, is_read: *kind == Text::FileToRead });
    }
    moved
}

/// What is where paths led before.
pub(super) fn faults(config: &Config, mut moved: Vec<Moved>) -> Vec<Fault> {
    let Ok(working) = std::env::current_dir() else { return Vec::new() };
    if let (false, Some(name)) = (moved.iter().any(|moved| moved.key == "state_dir"), default_state(config)) {
        let (key, now) = ("state_dir".to_owned(), config.state_dir.clone());
        moved.push(Moved { key, written: name, now, is_read: false });
    }
    let state = moved.iter().find(|moved| moved.key == "state_dir").map(|moved| working.join(&moved.written));
    let state = state.unwrap_or_else(|| config.state_dir.clone());
    moved.iter().filter_map(|moved| fault(moved, &working, &state)).collect()
}

/// The name of the state directory, where it is the default.
fn default_state(config: &Config) -> Option<PathBuf> {
    let default = Config::default().state_dir;
    (config.state_dir.file_name() == default.file_name()).then_some(default)
}

fn fault(moved: &Moved, working: &Path, state: &Path) -> Option<Fault> {
    let Moved { key, written, now, is_read } = moved;
    let before = match key.as_str() {
        key if key.starts_with("filter.") => return None,
        key if key.starts_with("outputs[") && key.ends_with(".directory") => state.join(written),
        _ => working.join(written),
    };
    let (before, there) = (before.canonicalize().ok()?, now.canonicalize().ok());
    if there.as_ref() == Some(&before) {
        return None;
    }
    let leads = format!("starts at the folder of the configuration, and so leads to {}", now.display());
    let old = before.display();
    Some(match (key.as_str(), there.is_some()) {
        ("state_dir", false) if before.join("spool").is_dir() => Fault::stops(
            key,
            format!(
                "{leads}, where nothing is. {old}, where it led in former versions, holds state: write that whole path, or move it"
            ),
        ),
        ("state_dir", _) if !before.join("spool").is_dir() => return None,
        (_, false) if *is_read => Fault::stops(
            key,
            format!("{leads}, where nothing is. In former versions it led to {old}: write that whole path, or move it"),
        ),
        // A new one that was only made, and not used yet, is an exchange for an empty one.
        ("state_dir", true) if !now.join("spool").is_dir() => Fault::warns(
            key,
            format!("{leads}. {old}, where it led in former versions, holds state, which is not looked at any more"),
        ),
        // What is where it leads now is in use, and an old file elsewhere is no news at each start.
        (_, true) => return None,
        _ => Fault::warns(key, format!("{leads}. In former versions it led to {old}, which is not looked at any more")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Weight;

    fn moved(key: &str, written: &str, folder: &Path, is_read: bool) -> Moved {
        Moved { key: key.to_owned(), written: written.into(), now: folder.join(written), is_read }
    }

    #[test]
    fn a_state_directory_is_never_exchanged_for_an_empty_one_in_silence() {
        let (before, now) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let told = |is: &Moved| fault(is, before.path(), before.path());
        let state = moved("state_dir", "state", now.path(), false);
        assert_eq!(told(&state), None, "there is none");
        std::fs::create_dir_all(before.path().join("state/spool")).expect("made");
        let found = told(&state).expect("it is told");
        assert!(found.weight == Weight::Stops && found.message.contains("holds state"), "{found:?}");
        std::fs::create_dir(now.path().join("state")).expect("made");
        assert!(told(&state).expect("it is told").weight == Weight::Warns);
        std::fs::create_dir(now.path().join("state/spool")).expect("made");
        assert_eq!(told(&state), None, "it is in use, and this was told before");
        assert_eq!(fault(&moved("state_dir", "state", before.path(), false), before.path(), before.path()), None);
    }

    #[test]
    fn paths_are_told_whole_and_without_detours() {
        let dir = tempfile::tempdir().expect("a folder");
        let real = dir.path().canonicalize().expect("it is there");
        std::fs::create_dir_all(real.join("etc/tls")).expect("made");
        assert_eq!(whole(&real.join("etc"), Path::new("./tls/a.pem")), real.join("etc/tls/a.pem"));
        assert_eq!(whole(&real.join("etc"), Path::new("../none.pem")), real.join("none.pem"));
        assert_eq!(whole(&real, Path::new("/abs/x")), Path::new("/abs/x"));
        assert!(whole(Path::new("."), Path::new("x")).is_absolute());
        // The parent of what a link leads to is not the folder of the link.
        std::os::unix::fs::symlink(real.join("etc/tls"), real.join("link")).expect("linked");
        assert_eq!(whole(&real, Path::new("link/../a.pem")), real.join("etc/a.pem"));
    }

    #[test]
    fn what_is_used_where_it_is_now_is_not_told_of_at_each_start() {
        let (before, now) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        for folder in [&before, &now] {
            std::fs::write(folder.path().join("ca.pem"), "x").expect("written");
        }
        assert_eq!(fault(&moved("outputs[0].ca_file", "ca.pem", now.path(), true), before.path(), before.path()), None);
    }

    #[test]
    fn a_file_that_is_only_where_it_was_is_told_with_the_remedy() {
        let (before, now) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        std::fs::write(before.path().join("ca.pem"), "x").expect("written");
        let told = |is: &Moved| fault(is, before.path(), before.path());
        let found = told(&moved("outputs[0].ca_file", "ca.pem", now.path(), true)).expect("it is told");
        assert!(found.weight == Weight::Stops && found.message.contains("whole path"), "{found:?}");
        assert!(
            told(&moved("access_log.file", "ca.pem", now.path(), false)).expect("it is told").weight == Weight::Warns
        );
        assert_eq!(told(&moved("filter.rules[0].file", "ca.pem", now.path(), true)), None, "they always started here");
        assert_eq!(told(&moved("outputs[0].ca_file", "other.pem", now.path(), true)), None);
    }
}
