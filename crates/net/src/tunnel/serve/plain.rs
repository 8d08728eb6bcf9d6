//! One answer in plain HTTP, for certificates and revocation lists on port 80: the request goes to the destination in
//! its own form, the answer comes back as it is, and the connection is closed.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::arrive::Caller;
use super::ledger::Refusal;
use super::visit::{Client, Visit};
use crate::tunnel::Reason;
use crate::tunnel::allow_list::Rule;
use crate::tunnel::dial::Connected;
use crate::tunnel::relay::Relay;
use crate::tunnel::request::Plain;

/// Serves a plain request.
pub(super) async fn serve(mut visit: Visit, caller: Caller, request: Plain, rule: Arc<Rule>, client: Client) {
    let destination = match ask(&mut visit, &request, &rule).await {
        Ok(destination) => destination,
        Err(refusal) => return visit.refuse(caller, refusal).await,
    };
    // One request for each connection: whatever else the client sends goes nowhere.
    let throttles = visit.throttles(&client);
    let relay = Relay::new(caller.stream, destination.stream, visit.policy.timeouts(), throttles)
        .one_way()
        .with_early(&[], &destination.early);
    visit.stand(relay, client, Reason::FORWARDED);
}

/// The destination, when it has begun to answer.
async fn ask(visit: &mut Visit, request: &Plain, rule: &Rule) -> Result<Connected, Refusal> {
    let via = visit.policy.rules.dialer.via(request.sender.via()).ok_or(Reason::LOOP)?;
    let mut destination = visit.dial(&request.authority, rule, &request.sender).await?;
    let failed = |error: std::io::Error| Refusal::new(Reason::DESTINATION_SILENT, error.to_string());
    destination.stream.write_all(&request.to_destination(&via)).await.map_err(failed)?;
    destination.stream.flush().await.map_err(failed)?;
    let patience = visit.policy.limits().connect_timeout.get();
    match timeout(patience, destination.begins_to_answer()).await {
        Ok(Ok(())) => Ok(destination),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(Reason::DESTINATION_SILENT.into()),
    }
}
