//! The documents that gateways share, in the engine that has their memory of events.
//!
//! Two hashes: revisions, which every gateway reads once a second, and contents, which it reads when a revision is another one.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::{FromRedisValue, RedisResult};
use tokio::sync::watch;

use super::connect::Trouble;
use super::opening::Redis;
use super::session::Session;
use crate::shared::{Away, Document, Revisions, Store};

/// Both hashes, the name, the expected revision, the new one, the content.
const SET: &str = "
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1";
const GET: &str = "return {redis.call('HGET', KEYS[1], ARGV[1]), redis.call('HGET', KEYS[2], ARGV[1])}";

/// A document is larger than what a call usually carries.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The revisions of all documents.
pub(super) async fn revisions(session: &Session, key: &str) -> Result<BTreeMap<String, String>, Trouble> {
    Ok(redis::cmd("HGETALL").arg(key).query_async(&mut session.connection.clone()).await?)
}

impl Redis {
    async fn run<T: FromRedisValue>(&self, script: &str, words: &[&[u8]]) -> Result<T, Away> {
        let engine = &self.shared;
        let (mut connection, _) = engine.connection().ok_or_else(|| Away("it is away".to_owned()))?;
        let script = redis::Script::new(script);
        let mut call = script.key(engine.names.revisions());
        call.key(engine.names.documents());
        for word in words {
            call.arg(*word);
        }
        let answer: RedisResult<T> = tokio::time::timeout(PATIENCE, call.invoke_async(&mut connection))
            .await
            .map_err(|_| Away("no answer in time".to_owned()))?;
        answer.map_err(|error| Away(error.to_string()))
    }
}

impl Store for Redis {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Document>, Away>> {
        Box::pin(async move {
            let (revision, content): (Option<String>, Option<Vec<u8>>) = self.run(GET, &[name.as_bytes()]).await?;
            Ok(revision.zip(content).map(|(revision, content)| Document { revision, content }))
        })
    }

    fn compare_and_set<'a>(
        &'a self,
        name: &'a str,
        expected: Option<&'a str>,
        document: &'a Document,
    ) -> BoxFuture<'a, Result<bool, Away>> {
        Box::pin(async move {
            let expected = expected.unwrap_or_default();
            let words =
                [name.as_bytes(), expected.as_bytes(), document.revision.as_bytes(), document.content.as_slice()];
            let set: u8 = self.run(SET, &words).await?;
            Ok(set == 1)
        })
    }

    fn watch(&self) -> watch::Receiver<Revisions> {
        self.shared.revisions.subscribe()
    }
}
