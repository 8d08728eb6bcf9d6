//! `${env:NAME}` and `${file:/path}` inside text values, so that secrets need not stand in the file.
//!
//! `$${` stands for a plain `${`. What a source holds is not expanded again. One line feed at the end of a file is cut,
//! because editors add one. Relative paths start at the folder of the configuration file.

use std::path::{Path, PathBuf};

use super::paths;
use crate::faults::unread;
use crate::limits::SECRET_FILE_MAX_BYTES;

/// Where expansions come from; tests hand in their own environment.
pub(super) struct Sources<'a> {
    /// Looks up an environment variable.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// The folder at which relative paths start.
    pub(super) folder: &'a Path,
}

/// A text after expansion.
pub(super) struct Expanded {
    /// The result.
    pub(super) text: String,
    /// What was put in: to be kept out of every message.
    pub(super) inserted: Vec<String>,
}

/// Why a text could not be expanded, and what would be right.
#[derive(Debug)]
pub(super) struct Unexpanded {
    pub(super) message: String,
    /// A source is missing on this machine, and may be there on another.
    pub(super) is_missing: bool,
}

/// Expands a text. The error says what is missing and what would be right.
pub(super) fn expand(text: &str, sources: &Sources<'_>) -> Result<Expanded, Unexpanded> {
    let mut out = Expanded { text: String::with_capacity(text.len()), inserted: Vec::new() };
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            out.text.push_str(before);
            out.text.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.text.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner
            .find('}')
            .ok_or_else(|| miswritten("has a \"${\" without its \"}\"; write \"$${\" for a plain \"${\""))?;
        let value = look_up(&inner[..end], sources)?;
        out.text.push_str(&value);
        out.inserted.push(value);
        rest = &inner[end + 1..];
    }
    out.text.push_str(rest);
    Ok(out)
}

/// The files that a text names, whether they are there or not.
pub(super) fn files_in(text: &str, sources: &Sources<'_>) -> Vec<PathBuf> {
    let references = text.match_indices("${file:").filter(|(at, _)| !text[..*at].ends_with('$'));
    let paths = references.filter_map(|(at, mark)| text[at + mark.len()..].split_once('}'));
    paths.map(|(path, _)| sources.folder.join(path)).collect()
}

fn miswritten(message: &str) -> Unexpanded {
    Unexpanded { message: message.to_owned(), is_missing: false }
}

fn look_up(reference: &str, sources: &Sources<'_>) -> Result<String, Unexpanded> {
    let missing = |message| Unexpanded { message, is_missing: true };
    match reference.split_once(':') {
        Some(("env", name)) => (sources.env)(name).ok_or_else(|| {
            missing(format!("needs the environment variable {name}, which is not set (or is not UTF-8)"))
        }),
        Some(("file", path)) => read_secret(&paths::whole(sources.folder, Path::new(path))).map_err(missing),
        // What stands in the braces is not repeated: a secret may hold a "${" of its own.
        _ => Err(miswritten(
            "has a \"${…}\" of no kind; write ${env:NAME} or ${file:/path}, or \"$${\" for a plain \"${\"",
        )),
    }
}

fn read_secret(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("needs the file {}, which {}", path.display(), unread(&error));
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > SECRET_FILE_MAX_BYTES {
        return Err(format!("needs the file {}, which is larger than {SECRET_FILE_MAX_BYTES} bytes", path.display()));
    }
    let mut text = std::fs::read_to_string(path).map_err(failed)?;
    let kept = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(kept);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, String> {
        let env = |name: &str| (name == "TOKEN").then(|| "s3cret${env:TOKEN}".to_owned());
        expand(text, &Sources { env: &env, folder: Path::new(".") })
            .map(|expanded| expanded.text)
            .map_err(|error| error.message)
    }

    #[test]
    fn variables_are_put_in_once_and_dollars_can_be_escaped() {
        assert_eq!(check("a ${env:TOKEN} b").as_deref(), Ok("a s3cret${env:TOKEN} b"));
        assert_eq!(check("cost $5 $${env:TOKEN}").as_deref(), Ok("cost $5 ${env:TOKEN}"));
        assert_eq!(check("plain").as_deref(), Ok("plain"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(check("${env:NONE}").is_err_and(|e| e.contains("environment variable NONE")));
        assert!(check("${file:/does/not/exist}").is_err_and(|e| e.contains("/does/not/exist")));
        assert!(check("${vault:x}").is_err_and(|e| e.contains("${env:NAME}")));
        assert!(check("${env:TOKEN").is_err_and(|e| e.contains("without its")));
    }

    #[test]
    fn a_file_loses_its_last_line_feed() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::write(dir.path().join("token"), "abc\n").expect("write");
        let env = |_: &str| None;
        let sources = Sources { env: &env, folder: dir.path() };
        assert_eq!(expand("${file:token}", &sources).map(|e| e.text).ok().as_deref(), Some("abc"));
    }
}
