//! Clients that upload, as fast as the gateway takes it or at a pace.

use super::*;

/// Uploads as fast as the gateway takes them, or at a rate; returns what was acknowledged and how long each took.
pub(super) struct Load {
    pub(super) bodies: Arc<Bodies>,
    pub(super) next: AtomicUsize,
    pub(super) acknowledged: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) batch: u64,
}

impl Load {
    pub(super) fn new(bodies: &Arc<Bodies>, args: &Args) -> Arc<Self> {
        Arc::new(Self {
            bodies: Arc::clone(bodies),
            next: AtomicUsize::new(0),
            acknowledged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            batch: args.batch as u64,
        })
    }

    /// So many clients, each with a connection of its own.
    pub(super) fn clients(&self, gateway: &Gateway, count: usize) -> Result<Vec<(Client, String)>> {
        let stream = "/dataCollectionRules/dcr-00000000000000000000000000000000/streams/Custom-SecurityEvent";
        self.clients_at(gateway, count, &format!("{stream}?api-version=2023-01-01"))
    }

    /// The same at another door.
    pub(super) fn clients_at(&self, gateway: &Gateway, count: usize, path: &str) -> Result<Vec<(Client, String)>> {
        let url = format!("https://127.0.0.1:{}{path}", gateway.port);
        let ca = gateway.ca()?;
        (0..count).map(|_| Ok((Client::new(Some(&ca))?, url.clone()))).collect()
    }

    /// Uploads until `stop`; the latencies of all acknowledgements come back, in seconds.
    pub(super) async fn run(self: &Arc<Self>, clients: &[(Client, String)], stop: Stop) -> Result<Vec<f64>> {
        let mut tasks = tokio::task::JoinSet::new();
        for (number, (http, url)) in clients.iter().cloned().enumerate() {
            let (load, count) = (Arc::clone(self), clients.len());
            tasks.spawn(async move { load.client(number, count, &http, &url, stop).await });
        }
        let mut latencies = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            latencies.extend(ended?);
        }
        latencies.sort_by(f64::total_cmp);
        Ok(latencies)
    }

    async fn client(&self, client: usize, clients: usize, http: &Client, url: &str, stop: Stop) -> Vec<f64> {
        let mut latencies = Vec::new();
        let mut due = Instant::now() + stop.pace.map_or(Duration::ZERO, |pace| pace * client as u32);
        while !stop.reached(self.acknowledged.load(Ordering::Relaxed)) {
            if let Some(pace) = stop.pace {
                tokio::time::sleep_until(due).await;
                due += pace * clients as u32;
            }
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let body = self.bodies.gz[at % self.bodies.gz.len()].clone();
            let scope = at / self.bodies.gz.len() % SCOPES;
            let bearer = format!("Bearer token-{scope}");
            let headers = [
                ("authorization", bearer.as_str()),
                ("content-type", "application/json"),
                ("content-encoding", "gzip"),
            ];
            let began = Instant::now();
            match http.post(url, &headers, body, Duration::from_secs(60)).await {
                Ok(answer) if matches!(answer.status, 200 | 204) => {
                    latencies.push(began.elapsed().as_secs_f64());
                    self.acknowledged.fetch_add(self.batch, Ordering::Relaxed);
                }
                _ => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        latencies
    }
}

/// When a load ends, and how fast it goes.
#[derive(Clone, Copy)]
pub(super) struct Stop {
    pub(super) at: Option<Instant>,
    pub(super) events: Option<u64>,
    /// Time from one upload to the next, over all clients.
    pub(super) pace: Option<Duration>,
}

impl Stop {
    pub(super) fn after(seconds: u64) -> Self {
        Self { at: Some(Instant::now() + Duration::from_secs(seconds)), events: None, pace: None }
    }

    fn reached(self, events: u64) -> bool {
        self.at.is_some_and(|at| Instant::now() >= at) || self.events.is_some_and(|most| events >= most)
    }
}
