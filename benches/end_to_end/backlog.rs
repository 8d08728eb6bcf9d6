//! A workspace that is away: intake into a backlog, and how fast that drains.

use super::*;
use gatepost::lab::collector::{Behaviour, Fault};

/// Intake with an empty spool, then with a backlog that nobody drains, then the drain.
pub(super) async fn run(args: &Args, bodies: &Arc<Bodies>) -> Result<()> {
    let collectors = collectors(args.collectors).await?;
    let gateway = Gateway::start(&collectors, args).await?;
    for collector in &collectors {
        collector.set(Behaviour { fault: Some(Fault::Down), ..Behaviour::default() });
    }
    let load = Load::new(bodies, args);
    let clients = load.clients(&gateway, args.clients)?;
    let slice = (args.backlog / 10).max(args.batch as u64);
    let mut rates = Vec::new();
    for step in 1..=10 {
        let (before, began) = (load.acknowledged.load(Ordering::Relaxed), Instant::now());
        let stop = Stop { at: None, events: Some(slice * step), pace: None };
        load.run(&clients, stop).await?;
        let events = load.acknowledged.load(Ordering::Relaxed) - before;
        rates.push(events as f64 / began.elapsed().as_secs_f64());
    }
    let events = load.acknowledged.load(Ordering::Relaxed);
    let rss = gateway.rss()?;
    let began = Instant::now();
    for collector in &collectors {
        collector.set(Behaviour::default());
    }
    until_held(&collectors, 1).await?;
    let first = began.elapsed().as_secs_f64();
    until_held(&collectors, events).await?;
    println!(
        "backlog: {events} events; intake {:.0} events/s for the first tenth, {:.0} for the last, RSS {rss:.0} MiB; \
         drain {:.0} events/s (first event after {first:.1} s), RSS {:.0} MiB",
        rates[0],
        rates[9],
        events as f64 / (began.elapsed().as_secs_f64() - first),
        gateway.rss()?,
    );
    Ok(())
}
