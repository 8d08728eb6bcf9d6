//! When the doors for uploads open at a start.
//!
//! At once, as a rule: uploads are told to come back while what was seen before is read. But where a socket was handed over, clients
//! have waited at it since the process before has gone, and know of no restart. They are let in when their uploads can be
//! taken, and told to come back only when that takes longer than many would wait.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use super::build::Parts;
use super::loading::Loading;
use crate::inputs::plane::Prepared;

/// How long clients wait at a socket for an upgrade to end.
const WORTH_WAITING: Duration = Duration::from_secs(10);

/// Opens them, and does what a start has to do before uploads are taken.
pub(super) async fn open(
    parts: &Parts,
    listeners: Prepared,
    grace: Duration,
    loading: Loading,
    begin: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut begin = pin!(begin);
    let early = match listeners.outlive_us() {
        true => timeout(WORTH_WAITING, begin.as_mut()).await.ok(),
        false => None,
    };
    if let Some(begun) = early {
        begun?;
        drop(loading);
        parts.uploads.apply(listeners, grace);
        return Ok(());
    }
    parts.uploads.apply(listeners, grace);
    begin.await?;
    drop(loading);
    Ok(())
}
