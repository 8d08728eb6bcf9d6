//! A connection to servers of NATS, and the streams of an installation that it is for: made where they are missing, looked at,
//! and asked.
//!
//! A message names the one before it by `Nats-Expected-Last-Subject-Sequence`, and the leader of the stream refuses another one.
//! What is read is read from the leader too (`STREAM.MSG.GET`; a direct get may be answered by a server that lags). A stream
//! that would lose what it is for is not used.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::context::{Context, GetStreamErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{self, LastRawMessageErrorKind, Stream};
use async_nats::jetstream::{ErrorCode, context::ContextBuilder};
use async_nats::{Client, ConnectOptions, HeaderMap, ServerAddr};
use bytes::Bytes;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::config::Config;
use super::credentials;
use super::servers::{Away, Refused, Stored};
use super::streams::{Which, objection};

/// Most bytes of a message, whatever the servers allow: larger ones hold the others up.
const MESSAGE_MAX: usize = 768 << 10;
/// What the server's limit is left for headers.
const HEADROOM: usize = 4 << 10;
/// The limit of a server that was not asked yet: the default of NATS.
const PAYLOAD_MAX: usize = 1 << 20;

/// A connection. It is made with the first question.
pub(super) struct Connection {
    config: Config,
    streams: Vec<Which>,
    connected: Mutex<Option<Arc<Connected>>>,
    payload_max: AtomicUsize,
}

struct Connected {
    context: Context,
    /// Whether all streams were found to be as they must be.
    is_checked: AtomicBool,
}

/// What is found under a stream's name.
pub(super) enum Look {
    /// Nothing.
    Missing,
    /// This.
    There(Box<stream::Info>),
}

/// A stream as its leader sees it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// When it was made: a stream that was removed and made anew is another one.
    pub(super) created: String,
    /// The place of its first message, or what comes behind its last one where it has none.
    pub(super) first: u64,
    /// The place of its last message.
    pub(super) last: u64,
    /// When that came, by the servers' clock, in seconds since 1970.
    pub(super) at_s: i64,
    /// When its first one came.
    pub(super) first_s: i64,
    /// Whether it is nearly as large as it may be.
    pub(super) is_full: bool,
    /// The subjects that were asked for, in order, without what all begin with.
    pub(super) subjects: Vec<String>,
}

/// What a server answers of it.
#[derive(Deserialize)]
struct Told {
    created: String,
    config: ToldConfig,
    state: ToldState,
    cluster: Option<ToldCluster>,
}

#[derive(Deserialize)]
struct ToldConfig {
    max_bytes: i64,
}

#[derive(Deserialize)]
struct ToldState {
    bytes: i64,
    first_seq: u64,
    first_ts: String,
    last_seq: u64,
    last_ts: String,
    subjects: Option<HashMap<String, u64>>,
}

#[derive(Deserialize)]
struct ToldCluster {
    leader: Option<String>,
}

impl Connection {
    /// As configured, for these streams.
    pub(super) fn new(config: Config, streams: &[Which]) -> Self {
        Self {
            config,
            streams: streams.to_vec(),
            connected: Mutex::default(),
            payload_max: AtomicUsize::new(PAYLOAD_MAX),
        }
    }

    fn timeout(&self) -> Duration {
        self.config.timeout.get()
    }

    /// Most bytes of a message.
    pub(super) fn message_max(&self) -> usize {
        self.payload_max.load(Ordering::Relaxed).saturating_sub(HEADROOM).min(MESSAGE_MAX)
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
            for which in &self.streams {
                self.check(&found.context, *which).await?;
            }
            found.is_checked.store(true, Ordering::Release);
        }
        let told = found.context.client().server_info().max_payload;
        self.payload_max.store(told, Ordering::Relaxed);
        Ok(found)
    }

    async fn connect(&self) -> Result<Client, Away> {
        let config = &self.config;
        let mut options = match config.credentials_file.clone() {
            Some(file) => ConnectOptions::with_auth_callback(move |nonce| {
                let file = file.clone();
                async move { credentials::answer(&file, nonce).await }
            }),
            None => ConnectOptions::new(),
        };
        options = options
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
    async fn check(&self, context: &Context, which: Which) -> Result<(), Away> {
        let wanted = which.wanted(&self.config);
        let name = wanted.name.clone();
        let there = match self.found(context, which).await? {
            Look::There(found) => found.config,
            Look::Missing => {
                let (replicas, of) = (wanted.num_replicas, which.about());
                tracing::info!(stream = name, replicas, of, "a stream is made at the servers of replication");
                let made = timeout(self.timeout(), context.create_stream(wanted)).await;
                return match made {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(Away(format!("stream {name} cannot be made: {error}"))),
                    Err(_) => Err(no_answer()),
                };
            }
        };
        if which.may_grow() && (there.max_age < wanted.max_age || there.max_bytes < wanted.max_bytes) {
            let (max_age, max_bytes) = (there.max_age.max(wanted.max_age), there.max_bytes.max(wanted.max_bytes));
            let longer = stream::Config { max_age, max_bytes, ..there };
            return match timeout(self.timeout(), context.update_stream(longer)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(Away(format!("stream {name} cannot be changed: {error}"))),
                Err(_) => Err(no_answer()),
            };
        }
        match objection(&there, &wanted) {
            Some(wrong) => Err(Away(format!("stream {name} would lose {}: {wrong}", which.about()))),
            None => Ok(()),
        }
    }

    async fn found(&self, context: &Context, which: Which) -> Result<Look, Away> {
        let name = which.stream(&self.config);
        match timeout(self.timeout(), context.get_stream(&name)).await {
            Ok(Ok(found)) => Ok(Look::There(Box::new(found.cached_info().clone()))),
            Ok(Err(error)) => match error.kind() {
                GetStreamErrorKind::JetStream(told) if told.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    Ok(Look::Missing)
                }
                _ => Err(Away(format!("stream {name} cannot be looked at: {error}"))),
            },
            Err(_) => Err(no_answer()),
        }
    }

    /// A stream as it is, also one that this connection is not for.
    pub(super) async fn find(&self, which: Which) -> Result<Look, Away> {
        let connected = self.connected().await?;
        self.found(&connected.context, which).await
    }

    /// Sees to it that a stream is there, and is as it must be, also one that this connection is not for.
    pub(super) async fn make(&self, which: Which) -> Result<(), Away> {
        let connected = self.connected().await?;
        self.check(&connected.context, which).await
    }

    /// A stream, to ask what only its users know.
    pub(super) async fn stream(&self, which: Which) -> Result<Stream<()>, Away> {
        let connected = self.connected().await?;
        let stream = connected.context.get_stream_no_info(which.stream(&self.config)).await;
        stream.map_err(|error| Away(error.to_string()))
    }

    /// The messages of a stream from a place on, in order, as they come.
    pub(super) async fn follow(&self, which: Which, from: u64) -> Result<Ordered, Away> {
        let stream = self.stream(which).await?;
        let wanted = OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.max(1) },
            ..OrderedConfig::default()
        };
        let following = async {
            let consumer = stream.create_consumer(wanted).await.map_err(|error| error.to_string())?;
            consumer.messages().await.map_err(|error| error.to_string())
        };
        match timeout(self.timeout(), following).await {
            Ok(followed) => followed.map_err(Away),
            Err(_) => Err(no_answer()),
        }
    }

    /// The connection itself, for what is said to whoever hears it and kept nowhere.
    pub(super) async fn client(&self) -> Result<Client, Away> {
        Ok(self.connected().await?.context.client())
    }

    /// A stream that is missing was removed: it is looked at anew, and made.
    async fn lost(&self) {
        if let Some(connected) = &*self.connected.lock().await {
            connected.is_checked.store(false, Ordering::Release);
        }
    }

    /// Puts a message behind the one at `after` (0: there must be none; none: whatever there is). Its place, once a quorum has it.
    pub(super) async fn put(
        &self,
        which: Which,
        subject: &str,
        after: Option<u64>,
        message: Bytes,
    ) -> Result<u64, Refused> {
        let connected = self.connected().await?;
        let mut headers = HeaderMap::new();
        if let Some(after) = after {
            headers.insert("Nats-Expected-Last-Subject-Sequence", after.to_string());
        }
        let subject = which.subjects(&self.config) + subject;
        let publish = async { connected.context.publish_with_headers(subject, headers, message).await?.await };
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

    /// The last message of a subject, or the first one at a place or behind it.
    pub(super) async fn get(&self, which: Which, subject: &str, from: Option<u64>) -> Result<Option<Stored>, Away> {
        let stream = self.stream(which).await?;
        let subject = which.subjects(&self.config) + subject;
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

    /// Removes the messages before a place, which is behind the first one, of subjects that may have wildcards.
    pub(super) async fn remove(&self, which: Which, subjects: &str, before: u64) -> Result<(), Away> {
        // None stands for all there are.
        if before == 0 {
            return Ok(());
        }
        let stream = self.stream(which).await?;
        let purge = stream.purge().filter(which.subjects(&self.config) + subjects).sequence(before);
        match timeout(self.timeout(), async { purge.await }).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Away(error.to_string())),
            Err(_) => Err(no_answer()),
        }
    }

    /// A stream, and which subjects it has of these, which may have wildcards. All of it is one answer, so that what is told is
    /// of one moment.
    pub(super) async fn look(&self, which: Which, subjects: &str) -> Result<View, Away> {
        let connected = self.connected().await?;
        let prefix = which.subjects(&self.config);
        let asked = serde_json::json!({ "subjects_filter": format!("{prefix}{subjects}") });
        let request = format!("STREAM.INFO.{}", which.stream(&self.config));
        let told = timeout(self.timeout(), connected.context.request(request, &asked)).await;
        let told = match told.map_err(|_| no_answer())?.map_err(|error| Away(error.to_string()))? {
            Response::Ok::<Told>(told) => told,
            Response::Err { error } => {
                self.lost().await;
                return Err(Away(error.to_string()));
            }
        };
        // What a server tells of a stream that nobody leads may be anything.
        if told.cluster.is_some_and(|cluster| cluster.leader.is_none_or(|leader| leader.is_empty())) {
            return Err(Away("no server of NATS leads the stream".to_owned()));
        }
        let time = |text: &str| match OffsetDateTime::parse(text, &Rfc3339) {
            Ok(time) => Ok(time.unix_timestamp()),
            Err(error) => Err(Away(error.to_string())),
        };
        let subjects = told.state.subjects.unwrap_or_default().into_keys();
        let mut subjects: Vec<String> =
            subjects.filter_map(|subject| Some(subject.strip_prefix(&prefix)?.to_owned())).collect();
        subjects.sort_unstable();
        Ok(View {
            created: told.created,
            first: told.state.first_seq,
            last: told.state.last_seq,
            at_s: time(&told.state.last_ts)?,
            first_s: time(&told.state.first_ts)?,
            is_full: told.config.max_bytes > 0 && told.state.bytes > told.config.max_bytes / 16 * 15,
            subjects,
        })
    }
}

/// What is said of servers that keep silent.
pub(super) fn no_answer() -> Away {
    Away("the servers of NATS do not answer in time".to_owned())
}
