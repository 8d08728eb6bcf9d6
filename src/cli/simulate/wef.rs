//! `gatepost simulate wef`: Windows hosts that forward, for people who want to try the gateway without Windows.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::{tell, tickets};
use crate::lab::events::Host;
use crate::lab::wef::authority::CERTIFICATE;
use crate::lab::wef::{Authority, Faults, Forwarder, Setting};
use crate::net::upload_client::Client;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the hosts forward: the gateway's listener, such as `https://127.0.0.1:5986`
    #[arg(long, value_name = "URL")]
    gateway: String,
    /// The gateway's certificate, or that of its authority
    #[arg(long, value_name = "PEM")]
    ca: Option<PathBuf>,
    /// The folder of the authority for the hosts' certificates. It is made when missing; the gateway needs its hosts-ca.pem as
    /// tls.client_ca
    #[arg(long, default_value = "simulated-hosts", value_name = "FOLDER")]
    dir: PathBuf,
    /// How many hosts
    #[arg(long, default_value_t = 3)]
    hosts: u64,
    /// How many events each of them logs
    #[arg(long, default_value_t = 1000)]
    events: usize,
    /// Events in one delivery
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// The share of the answers that never arrive, from 0 to 1
    #[arg(long, default_value_t = 0.0)]
    lost_answers: f64,
    /// The share of the deliveries before which a host knows only what the gateway knows of it, from 0 to 1
    #[arg(long, default_value_t = 0.0)]
    forgetfulness: f64,
    #[command(flatten)]
    tickets: tickets::Tickets,
}

/// Runs the command.
pub(super) async fn run(args: &Args, json: bool) -> anyhow::Result<()> {
    let manager = format!("{}/wsman/SubscriptionManager/WEC", args.gateway.trim_end_matches('/'));
    let faults = Faults { lost_answers: args.lost_answers, forgetfulness: args.forgetfulness };
    let hosts = if args.tickets.is_given() {
        tickets::hosts(&args.tickets, &manager, args.hosts, faults)?
    } else {
        match with_certificates(args, json, &manager, faults)? {
            Some(hosts) => hosts,
            None => return Ok(()),
        }
    };
    let count = hosts.len();
    let all = hosts.into_iter().enumerate().map(|(n, (name, host))| one(args, json, name, host, n as u64));
    let mut sent = 0;
    for host in futures_util::future::join_all(all).await {
        sent += host?;
    }
    tell(json, &format!("{sent} events of {count} hosts were acknowledged\n"))?;
    Ok(())
}

/// Hosts with certificates of an authority in a folder; none when it was just made, and the gateway does not know it yet.
fn with_certificates(
    args: &Args,
    json: bool,
    manager: &str,
    faults: Faults,
) -> anyhow::Result<Option<Vec<(String, Forwarder)>>> {
    let is_new = !args.dir.join(CERTIFICATE).exists();
    let authority = Authority::in_folder(&args.dir)?;
    if is_new {
        let path = args.dir.join(CERTIFICATE).canonicalize()?;
        tell(
            json,
            &format!(
                "An authority for the hosts was made. Let a listener trust it, and run this again:\n\n\
             [[listeners]]\nname = \"wef\"\nlisten = \"127.0.0.1:5986\"\ntls.client_ca = {}\nwef.enabled = true\n",
                serde_json::Value::from(path.display().to_string())
            ),
        )?;
        return Ok(None);
    }
    let ca = args.ca.as_ref().map(std::fs::read).transpose().context("reading --ca")?;
    let host = |number| {
        let name = format!("pc{number}.simulated.example");
        let client = Client::showing(ca.as_deref(), authority.issue(&name)?)?;
        let setting = Setting { host: name.clone(), manager: manager.to_owned(), client };
        Ok((name, Forwarder::new(setting, faults, number)))
    };
    (0..args.hosts).map(host).collect::<anyhow::Result<_>>().map(Some)
}

/// The way of one host; how many of its events were acknowledged.
async fn one(args: &Args, json: bool, name: String, mut host: Forwarder, number: u64) -> anyhow::Result<usize> {
    host.enumerate().await.with_context(|| format!("{name} asks for its subscriptions"))?;
    let subscriptions: Vec<String> = host.subscriptions().map(|(name, _)| name.to_owned()).collect();
    tell(
        json,
        &format!(
            "{name}: {}\n",
            if subscriptions.is_empty() { "nothing".to_owned() } else { subscriptions.join(", ") }
        ),
    )?;
    host.heartbeat().await?;
    let mut source = Host::new(name.as_str(), number);
    let (mut sent, mut logged) = (0, 0);
    while logged < args.events {
        let some = args.batch.min(args.events - logged).max(1);
        source.by_ref().take(some).for_each(|event| host.log(&event));
        logged += some;
        sent += delivered(&mut host, json, args.batch, &name).await?;
    }
    Ok(sent)
}

/// Delivers, and tries again as often as Windows would.
async fn delivered(host: &mut Forwarder, json: bool, batch: usize, name: &str) -> anyhow::Result<usize> {
    let mut tries = 0;
    loop {
        match host.deliver(batch).await {
            Ok(sent) => return Ok(sent),
            Err(error) if tries == 60 => return Err(error),
            Err(error) => {
                tries += 1;
                tell(json, &format!("{name}: {error:#}\n"))?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
