//! The accept loop of a listener: lets connections in, up to the limits.
//!
//! It never ends because of an error. When the system has no descriptor left, one that was kept back for this moment is
//! used to tell the client so; nobody waits in a queue that does not move.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Policy, Shared, refusal, visit};
use crate::metrics;
use crate::net::stream::Stream;
use crate::tunnel::Reason;

/// How long to wait when the system cannot accept and the reason is not known.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the descriptor that was kept back serves one client; others wait meanwhile.
const RESERVE_PATIENCE: Duration = Duration::from_millis(20);

/// Connections above the limits that are answered at the same time; more are closed without an answer.
pub(super) const SHED_MAX: usize = 256;

/// A listener that serves tunnels.
#[derive(Debug)]
pub(in crate::tunnel) struct Door {
    /// What a new connection is judged by.
    pub(in crate::tunnel) policy: ArcSwap<Policy>,
    pub(in crate::tunnel) shared: Arc<Shared>,
}

impl Door {
    /// Accepts until `stop`.
    pub(in crate::tunnel) async fn accept(self: Arc<Self>, socket: TcpListener, stop: CancellationToken) {
        let mut reserve = spare();
        while let Some(accepted) = stop.run_until_cancelled(socket.accept()).await {
            match accepted {
                Ok((stream, peer)) => self.enter(stream, peer),
                Err(error) if out_of_descriptors(&error) => {
                    drop(reserve.take());
                    // Only a look: somebody may wait, or nobody, since the system wants a descriptor before it looks
                    // into its queue. Meanwhile others would take what was kept back.
                    let waiting = socket.accept().now_or_never();
                    if let Some(Ok((stream, _))) = waiting {
                        metrics::TUNNELS_REFUSED.add(&[self.policy.load().name(), Reason::DESCRIPTORS.code], 1);
                        drop(timeout(RESERVE_PATIENCE, self.shed(Reason::DESCRIPTORS, stream)).await);
                    } else if waiting.is_some() {
                        tokio::time::sleep(RESERVE_PATIENCE).await;
                    }
                    reserve = spare();
                }
                Err(error) => {
                    tracing::warn!(listener = self.policy.load().name(), %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn enter(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let policy = self.policy.load_full();
        match self.shared.admission.admit(self.shared.tunnels_max(&policy)) {
            Some(place) => {
                let visit = visit::run(Arc::clone(self), policy, stream, peer, place);
                self.shared.tasks.spawn(self.shared.cut.clone().run_until_cancelled_owned(visit));
            }
            None => {
                metrics::TUNNELS_REFUSED.add(&[policy.name(), Reason::TUNNELS.code], 1);
                let Some(place) = self.shared.shedding.admit(SHED_MAX) else { return };
                let door = Arc::clone(self);
                self.shared.tasks.spawn(async move {
                    door.shed(Reason::TUNNELS, stream).await;
                    drop(place);
                });
            }
        }
    }

    /// Answers without having read anything: whoever is over the limits costs as little as can be.
    async fn shed(&self, reason: Reason, stream: TcpStream) {
        if !self.policy.load().speaks_tls() {
            refusal::refuse(&mut Stream::Plain(stream), reason).await;
        }
    }
}

/// A descriptor for the moment when there is none.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

fn out_of_descriptors(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
