//! `gatepost spool init` and `check`: the streams at the servers that replicate the logs.

use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Table;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::{Global, Usage, json_line, print};
use crate::app::replicas::survey;
use crate::net::upload_client::Client;
use crate::replication::survey::Surveyed;

/// Longest wait for a monitoring port.
const TIMEOUT: Duration = Duration::from_secs(5);

/// For how long what was just made may elect its leaders.
const SETTLES: Duration = Duration::from_secs(10);

/// Which servers are asked what they sync.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// The monitoring port of a server of NATS, as http://10.0.0.10:8222, once for each server: whether it syncs what it keeps is
    /// told only there
    #[arg(long, value_name = "URL")]
    monitor: Vec<String>,
}

/// Runs one of the commands. Exit code 1 when something is wrong.
pub(super) fn run(args: &Args, makes: bool, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    if !config.replication.is_on() {
        return Err(Usage("nothing is replicated: set replication.kind = \"jetstream\" and replication.servers").into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (streams, servers) = runtime.block_on(async {
        let survey = survey(&config);
        if makes {
            survey.make().await?;
        }
        let until = Instant::now() + if makes { SETTLES } else { Duration::ZERO };
        let streams = loop {
            let streams = survey.look().await?;
            if is_well(&streams) || Instant::now() > until {
                break streams;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        anyhow::Ok((streams, synced(&args.monitor).await?))
    })?;
    let is_wrong = !is_well(&streams) || servers.iter().any(|(_, sync)| sync.is_err());
    let text = if global.json {
        let servers: Vec<Value> = servers
            .iter()
            .map(|(url, sync)| json!({ "monitor": url, "syncs": sync.is_ok(), "wrong": sync.as_ref().err() }))
            .collect();
        json_line(&json!({ "streams": streams, "servers": servers }))?
    } else {
        told(&streams, &servers)
    };
    print(&text)?;
    Ok(ExitCode::from(u8::from(is_wrong)))
}

fn is_well(streams: &[Surveyed]) -> bool {
    streams.iter().all(|stream| stream.wrong.is_empty())
}

/// Of each server whether it syncs each message before it calls it kept, or why that is not known.
async fn synced(monitors: &[String]) -> anyhow::Result<Vec<(String, Result<(), String>)>> {
    let client = Client::new(None)?;
    let mut all = Vec::new();
    for monitor in monitors {
        let url = format!("{}/jsz?config=1", monitor.trim_end_matches('/'));
        let told = match client.get(&url, TIMEOUT).await {
            Ok(answer) => syncs(&answer.body),
            Err(error) => Err(format!("it cannot be asked: {error}")),
        };
        all.push((monitor.clone(), told));
    }
    Ok(all)
}

fn syncs(answer: &[u8]) -> Result<(), String> {
    let answer: Value = serde_json::from_slice(answer).map_err(|_| "it is no monitoring port of NATS".to_owned())?;
    let config = answer.get("config").ok_or("it has no JetStream, or is older than 2.10")?;
    if config["sync_always"] == true {
        return Ok(());
    }
    let interval = Duration::from_nanos(config["sync_interval"].as_u64().unwrap_or_default());
    Err(format!(
        "it syncs every {} s: a power cut of all servers loses what came since. Set sync_interval: always in its jetstream block",
        interval.as_secs()
    ))
}

fn told(streams: &[Surveyed], servers: &[(String, Result<(), String>)]) -> String {
    let mut table = Table::new();
    table.set_header(["stream", "of", "messages", "bytes", "of at most", "leader", "in sync", "wrong"]);
    for Surveyed { stream, of, found, wrong } in streams {
        let cells = found.as_ref().map_or_else(Default::default, |found| {
            [
                found.messages.to_string(),
                found.bytes.to_string(),
                found.max_bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
                found.leader.clone().unwrap_or_default(),
                found.in_sync.join(", "),
            ]
        });
        let mut row = vec![stream.clone(), (*of).to_owned()];
        row.extend(cells);
        row.push(wrong.join("; "));
        table.add_row(row);
    }
    let mut text = format!("{table}\n");
    for (url, sync) in servers {
        text += &match sync {
            Ok(()) => format!("{url}: syncs each message\n"),
            Err(why) => format!("{url}: {why}\n"),
        };
    }
    if servers.is_empty() {
        text += "whether the servers sync what they keep was not asked: name their monitoring ports with --monitor\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_syncs_now_and_then_is_told_of_whatever_its_interval_is_called() {
        let answer = |config: Value| syncs(json!({ "config": config }).to_string().as_bytes());
        assert_eq!(answer(json!({ "sync_interval": 120_000_000_000_u64, "sync_always": true })), Ok(()));
        assert!(answer(json!({ "sync_interval": 120_000_000_000_u64 })).unwrap_err().contains("every 120 s"));
        assert!(syncs(b"{}").is_err() && syncs(b"<html>").is_err());
    }
}
