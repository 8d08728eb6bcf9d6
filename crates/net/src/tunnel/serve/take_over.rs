//! A tunnel that ends here: its handshake is looked at as any other's, and then its stream goes to an input.

use std::sync::Arc;
use std::time::Duration;

use rustls::server::ResolvesServerCert;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::arrive::Caller;
use super::handshake;
use super::ledger::Refusal;
use super::visit::{Client, ESTABLISHED, Visit};
use crate::net::handed::Handed;
use crate::net::hang_up;
use crate::tunnel::Reason;
use crate::tunnel::request::Authority;
use crate::tunnel::take_over::{Found, Taken};

/// How long an input may take to take a stream. It only accepts it, as it accepts a connection of its own.
const INPUT_PATIENCE: Duration = Duration::from_secs(5);

/// Takes a tunnel over, or says why not.
pub(super) async fn serve(mut visit: Visit, mut caller: Caller, to: &Authority, found: Found, client: Client) {
    let input = match visit.door.shared.inputs.of(&found.input) {
        Some(input) => input,
        None => return visit.refuse(caller, refusal_of(&found.input)).await,
    };
    match begin(&mut visit, &mut caller, to, &found).await {
        Ok(begun) => hand_over(visit, caller, begun, (input, found.input), client),
        Err(refusal) => visit.refuse(caller, refusal).await,
    }
}

fn refusal_of(input: &str) -> Refusal {
    Refusal::new(Reason::TAKE_OVER_INPUT, format!("the upload listener {input:?} is not open"))
}

/// What an input needs beside the stream.
struct Begun {
    certificates: Arc<dyn ResolvesServerCert>,
    watch: hang_up::Watch,
}

/// Tells the client that its tunnel stands, and looks for whom it takes the other end.
async fn begin(visit: &mut Visit, caller: &mut Caller, to: &Authority, found: &Found) -> Result<Begun, Refusal> {
    caller.stream.write_all(ESTABLISHED).await.map_err(|_| Reason::CLIENT_GONE)?;
    caller.stream.flush().await.map_err(|_| Reason::CLIENT_GONE)?;
    let within = visit.policy.limits().hello_timeout.get();
    handshake::look(caller, &found.rule, to, within, &mut visit.ledger).await?;
    let failed = |error: rcgen::Error| Refusal::new(Reason::TAKE_OVER_CERTIFICATE, error.to_string());
    let certificates = found.leaves.of(&to.host.to_string()).map_err(failed)?;
    let no_descriptor = |error: std::io::Error| Refusal::new(Reason::DESCRIPTORS, error.to_string());
    let watch = hang_up::beside(caller.stream.tcp()).map_err(no_descriptor)?;
    Ok(Begun { certificates, watch })
}

/// Leaves the stream to the input, and stays behind with the account and the client's place. When tunnels are cut, the account ends;
/// the stream ends with the input, which loses no upload to it.
fn hand_over(visit: Visit, caller: Caller, begun: Begun, input: (mpsc::Sender<Handed>, String), client: Client) {
    let Visit { door, ledger, place, .. } = visit;
    let (to, name) = input;
    let (stream, moved) = Taken::new(caller.stream, caller.buffer);
    let Begun { certificates, watch } = begun;
    let handed = Handed { stream: Box::new(stream), watch, client: client.0, certificates };
    let standing = ledger.taken_over(&name);
    let cut = door.shared.cut.clone();
    door.shared.tasks.spawn(async move {
        let served = async {
            match timeout(INPUT_PATIENCE, to.send(handed)).await {
                Ok(Ok(())) => moved.ended().await,
                _ => return Reason::TAKE_OVER_INPUT,
            }
            Reason::TAKEN_OVER
        };
        let reason = cut.run_until_cancelled(served).await.unwrap_or(Reason::STOPPED);
        let (up, down) = moved.bytes();
        standing.ended(reason, up, down);
        drop((place, client));
    });
}
