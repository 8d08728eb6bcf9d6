//! `gatepost ca show`: who an authority is.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use x509_parser::prelude::ASN1Time;

use crate::cli::{Global, print};
use crate::tunnel::take_over::{Facts, facts_of};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files with an authority's certificate. Default: those of the configuration
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let files = super::files(&args.files, global)?;
    let found = files.into_iter().map(|file| Ok((facts_of(&file)?, file)));
    let found = found.collect::<anyhow::Result<Vec<(Facts, PathBuf)>>>()?;
    print(&if global.json {
        let shown = found.iter().map(|(facts, file)| {
            json!({
                "file": file,
                "subject": facts.subject,
                "key": facts.key,
                "may_sign_for": facts.constraints.permitted(),
                "begins_s": facts.begins_s,
                "ends_s": facts.ends_s,
                "sha256": facts.sha256,
                "thumbprint": facts.thumbprint,
            })
        });
        format!("{}\n", json!({"authorities": shown.collect::<Vec<_>>()}))
    } else {
        found.iter().map(|(facts, file)| text(facts, &file.display().to_string())).collect()
    })?;
    Ok(ExitCode::SUCCESS)
}

fn text(facts: &Facts, file: &str) -> String {
    let may = match facts.constraints.permitted() {
        [] => "every name".to_owned(),
        names => format!("{}, each with everything below", names.join(", ")),
    };
    let day = |seconds: i64| {
        let time = ASN1Time::from_timestamp(seconds).map(|time| time.to_datetime().date().to_string());
        time.unwrap_or_else(|_| seconds.to_string())
    };
    format!(
        "{file}\n  name          {}\n  key           {}\n  may sign for  {may}\n  good          {} to {}\n  sha256        {}\n  thumbprint    {}\n",
        facts.subject,
        facts.key,
        day(facts.begins_s),
        day(facts.ends_s),
        facts.sha256,
        facts.thumbprint,
    )
}
