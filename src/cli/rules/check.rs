//! `gatepost rules check`: everything that is wrong with rules, and what of them Gatepost does not do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::anyhow;
use serde::Serialize;

use super::super::{Global, json_lines, print};
use crate::app::rules;
use crate::config::rule_files;
use crate::faults::unread;
use crate::filter::dcr::{self, Given, Severity};
use crate::filter::rules::{Text, paired};
use crate::filter::xpath::{self, QueryList};

/// Check the rules of the configuration, or files with data collection rules or structured queries.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files or folders with data collection rules (.json) or structured queries (.xml). Without any: all rules of the
    /// configuration and the state folder
    files: Vec<PathBuf>,
    /// What was given to a template among the files: a file of parameters, or NAME=VALUE. Of a folder, NAME.parameters.json
    /// has the parameters of NAME.json
    #[arg(long, value_name = "FILE|NAME=VALUE", requires = "files")]
    parameters: Vec<String>,
    /// The resource group to which a template among the files is deployed: /subscriptions/…/resourceGroups/…
    #[arg(long, value_name = "ID", requires = "files")]
    resource_group: Option<String>,
}

fn read_parameters(path: &str) -> anyhow::Result<String> {
    rule_files::read_text(Path::new(path)).map_err(|error| anyhow!("{path} {}", unread(&error)))
}

impl Args {
    fn given(&self) -> anyhow::Result<Given> {
        let mut given = Given::default();
        for parameter in &self.parameters {
            let path =
                parameter.strip_prefix('@').or_else(|| Some(parameter.as_str()).filter(|text| !text.contains('=')));
            let added = match path {
                Some(path) => given.add_file(&read_parameters(path)?),
                None => given.add_pair(parameter),
            };
            added.map_err(|message| anyhow!("{} {message}", path.unwrap_or("--parameters")))?;
        }
        self.resource_group.iter().try_for_each(|id| given.set_group(id)).map_err(|message| anyhow!(message))?;
        Ok(given)
    }
}

/// Something to say, and where.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Said {
    place: String,
    severity: Severity,
    message: String,
}

pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let (said, rules) =
        if args.files.is_empty() { of_configuration(global)? } else { of_files(&args.files, &args.given()?) };
    let wrong = said.iter().any(|said| said.severity == Severity::Error);
    let text = if global.json {
        json_lines(&said)?
    } else {
        let line = |said: &Said| {
            let word = if said.severity == Severity::Error { "error" } else { "warning" };
            format!("{}: {word}: {}\n", said.place, said.message)
        };
        let lines: String = said.iter().map(line).collect();
        let warnings = said.iter().filter(|said| said.severity == Severity::Warning).count();
        let verdict = if wrong { "not usable".to_owned() } else { format!("rules: {rules}, warnings: {warnings}") };
        format!("{lines}{verdict}\n")
    };
    print(&text)?;
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn of_configuration(global: &Global) -> anyhow::Result<(Vec<Said>, usize)> {
    let rules = rules::look(&global.load()?)?;
    let warnings = rules.warnings().map(|(rule, warning)| Said {
        place: rule.to_owned(),
        severity: Severity::Warning,
        message: warning.to_owned(),
    });
    Ok((warnings.collect(), rules.count()))
}

fn of_files(files: &[PathBuf], given: &Given) -> (Vec<Said>, usize) {
    let mut said = Vec::new();
    let mut rules = 0;
    for path in files {
        match rule_files::read_those(path, &["json", "xml"]) {
            Err(error) => said.push(wrong(path, unread(&error))),
            Ok(texts) => {
                let templates = paired(texts, given, |message| said.push(wrong(path, message)));
                rules += templates.iter().map(|(text, given)| of_text(text, given, &mut said)).sum::<usize>();
            }
        }
    }
    (said, rules)
}

fn wrong(path: &Path, message: String) -> Said {
    Said { place: path.display().to_string(), severity: Severity::Error, message }
}

/// Adds what is to be said about one file; returns how many rules are in it.
fn of_text(text: &Text, given: &Given, said: &mut Vec<Said>) -> usize {
    if text.text.trim().is_empty() {
        let message = "is empty; it must hold a data collection rule (JSON) or a structured query (XML)".to_owned();
        said.push(Said { place: text.path.clone(), severity: Severity::Error, message });
        return 0;
    }
    if QueryList::is_meant(&text.text) {
        return of_query_list(text, said);
    }
    let (rules, findings) = dcr::read(&text.text, &text.stem, given);
    said.extend(findings.into_iter().map(|finding| Said {
        place: if finding.target.is_empty() { text.path.clone() } else { format!("{}: {}", text.path, finding.target) },
        severity: finding.severity,
        message: finding.message,
    }));
    rules.len()
}

fn of_query_list(text: &Text, said: &mut Vec<Said>) -> usize {
    match QueryList::parse(&text.text) {
        Err(error) => {
            let message = xpath::near(&text.text, &error);
            said.push(Said { place: text.path.clone(), severity: Severity::Error, message });
            0
        }
        Ok(list) => {
            let selectors = list.queries.iter().enumerate().flat_map(|(n, query)| {
                let named = |what: &'static str| {
                    move |(m, selector)| (format!("{what} {} of Query {}", m + 1, n + 1), selector)
                };
                let selects = query.selects.iter().enumerate().map(named("Select"));
                selects.chain(query.suppresses.iter().enumerate().map(named("Suppress")))
            });
            for (place, selector) in selectors {
                let warnings = xpath::lint(selector.channel.as_deref(), &selector.expr);
                said.extend(warnings.into_iter().map(|warning| Said {
                    place: format!("{}: {place} ({})", text.path, selector.text.trim()),
                    severity: Severity::Warning,
                    message: warning.message,
                }));
            }
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> (usize, Vec<Said>) {
        let mut said = Vec::new();
        let text = Text { path: "x.txt".to_owned(), stem: "x".to_owned(), text: text.to_owned() };
        (of_text(&text, &Given::default(), &mut said), said)
    }

    #[test]
    fn a_structured_query_is_known_by_its_text_and_forwarded_events_are_warned_of() {
        let list = "<QueryList><Query Path='ForwardedEvents'><Select>*</Select></Query></QueryList>";
        let subscription = format!("<Subscription><Query><![CDATA[{list}]]></Query></Subscription>");
        for text in [list, &subscription] {
            let (rules, said) = said(text);
            assert_eq!((rules, said.len()), (1, 1), "{said:?}");
            assert!(said[0].severity == Severity::Warning && said[0].message.contains("every channel"), "{said:?}");
            assert_eq!(said[0].place, "x.txt: Select 1 of Query 1 (*)");
        }
    }

    #[test]
    fn an_empty_file_is_called_so_and_no_place_is_empty() {
        for (text, told) in [("", "is empty"), (" \n", "is empty"), ("{}", "there is no")] {
            let (_, said) = said(text);
            assert!(said.len() == 1 && said[0].message.contains(told) && !said[0].place.ends_with(": "), "{said:?}");
        }
    }

    #[test]
    fn a_folder_of_subscriptions_in_utf_16_is_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = "\u{feff}<QueryList><Query><Select>*[</Select></Query></QueryList>";
        for (name, to_bytes) in [("le.xml", u16::to_le_bytes as fn(u16) -> [u8; 2]), ("be.xml", u16::to_be_bytes)] {
            let bytes: Vec<u8> = list.encode_utf16().flat_map(to_bytes).collect();
            std::fs::write(folder.path().join(name), bytes).expect("written");
        }
        let (said, _) = of_files(&[folder.path().to_owned()], &Given::default());
        assert_eq!(said.len(), 2);
        assert!(said.iter().all(|said| said.message.contains("in Select 1 of Query 1")), "{said:?}");
    }
}
