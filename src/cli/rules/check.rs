//! `gatepost rules check`: everything that is wrong with rules, and what of them Gatepost does not do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::super::{Global, print};
use crate::app::rules;
use crate::config::{LoadError, Problem, rule_files};
use crate::filter::dcr::{self, Severity};
use crate::filter::rules::Text;
use crate::filter::xpath::{self, QueryList};

/// Check the rules of the configuration, or files with data collection rules or structured queries.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files or folders with data collection rules (.json) or structured queries (.xml). Without any: all rules of the
    /// configuration and the state folder
    files: Vec<PathBuf>,
}

/// Something to say, and where.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Said {
    place: String,
    severity: Severity,
    message: String,
}

pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let (said, rules) = if args.files.is_empty() { of_configuration(global)? } else { of_files(&args.files) };
    let wrong = said.iter().any(|said| said.severity == Severity::Error);
    let text = if global.json {
        format!("{}\n", serde_json::to_string_pretty(&said)?)
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
    let config = match global.load() {
        Err(LoadError::Wrong(problems)) if global.json => {
            let said = |problem: &Problem| Said {
                place: format!("{}:{}:{}: {}", problems.file, problem.line, problem.column, problem.key),
                severity: Severity::Error,
                message: problem.message.clone(),
            };
            return Ok((problems.problems.iter().map(said).collect(), 0));
        }
        loaded => loaded?,
    };
    let rules = rules::look(&config)?;
    let warnings = rules.warnings().map(|(rule, warning)| Said {
        place: rule.to_owned(),
        severity: Severity::Warning,
        message: warning.to_owned(),
    });
    Ok((warnings.collect(), rules.count()))
}

fn of_files(files: &[PathBuf]) -> (Vec<Said>, usize) {
    let mut said = Vec::new();
    let mut rules = 0;
    for path in files {
        match rule_files::read(path) {
            Err(error) => {
                let place = path.display().to_string();
                said.push(Said { place, severity: Severity::Error, message: format!("cannot be read: {error}") });
            }
            Ok(texts) => rules += texts.iter().map(|text| of_text(path, text, &mut said)).sum::<usize>(),
        }
    }
    (said, rules)
}

/// Adds what is to be said about one file; returns how many rules are in it.
fn of_text(path: &Path, text: &Text, said: &mut Vec<Said>) -> usize {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("xml")) {
        return of_query_list(text, said);
    }
    let (rules, findings) = dcr::read(&text.text, &text.stem);
    said.extend(findings.into_iter().map(|finding| Said {
        place: format!("{}: {}", text.path, finding.target),
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
            for selector in list.queries.iter().flat_map(|query| query.selects.iter().chain(&query.suppresses)) {
                let warnings = xpath::lint(selector.channel.as_deref(), &selector.expr);
                said.extend(warnings.into_iter().map(|warning| Said {
                    place: format!("{}: {}", text.path, selector.text.trim()),
                    severity: Severity::Warning,
                    message: warning.message,
                }));
            }
            1
        }
    }
}
