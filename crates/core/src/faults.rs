//! What keeps a gateway from running as it is configured, found without running it.
//!
//! Each component that opens something of its configuration has a function that says what is wrong with it, and opens it with
//! the same code: so what `gatepost check` accepts, `gatepost run` starts with. Looking makes nothing, changes nothing and locks
//! nothing; it goes on beside a running gateway.

use std::fs::{Metadata, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{Access, FsWord, PROC_SUPER_MAGIC, access, statfs};

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

/// The numbers of the file systems of `/proc` and `/sys`, in which root may write, and where yet nothing can be made.
const OF_THE_KERNEL: [FsWord; 2] = [PROC_SUPER_MAGIC, 0x6265_6572];

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
    unwritable(path).map(|reason| {
        format!("{reason}; if it is the gateway's alone, give it to the gateway's user, else name another folder")
    })
}

fn unwritable(path: &Path) -> Option<String> {
    let shown = path.display();
    if statfs(path).is_ok_and(|found| OF_THE_KERNEL.contains(&found.f_type)) {
        return Some(format!("{shown} is the kernel's, and nothing can be kept in it"));
    }
    let error = access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(format!("{shown} cannot be written by this user ({})", spoken(&error.into())))
}

/// Why a file could not be read, as the end of a sentence that begins with its path, and what would be right.
pub fn unread(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound if error.raw_os_error().is_some() => {
            "is not there; put it there or correct the path".to_owned()
        }
        ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            format!(
                "cannot be read by user {user}, as whom this runs; let that user read it, and pass through the folders above it"
            )
        }
        ErrorKind::IsADirectory => "is a folder; name a file".to_owned(),
        ErrorKind::InvalidData if error.raw_os_error().is_none() && error.to_string().contains("valid UTF-8") => {
            "is not UTF-8; save it as UTF-8 (PowerShell: Set-Content -Encoding utf8)".to_owned()
        }
        _ => format!("cannot be read: {}", spoken(error)),
    }
}

/// What the system said, without its number.
pub fn spoken(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or_else(|| text.clone(), |(words, _)| words.to_owned())
}

/// Why a folder that is not there cannot be made.
fn above(path: &Path) -> Option<String> {
    let parents = path.ancestors().skip(1).map(|parent| match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    });
    let there = parents.into_iter().find(|parent| parent.symlink_metadata().is_ok())?;
    let shown = path.display();
    match there.metadata() {
        Ok(found) if found.is_dir() => unwritable(there).map(|reason| {
            let remedy = if reason.contains("kernel") {
                "name another folder".to_owned()
            } else {
                // Never to give away the folder above: it may be the whole machine's.
                format!(
                    "make {shown} and give that to the gateway's user: install -d -m 0700 -o USER {shown}, or name another folder"
                )
            };
            format!("{shown} cannot be made: {reason}; {remedy}")
        }),
        _ => in_folder(there).map(|reason| format!("{shown} cannot be made: {reason}")),
    }
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
                unwritable(folder).map(|reason| format!("{reason}; name a file in a folder of the gateway's own"))
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

    #[test]
    fn why_a_file_cannot_be_read_comes_with_the_remedy() {
        let of = |number| unread(&std::io::Error::from_raw_os_error(number));
        assert_eq!(of(2), "is not there; put it there or correct the path");
        assert!(of(13).contains("cannot be read by user ") && of(13).contains("let that user read it"), "{}", of(13));
        assert_eq!(of(21), "is a folder; name a file");
        assert_eq!(of(5), "cannot be read: Input/output error");
    }

    #[test]
    fn a_folder_above_that_is_another_users_is_never_told_to_be_given_away() {
        let made = in_folder(Path::new("/proc/a/b")).expect("nothing can be made there");
        assert!(made.contains("/proc/a/b cannot be made") && made.contains("name another folder"), "{made}");
        // Root may write everywhere.
        if !rustix::process::geteuid().is_root() {
            let told = in_folder(Path::new("/usr/gpx/state")).expect("it is root's");
            assert!(told.contains("install -d -m 0700 -o USER /usr/gpx/state"), "{told}");
        }
    }
}
