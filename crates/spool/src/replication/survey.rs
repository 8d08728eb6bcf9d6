//! The streams of an installation as somebody sees them who looks, or makes them before the first gateway does.

use async_nats::jetstream::stream::Info;
use serde::Serialize;

use super::config::Config;
use super::connection::{Connection, Look};
use super::servers::Away;
use super::streams::{Which, objection};

/// What gateways with a configuration have at the servers.
pub struct Survey {
    config: Config,
    streams: Vec<Which>,
    connection: Connection,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Surveyed {
    /// Its name at the servers.
    pub stream: String,
    /// What is in it, for people.
    pub of: &'static str,
    /// How it is; none where it is missing.
    pub found: Option<Found>,
    /// What is wrong with it, for people.
    pub wrong: Vec<String>,
}

/// A stream that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Messages in it.
    pub messages: u64,
    /// Bytes that it takes at each server.
    pub bytes: u64,
    /// Most bytes of it; none where it has no limit.
    pub max_bytes: Option<u64>,
    /// How many servers are to keep it.
    pub replicas: usize,
    /// The server that leads it.
    pub leader: Option<String>,
    /// The servers that have all of it, without the leader.
    pub in_sync: Vec<String>,
    /// How many servers have all of it, the leader included; none while nobody leads it, since nobody can say then.
    pub complete: usize,
}

impl Survey {
    /// Of what this configuration uses. `seen`: for how many seconds and in how many bytes gateways remember events there together, if
    /// they do.
    pub fn new(config: &Config, seen: Option<(u64, u64)>) -> Self {
        let mut streams = vec![Which::Logs, Which::States];
        if config.shares_state() {
            streams.extend([Which::Documents, Which::Values]);
        }
        streams.extend(seen.map(|(window_s, max_size)| Which::Seen { window_s, max_size }));
        Self { config: config.clone(), connection: Connection::new(config.clone(), &[]), streams }
    }

    /// What the streams are called.
    pub fn names(&self) -> Vec<String> {
        self.streams.iter().map(|which| which.stream(&self.config)).collect()
    }

    /// Makes those that are missing, and changes what may be changed, as a gateway does.
    pub async fn make(&self) -> Result<(), Away> {
        for which in &self.streams {
            self.connection.make(*which).await?;
        }
        Ok(())
    }

    /// Looks at all of them.
    pub async fn look(&self) -> Result<Vec<Surveyed>, Away> {
        let mut all = Vec::new();
        for which in &self.streams {
            let stream = which.stream(&self.config);
            let (found, wrong) = match self.connection.find(*which).await? {
                Look::Missing => {
                    (None, vec!["it is missing: the first gateway makes it, or `gatepost spool init`".to_owned()])
                }
                Look::There(info) => {
                    let found = found(&info);
                    let mut wrong: Vec<String> =
                        objection(&info.config, &which.wanted(&self.config)).into_iter().collect();
                    wrong.extend(behind(&found));
                    (Some(found), wrong)
                }
            };
            all.push(Surveyed { stream, of: which.about(), found, wrong });
        }
        Ok(all)
    }
}

fn found(info: &Info) -> Found {
    let cluster = info.cluster.as_ref();
    let followers = cluster.map(|cluster| cluster.replicas.as_slice()).unwrap_or_default();
    let in_sync = followers.iter().filter(|peer| peer.current && !peer.offline);
    let in_sync: Vec<String> = in_sync.map(|peer| peer.name.clone()).collect();
    // A server without others tells of no leader, and leads.
    let leader = cluster.and_then(|cluster| cluster.leader.clone()).filter(|leader| !leader.is_empty());
    let replicas = info.config.num_replicas;
    Found {
        complete: complete(leader.as_deref(), in_sync.len(), replicas),
        messages: info.state.messages,
        bytes: info.state.bytes,
        max_bytes: u64::try_from(info.config.max_bytes).ok().filter(|bytes| *bytes > 0),
        replicas,
        leader,
        in_sync,
    }
}

fn complete(leader: Option<&str>, followers: usize, replicas: usize) -> usize {
    leader.map_or(usize::from(replicas == 1), |_| followers + 1)
}

/// What keeps it from being safe now.
fn behind(found: &Found) -> Option<String> {
    let (has, wanted) = (found.complete, found.replicas);
    if wanted > 1 && found.leader.is_none() {
        return Some("no server leads it".to_owned());
    }
    (has < wanted).then(|| format!("{has} of {wanted} servers have all of it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_a_leader_or_with_a_server_behind_is_told_of() {
        let found = |leader: Option<&str>, in_sync: &[&str]| Found {
            messages: 1,
            bytes: 1,
            max_bytes: None,
            replicas: 3,
            leader: leader.map(str::to_owned),
            in_sync: in_sync.iter().map(|name| (*name).to_owned()).collect(),
            complete: complete(leader, in_sync.len(), 3),
        };
        assert_eq!(behind(&found(Some("a"), &["b", "c"])), None);
        assert_eq!(behind(&found(Some("a"), &["b"])).as_deref(), Some("2 of 3 servers have all of it"));
        assert_eq!(behind(&found(None, &["b", "c"])).as_deref(), Some("no server leads it"));
        assert_eq!(behind(&Found { replicas: 1, complete: complete(None, 0, 1), ..found(None, &[]) }), None);
    }
}
