//! A relay in front of the engine that loses confirmations, or their answers, when it is told to.
//!
//! It sees a confirmation by its operation word in the stream. What is lost takes its connection along, as a network does that
//! breaks at the worst moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to the next confirmations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fault {
    None = 0,
    /// They do not reach the engine, and nothing else does.
    LoseConfirmations = 1,
    /// They reach it, and their answer is lost.
    LoseAnswers = 2,
    /// Nothing gets through.
    Cut = 3,
}

/// The operations of a confirmation in the engine's protocol.
const CONFIRMATIONS: [&[u8]; 2] = [b"\r\n$1\r\nK\r\n", b"\r\n$1\r\nk\r\n"];

pub(super) struct Relay {
    pub(super) port: u16,
    fault: Arc<AtomicU8>,
    lost: Arc<AtomicU64>,
}

impl Relay {
    pub(super) async fn start(engine: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self { port: listener.local_addr().unwrap().port(), fault: Arc::default(), lost: Arc::default() };
        let (fault, lost) = (Arc::clone(&relay.fault), Arc::clone(&relay.lost));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, engine, Arc::clone(&fault), Arc::clone(&lost)));
            }
        });
        relay
    }

    pub(super) fn set(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }

    /// How many confirmations were hit.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::SeqCst)
    }
}

async fn carry(mut client: TcpStream, engine: u16, fault: Arc<AtomicU8>, lost: Arc<AtomicU64>) {
    let is = |wanted: Fault| fault.load(Ordering::SeqCst) == wanted as u8;
    if is(Fault::Cut) {
        return;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", engine)).await else { return };
    let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut answers_are_lost = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(len @ 1..) = read else { return };
                let confirms = CONFIRMATIONS.iter().any(|word| asked[..len].windows(word.len()).any(|part| part == *word));
                if is(Fault::Cut) {
                    return;
                }
                if confirms && (is(Fault::LoseConfirmations) || is(Fault::LoseAnswers)) {
                    lost.fetch_add(1, Ordering::SeqCst);
                    if is(Fault::LoseConfirmations) {
                        // What the gateway asks next must not reach the engine either.
                        fault.store(Fault::Cut as u8, Ordering::SeqCst);
                        return;
                    }
                    answers_are_lost = true;
                }
                if server.write_all(&asked[..len]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(len @ 1..) = read else { return };
                if answers_are_lost {
                    return;
                }
                if client.write_all(&answered[..len]).await.is_err() {
                    return;
                }
            }
        }
    }
}
