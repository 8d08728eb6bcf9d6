//! Ways between processes that can be cut, as a network does it: by an end of what is connected, or by silence.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How a way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carries {
    Everything,
    /// Connections are ended.
    Nothing,
    /// Connections stay, and nothing comes through before the way is well again.
    Silence,
}

/// Carries connections from a port of its own to another port.
pub(super) struct Way {
    pub(super) port: u16,
    carries: watch::Sender<Carries>,
}

impl Way {
    /// Where nobody is yet, connections fail.
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let carries = watch::Sender::new(Carries::Everything);
        let (own, seen) = (listener.local_addr().unwrap().port(), carries.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, port, seen.clone()));
            }
        });
        Self { port: own, carries }
    }

    pub(super) fn set(&self, carries: Carries) {
        self.carries.send_replace(carries);
    }
}

async fn carry(mut client: TcpStream, port: u16, mut carries: watch::Receiver<Carries>) {
    if carries.wait_for(|carries| *carries != Carries::Silence).await.is_err() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let mut copying = std::pin::pin!(copy_bidirectional(&mut client, &mut server));
    loop {
        let now = *carries.borrow_and_update();
        if now == Carries::Nothing {
            return;
        }
        tokio::select! {
            _ = copying.as_mut(), if now == Carries::Everything => return,
            changed = carries.changed() => if changed.is_err() { return },
        }
    }
}
