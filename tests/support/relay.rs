//! A bare balancer of connections, as clouds have them: it asks each backend for its readiness now and then, gives a new
//! connection to the next one that was ready, and from then on only passes bytes. It tries nothing twice either.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::allow_attributes,
    reason = "each suite uses its own part of this"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gatepost::net::upload_client::Client;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{PATIENCE, Site};

/// How often a backend is asked.
pub const PROBE: Duration = Duration::from_millis(500);

/// So many answers in a row change what is thought of a backend.
const IN_A_ROW: usize = 2;

/// The relay. It ends when dropped, with its connections.
pub struct Relay {
    pub port: u16,
    backends: Arc<[Backend]>,
    _tasks: JoinSet<()>,
}

struct Backend {
    uploads: u16,
    admin: u16,
    is_ready: AtomicBool,
}

impl Relay {
    /// In front of these gateways, which are thought to be ready.
    pub async fn start(sites: [&Site; 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let backend = |site: &Site| Backend { uploads: site.uploads, admin: site.admin, is_ready: true.into() };
        let backends: Arc<[Backend]> = sites.map(backend).into();
        let mut tasks = JoinSet::new();
        for number in 0..backends.len() {
            let backends = Arc::clone(&backends);
            tasks.spawn(async move { backends[number].probe().await });
        }
        tasks.spawn(accept(listener, Arc::clone(&backends)));
        Self { port, backends, _tasks: tasks }
    }

    /// Waits until it has seen that this gateway is ready.
    pub async fn until_it_sees(&self, number: usize) {
        let until = Instant::now() + PATIENCE;
        while !self.backends[number].is_ready.load(Ordering::Relaxed) {
            assert!(Instant::now() < until, "the relay sees no gateway {number}");
            tokio::time::sleep(PROBE).await;
        }
    }
}

impl Backend {
    async fn probe(&self) {
        let client = Client::new(None).expect("a client");
        let url = format!("http://127.0.0.1:{}/readyz", self.admin);
        let mut others = 0;
        loop {
            tokio::time::sleep(PROBE).await;
            let ready = client.get(&url, Duration::from_secs(2)).await.is_ok_and(|answer| answer.status == 200);
            others = if ready == self.is_ready.load(Ordering::Relaxed) { 0 } else { others + 1 };
            if others == IN_A_ROW {
                self.is_ready.store(ready, Ordering::Relaxed);
                others = 0;
            }
        }
    }
}

async fn accept(listener: TcpListener, backends: Arc<[Backend]>) {
    let next = AtomicUsize::new(0);
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let (backends, turn) = (Arc::clone(&backends), next.fetch_add(1, Ordering::Relaxed));
        connections.spawn(async move {
            let mut in_turn = backends.iter().cycle().skip(turn % backends.len()).take(backends.len());
            let Some(backend) = in_turn.find(|backend| backend.is_ready.load(Ordering::Relaxed)) else { return };
            if let Ok(mut server) = TcpStream::connect(("127.0.0.1", backend.uploads)).await {
                // How a connection ends is the business of its two sides.
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
