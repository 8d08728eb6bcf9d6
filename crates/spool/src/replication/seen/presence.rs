//! The other gateways: each says once a second that it lives, to whoever hears it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior};

use super::super::config::Config;
use super::super::connection::Connection;
use super::super::servers::Away;
use crate::dedup::several::engine::Board;
use crate::dedup::several::neighbours::{Said, sorted};

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// Who was not heard for so long is no gateway of this installation any more.
const GONE: Duration = Duration::from_secs(24 * 3600);
/// Most that is heard of: more are no gateways.
const GATEWAYS_MAX: usize = 1_000;
/// Most bytes that one says.
const SAID_MAX: usize = 256 << 10;

/// It.
pub(super) struct Presence {
    connection: Arc<Connection>,
    subject: String,
    name: String,
    board: Arc<Board>,
    heard: BTreeMap<String, (Said, Instant)>,
}

/// What is said, and by whom.
#[derive(Serialize, Deserialize)]
struct Spoken {
    id: String,
    #[serde(flatten)]
    said: Said,
}

impl Presence {
    pub(super) fn new(connection: Arc<Connection>, config: &Config, board: Arc<Board>) -> Self {
        let subject = format!("{}.gateways", config.prefix);
        Self { connection, subject, name: config.shown_name(), board, heard: BTreeMap::new() }
    }

    /// Speaks and hears for ever.
    pub(super) async fn run(mut self) {
        loop {
            // Whether the servers are there is told by who reads the stream.
            if let Err(Away(reason)) = self.meet().await {
                tracing::debug!(reason, "other gateways cannot be heard");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn meet(&mut self) -> Result<(), Away> {
        let client = self.connection.client().await?;
        let away = |error: &dyn std::fmt::Display| Away(error.to_string());
        let mut others = client.subscribe(self.subject.clone()).await.map_err(|error| away(&error))?;
        let mut speak = tokio::time::interval(EVERY);
        speak.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = speak.tick() => {
                    let id = self.board.gateway.name();
                    let said = self.board.said(self.name.clone());
                    let spoken = serde_json::to_vec(&Spoken { id, said }).map_err(|error| away(&error))?;
                    client.publish(self.subject.clone(), spoken.into()).await.map_err(|error| away(&error))?;
                    self.show();
                }
                heard = others.next() => match heard {
                    Some(heard) => self.hear(&heard.payload),
                    None => return Err(Away("the subscription has ended".to_owned())),
                },
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let Some(Spoken { id, said }) = Some(bytes)
            .filter(|bytes| bytes.len() <= SAID_MAX)
            .and_then(|bytes| serde_json::from_slice::<Spoken>(bytes).ok())
        else {
            return;
        };
        let is_known = self.heard.contains_key(&id);
        if id != self.board.gateway.name() && (is_known || self.heard.len() < GATEWAYS_MAX) {
            self.heard.insert(id, (said, Instant::now()));
        }
    }

    fn show(&mut self) {
        self.heard.retain(|_, (_, at)| at.elapsed() < GONE);
        let shown = self
            .heard
            .iter()
            .map(|(id, (said, at))| self.board.neighbour(id.clone(), said.clone(), at.elapsed().as_secs()));
        self.board.set_neighbours(sorted(shown.collect()));
    }
}
