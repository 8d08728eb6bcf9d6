//! The many small values that gateways share, in the engine that has their memory of events.
//!
//! A hash for each group has the values of its owners, a hash for each owner the groups in which it has one: that is what bounds
//! it. A key that says that values were lost ends by itself after a month. Everything that is asked or written together is one call
//! of a script, which does nothing where the engine has forgotten since this gateway looked.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::Value;
use tokio::sync::watch;

use super::documents::PATIENCE;
use super::opening::Redis;
use crate::dedup::several::engine::Standing;
use crate::shared::entries::{Entries, Found, Place, Write};
use crate::shared::{Away, Document};

/// The generation and the doubt, then a group and an owner for each place; the expected generation, the room of an owner, then
/// the name of each owner. A text is what is there, 1 means unclear, 0 nothing.
const READ: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
local doubted, room, out = redis.call('GET', KEYS[2]), tonumber(ARGV[2]), {}
for n = 1, #ARGV - 2 do
  local group, owner = KEYS[2 * n + 1], KEYS[2 * n + 2]
  local there = redis.call('HGET', group, ARGV[n + 2])
  if there then out[n] = there
  elseif doubted or redis.call('HLEN', group) > 0 or redis.call('HLEN', owner) >= room then out[n] = 1
  else out[n] = 0 end
end
return out";

/// The same keys; the expected generation, the room of an owner and of a group, for how long values are kept, then for each place
/// the name of its owner and its group, the revision that was seen, and the value with its revision in front.
const WRITE: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
local of_owner, of_group, out = tonumber(ARGV[2]), tonumber(ARGV[3]), {}
for n = 1, (#ARGV - 4) / 4 do
  local group, owner, at = KEYS[2 * n + 1], KEYS[2 * n + 2], 4 * n
  local name, member, seen, value = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local there, fits = redis.call('HGET', group, name), false
  if there then fits = seen ~= '' and string.sub(there, 1, #seen + 1) == seen .. '\\n'
  else fits = redis.call('HEXISTS', owner, member) == 1
    or (redis.call('HLEN', owner) < of_owner and redis.call('HLEN', group) < of_group) end
  if fits then
    redis.call('HSET', owner, member, '1')
    redis.call('HSET', group, name, value)
    redis.call('EXPIRE', owner, ARGV[4])
    redis.call('EXPIRE', group, ARGV[4])
  end
  out[n] = fits and 1 or 0
end
return out";

/// Most values of one owner.
const OF_OWNER_MAX: usize = 4096;
/// Most values of one group.
const OF_GROUP_MAX: usize = 16;
/// For how long values are kept that nobody renews.
const LIFE: Duration = Duration::from_secs(400 * 24 * 3600);
/// For how long what is not there is unclear after values were lost.
const DOUBT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Values of one kind. Cheap to clone.
#[derive(Clone)]
pub struct SharedEntries {
    redis: Redis,
    kind: &'static str,
}

impl Redis {
    /// Values of this kind.
    pub fn entries(&self, kind: &'static str) -> SharedEntries {
        SharedEntries { redis: self.clone(), kind }
    }
}

impl SharedEntries {
    fn name(&self, of: &str) -> String {
        self.redis.shared.names.of_kind(self.kind, of)
    }

    /// Calls a script about places, with what the generation of the engine must be in front of the arguments.
    async fn call(&self, script: &str, places: &[&Place], words: Vec<Vec<u8>>) -> Result<Vec<Value>, Away> {
        let engine = &self.redis.shared;
        let (mut connection, generation) = engine.connection().ok_or_else(|| Away("it is away".to_owned()))?;
        let script = redis::Script::new(script);
        let mut call = script.key(engine.names.generation());
        call.key(self.name("doubt"));
        for place in places {
            call.key(self.name(&format!("of:{}", place.group))).key(self.name(&format!("by:{}", place.owner)));
        }
        call.arg(generation);
        words.into_iter().for_each(|word| _ = call.arg(word));
        let answer = tokio::time::timeout(PATIENCE, call.invoke_async::<Option<Vec<Value>>>(&mut connection));
        let answer = answer.await.map_err(|_| Away("no answer in time".to_owned()))?;
        let answer = answer.map_err(|error| Away(error.to_string()))?;
        answer.filter(|answer| answer.len() == places.len()).ok_or_else(|| Away("it has forgotten".to_owned()))
    }

    /// Whether the engine drops values in silence.
    fn drops(&self) -> bool {
        matches!(&*self.redis.shared.board.standing().borrow(), Standing::Connected { about, .. } if about.evicts)
    }
}

fn found(value: Value, drops: bool) -> Found {
    match value {
        Value::BulkString(bytes) => Document::from_line(&bytes).map_or(Found::Unclear, Found::Here),
        Value::Int(0) if !drops => Found::Nothing,
        _ => Found::Unclear,
    }
}

impl Entries for SharedEntries {
    fn read(&self, places: Vec<Place>) -> BoxFuture<'static, Result<Vec<Found>, Away>> {
        let this = self.clone();
        async move {
            let mut words = vec![OF_OWNER_MAX.to_string().into_bytes()];
            words.extend(places.iter().map(|place| place.owner.clone().into_bytes()));
            let answer = this.call(READ, &places.iter().collect::<Vec<_>>(), words).await?;
            let drops = this.drops();
            Ok(answer.into_iter().map(|value| found(value, drops)).collect())
        }
        .boxed()
    }

    fn write(&self, writes: Vec<Write>) -> BoxFuture<'static, Result<Vec<bool>, Away>> {
        let this = self.clone();
        async move {
            let limits = [OF_OWNER_MAX.to_string(), OF_GROUP_MAX.to_string(), LIFE.as_secs().to_string()];
            let mut words: Vec<Vec<u8>> = limits.into_iter().map(String::into_bytes).collect();
            for Write { place, seen, document } in &writes {
                words.push(place.owner.clone().into_bytes());
                words.push(place.group.clone().into_bytes());
                words.push(seen.clone().unwrap_or_default().into_bytes());
                words.push(document.to_line());
            }
            let places: Vec<&Place> = writes.iter().map(|write| &write.place).collect();
            let answer = this.call(WRITE, &places, words).await?;
            Ok(answer.into_iter().map(|value| value == Value::Int(1)).collect())
        }
        .boxed()
    }

    fn doubt(&self) -> BoxFuture<'static, Result<(), Away>> {
        let this = self.clone();
        async move {
            let (mut connection, _) = this.redis.shared.connection().ok_or_else(|| Away("it is away".to_owned()))?;
            let mut set = redis::cmd("SET");
            set.arg(this.name("doubt")).arg("1").arg("EX").arg(DOUBT.as_secs());
            let done = tokio::time::timeout(PATIENCE, set.query_async::<()>(&mut connection)).await;
            done.map_err(|_| Away("no answer in time".to_owned()))?.map_err(|error| Away(error.to_string()))
        }
        .boxed()
    }

    fn filling(&self) -> watch::Receiver<Option<u64>> {
        self.redis.shared.filling.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_that_drops_keys_does_not_have_may_have_been_there() {
        assert_eq!(found(Value::Int(0), false), Found::Nothing);
        assert_eq!(found(Value::Int(0), true), Found::Unclear);
        assert_eq!(found(Value::Int(1), false), Found::Unclear);
        assert_eq!(found(Value::BulkString(b"no end of a line".to_vec()), false), Found::Unclear);
        let there = Document { revision: "a7".to_owned(), content: b"x\ny".to_vec() };
        assert_eq!(found(Value::BulkString(b"a7\nx\ny".to_vec()), true), Found::Here(there));
    }
}
