//! The other gateways of the installation: each says once a second that it lives.

use super::connect::Trouble;
use super::engine::Shared;
use super::session::Session;
use crate::dedup::several::neighbours::{Neighbour, Said, sorted};

/// Who has not been seen for so long is no gateway of this installation any more.
const GONE_S: u64 = 24 * 3600;

/// A process that was seen within so long lives.
const FRESH_S: u64 = 5;
/// How often in a row another process must be found under our number: the first one found may be our predecessor.
const STRANGE_MAX: u32 = 2;

/// This process among the gateways.
///
/// Its number stands in the state directory. Where two processes use copies of one, both would take the other's events for their
/// own; so each looks whether somebody else speaks under its number, and the younger one stops.
#[derive(Debug)]
pub(super) struct Presence {
    run: String,
    since: Option<u64>,
    strange: u32,
}

impl Default for Presence {
    fn default() -> Self {
        Self { run: format!("{:016x}", fastrand::u64(..)), since: None, strange: 0 }
    }
}

impl Presence {
    /// Says that this gateway lives, and reads what the others said.
    pub(super) async fn meet(&mut self, shared: &Shared, session: &Session) -> Result<Vec<Neighbour>, Trouble> {
        let mut connection = session.connection.clone();
        let (now, key, me) = (session.now_s(), shared.names.gateways(), shared.board.gateway.name());
        let all: Vec<(String, String)> = redis::cmd("HGETALL").arg(&key).query_async(&mut connection).await?;
        let all = all.into_iter().map(|(id, text)| (id, serde_json::from_str::<Said>(&text).unwrap_or_default()));
        let (mine, others): (Vec<_>, Vec<_>) = all.partition(|(id, _)| *id == me);
        self.look_for_a_twin(mine.first().map(|(_, said)| said), now)?;
        let text = serde_json::to_string(&self.said(shared, session)).unwrap_or_default();
        let () = redis::cmd("HSET").arg(&key).arg(&me).arg(text).query_async(&mut connection).await?;
        let mut neighbours = Vec::new();
        for (id, said) in others {
            let seen_seconds_ago = now.saturating_sub(said.at);
            if seen_seconds_ago >= GONE_S {
                let () = redis::cmd("HDEL").arg(&key).arg(&id).query_async(&mut connection).await?;
                continue;
            }
            neighbours.push(shared.board.neighbour(id, said, seen_seconds_ago));
        }
        Ok(sorted(neighbours))
    }

    fn said(&mut self, shared: &Shared, session: &Session) -> Said {
        Said {
            at: session.now_s(),
            run: self.run.clone(),
            since: *self.since.get_or_insert(session.now_ms()),
            ..shared.board.said(shared.config.shown_name())
        }
    }

    /// `said` stands under our number.
    fn look_for_a_twin(&mut self, said: Option<&Said>, now: u64) -> Result<(), Trouble> {
        let is_strange = |said: &&Said| said.run != self.run && now.saturating_sub(said.at) <= FRESH_S;
        let Some(said) = said.filter(is_strange) else {
            self.strange = 0;
            return Ok(());
        };
        self.strange = self.strange.saturating_add(1);
        let is_elder = self.since.is_some_and(|since| (since, &self.run) < (said.since, &said.run));
        if is_elder && self.strange == 1 {
            tracing::error!(
                other = said.name,
                "another gateway was started with a copy of this state directory: it takes no uploads while this one runs"
            );
        }
        if is_elder || self.strange < STRANGE_MAX {
            return Ok(());
        }
        Err(Trouble::Refused(format!(
            "another gateway, {:?}, runs with a copy of this state directory: stop one of them, and delete `decided` in the copy \
             before it starts again",
            said.name
        )))
    }
}
