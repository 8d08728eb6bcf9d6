//! `gatepost simulate workspace`: Azure on this machine, for people who want to try Gatepost without an account.
//!
//! It prints what to paste into a configuration, then a line for each request, until Ctrl-C. Rows go to a file.

use parking_lot::Mutex;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use crate::cli::{Global, print};
use crate::lab::azure::{App, FakeAzure, Fault, Plan, Row, Rule, Upload};

mod agents;
mod tickets;
mod wef;

/// The tenant, and what stands in the configuration where nothing was named.
const TENANT: &str = "00000000-0000-4000-a000-000000000001";
const CLIENT_ID: &str = "00000000-0000-4000-a000-000000000002";
const RULE: &str = "dcr-00000000000000000000000000000000";
const STREAM: &str = "Custom-WindowsEvent";

/// How long `slow` takes.
const SLOW: Duration = Duration::from_secs(5);

/// Stand-ins for what Gatepost talks to.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A workspace with its data collection endpoints, and the Entra ID that gives tokens for it. Ctrl-C ends it
    Workspace(WorkspaceArgs),
    /// Windows hosts that forward their events to a gateway, each with a certificate or a Kerberos ticket of its own
    Wef(wef::Args),
    /// OMS and Microsoft Monitoring agents that register at a gateway and upload to it
    Agents(agents::Args),
}

#[derive(Debug, clap::Args)]
struct WorkspaceArgs {
    /// Where a data collection endpoint listens; several times for several endpoints
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS", value_parser = specific)]
    listen: Vec<SocketAddr>,
    /// Where Entra ID listens
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS", value_parser = specific)]
    entra: SocketAddr,
    /// The folder for azure-ca.pem, output.toml and rows.ndjson. It is made when missing
    #[arg(long, default_value = "simulated-workspace")]
    dir: PathBuf,
    /// Take only this data collection rule, by its immutable id. Default: any rule and stream
    #[arg(long, requires = "stream", value_name = "DCR")]
    rule: Option<String>,
    /// The stream of the rule
    #[arg(long, requires = "rule")]
    stream: Option<String>,
    /// The client id of the app
    #[arg(long, default_value = CLIENT_ID, value_name = "ID")]
    client_id: String,
    /// The secret of the app. Default: a new one
    #[arg(long, value_name = "SECRET")]
    client_secret: Option<String>,
    /// What the endpoints do wrong: a status such as 429 or 503, `slow`, `reset`, `lost-reply` or `garbage`; with a
    /// share such as `429:0.1`. Several times for several
    #[arg(long, value_name = "FAULT[:SHARE]")]
    fail: Vec<Failing>,
}

/// A fault with the share of the requests that meet it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Failing {
    fault: Fault,
    share: f64,
}

impl FromStr for Failing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, share) = text.split_once(':').unwrap_or((text, "1"));
        let share: f64 = share
            .parse()
            .ok()
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(|| format!("the share {share:?} must be a number from 0 to 1, such as 0.1"))?;
        let fault = match name {
            "slow" => Fault::Slow(SLOW),
            "reset" => Fault::ResetAfterBody,
            "lost-reply" => Fault::LostReply,
            "garbage" => Fault::Garbage,
            status => match status.parse::<u16>() {
                Ok(status @ (429 | 503)) => Fault::Answer { status, retry_after: Some(2) },
                Ok(status @ 400..=599) => Fault::Answer { status, retry_after: None },
                _ => return Err("must be a status from 400 to 599, slow, reset, lost-reply or garbage".to_owned()),
            },
        };
        Ok(Self { fault, share })
    }
}

/// An address that a certificate can name.
fn specific(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:8600")?;
    if address.ip().is_unspecified() {
        return Err("must be one address of this machine: the certificate names it".to_owned());
    }
    Ok(address)
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match args.what {
        What::Workspace(args) => runtime.block_on(workspace(&args, global.json))?,
        What::Wef(args) => runtime.block_on(wef::run(&args, global.json))?,
        What::Agents(args) => runtime.block_on(agents::run(&args, global.json))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What simulated hosts and agents say, a text at a time.
fn tell(json: bool, text: &str) -> io::Result<()> {
    let line = || format!("{}\n", json!({ "text": text.trim_end() }));
    print(&if json { line() } else { text.to_owned() })
}

async fn workspace(args: &WorkspaceArgs, json_lines: bool) -> anyhow::Result<()> {
    let dir = Folder::new(&args.dir)?;
    let rows = Mutex::new(dir.rows()?);
    let watcher = Box::new(move |upload: &Upload, stored: &[Row]| {
        let mut file = rows.lock();
        let told = keep(&mut file, upload, stored).and_then(|()| print(&line(upload, json_lines)));
        if let Err(error) = told {
            // The client has its answer already: all that is left is to say so.
            writeln!(io::stderr(), "gatepost: rows are lost: {error}").ok();
        }
    });
    let plan =
        Plan { entra: args.entra, endpoints: args.listen.clone(), plain_endpoints: false, watcher: Some(watcher) };
    let azure = FakeAzure::start(plan).await?;
    let secret = args.client_secret.clone().unwrap_or_else(|| format!("simulated~{:032x}", fastrand::u128(..)));
    azure.directory().register(App::new(TENANT, &args.client_id).with_secret(&secret));
    match (&args.rule, &args.stream) {
        (Some(rule), Some(stream)) => {
            azure.workspace().add_rule(Rule::new(rule).with_open_stream(stream).with_sender(&args.client_id));
        }
        _ => azure.workspace().take_any_rule(),
    }
    for door in azure.endpoints() {
        args.fail.iter().for_each(|failing| door.fail_sometimes(failing.share, failing.fault));
    }
    let ca_file = dir.write("azure-ca.pem", azure.ca_pem())?;
    let output = output(args, &azure, &secret, &ca_file);
    let output_file = dir.write("output.toml", &output)?;
    print(&introduction(&azure, &output, &output_file, json_lines))?;
    tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")
}

/// The folder of a simulated workspace, with its whole path: a configuration may lie anywhere.
struct Folder(PathBuf);

impl Folder {
    fn new(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path.canonicalize().with_context(|| format!("finding {}", path.display()))?))
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// The file of rows; what an earlier run left in it stays.
    fn rows(&self) -> anyhow::Result<File> {
        let path = self.0.join("rows.ndjson");
        let file = File::options().create(true).append(true).open(&path);
        file.with_context(|| format!("opening {}", path.display()))
    }
}

/// Appends rows to the file, one a line.
fn keep(file: &mut File, upload: &Upload, rows: &[Row]) -> io::Result<()> {
    let mut lines = String::new();
    for row in rows {
        let line = json!({
            "rule": upload.rule, "stream": upload.stream, "client_request_id": row.client_request_id, "row": row.value
        });
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    file.write_all(lines.as_bytes())
}

/// What is printed of a request.
fn line(upload: &Upload, json_lines: bool) -> String {
    let Upload { endpoint, rule, stream, client_request_id, wire_bytes, plain_bytes, rows, status, .. } = upload;
    if json_lines {
        let line = json!({
            "status": status, "endpoint": endpoint, "rule": rule, "stream": stream, "rows": rows,
            "wire_bytes": wire_bytes, "plain_bytes": plain_bytes, "client_request_id": client_request_id
        });
        return format!("{line}\n");
    }
    let id = client_request_id.as_deref().unwrap_or("-");
    format!("{status}  {rows} rows  {wire_bytes} bytes ({plain_bytes} inflated)  {rule}/{stream}  {id}\n")
}

/// The output that sends here, ready to be pasted.
fn output(args: &WorkspaceArgs, azure: &FakeAzure, secret: &str, ca_file: &Path) -> String {
    // A TOML basic string is written as JSON writes it.
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let endpoints = azure.endpoints().iter().map(|door| format!("{{ url = {} }}", text(&door.url())));
    format!(
        "[[outputs]]\nkind = \"workspace\"\nname = \"simulated\"\nendpoints = [{}]\ndcr = {}\nstream = {}\nca_file = {}\n\
         identity = {{ kind = \"client_secret\", tenant = {}, client_id = {}, client_secret = {}, authority = {} }}\n",
        endpoints.collect::<Vec<_>>().join(", "),
        text(args.rule.as_deref().unwrap_or(RULE)),
        text(args.stream.as_deref().unwrap_or(STREAM)),
        text(&ca_file.display().to_string()),
        text(TENANT),
        text(&args.client_id),
        text(secret),
        text(&azure.entra_door().url()),
    )
}

fn introduction(azure: &FakeAzure, output: &str, output_file: &Path, json_lines: bool) -> String {
    let urls: Vec<String> = azure.endpoints().iter().map(|door| door.url()).collect();
    let authority = azure.entra_door().url();
    if json_lines {
        let line = json!({
            "endpoints": urls, "authority": authority, "tenant": TENANT, "output": output, "output_file": output_file
        });
        return format!("{line}\n");
    }
    format!(
        "endpoints  {}\nauthority  {authority}\ntenant     {TENANT}\n\nAn output for it, also in {}:\n\n{output}\nRequests:\n",
        urls.join(" "),
        output_file.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_with_their_share_and_mistakes_are_told() {
        let read = |text: &str| text.parse::<Failing>();
        let busy = Fault::Answer { status: 429, retry_after: Some(2) };
        assert_eq!(read("429:0.1"), Ok(Failing { fault: busy, share: 0.1 }));
        assert_eq!(read("lost-reply"), Ok(Failing { fault: Fault::LostReply, share: 1.0 }));
        for wrong in ["200", "429:2", "429:", "slowly", ""] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_address_must_be_one_that_a_certificate_can_name() {
        assert!(specific("127.0.0.1:0").is_ok());
        assert!(specific("0.0.0.0:443").is_err());
        assert!(specific("localhost").is_err());
    }
}
