//! The files in which rules stand: found from the configuration's folder, read, and checked with it.
//!
//! A configuration is right only if the rules that it names are, so they are made once here and thrown away; the gateway
//! makes them again, together with those that are kept over the admin plane.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::load::Sections;
use super::tree::Config;
use crate::event::from_utf16;
use crate::faults::unread;
use crate::filter::Rules;
use crate::filter::rules::{Managed, Material, Place, Problem, Text};
use crate::limits::{RULE_FILE_MAX_BYTES, RULE_FILES_MAX};

/// Reads a file, or every `.json` file of a folder in the order of their names.
///
/// # Errors
///
/// When something cannot be read, is too large, or is no text; when a folder holds no such file, or too many.
pub fn read(path: &Path) -> io::Result<Vec<Text>> {
    read_those(path, &["json"])
}

/// Reads a file, or every file of a folder that has one of these extensions, in the order of their names.
///
/// # Errors
///
/// As [`read`].
pub fn read_those(path: &Path, extensions: &[&str]) -> io::Result<Vec<Text>> {
    if !path.is_dir() {
        return Ok(vec![read_file(path)?]);
    }
    let is_wanted = |file: &Path| {
        let extension = file.extension().unwrap_or_default();
        extensions.iter().any(|wanted| extension.eq_ignore_ascii_case(wanted))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if is_wanted(&file) {
            files.push(file);
        }
    }
    if files.is_empty() {
        let text = format!("the folder holds no .{} file", extensions.join(" or ."));
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    if files.len() > RULE_FILES_MAX {
        let text = format!("the folder holds {} files; {RULE_FILES_MAX} are the limit", files.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    files.sort();
    let named =
        |file: &Path, error: io::Error| io::Error::new(error.kind(), format!("{} {}", file.display(), unread(&error)));
    files.iter().map(|file| read_file(file).map_err(|error| named(file, error))).collect()
}

fn read_file(path: &Path) -> io::Result<Text> {
    let text = read_text(path)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Text { path: path.display().to_string(), stem, text })
}

/// The text of one file with a rule, a query or parameters, in UTF-8 or in UTF-16.
///
/// # Errors
///
/// When it cannot be read, is too large, or is no text.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut file = Vec::new();
    File::open(path)?.take(RULE_FILE_MAX_BYTES + 1).read_to_end(&mut file)?;
    if file.len() as u64 > RULE_FILE_MAX_BYTES {
        let text = format!("it is larger than {RULE_FILE_MAX_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    from_utf16::text_of(file)
}

/// The files with rules that a configuration names, as they were read.
///
/// What is in force must not change because somebody edits a file: rules that change one by one are made again from these
/// until a reload reads the files anew.
#[derive(Debug, Default)]
pub struct Texts(HashMap<PathBuf, io::Result<Vec<Text>>>);

impl Texts {
    /// Reads all of them.
    pub fn of(config: &Config) -> Self {
        Self(config.rule_files().map(|path| (path.to_owned(), read(path))).collect())
    }

    fn get(&self, path: &Path) -> io::Result<Vec<Text>> {
        match self.0.get(path) {
            Some(Ok(texts)) => Ok(texts.clone()),
            Some(Err(error)) => Err(match error.raw_os_error() {
                Some(number) => io::Error::from_raw_os_error(number),
                None => io::Error::new(error.kind(), error.to_string()),
            }),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Config {
    /// The files and folders in which rules stand.
    pub fn rule_files(&self) -> impl Iterator<Item = &Path> {
        let rules = self.filter.rules.iter();
        rules.flat_map(|rule| [&rule.file, &rule.parameters, &rule.query_list]).flatten().map(PathBuf::as_path)
    }

    /// The names of the outputs.
    pub fn output_names(&self) -> Vec<String> {
        self.outputs.iter().map(|output| output.output.name().to_owned()).collect()
    }

    /// Makes the rules of this configuration and of what is kept over the admin plane, or says everything that is wrong.
    ///
    /// # Errors
    ///
    /// As [`Rules::build`].
    pub fn rules(&self, texts: &Texts, managed: &Managed) -> Result<Rules, Vec<Problem>> {
        let read = |path: &Path| texts.get(path);
        Rules::build(&Material { config: &self.filter, outputs: &self.output_names(), read: &read, managed })
    }
}

/// Whether a key is one of a rule that stands in a file.
fn in_file(config: &Config, key: &str) -> bool {
    let number = key.strip_prefix("rules[").and_then(|rest| rest.split_once(']')).and_then(|(n, _)| n.parse().ok());
    let rule = number.and_then(|n: usize| config.filter.rules.get(n));
    rule.is_some_and(|rule| [&rule.file, &rule.parameters, &rule.query_list].iter().any(|path| path.is_some()))
}

/// Reports what is wrong with the rules. They name outputs, so they are not judged while an output has no sound name. Where no file
/// may be read, those that stand in files are left out.
pub(super) fn check(config: &Config, may_read: bool, sections: &mut Sections<'_>) {
    let is_named = |n| sections.is_sound(&format!("outputs[{n}].name"));
    if !(0..config.outputs.len()).all(is_named) {
        return;
    }
    let texts = if may_read { Texts::of(config) } else { Texts::default() };
    let is_judged = |key: &str| may_read || !in_file(config, key);
    for problem in config.rules(&texts, &Managed::default()).err().unwrap_or_default() {
        if let Place::Key(key) = problem.place
            && is_judged(&key)
        {
            sections.wrong(format!("filter.{key}"), problem.message);
        }
    }
}
