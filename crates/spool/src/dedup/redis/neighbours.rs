//! The other gateways of the installation: each says once a second that it lives.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::engine::Shared;
use super::session::{Session, Trouble};

/// Who has not been seen for so long is no gateway of this installation any more.
const GONE_S: u64 = 24 * 3600;

/// What a gateway says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    name: String,
    version: String,
    /// By the engine's clock, in seconds since 1970.
    at: u64,
    pending: u64,
}

/// Another gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// Its number, in hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How long ago it was seen.
    pub seen_seconds_ago: u64,
    /// Events that it had still to send.
    pub pending: u64,
}

/// Says that this gateway lives, and reads what the others said.
pub(super) async fn meet(shared: &Shared, session: &Session) -> Result<Vec<Neighbour>, Trouble> {
    let mut connection = session.connection.clone();
    let (now, _): (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await?;
    let me = shared.gateway.name();
    let said = Said {
        name: shared.config.shown_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: now,
        pending: shared.pending.load(Ordering::Relaxed),
    };
    let key = shared.names.gateways();
    let text = serde_json::to_string(&said).unwrap_or_default();
    let (_, all): (u64, Vec<(String, String)>) = redis::pipe()
        .cmd("HSET")
        .arg(&key)
        .arg(&me)
        .arg(text)
        .cmd("HGETALL")
        .arg(&key)
        .query_async(&mut connection)
        .await?;
    let mut neighbours = Vec::new();
    for (id, text) in all.into_iter().filter(|(id, _)| *id != me) {
        let said: Option<Said> = serde_json::from_str(&text).ok();
        let Some(said) = said.filter(|said| now.saturating_sub(said.at) < GONE_S) else {
            let () = redis::cmd("HDEL").arg(&key).arg(&id).query_async(&mut connection).await?;
            continue;
        };
        let Said { name, version, at, pending } = said;
        neighbours.push(Neighbour { id, name, version, seen_seconds_ago: now.saturating_sub(at), pending });
    }
    neighbours.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    Ok(neighbours)
}
