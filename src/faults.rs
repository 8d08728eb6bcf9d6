//! What keeps a gateway from running as it is configured, found without running it.
//!
//! Each component that opens something of its configuration has a function that says what is wrong with it, and opens it with
//! the same code: so what `gatepost check` accepts, `gatepost run` starts with. Looking makes nothing, changes nothing and locks
//! nothing; it goes on beside a running gateway.

use std::fs::{Metadata, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{Access, access};

/// Something that is wrong with what a configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The dotted key within the section, such as `tls.certificate`; empty when no key is to blame.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// What it keeps a gateway from.
    pub weight: Weight,
}

/// How much a fault weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// A gateway does not start with it, and does not change to it.
    Stops,
    /// A gateway runs with it, since not to run would be worse, but it is a mistake: the check fails.
    Fails,
    /// It works, and a person should know of it.
    Warns,
}

impl Fault {
    /// Something that keeps a gateway from starting.
    pub fn stops(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), weight: Weight::Stops }
    }

    /// A mistake that a gateway runs with.
    pub fn fails(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { weight: Weight::Fails, ..Self::stops(key, message) }
    }

    /// Something that works.
    pub fn warns(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { weight: Weight::Warns, ..Self::stops(key, message) }
    }

    /// The same with the key of the section that its own key belongs to.
    pub fn within(self, section: &str) -> Self {
        let parts = [section, &self.key].into_iter().filter(|part| !part.is_empty());
        let key = parts.collect::<Vec<_>>().join(".");
        Self { key, ..self }
    }
}

/// An error with its causes. Many errors tell their cause themselves: nothing is told twice.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(ToString::to_string).fold(error.to_string(), |text, cause| match text.contains(&cause) {
        true => text,
        false => format!("{text}: {cause}"),
    })
}

/// Why a folder can neither be used nor made.
pub fn in_folder(path: &Path) -> Option<String> {
    match path.metadata() {
        Ok(found) => in_found_folder(path, &found),
        Err(error) if error.kind() != ErrorKind::NotFound => above(path).or_else(|| Some(unusable(path, &error))),
        Err(_) if path.is_symlink() => Some(format!("{} is a link to what is not there", path.display())),
        Err(_) => above(path),
    }
}

fn in_found_folder(path: &Path, found: &Metadata) -> Option<String> {
    if !found.is_dir() {
        return Some(format!("{} is a file, and must be a folder; name another one", path.display()));
    }
    let may_write = access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK);
    may_write.err().map(|error| {
        format!(
            "{} cannot be written by this user ({error}); give it to the user that the gateway runs as",
            path.display()
        )
    })
}

/// Why a folder that is not there cannot be made.
fn above(path: &Path) -> Option<String> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return None,
    };
    in_folder(parent).map(|reason| match reason.contains("cannot be made") {
        true => reason,
        false => format!("{} cannot be made: {reason}", path.display()),
    })
}

fn unusable(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be used: {error}", path.display())
}

/// Why a file cannot be appended to, or made.
pub fn in_appended_file(path: &Path) -> Option<String> {
    match path.metadata() {
        Ok(found) if found.is_dir() => Some(format!("{} is a folder; name a file", path.display())),
        // A pipe would be waited for.
        Ok(found) if !found.is_file() => None,
        Ok(_) => OpenOptions::new().append(true).open(path).err().map(|error| unusable(path, &error)),
        Err(_) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            // The file is made, and no folder.
            if folder.exists() {
                in_folder(folder)
            } else {
                Some(format!("{} is not there; make this folder", folder.display()))
            }
        }
    }
}

/// Whether this process is in a group. What is given to a group of ours (an orchestrator's `fsGroup`) is not given to others.
pub fn is_own_group(gid: u32) -> bool {
    let all = rustix::process::getgroups().unwrap_or_default();
    rustix::process::getegid().as_raw() == gid || all.iter().any(|group| group.as_raw() == gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Chain {
        #[error("outer: {source}")]
        Told { source: Box<Self> },
        #[error("outer")]
        Untold { source: Box<Self> },
        #[error("inner")]
        Inner,
    }

    #[test]
    fn each_cause_is_told_once() {
        let told = |source| Chain::Told { source: Box::new(source) };
        let untold = |source| Chain::Untold { source: Box::new(source) };
        assert_eq!(with_causes(&told(told(Chain::Inner))), "outer: outer: inner");
        assert_eq!(with_causes(&untold(Chain::Inner)), "outer: inner");
        assert_eq!(with_causes(&told(untold(Chain::Inner))), "outer: outer: inner");
        assert_eq!(with_causes(&Chain::Inner), "inner");
    }

    #[test]
    fn what_cannot_be_made_is_told_and_nothing_is_made() {
        let dir = tempfile::tempdir().expect("a folder");
        let (file, fresh, link) = (dir.path().join("file"), dir.path().join("a/b"), dir.path().join("link"));
        std::fs::write(&file, "x").expect("written");
        std::os::unix::fs::symlink(dir.path().join("gone"), &link).expect("linked");
        assert_eq!(in_folder(dir.path()), None);
        assert_eq!(in_folder(&fresh), None);
        assert_eq!(in_appended_file(&file), None);
        assert_eq!(in_appended_file(&dir.path().join("log")), None);
        for (found, part) in [
            (in_folder(&file), "is a file"),
            (in_folder(&file.join("below/it")), "is a file"),
            (in_folder(&link), "is a link"),
            (in_appended_file(dir.path()), "is a folder"),
            (in_appended_file(&fresh.join("log")), "is not there"),
        ] {
            assert!(found.as_ref().is_some_and(|found| found.contains(part)), "{part}: {found:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 2);
    }
}
