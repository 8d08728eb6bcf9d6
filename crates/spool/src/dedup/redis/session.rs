//! A connection to the engine: found, greeted, and known to be the one that it was.
//!
//! Of several addresses the one is used that says that it is the primary, or the one that Sentinel names. In a cluster any of its
//! servers says which one has the keys. A connection is to one server; after a failover it breaks, or its server says that it
//! takes no writes any more, and then it is looked for anew.

use std::collections::VecDeque;

use redis::Value;
use redis::aio::MultiplexedConnection;
use siphasher::sip::SipHasher13;
use std::hash::Hasher as _;

use tokio::time::Instant;

use super::config::Config;
use super::connect::{Trouble, connect_as, login};
use super::sentinel;
use crate::dedup::several::engine::About;

/// The script, and the version of everything that it keeps: a gateway that reads it otherwise has other keys.
pub(super) const SCRIPT: &str = include_str!("script.lua");
const VERSION: u32 = 1;
/// How often a cluster may send us on.
const MOVES_MAX: u32 = 4;

/// What a server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Info {
    version: String,
    /// What it does when its memory is full.
    policy: String,
    evicted: u64,
    is_primary: bool,
    is_cluster: bool,
    replication: String,
}

impl Info {
    fn read(info: &str) -> Self {
        let value = |key: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.map(str::trim).unwrap_or_default().to_owned()
        };
        Self {
            version: Some(value("valkey_version"))
                .filter(|version| !version.is_empty())
                .unwrap_or_else(|| value("redis_version")),
            policy: value("maxmemory_policy"),
            evicted: value("evicted_keys").parse().unwrap_or(0),
            is_primary: value("role") == "master",
            is_cluster: value("cluster_enabled") == "1",
            replication: value("master_replid"),
        }
    }

    /// Whether it drops keys in silence when its memory is full.
    fn evicts(&self) -> bool {
        !self.policy.is_empty() && self.policy != "noeviction"
    }

    /// What people are told.
    pub(super) fn told(&self) -> About {
        About {
            version: self.version.clone(),
            policy: self.policy.clone(),
            evicted: self.evicted,
            evicts: self.evicts(),
            memory: None,
        }
    }
}

/// The names of keys.
#[derive(Debug, Clone)]
pub(super) struct Names(String);

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self(format!("{prefix}:{VERSION}"))
    }

    pub(super) fn generation(&self) -> String {
        format!("{}:generation", self.0)
    }

    fn check(&self) -> String {
        format!("{}:check", self.0)
    }

    pub(super) fn revisions(&self) -> String {
        format!("{}:revisions", self.0)
    }

    pub(super) fn documents(&self) -> String {
        format!("{}:documents", self.0)
    }

    /// Of small values of a kind.
    pub(super) fn of_kind(&self, kind: &str, what: &str) -> String {
        format!("{}:{kind}:{what}", self.0)
    }

    pub(super) fn gateways(&self) -> String {
        format!("{}:gateways", self.0)
    }

    /// A key of a stream. The hash tag keeps a stream in one place of a cluster.
    pub(super) fn of_stream(&self, stream: u128, what: &str) -> String {
        format!("{}:{{{stream:032x}}}:{what}", self.0)
    }

    /// A key of hashes.
    pub(super) fn of_hashes(&self, what: &str) -> String {
        format!("{}:{{hashes}}:{what}", self.0)
    }
}

/// A connection that was greeted.
pub(super) struct Session {
    pub(super) connection: MultiplexedConnection,
    pub(super) address: String,
    pub(super) about: Info,
    /// The hash of the script.
    pub(super) script: String,
    /// Names this filling of the engine.
    pub(super) generation: String,
    /// What the engine's clock showed in milliseconds since 1970, and when.
    clock: (u64, Instant),
}

impl Session {
    /// Connects to the primary among the addresses, or to the one that Sentinel names.
    pub(super) async fn open(config: &Config, names: &Names, check: &str) -> Result<Self, Trouble> {
        let named = sentinel::primary(config).await?;
        let mut trouble = Trouble::Away("no address is configured".to_owned());
        let mut left: VecDeque<String> = named.map_or_else(|| config.addresses.clone(), |address| vec![address]).into();
        let mut moves = 0;
        while let Some(address) = left.pop_front() {
            let opening = Self::open_one(config, &address, names, check);
            match tokio::time::timeout(config.timeout.get() * 3, opening).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(refused @ Trouble::Refused(_))) => return Err(refused),
                Ok(Err(Trouble::Moved(to))) if moves < MOVES_MAX => {
                    moves += 1;
                    left.push_front(to);
                }
                Ok(Err(other)) => trouble = Trouble::Away(format!("{address}: {other}")),
                Err(_) => trouble = Trouble::Away(format!("{address}: no answer in time")),
            }
        }
        Err(trouble)
    }

    async fn open_one(config: &Config, address: &str, names: &Names, check: &str) -> Result<Self, Trouble> {
        let mut connection = connect(config, address).await?;
        let about = about(&mut connection).await?;
        if !about.is_primary {
            return Err(Trouble::Away("it is a replica".to_owned()));
        }
        if about.is_cluster && !config.is_tagged() {
            return Err(Trouble::Refused(format!(
                "{address} is a Redis Cluster: set dedup.redis.prefix = \"{{{}}}\", in braces, at all gateways, so that one of its \
                 servers has all keys",
                config.prefix
            )));
        }
        let script = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await?;
        let generation = settle(&mut connection, &names.generation(), &format!("{:032x}", fastrand::u128(..))).await?;
        if settle(&mut connection, &names.check(), check).await? != check {
            return Err(Trouble::Refused(
                "dedup.secret is another one than that of the gateways which share this engine: every event would look new"
                    .to_owned(),
            ));
        }
        let clock = (time(&mut connection).await?, Instant::now());
        Ok(Self { connection, address: address.to_owned(), about, script, generation, clock })
    }

    /// The engine's clock, in seconds since 1970.
    pub(super) fn now_s(&self) -> u64 {
        self.now_ms() / 1_000
    }

    /// The same in milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.clock.1.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.clock.0.saturating_add(passed)
    }

    /// Which filling of which history of the engine this is: another one may lack what the one before had.
    pub(super) fn identity(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        hasher.write(self.generation.as_bytes());
        hasher.write(self.about.replication.as_bytes());
        hasher.finish()
    }

    /// Whether it is still what it was.
    pub(super) async fn look(&mut self, names: &Names) -> Result<(), Trouble> {
        let now = about(&mut self.connection).await?;
        let generation: Option<String> =
            redis::cmd("GET").arg(names.generation()).query_async(&mut self.connection).await?;
        if generation.as_ref() != Some(&self.generation) {
            return Err(Trouble::Away("it has forgotten what it knew".to_owned()));
        }
        if !now.is_primary || now.replication != self.about.replication {
            return Err(Trouble::Away("it is not the primary that it was".to_owned()));
        }
        self.about = now;
        self.clock = (time(&mut self.connection).await?, Instant::now());
        Ok(())
    }

    /// Loads the script again: the server was told to forget its scripts.
    pub(super) async fn load(&mut self) -> Result<(), Trouble> {
        self.script = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut self.connection).await?;
        Ok(())
    }

    /// Calls the script.
    pub(super) async fn call(&self, keys: &[String], arguments: &[Vec<u8>]) -> redis::RedisResult<Value> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.script).arg(keys.len()).arg(keys).arg(arguments);
        command.query_async(&mut self.connection.clone()).await
    }
}

/// Sets a key unless it is set; what it holds then.
async fn settle(connection: &mut MultiplexedConnection, key: &str, value: &str) -> Result<String, Trouble> {
    let () = redis::cmd("SET").arg(key).arg(value).arg("NX").query_async(connection).await?;
    Ok(redis::cmd("GET").arg(key).query_async(connection).await?)
}

/// Its clock, in milliseconds since 1970.
async fn time(connection: &mut MultiplexedConnection) -> Result<u64, Trouble> {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(connection).await?;
    Ok(seconds.saturating_mul(1_000).saturating_add(micros / 1_000))
}

async fn about(connection: &mut MultiplexedConnection) -> Result<Info, Trouble> {
    let info: String = redis::cmd("INFO").query_async(connection).await?;
    Ok(Info::read(&info))
}

async fn connect(config: &Config, address: &str) -> Result<MultiplexedConnection, Trouble> {
    connect_as(config, address, login(config.user.as_deref(), config.password.as_ref())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drops_keys_in_silence_is_known() {
        let of = |policy: &str| Info::read(&format!("# Memory\r\nmaxmemory_policy:{policy}\r\nrole:master\r\n"));
        assert!(
            ["allkeys-lru", "volatile-lru", "volatile-ttl", "allkeys-random"].iter().all(|policy| of(policy).evicts())
        );
        assert!(!of("noeviction").evicts() && !of("").evicts(), "what cannot be known is not claimed");
    }

    #[test]
    fn a_valkey_says_which_it_is() {
        let about =
            Info::read("redis_version:7.2.4\r\nvalkey_version:9.1.2\r\nevicted_keys:7\r\nmaster_replid:abc\r\n");
        assert_eq!((about.version.as_str(), about.evicted, about.is_primary), ("9.1.2", 7, false));
    }

    #[test]
    fn a_stream_has_one_hash_tag_whatever_the_key() {
        let names = Names::new("site");
        assert_eq!(names.of_stream(255, "o"), format!("site:1:{{{:032x}}}:o", 255));
        assert!(names.of_hashes("p").contains("{hashes}"));
    }
}
