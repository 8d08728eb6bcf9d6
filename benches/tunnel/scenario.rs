//! What is measured of each proxy: new tunnels, bytes in bulk, idle tunnels, and the load that the original gateway was
//! sized for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Args;
use crate::generator::{BULK_WRITE, Destination, RECORD_WRITE};
use crate::proxy::Proxy;

/// Tunnels that share the bytes of the bulk scenario.
const BULK_TUNNELS: u64 = 4;

/// Tunnels that are opened at one time on the way to many idle ones.
const OPENING: usize = 64;

/// Each agent sends so much, so often, each time over a tunnel of its own.
const UPLOAD_BYTES: u64 = 200_000;
const UPLOAD_EVERY: Duration = Duration::from_secs(6);

pub(crate) const SCENARIOS: [Scenario; 4] = [Scenario::Tunnels, Scenario::Bulk, Scenario::Idle, Scenario::Sizing];

#[derive(Clone, Copy)]
pub(crate) enum Scenario {
    Tunnels,
    Bulk,
    Idle,
    Sizing,
}

/// The figure that is compared, and what else there is to say.
pub(crate) struct Measured {
    pub(crate) figure: f64,
    pub(crate) more: String,
}

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tunnels => "tunnels",
            Self::Bulk => "bulk",
            Self::Idle => "idle",
            Self::Sizing => "sizing",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Tunnels => "new tunnels per second (more is better)",
            Self::Bulk => "CPU seconds of the proxy per GB (less is better)",
            Self::Idle => "KiB of resident memory per idle tunnel (less is better)",
            Self::Sizing => "agents on 2 cores, 200 KB every 6 s each (more is better)",
        }
    }

    pub(crate) async fn run(self, proxy: &Proxy, destination: &Destination, args: &Args) -> Result<Measured> {
        // Whatever a proxy does once, it has done.
        for _ in 0..20 {
            drop(destination.tunnel(proxy.port()).await?);
        }
        match self {
            Self::Tunnels => tunnels(proxy, destination, args).await,
            Self::Bulk => bulk(proxy, destination, args).await,
            Self::Idle => idle(proxy, destination, args).await,
            Self::Sizing => sizing(proxy, destination, args).await,
        }
    }
}

async fn tunnels(proxy: &Proxy, destination: &Destination, args: &Args) -> Result<Measured> {
    let (cpu, began) = (proxy.cpu()?, Instant::now());
    let until = began + Duration::from_secs(args.seconds);
    let mut clients = JoinSet::new();
    for _ in 0..args.clients {
        let opener = destination.opener(proxy.port());
        clients.spawn(async move {
            let (mut opened, mut failed) = (0_u64, 0_u64);
            while Instant::now() < until {
                match opener.tunnel().await {
                    Ok(tunnel) => {
                        drop(tunnel);
                        opened += 1;
                    }
                    Err(_) => failed += 1,
                }
            }
            (opened, failed)
        });
    }
    let (mut opened, mut failed) = (0, 0);
    while let Some(client) = clients.join_next().await {
        let (more, lost) = client?;
        (opened, failed) = (opened + more, failed + lost);
    }
    ensure!(opened > 0, "no tunnel was opened, {failed} failed");
    let cpu = proxy.cpu()? - cpu;
    Ok(Measured {
        figure: opened as f64 / began.elapsed().as_secs_f64(),
        more: format!("{:.0} us CPU each, {failed} failed", 1e6 * cpu / opened as f64),
    })
}

async fn bulk(proxy: &Proxy, destination: &Destination, args: &Args) -> Result<Measured> {
    let bytes = args.megabytes * 1_000_000 / BULK_TUNNELS;
    let mut uploads = JoinSet::new();
    let (cpu, began) = (proxy.cpu()?, Instant::now());
    for _ in 0..BULK_TUNNELS {
        let opener = destination.opener(proxy.port());
        uploads.spawn(async move { opener.tunnel().await?.upload(bytes, BULK_WRITE).await });
    }
    while let Some(upload) = uploads.join_next().await {
        upload??;
    }
    let (cpu, took) = (proxy.cpu()? - cpu, began.elapsed().as_secs_f64());
    let gigabytes = (bytes * BULK_TUNNELS) as f64 / 1e9;
    Ok(Measured { figure: cpu / gigabytes, more: format!("{:.2} GB/s", gigabytes / took) })
}

async fn idle(proxy: &Proxy, destination: &Destination, args: &Args) -> Result<Measured> {
    let before = proxy.rss()?;
    let mut held = Vec::with_capacity(args.idle);
    let mut opening = JoinSet::new();
    let mut failed = 0;
    for _ in 0..args.idle {
        if opening.len() >= OPENING {
            collect(&mut opening, &mut held, &mut failed).await?;
        }
        let opener = destination.opener(proxy.port());
        opening.spawn(async move { tokio::time::timeout(Duration::from_secs(20), opener.tunnel()).await? });
    }
    while !opening.is_empty() {
        collect(&mut opening, &mut held, &mut failed).await?;
    }
    ensure!(held.len() > args.idle / 10, "only {} tunnels stand", held.len());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (after, count) = (proxy.rss()?, held.len());
    // They stand: each still carries bytes both ways.
    for tunnel in held.iter_mut().step_by(100) {
        tunnel.upload(1, 1).await?;
    }
    Ok(Measured {
        figure: (after - before) / count as f64,
        more: format!("{count} held, {failed} failed, {:.0} MiB in all", after / 1024.0),
    })
}

async fn collect<T: 'static>(opening: &mut JoinSet<Result<T>>, held: &mut Vec<T>, failed: &mut usize) -> Result<()> {
    if let Some(opened) = opening.join_next().await {
        match opened? {
            Ok(tunnel) => held.push(tunnel),
            Err(_) => *failed += 1,
        }
    }
    Ok(())
}

async fn sizing(proxy: &Proxy, destination: &Destination, args: &Args) -> Result<Measured> {
    let pace = UPLOAD_EVERY / args.agents;
    let slowest = Arc::new(AtomicU64::new(0));
    let (cpu, began) = (proxy.cpu()?, Instant::now());
    let until = began + Duration::from_secs(args.sizing_seconds);
    let (mut due, mut uploads) = (began, JoinSet::new());
    while due < until {
        tokio::time::sleep_until(due).await;
        let (opener, slowest, planned) = (destination.opener(proxy.port()), Arc::clone(&slowest), due);
        uploads.spawn(async move {
            opener.tunnel().await?.upload(UPLOAD_BYTES, RECORD_WRITE).await?;
            let took = u64::try_from(planned.elapsed().as_millis()).unwrap_or(u64::MAX);
            slowest.fetch_max(took, Ordering::Relaxed);
            anyhow::Ok(())
        });
        due += pace;
    }
    let (mut done, mut failed) = (0_u64, 0_u64);
    while let Some(upload) = uploads.join_next().await {
        if upload?.is_ok() { done += 1 } else { failed += 1 }
    }
    ensure!(done > 0, "no upload was taken, {failed} failed");
    let cpu = proxy.cpu()? - cpu;
    let agent_minutes = done as f64 * UPLOAD_EVERY.as_secs_f64() / 60.0;
    let per_agent_minute = cpu / agent_minutes;
    Ok(Measured {
        figure: 2.0 * 60.0 / per_agent_minute,
        more: format!(
            "{:.2} CPU-ms per agent and minute, {:.2} CPU-s per GB, {done} uploads, {failed} failed, slowest {} ms, \
             last {:.1} s late",
            1e3 * per_agent_minute,
            cpu / (done as f64 * UPLOAD_BYTES as f64 / 1e9),
            slowest.load(Ordering::Relaxed),
            began.elapsed().as_secs_f64() - args.sizing_seconds as f64,
        ),
    })
}
