//! The servers, as NATS JetStream: two streams for an installation, one of logs and one of their states.
//!
//! A message names the one before it by `Nats-Expected-Last-Subject-Sequence`, and the leader of the stream refuses another one.
//! What is read is read from the leader too (`STREAM.MSG.GET`; a direct get may be answered by a server that lags). The stream of
//! logs keeps everything until it is removed and refuses what has no room: a stream that is otherwise is not used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::context::{Context, GetStreamErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::stream::{
    self, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{ErrorCode, context::ContextBuilder};
use async_nats::{Client, ConnectOptions, HeaderMap, ServerAddr};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::config::Config;
use super::servers::{Away, Chain, LogName, Refused, Servers, Stored};

/// Most bytes of a message, whatever the servers allow: larger ones hold the others up.
const MESSAGE_MAX: usize = 768 << 10;
/// What the server's limit is left for headers.
const HEADROOM: usize = 4 << 10;
/// The limit of a server that was not asked yet: the default of NATS.
const PAYLOAD_MAX: usize = 1 << 20;

/// Servers of NATS JetStream. The connection is made with the first question.
pub struct JetStream {
    config: Config,
    connected: Mutex<Option<Arc<Connected>>>,
    payload_max: AtomicUsize,
}

struct Connected {
    context: Context,
    /// Whether both streams were found to be as they must be.
    is_checked: AtomicBool,
}

impl JetStream {
    /// As configured.
    pub fn new(config: Config) -> Self {
        Self { config, connected: Mutex::default(), payload_max: AtomicUsize::new(PAYLOAD_MAX) }
    }

    fn timeout(&self) -> Duration {
        self.config.timeout.get()
    }

    fn stream_name(&self, is_of_logs: bool) -> String {
        format!("{}_{}", self.config.prefix, if is_of_logs { "logs" } else { "states" })
    }

    fn subjects(&self, is_of_logs: bool) -> String {
        format!("{}.{}.", self.config.prefix, if is_of_logs { "log" } else { "state" })
    }

    fn subject(&self, chain: &Chain) -> String {
        let (Chain::Log(log) | Chain::State(log)) = chain;
        self.subjects(matches!(chain, Chain::Log(_))) + log.as_str()
    }

    async fn connected(&self) -> Result<Arc<Connected>, Away> {
        let mut connected = self.connected.lock().await;
        let found = match &*connected {
            Some(found) => Arc::clone(found),
            None => {
                let client = self.connect().await?;
                let context = ContextBuilder::new().timeout(self.timeout()).ack_timeout(self.timeout()).build(client);
                let made = Arc::new(Connected { context, is_checked: AtomicBool::new(false) });
                *connected = Some(Arc::clone(&made));
                made
            }
        };
        if !found.is_checked.load(Ordering::Acquire) {
            self.check(&found.context, true).await?;
            self.check(&found.context, false).await?;
            found.is_checked.store(true, Ordering::Release);
        }
        let told = found.context.client().server_info().max_payload;
        self.payload_max.store(told, Ordering::Relaxed);
        Ok(found)
    }

    async fn connect(&self) -> Result<Client, Away> {
        let config = &self.config;
        let mut options = ConnectOptions::new()
            .name(format!("gatepost {}", config.shown_name()))
            .connection_timeout(self.timeout())
            .request_timeout(Some(self.timeout()))
            // What servers tell of each other may not be reachable from here.
            .ignore_discovered_servers()
            .ping_interval(Duration::from_secs(5))
            .reconnect_delay_callback(|tries| Duration::from_millis(100 * (tries as u64).clamp(1, 20)))
            .require_tls(config.tls);
        if let (Some(user), Some(password)) = (&config.user, &config.password) {
            options = options.user_and_password(user.clone(), password.reveal().trim().to_owned());
        }
        if let Some(token) = &config.token {
            options = options.token(token.reveal().trim().to_owned());
        }
        if let Some(file) = &config.ca_file {
            options = options.add_root_certificates(file.clone());
        }
        if let (Some(certificate), Some(key)) = (&config.client_certificate_file, &config.client_key_file) {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        let scheme = if config.tls { "tls" } else { "nats" };
        let servers = config.servers.iter().map(|server| format!("{scheme}://{server}").parse::<ServerAddr>());
        let servers = servers.collect::<Result<Vec<_>, _>>().map_err(|error| Away(error.to_string()))?;
        match timeout(self.timeout(), options.connect(servers)).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(Away(format!("no server of NATS can be reached: {error}"))),
            Err(_) => Err(Away("no server of NATS answers in time".to_owned())),
        }
    }

    /// Sees to it that a stream is there, and is as it must be.
    async fn check(&self, context: &Context, is_of_logs: bool) -> Result<(), Away> {
        let wanted = self.wanted(is_of_logs);
        let name = wanted.name.clone();
        let found = match timeout(self.timeout(), context.get_stream(&name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => match error.kind() {
                GetStreamErrorKind::JetStream(told) if told.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    tracing::info!(
                        stream = name,
                        replicas = wanted.num_replicas,
                        "a stream for replicated logs is made"
                    );
                    let made = timeout(self.timeout(), context.create_stream(wanted)).await;
                    return match made {
                        Ok(Ok(_)) => Ok(()),
                        Ok(Err(error)) => Err(Away(format!("stream {name} cannot be made: {error}"))),
                        Err(_) => Err(no_answer()),
                    };
                }
                _ => return Err(Away(format!("stream {name} cannot be looked at: {error}"))),
            },
            Err(_) => return Err(no_answer()),
        };
        match objection(&found.cached_info().config, &wanted) {
            Some(wrong) => Err(Away(format!("stream {name} would lose events: {wrong}"))),
            None => Ok(()),
        }
    }

    fn wanted(&self, is_of_logs: bool) -> stream::Config {
        let limit = i64::try_from(self.config.max_size.as_u64()).unwrap_or(i64::MAX);
        stream::Config {
            name: self.stream_name(is_of_logs),
            subjects: vec![self.subjects(is_of_logs) + ">"],
            retention: RetentionPolicy::Limits,
            // Of a state the message before the last goes, which with `New` would have to be asked for.
            discard: if is_of_logs { DiscardPolicy::New } else { DiscardPolicy::Old },
            max_bytes: if is_of_logs { limit } else { -1 },
            max_messages: -1,
            max_messages_per_subject: if is_of_logs { -1 } else { 1 },
            max_age: Duration::ZERO,
            storage: StorageType::File,
            num_replicas: self.config.replicas,
            description: Some("Gatepost: replicated logs".to_owned()),
            ..stream::Config::default()
        }
    }

    async fn stream(&self, is_of_logs: bool) -> Result<Stream<()>, Away> {
        let connected = self.connected().await?;
        let stream = connected.context.get_stream_no_info(self.stream_name(is_of_logs)).await;
        stream.map_err(|error| Away(error.to_string()))
    }

    /// A stream that is missing was removed: it is looked at anew, and made.
    async fn lost(&self) {
        if let Some(connected) = &*self.connected.lock().await {
            connected.is_checked.store(false, Ordering::Release);
        }
    }

    async fn put(&self, chain: &Chain, after: u64, message: Bytes) -> Result<u64, Refused> {
        let connected = self.connected().await?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", after.to_string());
        let publish =
            async { connected.context.publish_with_headers(self.subject(chain), headers, message).await?.await };
        match timeout(self.timeout(), publish).await {
            Ok(Ok(ack)) => Ok(ack.sequence),
            Ok(Err(error)) => Err(self.refused(&error).await),
            Err(_) => Err(no_answer().into()),
        }
    }

    async fn refused(&self, error: &PublishError) -> Refused {
        let told =
            std::error::Error::source(error).and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>());
        match (error.kind(), told.map(|told| told.error_code())) {
            (PublishErrorKind::WrongLastSequence, _) | (_, Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)) => {
                Refused::Overtaken
            }
            (_, Some(ErrorCode::STREAM_STORE_FAILED | ErrorCode::STORAGE_RESOURCES_EXCEEDED)) => Refused::Full,
            (PublishErrorKind::StreamNotFound, _) => {
                self.lost().await;
                Refused::Away(Away("no server of NATS leads the stream".to_owned()))
            }
            (kind, Some(_)) => {
                Refused::Away(Away(format!("{kind}: {}", told.map(ToString::to_string).unwrap_or_default())))
            }
            (kind, None) => Refused::Away(Away(kind.to_string())),
        }
    }

    async fn get(&self, chain: &Chain, from: Option<u64>) -> Result<Option<Stored>, Away> {
        let stream = self.stream(matches!(chain, Chain::Log(_))).await?;
        let subject = self.subject(chain);
        let found = async {
            match from {
                Some(from) => stream.get_first_raw_message_by_subject(&subject, from.max(1)).await,
                None => stream.get_last_raw_message_by_subject(&subject).await,
            }
        };
        match timeout(self.timeout(), found).await {
            Ok(Ok(message)) => Ok(Some(Stored { at: message.sequence, bytes: message.payload })),
            Ok(Err(error)) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(told) if told.error_code() == ErrorCode::NO_MESSAGE_FOUND => {
                    Ok(None)
                }
                _ => {
                    self.lost().await;
                    Err(Away(error.to_string()))
                }
            },
            Err(_) => Err(no_answer()),
        }
    }
}

fn no_answer() -> Away {
    Away("the servers of NATS do not answer in time".to_owned())
}

/// What of a stream that is there would lose events.
fn objection(found: &stream::Config, wanted: &stream::Config) -> Option<String> {
    let differs = [
        (found.retention != wanted.retention, "its retention must be limits"),
        (found.discard != wanted.discard && wanted.discard == DiscardPolicy::New, "its discard policy must be new"),
        (!found.max_age.is_zero(), "it must have no max_age"),
        (found.storage != StorageType::File, "its storage must be file"),
        (found.max_messages > 0, "it must have no limit of messages"),
        (
            found.max_messages_per_subject != wanted.max_messages_per_subject,
            "it has another limit of messages of a subject",
        ),
        (found.deny_purge, "it must not deny purges"),
        (found.subjects != wanted.subjects, "it has other subjects"),
    ];
    let differs = differs.into_iter().find(|(differs, _)| *differs).map(|(_, why)| why.to_owned());
    let fewer = || {
        let (found, wanted) = (found.num_replicas, wanted.num_replicas);
        (found < wanted).then(|| format!("it has {found} replicas where {wanted} are configured"))
    };
    differs.or_else(fewer)
}

impl Servers for JetStream {
    fn append<'a>(&'a self, chain: &'a Chain, after: u64, message: Bytes) -> BoxFuture<'a, Result<u64, Refused>> {
        Box::pin(self.put(chain, after, message))
    }

    fn last<'a>(&'a self, chain: &'a Chain) -> BoxFuture<'a, Result<Option<Stored>, Away>> {
        Box::pin(self.get(chain, None))
    }

    fn next<'a>(&'a self, chain: &'a Chain, from: u64) -> BoxFuture<'a, Result<Option<Stored>, Away>> {
        Box::pin(self.get(chain, Some(from)))
    }

    fn remove<'a>(&'a self, log: &'a LogName, before: u64) -> BoxFuture<'a, Result<(), Away>> {
        Box::pin(async move {
            let stream = self.stream(true).await?;
            let purge = stream.purge().filter(self.subject(&Chain::Log(log.clone()))).sequence(before);
            match timeout(self.timeout(), async { purge.await }).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(Away(error.to_string())),
                Err(_) => Err(no_answer()),
            }
        })
    }

    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogName>, Away>> {
        Box::pin(async move {
            let stream = self.stream(false).await?;
            let prefix = self.subjects(false);
            let list = async {
                let subjects =
                    stream.info_with_subjects(prefix.clone() + ">").await.map_err(|error| error.to_string())?;
                subjects.try_collect::<Vec<(String, usize)>>().await.map_err(|error| error.to_string())
            };
            let listed = timeout(self.timeout(), list).await.map_err(|_| no_answer())?.map_err(Away)?;
            Ok(listed.iter().filter_map(|(subject, _)| LogName::parse(subject.strip_prefix(&prefix)?)).collect())
        })
    }

    fn message_max(&self) -> usize {
        self.payload_max.load(Ordering::Relaxed).saturating_sub(HEADROOM).min(MESSAGE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_would_lose_events_is_not_used() {
        let servers = JetStream::new(Config::default());
        let wanted = servers.wanted(true);
        assert_eq!(objection(&wanted, &wanted), None);
        let otherwise: [fn(&mut stream::Config); 6] = [
            |found| found.retention = RetentionPolicy::Interest,
            |found| found.discard = DiscardPolicy::Old,
            |found| found.max_age = Duration::from_secs(86_400),
            |found| found.storage = StorageType::Memory,
            |found| found.num_replicas = 1,
            |found| found.max_messages = 1_000,
        ];
        for (n, change) in otherwise.into_iter().enumerate() {
            let mut found = wanted.clone();
            change(&mut found);
            assert!(objection(&found, &wanted).is_some(), "{n}");
        }
    }
}
