//! The look into the handshake, before the client's first byte goes on: is it TLS, new enough, and for the host that was
//! asked for? Where a rule names certificate subjects, also: whose certificate is it?

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::arrive::Caller;
use super::ledger::{Ledger, Refusal};
use crate::tunnel::Reason;
use crate::tunnel::allow_list::Rule;
use crate::tunnel::client_hello::{self, ClientHello, HelloReader, Progress, Step, Watch};
use crate::tunnel::dial::Connected;
use crate::tunnel::request::Authority;

/// Bytes that are read at a time while certificates are exchanged.
const PIECE: usize = 16 << 10;

/// Looks into the handshake. On success the client's bytes are still in its buffer, or went on to the destination.
pub(super) async fn check(
    caller: &mut Caller,
    destination: &mut Connected,
    rule: &Rule,
    to: &Authority,
    within: Duration,
    ledger: &mut Ledger,
) -> Result<(), Refusal> {
    if !rule.hello.require_tls {
        return Ok(());
    }
    let hello = timeout(within, hello(caller)).await.map_err(|_| Reason::HELLO_TIMEOUT)??;
    ledger.hello(&hello);
    client_hello::check(&hello, &rule.hello, to)?;
    match Watch::new(&rule.hello) {
        None => Ok(()),
        Some(sentry) => {
            let watched = Box::pin(watch(caller, destination, sentry, hello.len));
            timeout(within, watched).await.map_err(|_| Reason::HELLO_TIMEOUT)?
        }
    }
}

/// The ClientHello, whole. Its bytes stay in the buffer.
async fn hello(caller: &mut Caller) -> Result<ClientHello, Refusal> {
    let mut reader = HelloReader::default();
    loop {
        match reader.read(&caller.buffer) {
            Progress::Hello(hello) => return Ok(hello),
            Progress::More => caller.read().await?,
            Progress::NotTls => return Err(Reason::NOT_TLS.into()),
            Progress::TooLarge => return Err(Reason::HELLO_TOO_LARGE.into()),
            Progress::Malformed(detail) => return Err(Refusal::new(Reason::HELLO_MALFORMED, detail)),
        }
    }
}

/// Lets the handshake go on until the client's certificate has been seen, or will not be. What the client sends meanwhile
/// is held back until it was looked at.
async fn watch(
    caller: &mut Caller,
    destination: &mut Connected,
    mut watch: Watch,
    hello: usize,
) -> Result<(), Refusal> {
    let reset = |_| Refusal::from(Reason::DESTINATION_RESET);
    let gone = |_| Refusal::from(Reason::CLIENT_GONE);
    destination.stream.write_all(&caller.buffer.split_to(hello)).await.map_err(reset)?;
    destination.stream.flush().await.map_err(reset)?;
    if !caller.buffer.is_empty()
        && let Some(verdict) = verdict(watch.from_client(&caller.buffer))
    {
        return verdict;
    }
    let mut from_server = BytesMut::from(std::mem::take(&mut destination.early));
    loop {
        if !from_server.is_empty() {
            let step = watch.from_server(&from_server);
            caller.stream.write_all(&from_server).await.map_err(gone)?;
            caller.stream.flush().await.map_err(gone)?;
            from_server.clear();
            if let Some(verdict) = verdict(step) {
                return verdict;
            }
        }
        let seen = caller.buffer.len();
        from_server.reserve(PIECE);
        caller.buffer.reserve(PIECE);
        let Caller { stream, buffer, .. } = &mut *caller;
        tokio::select! {
            read = destination.stream.read_buf(&mut from_server) => {
                if read.map_err(reset)? == 0 {
                    return Err(Reason::DESTINATION_RESET.into());
                }
            }
            read = stream.read_buf(buffer) => {
                if read.map_err(gone)? == 0 {
                    return Err(Reason::CLIENT_GONE.into());
                }
                if let Some(verdict) = verdict(watch.from_client(&buffer[seen..])) {
                    return verdict;
                }
            }
        }
    }
}

fn verdict(step: Step) -> Option<Result<(), Refusal>> {
    match step {
        Step::More => None,
        Step::Pass => Some(Ok(())),
        Step::Refuse(reason) => Some(Err(reason.into())),
    }
}
