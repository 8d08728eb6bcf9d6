//! `gatepost simulate agents`: OMS and Microsoft Monitoring agents, for people who want to try a migration without them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::tell;
use crate::lab::agents::{Agent, Kind, Setting};
use crate::lab::events::Host;
use crate::values::Secret;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The gateway's listener, such as `https://127.0.0.1:8443`
    #[arg(long, value_name = "URL")]
    gateway: String,
    /// The gateway's certificate, or that of its authority
    #[arg(long, value_name = "PEM")]
    ca: Option<PathBuf>,
    /// The id of the workspace
    #[arg(long, value_name = "GUID")]
    workspace: String,
    /// A file with one of its keys
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// How many agents: every other one is a Microsoft Monitoring Agent
    #[arg(long, default_value_t = 4)]
    agents: u64,
    /// How many chunks each of them uploads
    #[arg(long, default_value_t = 5)]
    chunks: u64,
    /// Events in one chunk
    #[arg(long, default_value_t = 200)]
    events: usize,
    /// The share of the answers to uploads that never arrive, from 0 to 1
    #[arg(long, default_value_t = 0.0)]
    lost_answers: f64,
    /// By how much the waits between tries are shorter than those of real agents
    #[arg(long, default_value_t = 60.0, value_name = "FACTOR")]
    hurry: f64,
}

/// Runs the command.
pub(super) async fn run(args: &Args, json: bool) -> anyhow::Result<()> {
    let ca = args.ca.as_ref().map(std::fs::read).transpose().context("reading --ca")?;
    let key = Secret::new(std::fs::read_to_string(&args.key_file).context("reading --key-file")?.trim());
    let agents = (0..args.agents).map(|n| one(args, json, ca.as_deref(), &key, n));
    let mut sent = 0;
    for agent in futures_util::future::join_all(agents).await {
        sent += agent?;
    }
    tell(json, &format!("{sent} items of {} agents were taken\n", args.agents))?;
    Ok(())
}

/// The life of one agent; how many of its items were taken.
async fn one(args: &Args, json: bool, ca: Option<&[u8]>, key: &Secret, number: u64) -> anyhow::Result<usize> {
    let kind = if number.is_multiple_of(2) { Kind::Linux } else { Kind::Windows };
    let computer = format!("agent{number}.simulated.example");
    let setting = Setting {
        kind,
        gateway: args.gateway.clone(),
        ca: ca.map(<[u8]>::to_vec),
        workspace: args.workspace.clone(),
        key: key.reveal().to_owned(),
        computer: computer.clone(),
        agent: format!("00000000-0000-4000-a000-{number:012x}"),
        with_record_ids: true,
        renews_soon: true,
    };
    let mut agent = Agent::new(setting, args.lost_answers, number)?;
    let told = agent.register().await.with_context(|| format!("{computer} registers"))?;
    tell(json, &format!("{computer}: registered, refreshes every {}\n", told.refresh_every))?;
    refresh(&mut agent, json, &computer).await?;
    agent.telemetry().await.with_context(|| format!("{computer} reports"))?;
    let (mut host, mut sent) = (Host::new(computer.as_str(), number), 0);
    for chunk in 0..args.chunks {
        let events: Vec<_> = host.by_ref().take(args.events).collect();
        agent.collect(&events);
        sent += emptied(&mut agent, json, &computer, args.hurry).await?;
        if chunk == args.chunks / 2 {
            refresh(&mut agent, json, &computer).await?;
        }
    }
    Ok(sent)
}

/// Refreshes the registration, and renews the certificate if it is told to.
async fn refresh(agent: &mut Agent, json: bool, computer: &str) -> anyhow::Result<()> {
    let told = agent.refresh().await.with_context(|| format!("{computer} refreshes"))?;
    if told.renew {
        agent.renew(&told.renewal_address).await.with_context(|| format!("{computer} renews its certificate"))?;
        tell(json, &format!("{computer}: told to renew its certificate, and did\n"))?;
    }
    Ok(())
}

/// Sends until nothing waits, as often and as slowly as the agent would, but for `hurry`.
async fn emptied(agent: &mut Agent, json: bool, computer: &str, hurry: f64) -> anyhow::Result<usize> {
    let mut sent = 0;
    while agent.waiting() > 0 {
        match agent.flush().await {
            Ok(items) => sent += items,
            Err((Some(wait), error)) => {
                tell(json, &format!("{computer}: {error:#}\n"))?;
                tokio::time::sleep(Duration::from_secs_f64(wait.as_secs_f64() / hurry.max(1.0))).await;
            }
            Err((None, error)) => {
                return Err(error.context(format!("{computer} has tried too often: a real one has lost this chunk")));
            }
        }
    }
    Ok(sent)
}
