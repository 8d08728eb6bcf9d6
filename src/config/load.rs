//! From a file to a [`Config`], or to one report of everything that is wrong with it.
//!
//! The steps, each of which goes on after a mistake: read the text, put in secrets, walk the values along their schema,
//! turn each sound section into its type, ask each component what else is wrong, compare sections with each other.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::blame::blame;
use super::check::{UNKNOWN, check};
use super::document::{Document, Finding, join};
use super::expand::Sources;
use super::problem::{Problem, Problems};
use super::rule_files;
use super::schema::Schema;
use super::tree::{self, Config};
use crate::limits::CONFIG_FILE_MAX_BYTES;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("{path}: cannot be read: {error}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file was read and is wrong.
    #[error(transparent)]
    Wrong(#[from] Problems),
}

/// Loads a file. Reads the environment and the files that its values refer to.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    let unreadable = |error| LoadError::Unreadable { path: path.to_owned(), error };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > CONFIG_FILE_MAX_BYTES {
        let text = format!("is larger than {CONFIG_FILE_MAX_BYTES} bytes, which no configuration needs");
        return Err(unreadable(std::io::Error::new(std::io::ErrorKind::FileTooLarge, text)));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    Ok(parse(&path.display().to_string(), &text, folder, &|name| std::env::var(name).ok())?)
}

/// Parses a text. `file` is how problems call it; relative `${file:…}` start at `folder`; `env` looks up variables.
pub fn parse(file: &str, text: &str, folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Problems> {
    let report = |mut problems: Vec<Problem>| {
        problems.sort_by(|a, b| (a.line, a.column, &a.key).cmp(&(b.line, b.column, &b.key)));
        Problems { file: file.to_owned(), problems }
    };
    // Windows editors put a mark before the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut document = Document::parse(text, &Sources { env, folder }).map_err(report)?;
    let found = check(&Schema::of::<Config>(), &document.value);
    document.secret.extend(found.secret);
    document.hidden.extend(found.hidden);
    let mut sections = Sections { findings: std::mem::take(&mut document.findings), value: &document.value };
    sections.findings.extend(found.findings);
    let mut config = tree::read(&mut sections);
    config.find_rule_files(folder);
    if sections.sound_in("outputs") {
        rule_files::check(&config, &mut sections);
    }
    if sections.findings.is_empty() {
        return Ok(config);
    }
    let findings = sections.findings;
    Err(report(findings.into_iter().map(|finding| document.problem(finding)).collect()))
}

/// The sections of a document on their way into the tree. A section with a finding is passed over.
pub(super) struct Sections<'v> {
    value: &'v Value,
    findings: Vec<Finding>,
}

impl Sections<'_> {
    /// Reads one table or plain value, and asks `problems` what else is wrong with it.
    pub(super) fn one<T, K, M>(&mut self, key: &str, into: &mut T, problems: impl Fn(&T) -> Vec<(K, M)>)
    where
        T: DeserializeOwned,
        K: Into<String>,
        M: Into<String>,
    {
        if let Some(value) = self.value.get(key)
            && let Some(section) = self.section(key, value, &problems)
        {
            *into = section;
        }
    }

    /// Reads a list of tables, each on its own.
    pub(super) fn list<T, K, M>(&mut self, key: &str, into: &mut Vec<T>, problems: impl Fn(&T) -> Vec<(K, M)>)
    where
        T: DeserializeOwned,
        K: Into<String>,
        M: Into<String>,
    {
        if let Some(items) = self.value.get(key).and_then(Value::as_array) {
            let items = items.iter().enumerate();
            *into = items.filter_map(|(n, item)| self.section(&format!("{key}[{n}]"), item, &problems)).collect();
        }
    }

    /// Adds a finding about keys that do not fit each other.
    pub(super) fn wrong(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.findings.push(Finding { path: path.into(), message: message.into(), show: true });
    }

    /// Whether nothing was found so far, so that sections can be compared with each other.
    pub(super) fn sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether nothing was found in this section so far.
    pub(super) fn sound_in(&self, section: &str) -> bool {
        !self.findings.iter().any(|finding| within(&finding.path, section))
    }

    fn section<T, K, M>(&mut self, path: &str, value: &Value, problems: &impl Fn(&T) -> Vec<(K, M)>) -> Option<T>
    where
        T: DeserializeOwned,
        K: Into<String>,
        M: Into<String>,
    {
        let found: Vec<&Finding> = self.findings.iter().filter(|finding| within(&finding.path, path)).collect();
        if !found.is_empty() {
            // Keys that nobody knows hide nothing else: the section is judged without them, and still not used.
            let unknown = |finding: &&Finding| finding.message.starts_with(UNKNOWN);
            if found.iter().all(unknown) {
                let rest = found.iter().fold(value.clone(), |rest, finding| without(rest, &finding.path[path.len()..]));
                self.judge(path, &rest, problems);
            }
            return None;
        }
        self.judge(path, value, problems)
    }

    fn judge<T, K, M>(&mut self, path: &str, value: &Value, problems: &impl Fn(&T) -> Vec<(K, M)>) -> Option<T>
    where
        T: DeserializeOwned,
        K: Into<String>,
        M: Into<String>,
    {
        let Ok(section) = T::deserialize(value) else {
            for (inner, complaint) in blame::<T>(value) {
                self.wrong(locate(path, &inner), complaint);
            }
            return None;
        };
        for (inner, message) in problems(&section) {
            self.wrong(locate(path, &inner.into()), message);
        }
        Some(section)
    }
}

/// The value without the key at the end of this path, such as `.rules[0].nmae`.
fn without(mut value: Value, path: &str) -> Value {
    let mut place = Some(&mut value);
    let steps: Vec<&str> = path.split(['.', '[', ']']).filter(|step| !step.is_empty()).collect();
    if let Some((last, way)) = steps.split_last() {
        for step in way {
            place = place.and_then(|place| match place {
                Value::Array(items) => step.parse().ok().and_then(|n: usize| items.get_mut(n)),
                place => place.get_mut(*step),
            });
        }
        if let Some(map) = place.and_then(Value::as_object_mut) {
            map.remove(*last);
        }
    }
    value
}

fn locate(path: &str, inner: &str) -> String {
    if inner.is_empty() { path.to_owned() } else { join(path, inner) }
}

fn within(path: &str, section: &str) -> bool {
    path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
