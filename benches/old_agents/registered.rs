//! What agents cost that are registered and say that they are there, each time over a connection of its own.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gatepost::lab::agents::{Kind, OwnCertificate, uploads};
use gatepost::net::upload_client::Client;

use super::{Gateway, TIMEOUT, WORKSPACE, key};

/// How many are registered. Registering many at once is what a gateway meets after its registry was lost.
const AGENTS: usize = 5_000;
/// How often each says that it is there, as agents do by themselves.
const REFRESH_EVERY: Duration = Duration::from_secs(20 * 60);
/// How many speak at the same time.
const AT_ONCE: usize = 32;
/// How many are registered before memory is looked at, so that what the first ones need is not counted as theirs.
const FIRST: usize = 100;

/// Registers them and lets each refresh its registration; prints what that cost.
pub(super) async fn measure(gateway: &Gateway) -> Result<()> {
    let ids: Vec<String> = (0..AGENTS).map(|n| format!("00000000-0000-4000-b000-{n:012x}")).collect();
    let certificates = OwnCertificate::of_one_key(Kind::Linux, WORKSPACE, &ids)?;
    let agents: Vec<(usize, OwnCertificate)> = certificates.into_iter().enumerate().collect();
    let (first, others) = agents.split_at(FIRST);
    all(gateway, first, true).await?;
    all(gateway, first, false).await?;
    let (memory, cpu) = (gateway.memory()?, gateway.cpu()?);
    all(gateway, others, true).await?;
    let registered = gateway.cpu()?;
    all(gateway, others, false).await?;
    let refreshed = gateway.cpu()? - registered;
    let share = refreshed / others.len() as f64 * AGENTS as f64 / REFRESH_EVERY.as_secs_f64();
    println!(
        "{AGENTS} registered agents: {:.2} % of a core while each refreshes every {} minutes (wanted: 1), {:.1} MiB (wanted: 20); a \
         registration {:.2} ms of a core, a refresh {:.2}",
        share * 100.0,
        REFRESH_EVERY.as_secs() / 60,
        (gateway.memory()? - memory) as f64 / f64::from(1 << 20),
        (registered - cpu) / others.len() as f64 * 1000.0,
        refreshed / others.len() as f64 * 1000.0,
    );
    Ok(())
}

async fn all(gateway: &Gateway, agents: &[(usize, OwnCertificate)], is_signed: bool) -> Result<()> {
    let requests = agents.iter().map(|agent| say(gateway, agent, is_signed));
    stream::iter(requests).buffer_unordered(AT_ONCE).try_collect::<()>().await
}

/// One request, over a new connection with a whole handshake.
async fn say(gateway: &Gateway, (n, own): &(usize, OwnCertificate), is_signed: bool) -> Result<()> {
    let client = Client::showing(Some(&gateway.authority()?), own.shown())?;
    let (computer, id) = (format!("bench{n}.plant.example"), format!("00000000-0000-4000-b000-{n:012x}"));
    let body = uploads::topology(Kind::Linux, &computer, &id, own.der());
    let signed = if is_signed { uploads::signed(WORKSPACE, &key(), &body) } else { Vec::new() };
    let mut headers: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (*name, &**value)).collect();
    headers.push(("Connection", "close"));
    let url = format!("{}/AgentService.svc/LinuxAgentTopologyRequest", gateway.url());
    let answer = client.post(&url, &headers, body.into(), TIMEOUT).await?;
    ensure!(answer.status == 200, "{computer}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    Ok(())
}
