//! The files that a configuration names to be read with it, and what they hold: certificates, authorities, rules, secrets.
//!
//! A renewed certificate changes no letter of the configuration. So what a reload compares, and what asks for a reload, is the
//! content of these files as well. Which they are, the schema says.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::check::check;
use super::document::Document;
use super::expand::Sources;
use super::schema::{Schema, Text};
use super::tree::Config;
use super::{paths, rule_files};
use crate::limits::RULE_FILE_MAX_BYTES;

/// The files and folders that a configuration file names, also one that is wrong: what makes it wrong may be mended in one of
/// them.
pub fn named_in(config: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(config).unwrap_or_default();
    let folder = paths::folder_of(config);
    let sources = Sources { env: &|name| std::env::var(name).ok(), folder };
    let Ok(document) = Document::parse(&text, &sources) else { return Vec::new() };
    let read = read_by::<Config>(&document.value).into_iter().map(|path| folder.join(path));
    read.chain(document.files).collect()
}

/// A number for what the files hold that a part of the configuration names; another one when that changes.
pub fn content<T: Serialize + JsonSchema>(section: &T) -> u64 {
    fingerprint(&read_by::<T>(&serde_json::to_value(section).unwrap_or_default()))
}

/// A number for what these files hold, and the `.json` files of these folders.
pub fn fingerprint(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        path.hash(&mut hasher);
        let found = if path.is_dir() { folder(path) } else { file(path) };
        found.map_err(|error| error.to_string()).hash(&mut hasher);
    }
    hasher.finish()
}

fn file(path: &Path) -> std::io::Result<Vec<u8>> {
    // A pipe would be waited for.
    if !path.metadata()?.is_file() {
        return Ok(Vec::new());
    }
    let mut content = Vec::new();
    File::open(path)?.take(RULE_FILE_MAX_BYTES + 1).read_to_end(&mut content)?;
    Ok(content)
}

fn folder(path: &Path) -> std::io::Result<Vec<u8>> {
    let texts = rule_files::read(path)?;
    Ok(texts.into_iter().flat_map(|text| [text.path, text.text].join("\0").into_bytes()).collect())
}

fn read_by<T: JsonSchema>(value: &Value) -> Vec<PathBuf> {
    let files = check(&Schema::of::<T>(), value).files.into_iter().filter(|(_, kind)| *kind == Text::FileToRead);
    let mut value = value.clone();
    let text = files.filter_map(|(path, _)| Some(super::mend::at_path(&mut value, &path)?.as_str()?.to_owned()));
    text.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Output;

    #[test]
    fn every_file_that_is_read_with_the_configuration_is_known() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = dir.path().join("gatepost.toml");
        let text = "state_dir = 'state'\n[admin]\ntoken = '${file:token}'\n[access_log]\nfile = 'access.log'\n[[listeners]]\n\
                    tls = { certificate = 'c.pem', key = 'k.pem', client_ca = '/abs/ca.pem' }\n\
                    entra = { clients = [{ id = 'a', certificates = ['one.pem', 'two.pem'] }] }\n\
                    [[filter.rules]]\nfile = 'rules.d'\n[[outputs]]\nkind = 'workspace'\nca_file = 'out.pem'\n\
                    identity = { kind = 'client_certificate', certificate = 'app.pfx', tenant = 't', client_id = 'c' }\n";
        std::fs::write(&config, text).expect("written");
        let mut found: Vec<String> = named_in(&config)
            .iter()
            .map(|path| path.strip_prefix(dir.path()).unwrap_or(path).display().to_string())
            .collect();
        found.sort();
        assert_eq!(
            found,
            ["/abs/ca.pem", "app.pfx", "c.pem", "k.pem", "one.pem", "out.pem", "rules.d", "token", "two.pem"]
        );
    }

    #[test]
    fn another_content_of_a_named_file_is_another_content_of_the_section() {
        let dir = tempfile::tempdir().expect("a folder");
        let ca_file = dir.path().join("ca.pem");
        let mut output = Output::default();
        let plain = content(&output);
        output.output = crate::outputs::Config::Http(crate::outputs::http::Config {
            ca_file: Some(ca_file.clone()),
            ..Default::default()
        });
        let missing = content(&output);
        std::fs::write(&ca_file, "one").expect("written");
        let one = content(&output);
        std::fs::write(&ca_file, "two").expect("written");
        let two = content(&output);
        assert!(plain != missing && missing != one && one != two);
        std::fs::write(&ca_file, "one").expect("written");
        assert_eq!(content(&output), one);
    }
}
