//! The command line: one file per command, each with its `Args` and a `run(args, &Global)`.
//!
//! Results go to standard output, for people or, with `--json`, for machines; complaints go to standard error. Exit
//! codes: 0 done, 1 failed, 2 used wrongly, 78 (`EX_CONFIG`) the configuration is wrong.
//!
//! With `--json` every line of standard output is one JSON object, whatever the command: an answer is one line, a list one line
//! for each entry, a text such as a script one line with it in `text`, a failure one line with `"ok": false` and `error`. So one
//! reader does for all of them. [`docs/commands.md`](../../docs/commands.md) has the keys.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use indicatif::HumanCount;
use serde::Serialize;
use serde_json::json;

use crate::app::opening;
use crate::config::{self, Config, LoadError, Loaded};
use crate::faults::with_causes;

mod admin_plane;
pub mod agents;
pub mod audit;
pub mod azure;
pub mod ca;
pub mod check;
pub mod clock;
pub mod columns;
pub mod completions;
pub mod dead_letter;
#[cfg(feature = "lab")]
pub mod demo;
pub mod doctor;
mod event_files;
pub mod hosts;
pub mod import_oms;
pub mod password;
pub mod reference;
pub mod rules;
pub mod run;
pub mod send;
#[cfg(feature = "lab")]
pub mod simulate;
pub mod spool;
pub mod status;
#[cfg(feature = "kerberos")]
pub mod tickets;
pub mod token;
pub mod top;
pub mod wef;
pub mod xpath;

/// `EX_CONFIG` of sysexits.h: service managers need not restart on it.
const EXIT_CONFIG: u8 = 78;

/// Used wrongly, as clap has it.
const EXIT_USAGE: u8 = 2;

/// An event-forwarding gateway for isolated Windows servers: durable, deduplicating, observable.
#[derive(Debug, Parser)]
#[command(
    name = "gatepost",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Global {
    /// Configuration file. Without one, safe defaults on loopback
    #[arg(short, long, global = true, env = "GATEPOST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON: one object a line, of a list one for each entry
    #[arg(long, global = true)]
    pub json: bool,
}

impl Global {
    /// The configuration that applies: the file's, or the defaults.
    pub fn load(&self) -> Result<Config, LoadError> {
        self.config.as_deref().map_or_else(|| Ok(Config::default()), config::load)
    }

    /// The same, with a look at everything that a gateway opens: what keeps it from starting is found at once, and told with its
    /// line.
    pub fn load_and_look(&self) -> Result<Loaded, LoadError> {
        self.load_with(&|config: &Config| opening::look(config, None))
    }

    /// The same for a check, which starts nothing.
    pub fn load_and_check(&self) -> Result<Loaded, LoadError> {
        self.load_with(&opening::look_beside)
    }

    /// The same without a look at anything: for a configuration of another machine.
    pub fn load_text(&self) -> Result<Loaded, LoadError> {
        match &self.config {
            Some(file) => config::load_text(file),
            None => config::defaults_and_look(&|_| Vec::new()),
        }
    }

    fn load_with(&self, look: config::Look<'_>) -> Result<Loaded, LoadError> {
        match &self.config {
            Some(file) => config::load_and_look(file, look),
            None => config::defaults_and_look(look),
        }
    }

    /// Whether the command line itself names a configuration, and not the environment of whoever calls.
    fn config_is_written(&self) -> bool {
        let of_environment = std::env::var_os("GATEPOST_CONFIG").map(PathBuf::from);
        self.config.is_some() && self.config != of_environment
    }

    /// How the configuration is called in messages.
    pub fn config_name(&self) -> String {
        self.config.as_ref().map_or_else(|| config::DEFAULTS.to_owned(), |file| file.display().to_string())
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Run(run::Args),
    /// Check a configuration, print the effective one, or ask the running gateway whether it is ready
    Check(check::Args),
    /// Show the gateway at work, with simulated hosts and collectors
    #[cfg(feature = "lab")]
    Demo(demo::Args),
    /// Upload events from .evtx files, NDJSON or XML to a gateway
    Send(send::Args),
    /// Show what tunnels may reach, explain a decision, list what was refused, or who sends events and who has gone silent
    Hosts(hosts::Args),
    /// Show how the running gateway is. Exit code 1 when it takes no uploads, 2 when it could not be asked
    Status(status::Args),
    /// Watch the running gateway in this terminal
    Top(top::Args),
    /// Show which events a query takes, or what it asks
    Xpath(xpath::Args),
    /// Show the rows of Azure's tables that events become, or the columns of a table
    Columns(columns::Args),
    /// Turn the settings of an OMS (Log Analytics) gateway, as its cmdlets print them, into a configuration
    ImportOms(import_oms::Args),
    /// Check, list and try rules, or say what a change of them would do
    Rules(rules::Args),
    /// Recompute the account of events from what is on disk
    Audit(audit::Args),
    /// Look inside the spool
    Spool(spool::Args),
    /// List the OMS and Microsoft Monitoring agents that are registered, let them in no more, or forget them
    Agents(agents::Args),
    /// List, show, export, replay or purge dead letters
    DeadLetter(dead_letter::Args),
    /// Make what a workspace output needs in Azure, or check whether it is there and right
    Azure(azure::Args),
    /// Make, show or hand out the authority for hosts that tunnels take over
    Ca(ca::Args),
    /// Show how the gateway's clock stands to the wall clock, or accept a jump that it holds
    Clock(clock::Args),
    /// Check from here whether everything that tunnels may reach can be reached
    Doctor(doctor::Args),
    /// Print the reference of the configuration, an example, or the metrics
    Reference(reference::Args),
    /// Print completions for a shell
    Completions(completions::Args),
    /// Make a token, or hash one for the configuration
    Token(token::Args),
    /// Hash a password for the configuration
    Password(password::Args),
    /// Show what Windows hosts need to forward events here, or what they are asked for
    Wef(wef::Args),
    /// Accept Kerberos tickets for a gateway that started this
    #[cfg(feature = "kerberos")]
    #[command(hide = true)]
    AcceptTickets,
    /// Show Kerberos tickets for a simulated host that started this
    #[cfg(all(feature = "kerberos", feature = "lab"))]
    #[command(hide = true)]
    ShowTickets,
    /// Play Azure or Windows hosts on this machine, to try Gatepost without them
    #[cfg(feature = "lab")]
    Simulate(simulate::Args),
}

/// Runs the command given on the command line.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version end up here too, with exit code 0. Nothing can be done about a closed terminal.
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = cli.global.json;
    dispatch(cli).unwrap_or_else(|error| {
        complain(&error, json);
        if error.is::<LoadError>() {
            ExitCode::from(EXIT_CONFIG)
        } else if error.is::<Usage>() {
            ExitCode::from(EXIT_USAGE)
        } else {
            ExitCode::FAILURE
        }
    })
}

/// Arguments that do not fit each other.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(&'static str);

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let global = &cli.global;
    match cli.command {
        Command::Run(args) => run::run(args, global),
        Command::Check(args) => check::run(args, global),
        #[cfg(feature = "lab")]
        Command::Demo(args) => demo::run(args, global),
        Command::Send(args) => send::run(args, global),
        Command::Hosts(args) => hosts::run(args, global),
        Command::Status(args) => status::run(&args, global),
        Command::Top(args) => top::run(&args, global),
        Command::Xpath(args) => xpath::run(args, global),
        Command::Columns(args) => columns::run(args, global),
        Command::ImportOms(args) => import_oms::run(args, global),
        Command::Rules(args) => rules::run(args, global),
        Command::Audit(args) => audit::run(args, global),
        Command::Spool(args) => spool::run(args, global),
        Command::Agents(args) => agents::run(args, global),
        Command::DeadLetter(args) => dead_letter::run(args, global),
        Command::Azure(args) => azure::run(args, global),
        Command::Ca(args) => ca::run(args, global),
        Command::Clock(args) => clock::run(args, global),
        Command::Doctor(args) => doctor::run(args, global),
        Command::Reference(args) => reference::run(args, global),
        Command::Completions(args) => completions::run(args, global),
        Command::Token(args) => token::run(args, global),
        Command::Password(args) => password::run(args, global),
        Command::Wef(args) => wef::run(args, global),
        #[cfg(feature = "kerberos")]
        Command::AcceptTickets => tickets::accept(),
        #[cfg(all(feature = "kerberos", feature = "lab"))]
        Command::ShowTickets => tickets::show(),
        #[cfg(feature = "lab")]
        Command::Simulate(args) => simulate::run(args, global),
    }
}

/// What is wrong with a configuration, for machines.
fn problems(error: &LoadError) -> serde_json::Value {
    match error {
        LoadError::Wrong(problems) => json!({ "ok": false, "file": problems.file, "problems": problems.problems }),
        LoadError::Unreadable { .. } => json!({ "ok": false, "error": error.to_string() }),
    }
}

/// Says what failed: to people on standard error, to machines on standard output, as one object with `"ok": false`.
fn complain(error: &anyhow::Error, json: bool) {
    let said = match error.downcast_ref::<LoadError>() {
        _ if !json => return drop(writeln!(io::stderr(), "{}", complaint(error))),
        Some(wrong) => problems(wrong),
        None => json!({ "ok": false, "error": with_causes(error.as_ref()) }),
    };
    print(&format!("{said}\n")).ok();
}

/// An answer for machines.
fn json_line<T: Serialize + ?Sized>(answer: &T) -> anyhow::Result<String> {
    Ok(serde_json::to_string(answer)? + "\n")
}

/// A list for machines; nothing for an empty one.
fn json_lines<'e, T: Serialize + 'e>(entries: impl IntoIterator<Item = &'e T>) -> anyhow::Result<String> {
    entries.into_iter().map(json_line).collect()
}

/// A text that is the answer itself: a script, a document. For machines as `text`.
fn text_or_json(text: String, global: &Global) -> String {
    if global.json { format!("{}\n", json!({ "text": text })) } else { text }
}

/// Without what would move a cursor or colour a terminal.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Problems stand alone, one on a line, so that editors can jump to them; anything else is introduced.
fn complaint(error: &anyhow::Error) -> String {
    match error.downcast_ref::<LoadError>() {
        Some(problems) => problems.to_string(),
        None => format!("gatepost: {}", with_causes(error.as_ref())),
    }
}

/// Prints to standard output. A reader that has gone (`| head`) is no failure.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A number with what it counts: `1 problem`, `2 problems`.
fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    if count == 1 { format!("1 {noun}") } else { format!("{} {noun}s", HumanCount(count)) }
}

/// What can be called, and how.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn one_is_one_and_the_rest_are_many() {
        assert_eq!([0_u64, 1, 2_000].map(|n| counted(n, "problem")), ["0 problems", "1 problem", "2,000 problems"]);
    }

    #[test]
    fn global_flags_work_on_either_side_of_a_command() {
        for line in [["gatepost", "--config", "x.toml", "check"], ["gatepost", "check", "--config", "x.toml"]] {
            let cli = Cli::try_parse_from(line).expect("a good line");
            assert_eq!(cli.global.config, Some(PathBuf::from("x.toml")));
        }
        assert_eq!(Cli::try_parse_from(["gatepost", "chekc"]).expect_err("no such command").exit_code(), 2);
    }
}
