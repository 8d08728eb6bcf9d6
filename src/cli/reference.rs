//! `gatepost reference`: documents made from the types.

use std::process::ExitCode;

use super::{Global, print, text_or_json};
use crate::config::{example, reference};

/// Print the reference of the configuration, an example, or the metrics.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    document: Document,
}

#[derive(Debug, clap::Subcommand)]
enum Document {
    /// Every key of the configuration, as Markdown
    Config,
    /// A configuration file with every key, commented out
    Example,
    /// Every metric, as Markdown
    Metrics,
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let text = match args.document {
        Document::Config => reference::configuration(),
        Document::Example => example::text(),
        Document::Metrics => reference::metrics(),
    };
    print(&text_or_json(text, global))?;
    Ok(ExitCode::SUCCESS)
}
