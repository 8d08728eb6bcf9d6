//! The engine is away for long, while every upload is sent to two gateways.
//!
//! `GATEPOST_AWAY_SECONDS` (3); under uploads of less than `GATEPOST_CLUSTER_BATCH` (60) events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gatepost::lab::collector::Collector;

use super::engine::Engine;
use super::kills::{agent, number};
use super::scene::{Gateway, assert_all_arrived, collector, gateway, sum, until};
use crate::support::PATIENCE;

fn away() -> Duration {
    Duration::from_secs(number("GATEPOST_AWAY_SECONDS", 3))
}

/// Gateways of one installation under load.
struct Installation {
    collector: Collector,
    gateways: Vec<Gateway>,
    stop: Arc<AtomicBool>,
    agents: Vec<tokio::task::JoinHandle<Vec<gatepost::lab::events::Identity>>>,
}

impl Installation {
    async fn start(prefix: &str, policy: &str, engine: &Engine) -> Self {
        let collector = collector().await;
        let mut gateways = Vec::new();
        let more = format!("prefix = \"{prefix}\"\nwhen_unavailable = \"{policy}\"");
        for name in ["one", "two", "three"] {
            gateways.push(gateway(&format!("{prefix}-{name}"), &collector, engine.port, &more).await);
        }
        let door = |gateway: &Gateway| (gateway.site.url(crate::support::PATH), gateway.site.client());
        let (doors, stop) = (Arc::new(gateways.iter().map(door).collect::<Vec<_>>()), Arc::new(AtomicBool::new(false)));
        let batch = usize::try_from(number("GATEPOST_CLUSTER_BATCH", 60)).unwrap();
        let agents =
            (0..3).map(|host| tokio::spawn(agent(host, Arc::clone(&doors), batch, Arc::clone(&stop)))).collect();
        Self { collector, gateways, stop, agents }
    }

    async fn taken(&self) -> f64 {
        sum(&self.gateways, "gatepost_events_spooled_total{input=\"uploads\"}").await
    }

    async fn until_it_takes_more(&self) {
        let before = self.taken().await;
        until(&self.gateways[0].site, "uploads are taken", async || self.taken().await > before + 500.0).await;
    }

    /// Ends it; how many events were sent, arrived twice, and may have. None is missing; what may have gone twice was counted.
    async fn end(self) -> [f64; 3] {
        self.stop.store(true, Ordering::Relaxed);
        let mut sent = std::collections::HashSet::new();
        for agent in self.agents {
            sent.extend(agent.await.unwrap());
        }
        for gateway in &self.gateways {
            gateway.until_connected().await;
            // Record after record is told, so that takes the longer the more there are.
            let until = tokio::time::Instant::now() + PATIENCE + away();
            while gateway.sharing("alone").await > 0 {
                assert!(tokio::time::Instant::now() < until, "others never know\n{}", gateway.site.log());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            gateway.until_settled().await;
            gateway.site.assert_audit_balances();
        }
        assert_all_arrived(&self.collector, &sent, &self.gateways.iter().collect::<Vec<_>>());
        let copies = self.collector.held().copies() as f64;
        let ambiguous = sum(&self.gateways, "gatepost_events_ambiguous_total").await;
        let possible = sum(&self.gateways, "gatepost_dedup_possible_duplicates_total").await;
        assert!(copies <= ambiguous + possible, "{copies} went twice, and {ambiguous} + {possible} were counted");
        [sent.len() as f64, copies, ambiguous + possible]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_engine_is_away_available_goes_on_and_counts_and_strict_refuses_and_sends_nothing_twice() {
    let mut engine = Engine::start(&[]).await;
    let available = Installation::start("available", "available", &engine).await;
    let strict = Installation::start("strict", "strict", &engine).await;
    available.until_it_takes_more().await;
    strict.until_it_takes_more().await;
    engine.kill();
    for gateway in available.gateways.iter().chain(&strict.gateways) {
        let is_away = async || gateway.site.metric("gatepost_dedup_engine_up").await == 0.0;
        until(&gateway.site, "it is noticed", is_away).await;
    }
    let (began, refused) = (tokio::time::Instant::now(), strict.taken().await);
    available.until_it_takes_more().await;
    tokio::time::sleep_until(began + away()).await;
    available.until_it_takes_more().await;
    assert_eq!(strict.taken().await, refused, "it takes nothing that it cannot compare");
    engine.begin().await;
    available.until_it_takes_more().await;
    strict.until_it_takes_more().await;
    let ([sent, twice, counted], [of_strict, twice_of_strict, _]) = (available.end().await, strict.end().await);
    println!(
        "available: {sent} events, {twice} twice, {counted} counted as possible; strict: {of_strict} events, {twice_of_strict} twice"
    );
    assert!(twice > 0.0, "each upload was sent to two");
    assert_eq!(twice_of_strict, 0.0);
}
