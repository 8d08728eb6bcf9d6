//! What agents send: uploads of a few events, from one client, from some, and from many.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use gatepost::lab::events::Shape;
use tokio::time::Instant;

use super::{Args, Bodies, Gateway, Load, Stop, collectors, fsync, percentile, until_held};

/// Uploads of one run before its events come again under another token.
const BODIES: usize = 4096;
/// Hosts whose events they are, each with record ids that go on.
const HOSTS: usize = 64;

/// Every number of events with every number of clients; or those that are asked for.
pub(super) async fn run(args: &Args) -> Result<()> {
    for batch in args.events.map_or_else(|| vec![1, 10, 100], |events| vec![events]) {
        let args = Args { batch, ..args.clone() };
        let bodies = Arc::new(Bodies::of(HOSTS, BODIES, batch, Shape::Row));
        for clients in args.senders.map_or_else(|| vec![1, 64, 1000], |senders| vec![senders]) {
            row(&args, &bodies, clients).await?;
        }
    }
    Ok(())
}

async fn row(args: &Args, bodies: &Arc<Bodies>, clients: usize) -> Result<()> {
    let collectors = collectors(1).await?;
    let gateway = Gateway::start(&collectors, args).await?;
    let (fsync, _) = fsync(gateway.dir.path(), 1 << 10)?;
    let load = Load::new(bodies, args);
    let senders = load.clients(&gateway, clients)?;
    // Handshakes are not what is measured here.
    load.run(&senders, Stop::after(2)).await?;
    let before = load.acknowledged.load(Ordering::Relaxed);
    let (cpu, began) = (gateway.cpu()?, Instant::now());
    let latencies = load.run(&senders, Stop::after(args.small_seconds)).await?;
    let took = began.elapsed().as_secs_f64();
    let events = load.acknowledged.load(Ordering::Relaxed) - before;
    until_held(&collectors, before + events).await?;
    let (cpu, uploads) = (gateway.cpu()? - cpu, events as f64 / args.batch as f64);
    println!(
        "small: {} events an upload, {clients} clients: {:.0} uploads/s, {:.0} events/s, {:.0} µs of CPU an upload, \
         ack median {:.2} ms p99 {:.2} ms; the disk's own fsync of 1 KiB: median {:.2} ms; RSS {:.0} MiB, {} refused",
        args.batch,
        uploads / took,
        events as f64 / took,
        1e6 * cpu / uploads,
        1e3 * percentile(&latencies, 0.5),
        1e3 * percentile(&latencies, 0.99),
        1e3 * fsync,
        gateway.rss()?,
        load.refused.load(Ordering::Relaxed),
    );
    Ok(())
}
