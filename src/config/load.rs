//! From a file to a [`Config`], or to one report of everything that is wrong with it.
//!
//! The steps, each of which goes on after a mistake: read the text, put in secrets, walk the values along their schema, find
//! where paths lead, turn each section into its type, ask each component what else is wrong, compare sections with each other,
//! look at what the configuration names. One mistake hides no other: the rest of its section is judged without it.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::address;
use super::blame::{self, Judged};
use super::check::{UNKNOWN, check};
use super::document::{Document, Finding, join};
use super::expand::Sources;
use super::mend::{at_path, mended};
use super::paths;
use super::problem::{Problem, Problems};
use super::rule_files;
use super::schema::Schema;
use super::tree::{self, Config};
use crate::faults::{Fault, Weight, unread};
use crate::limits::CONFIG_FILE_MAX_BYTES;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("{path}: {}", unread(error), path = path.display())]
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

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Mistakes that a gateway runs with.
    pub faulty: Vec<Problem>,
    /// What works, and a person should know.
    pub warnings: Vec<Problem>,
}

impl Loaded {
    /// Tells in the log what a person has to know of it. `file` is how it is called.
    pub fn tell(&self, file: &str) {
        let at = |problem: &Problem| format!("{file}:{problem}");
        for problem in &self.faulty {
            tracing::error!(problem = at(problem), "the configuration is in force despite this error");
        }
        for problem in &self.warnings {
            tracing::warn!(problem = at(problem), "warning about the configuration");
        }
    }
}

/// Says what is wrong with what a configuration names: files, folders, addresses. Where the configuration has mistakes, it is given one
/// without them, and what it says of keys with mistakes does not count.
pub type Look<'l> = &'l dyn Fn(&Config) -> Vec<Fault>;

/// Loads a file. Reads the environment and the files that its values refer to.
///
/// # Errors
///
/// With everything that is wrong with it.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    load_and_look(path, &|_| Vec::new()).map(|loaded| loaded.config)
}

/// Loads a file, and looks at what it names.
///
/// # Errors
///
/// With everything that is wrong with it, and everything that was found and stops a gateway.
pub fn load_and_look(path: &Path, look: Look<'_>) -> Result<Loaded, LoadError> {
    load_within(path, Some(look))
}

/// Loads a file that is for another machine: what it names is not looked at. What is missing here of variables and of files with
/// secrets is warned of, and the rest is judged without it.
///
/// # Errors
///
/// With everything that is wrong with its text.
pub fn load_text(path: &Path) -> Result<Loaded, LoadError> {
    load_within(path, None)
}

fn load_within(path: &Path, look: Option<Look<'_>>) -> Result<Loaded, LoadError> {
    let unreadable = |error| LoadError::Unreadable { path: path.to_owned(), error };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > CONFIG_FILE_MAX_BYTES {
        let text = format!("is larger than {CONFIG_FILE_MAX_BYTES} bytes, which no configuration needs");
        return Err(unreadable(std::io::Error::new(std::io::ErrorKind::FileTooLarge, text)));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let folder = paths::folder_of(path);
    Ok(parse_and_look(&path.display().to_string(), &text, folder, &|name| std::env::var(name).ok(), look)?)
}

/// The defaults, which hold where no file is given, and a look at what they name.
///
/// # Errors
///
/// With everything that was found and stops a gateway.
pub fn defaults_and_look(look: Look<'_>) -> Result<Loaded, LoadError> {
    Ok(parse_and_look(DEFAULTS, "", Path::new("."), &|_| None, Some(look))?)
}

/// How the defaults are called in messages, where there is no file.
pub const DEFAULTS: &str = "defaults (no file given)";

/// Parses a text. `file` is how problems call it; relative paths start at `folder`; `env` looks up variables.
///
/// # Errors
///
/// With everything that is wrong with it.
pub fn parse(file: &str, text: &str, folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Problems> {
    parse_and_look(file, text, folder, env, Some(&|_| Vec::new())).map(|loaded| loaded.config)
}

/// Without a look the text alone is judged.
fn parse_and_look(
    file: &str,
    text: &str,
    folder: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    look: Option<Look<'_>>,
) -> Result<Loaded, Problems> {
    let in_order = |mut problems: Vec<Problem>| {
        problems.sort_by(|a, b| (a.line, a.column, &a.key).cmp(&(b.line, b.column, &b.key)));
        problems
    };
    // Windows editors put a mark before the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut document = Document::parse(text, &Sources { env, folder })
        .map_err(|problems| Problems { file: file.to_owned(), problems: in_order(problems) })?;
    let found = check(&Schema::of::<Config>(), &document.value);
    document.secret.extend(found.secret);
    document.hidden.extend(found.hidden);
    let moved = paths::resolve(&mut document.value, &found.files, folder);
    let mut sections = Sections {
        findings: std::mem::take(&mut document.findings),
        value: &document.value,
        unsound: Vec::new(),
        faulty: Vec::new(),
        warnings: Vec::new(),
    };
    for finding in &mut sections.findings {
        if let Some((_, mend)) = found.unread.iter().find(|(path, _)| *path == finding.path) {
            finding.mend = mend.clone();
        }
    }
    sections.findings.extend(found.findings);
    let mut config = tree::read(&mut sections);
    if document.value.get("state_dir").is_none() {
        config.state_dir = paths::whole(folder, &config.state_dir);
    }
    rule_files::check(&config, look.is_some(), &mut sections);
    if let Some(look) = look {
        let faults = paths::faults(&config, moved).into_iter().chain(look(&config));
        faults.for_each(|fault| sections.fault(fault));
    } else {
        let is_missing = |finding: &mut Finding| finding.is_missing;
        sections.warnings.extend(sections.findings.extract_if(.., is_missing));
    }
    let Sections { findings, faulty, warnings, .. } = sections;
    let placed =
        |findings: Vec<Finding>| in_order(findings.into_iter().map(|finding| document.problem(finding)).collect());
    if findings.is_empty() {
        return Ok(Loaded { config, faulty: placed(faulty), warnings: placed(warnings) });
    }
    Err(Problems { file: file.to_owned(), problems: placed(findings.into_iter().chain(faulty).collect()) })
}

/// The sections of a document on their way into the tree.
pub(super) struct Sections<'v> {
    value: &'v Value,
    findings: Vec<Finding>,
    /// What was found and stops nothing: [`Weight::Fails`] and [`Weight::Warns`].
    faulty: Vec<Finding>,
    warnings: Vec<Finding>,
    /// Sections and items that could not be read: nothing is compared with them.
    unsound: Vec<String>,
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

    /// Reads a list of tables, each on its own. One that cannot be read becomes a default, so that the others keep their numbers.
    pub(super) fn list<T, K, M>(&mut self, key: &str, into: &mut Vec<T>, problems: impl Fn(&T) -> Vec<(K, M)>)
    where
        T: DeserializeOwned + Default,
        K: Into<String>,
        M: Into<String>,
    {
        if let Some(items) = self.value.get(key).and_then(Value::as_array) {
            let items = items.iter().enumerate();
            *into = items
                .map(|(n, item)| self.section(&format!("{key}[{n}]"), item, &problems).unwrap_or_default())
                .collect();
        }
    }

    /// Adds a finding about keys that do not fit each other, unless something else is wrong with this one.
    pub(super) fn wrong(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let path = path.into();
        if self.is_sound(&path) {
            self.findings.push(Finding::shown(path, message));
        }
    }

    /// Whether nothing is wrong with this key, as far as is known.
    pub(super) fn is_sound(&self, path: &str) -> bool {
        let touches = |other: &str| within(path, other) || within(other, path);
        !self.findings.iter().any(|finding| touches(&finding.path)) && !self.unsound.iter().any(|other| touches(other))
    }

    /// Whether this section has a key that nobody knows: another one may have its default only because its name is mistyped.
    pub(super) fn has_unknown(&self, path: &str) -> bool {
        let unknown = |finding: &Finding| within(&finding.path, path) && finding.message.starts_with(UNKNOWN);
        self.findings.iter().any(unknown)
    }

    fn fault(&mut self, fault: Fault) {
        let Fault { key, message, weight } = fault;
        if key.is_empty() || self.is_sound(&key) {
            let into = match weight {
                Weight::Stops => &mut self.findings,
                Weight::Fails => &mut self.faulty,
                Weight::Warns => &mut self.warnings,
            };
            into.push(Finding::shown(key, message));
        }
    }

    fn section<T, K, M>(&mut self, path: &str, value: &Value, problems: &impl Fn(&T) -> Vec<(K, M)>) -> Option<T>
    where
        T: DeserializeOwned,
        K: Into<String>,
        M: Into<String>,
    {
        let found: Vec<&Finding> = self.findings.iter().filter(|finding| within(&finding.path, path)).collect();
        let mut wrong: Vec<String> = found.iter().map(|finding| finding.path.clone()).collect();
        let mended = mended(value, path, &found);
        let section = mended.and_then(|mended| self.judge(path, &mended, &mut wrong, problems));
        if section.is_none() {
            self.unsound.push(path.to_owned());
        }
        section
    }

    /// Reads a section and adds what is wrong with it. `wrong` are the paths of mistakes that are known, which grow: of what
    /// stands in for them nothing is told.
    fn judge<T, K, M>(
        &mut self,
        path: &str,
        value: &Value,
        wrong: &mut Vec<String>,
        problems: &impl Fn(&T) -> Vec<(K, M)>,
    ) -> Option<T>
    where
        T: DeserializeOwned,
        K: Into<String>,
        M: Into<String>,
    {
        let Judged { section, blamed } = blame::judge::<T>(value);
        let known = wrong.clone();
        let is_new = |path: &str| !known.iter().any(|known| within(known, path) || within(path, known));
        for (inner, complaint) in blamed {
            let at = locate(path, &inner);
            // What is missing was told by the walk.
            if is_new(&at) && !complaint.starts_with("missing field") {
                let text = at_path(&mut value.clone(), &inner).and_then(|value| value.as_str().map(str::to_owned));
                self.findings.push(Finding::shown(at.clone(), address::explained(complaint, text.as_deref())));
                wrong.push(at);
            }
        }
        let section = section?;
        let is_new = |path: &str| !wrong.iter().any(|known| within(known, path) || within(path, known));
        for (inner, message) in problems(&section) {
            let at = locate(path, &inner.into());
            if is_new(&at) {
                self.findings.push(Finding::shown(at, message));
            }
        }
        Some(section)
    }
}

fn locate(path: &str, inner: &str) -> String {
    if inner.is_empty() { path.to_owned() } else { join(path, inner) }
}

/// Whether a path is that of a section, or of something in it.
pub(super) fn within(path: &str, section: &str) -> bool {
    path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
