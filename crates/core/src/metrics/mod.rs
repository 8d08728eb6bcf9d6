//! Every metric: name, kind, labels, help, buckets. Nowhere else is a metric named.
//!
//! Labels hold only values from closed sets or from the configuration (input, output and endpoint names), so the
//! number of series has a bound. Inner layers return what they did; the callers at the edges count it here, per batch
//! and never per event. What is counted for every upload and every batch is counted in series that were found once
//! ([`Metric::counter`], [`Metric::histogram`]): to find one costs more than to add to it. `docs/metrics.md` is generated
//! from [`ALL`].

mod metric;

pub use ::metrics::{Counter, Gauge, Histogram};
pub use metric::{Kind, Many, Metric};

const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Of what there is one of for each output: every bucket costs as many series as there are outputs.
const ANSWERS: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// From an event's own time on: as it happens, behind a pause of its agent, of a night, and beyond the two days within which
/// Log Analytics keeps it.
const AGES: &[f64] = &[1.0, 10.0, 60.0, 600.0, 3_600.0, 43_200.0, 172_800.0];

const TUNNEL_LIVES: &[f64] = &[0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0];

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $id:ident = $kind:ident $name:literal
        [$($label:literal $(= $value:literal $(| $more:literal)*)?),*] $($buckets:ident)?;)+) => {
        $(
            $(#[doc = $help])+
            pub static $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                values: &[$(&[$($value $(, $more)*)?]),*],
                help: concat!($($help),+),
                buckets: metrics!(@buckets $($buckets)?),
            };
        )+
        /// Every metric, in the order of this file.
        pub static ALL: &[&Metric] = &[$(&$id),+];
    };
    (@buckets) => { &[] };
    (@buckets $buckets:ident) => { $buckets };
}

metrics! {
    /// Build of the running gateway, with the commit that it was made from; always 1.
    BUILD_INFO = Gauge "gatepost_build_info" ["version", "revision"];
    /// 1 when the gateway is ready to take uploads, else 0.
    READY = Gauge "gatepost_ready" [];
    /// Seconds that the wall clock is ahead of the clock by which windows and ages are counted; negative when it is behind.
    CLOCK_DIFFERENCE_SECONDS = Gauge "gatepost_clock_difference_seconds" [];
    /// 1 while a jump of the wall clock is held: windows and ages go on by the time since boot. Else 0.
    CLOCK_HELD = Gauge "gatepost_clock_held" [];
    /// Jumps of the wall clock that were held.
    CLOCK_JUMPS = Counter "gatepost_clock_jumps_total" [];
    /// Files of the state directory that were found lost or damaged at the start or since, by part. What was done about each
    /// is in the log.
    STATE_DAMAGED = Counter "gatepost_state_damaged_total" ["part" = "agents" | "certificate" | "dead_letters" | "decided" | "dedup" | "hosts" | "ledger" | "position" | "replica" | "rules" | "secret" | "spool" | "token_keys" | "wef_bookmarks"];
    /// 1 when a file or directory that the gateway has open was removed or replaced under it, else 0. Uploads are refused
    /// until a restart.
    STATE_REMOVED = Gauge "gatepost_state_removed" [];
    /// 1 when the last reload of the configuration was applied, or there was none; 0 when it was refused and the old one is
    /// still in force.
    CONFIG_LAST_RELOAD_OK = Gauge "gatepost_config_last_reload_successful" [];
    /// When the configuration that is in force was read, in seconds since 1970.
    CONFIG_IN_FORCE_SINCE = Gauge "gatepost_config_in_force_timestamp_seconds" [];
    /// Bytes that are free for Gatepost on the disk of the state directory.
    STATE_FREE_BYTES = Gauge "gatepost_state_free_bytes" [];
    /// Seconds until the disk of the state directory is full, or the spool at its limit, whichever comes first, by how both grew over
    /// the last minutes; +Inf while neither grows.
    SECONDS_TO_FULL = Gauge "gatepost_state_seconds_to_full" [];
    /// When a certificate ends, in seconds since 1970, by what it is for and the name of its listener or output; of a chain, or of
    /// several authorities in one file, the first end. NaN when it is not used any more.
    CERTIFICATE_EXPIRY = Gauge "gatepost_certificate_expiry_timestamp_seconds" ["use" = "admin" | "identity" | "take_over_ca" | "tunnel" | "tunnel_client_ca" | "upload" | "upload_client_ca", "name"];
    /// When the next update of a listener's revocation lists is due, in seconds since 1970: after it no client certificate of that
    /// authority is taken. Of several authorities the first; NaN when no list is used any more.
    CRL_NEXT_UPDATE = Gauge "gatepost_revocation_list_next_update_timestamp_seconds" ["use" = "tunnel" | "upload", "name"];
    /// Lines of the log that were written, by level.
    LOG_LINES = Counter "gatepost_log_lines_total" ["level" = "error" | "warn" | "info"];
    /// Spans of traces, by what became of them: "exported", "failed" (their collector did not take them), "dropped" (there were
    /// too many to keep). None without `telemetry.traces_to`.
    TRACE_SPANS = Counter "gatepost_trace_spans_total" ["result" = "exported" | "failed" | "dropped"];
    /// Configuration reloads, by result.
    CONFIG_RELOADS = Counter "gatepost_config_reloads_total" ["result" = "applied" | "refused"];
    /// Followers of the status page: connections to `/live`.
    LIVE_FOLLOWERS = Gauge "gatepost_live_followers" [];
    /// Threads that carry the gateway's tasks.
    RUNTIME_WORKERS = Gauge "gatepost_runtime_workers" [];
    /// Tasks that have begun and not ended.
    RUNTIME_TASKS = Gauge "gatepost_runtime_tasks" [];
    /// Tasks that are ready and wait for a thread.
    RUNTIME_QUEUED_TASKS = Gauge "gatepost_runtime_queued_tasks" [];
    /// Share of the threads' time, since the last look, in which they worked: near 1 uploads wait for a thread.
    RUNTIME_BUSY = Gauge "gatepost_runtime_busy_ratio" [];

    /// Connections open now, by listener.
    CONNECTIONS_OPEN = Gauge "gatepost_connections_open" ["listener"];
    /// Connections refused or cut by the front door, by listener and reason; `made_room` are quiet ones that went because others
    /// came, `too_many_connections` those for which none could go.
    CONNECTIONS_REFUSED = Counter "gatepost_connections_refused_total" ["listener", "reason" = "made_room" | "too_many_connections"];
    /// Connections of the admin plane open now.
    ADMIN_CONNECTIONS_OPEN = Gauge "gatepost_admin_connections_open" [];
    /// Connections of the admin plane refused or cut, by reason; `made_room` are quiet ones that went because others came.
    ADMIN_CONNECTIONS_REFUSED = Counter "gatepost_admin_connections_refused_total" ["reason" = "made_room" | "malformed" | "slow_head"];
    /// Requests answered, by input and status.
    INPUT_REQUESTS = Counter "gatepost_input_requests_total" ["input", "status" = "200" | "204" | "400" | "429" | "503"];
    /// Requests that were not answered with success, by input and reason; the runbook has every reason.
    INPUT_REFUSED = Counter "gatepost_input_refused_total" ["input", "reason" = "body_unreadable" | "in_flight_bytes"];
    /// Seconds from the first byte of a request to its answer, by input.
    INPUT_REQUEST_SECONDS = Histogram "gatepost_input_request_seconds" ["input"] SECONDS;
    /// Seconds from an event's own time to its receipt, by input; of events with a readable time.
    EVENT_AGE_AT_RECEIPT = Histogram "gatepost_event_age_at_receipt_seconds" ["input"] AGES;
    /// Bytes of events that were dropped, as they were uploaded, by input and whether a rule dropped them or they were duplicates:
    /// what the workspaces do not have to ingest.
    DROPPED_BYTES = Counter "gatepost_events_dropped_bytes_total" ["input", "reason" = "duplicate" | "filtered"];
    /// Requests for a token of the local Entra, by input and result.
    ENTRA_TOKENS = Counter "gatepost_entra_tokens_total" ["input", "result" = "issued" | "failed" | "refused"];
    /// Bytes of upload bodies, by input and whether counted on the wire or decompressed.
    INPUT_BYTES = Counter "gatepost_input_bytes_total" ["input", "counted" = "wire" | "decompressed"];

    /// Messages of hosts that forward events, by input and kind: "enumerate", "heartbeat", "events", "subscription_end", "end".
    WEF_MESSAGES = Counter "gatepost_wef_messages_total" ["input", "kind" = "events" | "heartbeat"];
    /// Events that hosts lost before they could forward them, by input: their logs wrapped. Known where every event of a channel
    /// is asked for, because there record ids follow each other.
    WEF_LOST_BY_HOSTS = Counter "gatepost_wef_events_lost_by_hosts_total" ["input"];
    /// Events that the forwarder of a host makes itself when it begins a subscription, by input: they stand in no log and are not
    /// kept.
    WEF_FORWARDER_EVENTS = Counter "gatepost_wef_forwarder_events_total" ["input"];
    /// Messages of hosts that call themselves by the name of a computer that is not theirs by their certificate, by input and
    /// whether they were refused or only counted.
    WEF_FOREIGN_MACHINES = Counter "gatepost_wef_foreign_machines_total" ["input", "action" = "refused" | "tagged"];
    /// Kerberos tickets of hosts that forward events, by input and what came of them: accepted, refused, or failed where nobody
    /// could look at them.
    WEF_TICKETS = Counter "gatepost_wef_tickets_total" ["input", "result" = "accepted" | "refused" | "failed"];
    /// Bookmarks of hosts that forward events, that are kept now.
    WEF_BOOKMARKS = Gauge "gatepost_wef_bookmarks" [];
    /// Seconds from a bookmark's arrival until it was durable, with those that came together counted once.
    WEF_BOOKMARK_SECONDS = Histogram "gatepost_wef_bookmark_seconds" [] SECONDS;

    /// Requests of OMS and Microsoft Monitoring agents that were answered with success, by input and kind.
    AGENT_REQUESTS = Counter "gatepost_agent_requests_total" ["input", "kind" = "topology" | "telemetry" | "renewal" | "json" | "diagnostics" | "xml"];
    /// Certificates of agents that are registered.
    AGENTS_KNOWN = Gauge "gatepost_agents_known" [];
    /// Registered agents that have said nothing for longer than `ods.silent_after`.
    AGENTS_SILENT = Gauge "gatepost_agents_silent" [];

    /// Events in acknowledged uploads, by input: the left side of the account.
    EVENTS_RECEIVED = Counter "gatepost_events_received_total" ["input"];
    /// Events dropped by a rule, by input and reason.
    EVENTS_FILTERED = Counter "gatepost_events_filtered_total" ["input", "reason" = "not_in_event_set" | "not_selected"];
    /// Events that a rule took to an output, before duplicates are removed; an event that several rules take to one output
    /// counts for one of them.
    RULE_EVENTS = Counter "gatepost_rule_events_total" ["rule", "output"];
    /// Events dropped because they were seen before, by input.
    EVENTS_DUPLICATE = Counter "gatepost_events_duplicate_total" ["input"];
    /// Records set aside as dead letters because they could not be understood, by input.
    EVENTS_SET_ASIDE = Counter "gatepost_events_set_aside_total" ["input"];
    /// Events that named a computer or resource that is not their sender's, by input and whether their upload was refused or
    /// they were kept and tagged.
    EVENTS_FOREIGN = Counter "gatepost_events_foreign_total" ["input", "action" = "refused" | "tagged"];
    /// Windows events in acknowledged uploads that had no readable time, by input: they are known by their content only, and a
    /// workspace puts the time of arrival in its place. `/status` says who sends them.
    EVENTS_TIMELESS = Counter "gatepost_events_without_time_total" ["input"];
    /// Records of the Data Collector API that were spooled and tell no time of their own, and items of OMS agents that tell none to
    /// a fraction of a second, by input: if their sender repeats them under a new signature, or in another upload, nobody can
    /// tell that from new records, and they are forwarded again.
    EVENTS_UNRECOGNISABLE = Counter "gatepost_events_unrecognisable_total" ["input"];
    /// Windows events that were spooled without a record id, by input: if the same event comes another way, nobody can tell that it
    /// is the same, and it is forwarded again.
    EVENTS_UNNUMBERED = Counter "gatepost_events_without_record_id_total" ["input"];
    /// Events that inputs took and of which the ledger says neither that they were dropped nor that they were kept: anything but 0 is
    /// a bug.
    ACCOUNT_DIFFERENCE = Gauge "gatepost_account_difference_events" [];
    /// Events appended to the spool, by input.
    EVENTS_SPOOLED = Counter "gatepost_events_spooled_total" ["input"];
    /// Uploads refused because of load, or because of a trouble of the gateway's own, by reason.
    UPLOADS_SHED = Counter "gatepost_uploads_shed_total"
        ["reason" = "in_flight_bytes" | "crowded" | "stopping" | "spool_full" | "spool_failed" | "state_removed" | "dead_letters_full" | "dead_letters_failed" | "internal" | "too_slow" | "gone" | "loading" | "held" | "dedup_unavailable" | "pending" | "not_replicated"];
    /// Bytes of uploads being worked on now.
    INGEST_IN_FLIGHT_BYTES = Gauge "gatepost_ingest_in_flight_bytes" [];

    /// Computers that are known to send events, by the group of `hosts.groups` that they are in; `other` are in none.
    HOSTS_KNOWN = Gauge "gatepost_hosts_known" ["group"];
    /// Computers that have sent nothing for longer than their group allows, by group.
    HOSTS_SILENT = Gauge "gatepost_hosts_silent" ["group"];
    /// Clients of which an upload was refused within the last hour, for what it held.
    HOSTS_REFUSED = Gauge "gatepost_hosts_refused" [];
    /// Computers and clients that were forgotten because more sent than `hosts.max`.
    HOSTS_FORGOTTEN = Counter "gatepost_hosts_forgotten_total" [];

    /// Event keys remembered for deduplication.
    DEDUP_KEYS = Gauge "gatepost_dedup_keys" [];
    /// Bytes of memory that the remembered keys take.
    DEDUP_BYTES = Gauge "gatepost_dedup_bytes" [];
    /// Event keys forgotten before the end of the window because a bound was reached.
    DEDUP_EVICTED = Counter "gatepost_dedup_evicted_total" [];

    /// 1 while the engine that gateways share (`dedup.kind`) answers, else 0; absent without one.
    DEDUP_ENGINE_UP = Gauge "gatepost_dedup_engine_up" [];
    /// 1 while the engine drops keys before their time: with Redis or Valkey when its memory is full (`maxmemory-policy` is not
    /// noeviction), with `jetstream` because the stream is full (`dedup.jetstream.max_size`). Events may then be forwarded twice.
    DEDUP_ENGINE_EVICTS = Gauge "gatepost_dedup_engine_evicts" [];
    /// Keys that the engine dropped for want of memory since its own start; of all its users.
    DEDUP_ENGINE_EVICTED = Gauge "gatepost_dedup_engine_evicted_keys" [];
    /// Calls of the engine; one does the work of all uploads that wait.
    DEDUP_ENGINE_CALLS = Counter "gatepost_dedup_engine_calls_total" [];
    /// Claims, confirmations and releases of uploads in these calls; with `jetstream` confirmations, since nobody else is asked.
    DEDUP_ENGINE_OPERATIONS = Counter "gatepost_dedup_engine_operations_total" [];
    /// Seconds that a call of the engine took, on average over the last second in which there was one.
    DEDUP_ENGINE_SECONDS = Gauge "gatepost_dedup_engine_call_seconds" [];
    /// Times that the engine was found away, or full.
    DEDUP_ENGINE_LOSSES = Counter "gatepost_dedup_engine_losses_total" [];
    /// Times that the engine was found to be another one: emptied, restored, or replaced by a replica that may lack its last writes.
    DEDUP_ENGINE_CHANGES = Counter "gatepost_dedup_engine_changes_total" [];
    /// Events that were stored here and not forwarded, because another gateway had won them.
    DEDUP_DROPPED = Counter "gatepost_dedup_dropped_total" [];
    /// Events that two gateways have, from a time when the engine was away or had forgotten: the most that may have been
    /// forwarded twice by that. Counted by each gateway that finds it.
    DEDUP_POSSIBLE_DUPLICATES = Counter "gatepost_dedup_possible_duplicates_total" [];
    /// Events that were taken while the engine was away, and that the other gateways do not know yet.
    DEDUP_ALONE = Gauge "gatepost_dedup_alone" [];
    /// Events that are stored and of which it is not known yet whether this gateway forwards them.
    DEDUP_UNDECIDED = Gauge "gatepost_dedup_undecided" [];
    /// 1 while what is appended is replicated (`replication.kind = "jetstream"`), else 0; absent without replication.
    REPLICATION_UP = Gauge "gatepost_replication_up" [];
    /// Events that are durable here and not replicated yet; their uploads wait.
    REPLICATION_PENDING = Gauge "gatepost_replication_pending_events" [];
    /// Messages that a quorum of the servers has acknowledged: each has what became durable while the one before was on its way.
    REPLICATION_MESSAGES = Counter "gatepost_replication_messages_total" [];
    /// Bytes of these messages.
    REPLICATION_BYTES = Counter "gatepost_replication_bytes_total" [];
    /// Seconds from a message to its acknowledgement: the mean of the last second.
    REPLICATION_SECONDS = Gauge "gatepost_replication_ack_seconds" [];
    /// How often the servers could not be reached, or the replica could not be written.
    REPLICATION_FAILURES = Counter "gatepost_replication_failures_total" [];
    /// Bytes that a stream takes at each of its servers, of all gateways; looked at four times a minute, as the next ones.
    REPLICATION_STREAM_BYTES = Gauge "gatepost_replication_stream_bytes" ["stream"];
    /// Most bytes of a stream; absent where it has no limit. What logs have no room for is refused; of what was seen the oldest goes.
    REPLICATION_STREAM_LIMIT_BYTES = Gauge "gatepost_replication_stream_limit_bytes" ["stream"];
    /// Messages in a stream.
    REPLICATION_STREAM_MESSAGES = Gauge "gatepost_replication_stream_messages" ["stream"];
    /// Servers that have all of a stream, its leader included; 0 while none leads it, or none answers.
    REPLICATION_SERVERS_IN_SYNC = Gauge "gatepost_replication_servers_in_sync" ["stream"];
    /// Servers that are to have all of a stream.
    REPLICATION_SERVERS_WANTED = Gauge "gatepost_replication_servers_wanted" ["stream"];
    /// How often another server was found to lead a stream.
    REPLICATION_LEADER_CHANGES = Counter "gatepost_replication_leader_changes_total" ["stream"];
    /// 1 while what gateways share at the servers of replication (`replication.share_state`) can be reached, else 0; absent without it.
    STATE_SHARING_UP = Gauge "gatepost_state_sharing_up" [];
    /// Logs of gateways that were gone, taken over by this one.
    REPLICATION_TAKEOVERS = Counter "gatepost_replication_takeovers_total" [];
    /// Other gateways of the installation that were seen within the last ten seconds.
    GATEWAYS_SEEN = Gauge "gatepost_gateways_seen" [];
    /// Of these, gateways whose configuration differs from this one's where all must be alike (`dedup.window`, `filter`).
    GATEWAYS_DIFFER = Gauge "gatepost_gateways_differ" [];

    /// Bytes of disk that the spool takes.
    SPOOL_BYTES = Gauge "gatepost_spool_bytes" [];
    /// Bytes of disk that the spool may take.
    SPOOL_LIMIT_BYTES = Gauge "gatepost_spool_limit_bytes" [];
    /// Events in the spool that at least one output still has to send.
    SPOOL_EVENTS = Gauge "gatepost_spool_events" [];
    /// Seconds from handing an append to the spool until it was durable.
    SPOOL_APPEND_SECONDS = Histogram "gatepost_spool_append_seconds" [] SECONDS;
    /// Appends that failed, by reason.
    SPOOL_APPEND_FAILURES = Counter "gatepost_spool_append_failures_total" ["reason" = "spool_full" | "spool_failed" | "too_large" | "stopping"];
    /// Group commits: one write and one fsync each.
    SPOOL_COMMITS = Counter "gatepost_spool_commits_total" [];
    /// Events lost to damage of the spool's files while an output still had to send them: counted once, by whoever finds
    /// them first.
    SPOOL_DAMAGED_EVENTS = Counter "gatepost_spool_damaged_events_total" [];

    /// Events that an output took, by output.
    EVENTS_FORWARDED = Counter "gatepost_events_forwarded_total" ["output"];
    /// Events kept as dead letters after an output refused them, by output and reason.
    EVENTS_DEAD_LETTERED = Counter "gatepost_events_dead_lettered_total" ["output", "reason" = "rejected"];
    /// Events that an output took with long texts cut, because they fit into no request otherwise, by output.
    EVENTS_SHORTENED = Counter "gatepost_events_shortened_total" ["output"];
    /// Events that an output took whose time it does not keep: Azure puts the time of arrival in the place of a
    /// `TimeGenerated` more than two days back or one day ahead. Their own time is in `original_time_column`.
    EVENTS_RESTAMPED = Counter "gatepost_events_restamped_total" ["output"];
    /// Records in JSON that an output took whole in one column, because they are no Windows events and its table has no columns
    /// for them, by output.
    EVENTS_SHAPELESS = Counter "gatepost_events_without_shape_total" ["output"];
    /// Events of the spool that were for other outputs only, by output that passed over them.
    EVENTS_SKIPPED = Counter "gatepost_events_skipped_total" ["output"];
    /// Events of the spool that another gateway has taken over, because this one was thought to be gone, by output that passed
    /// over them.
    EVENTS_HANDED_OVER = Counter "gatepost_events_handed_over_total" ["output"];
    /// Events in the spool that this output still has to send.
    EVENTS_PENDING = Gauge "gatepost_events_pending" ["output"];
    /// Age in seconds of the oldest event that this output still has to send.
    OLDEST_PENDING_SECONDS = Gauge "gatepost_oldest_pending_seconds" ["output"];
    /// 1 while an output runs, 0 while it is configured and cannot start: its events are kept, and it is tried again. NaN when it is
    /// configured no more.
    OUTPUT_RUNNING = Gauge "gatepost_output_running" ["output"];
    /// Seconds for which this output has had events to send and settled none; 0 while it makes progress.
    OUTPUT_STALLED_SECONDS = Gauge "gatepost_output_stalled_seconds" ["output"];
    /// Events sent again although they may have been taken before: no answer came, an answer leaves it open, or a former
    /// process had sent them. The only way to a duplicate at a workspace, and the most that there can be.
    EVENTS_AMBIGUOUS = Counter "gatepost_events_ambiguous_total" ["output"];
    /// Read positions that were lost, by output and cause: events that it may have sent are sent again.
    OUTPUT_POSITIONS_LOST = Counter "gatepost_output_positions_lost_total" ["output", "cause" = "missing"];
    /// Events that this output still has to send and that may have arrived already, because of a crash or a lost
    /// position: they count as ambiguous when they are sent again.
    EVENTS_IN_DOUBT = Gauge "gatepost_events_in_doubt" ["output"];
    /// The same by what left it open: "no_answer", "failed" (408, 5xx), "overloaded" (429, 503: most endpoints took
    /// nothing) or "restart".
    EVENTS_AMBIGUOUS_BY_REASON = Counter "gatepost_events_ambiguous_by_reason_total" ["output", "reason" = "no_answer" | "failed" | "overloaded" | "restart" | "takeover"];
    /// Requests to endpoints, by output and outcome.
    FORWARD_REQUESTS = Counter "gatepost_forward_requests_total" ["output", "outcome" = "accepted"];
    /// Requests that an endpoint refused (400, 413) and another endpoint took as they were, by output; which endpoint it is stands on
    /// `/status`.
    FORWARD_CONTRADICTED = Counter "gatepost_forward_contradicted_total" ["output"];
    /// Seconds from sending a batch to its answer, by output.
    FORWARD_REQUEST_SECONDS = Histogram "gatepost_forward_request_seconds" ["output"] ANSWERS;
    /// Seconds from an event's own time until an output took it, by output; of outputs that do not look at that time ("http",
    /// "file"), from its receipt.
    EVENT_AGE_AT_DELIVERY = Histogram "gatepost_event_age_at_delivery_seconds" ["output"] AGES;
    /// Bytes sent to endpoints, by output and whether counted on the wire or before compression.
    FORWARD_BYTES = Counter "gatepost_forward_bytes_total" ["output", "counted" = "wire" | "plain"];
    /// State of an endpoint, by output and endpoint: 0 in use, 1 back with a growing share, 2 being tried after an ejection, 3 left
    /// alone because it asked for that, 4 ejected. NaN when it is configured no more.
    ENDPOINT_STATE = Gauge "gatepost_endpoint_state" ["output", "endpoint"];
    /// Estimated seconds to an answer of an endpoint, unanswered requests included: what the balancer chooses by. NaN when it is
    /// configured no more.
    ENDPOINT_LATENCY_SECONDS = Gauge "gatepost_endpoint_latency_seconds" ["output", "endpoint"];
    /// Requests that an endpoint did not accept, by output and endpoint; what was said is in
    /// `gatepost_forward_requests_total` by outcome.
    ENDPOINT_FAILURES = Counter "gatepost_endpoint_failures_total" ["output", "endpoint"];
    /// Requests in flight, by output.
    OUTPUT_IN_FLIGHT = Gauge "gatepost_output_in_flight" ["output"];
    /// Tunnels open now, by listener. The OMS gateway's "Active Client Connection".
    TUNNELS_OPEN = Gauge "gatepost_tunnels_open" ["listener"];
    /// Connections to tunnel listeners now: tunnels, and clients that are asking for one. What `gatepost_tunnels_limit`
    /// limits.
    TUNNEL_CONNECTIONS = Gauge "gatepost_tunnel_connections" [];
    /// The most connections that tunnel listeners take: `max_tunnels`, or what the limit of open files has room for; 0
    /// without a listener.
    TUNNELS_LIMIT = Gauge "gatepost_tunnels_limit" [];
    /// Client addresses that have a tunnel or are asking for one. The OMS gateway's "Connected Client".
    TUNNEL_CLIENTS = Gauge "gatepost_tunnel_clients" [];
    /// Tunnels that stood and have ended, by listener, rule and reason.
    TUNNELS_ENDED = Counter "gatepost_tunnels_ended_total" ["listener", "rule", "reason" = "closed"];
    /// Tunnels that ended at this gateway and were handed to an input, by the table in `tunnel.take_over` and the input.
    TUNNELS_TAKEN_OVER = Counter "gatepost_tunnels_taken_over_total" ["rule", "input"];
    /// Certificates that were made for hosts that are taken over.
    TUNNEL_TAKE_OVER_CERTIFICATES = Counter "gatepost_tunnel_take_over_certificates_total" [];
    /// Requests for a tunnel that were refused, by listener and reason. The OMS gateway's "Rejection Count", which
    /// counted only handshakes, is the sum of some of them.
    TUNNELS_REFUSED = Counter "gatepost_tunnels_refused_total" ["listener", "reason"];
    /// Tunnels that failed or were cut because of the network, a name server or an upstream proxy, by reason. The OMS
    /// gateway's "Error Count".
    TUNNEL_ERRORS = Counter "gatepost_tunnel_errors_total" ["reason"];
    /// Bytes moved by tunnels that have ended, by rule and direction ("up" is to the destination).
    TUNNEL_BYTES = Counter "gatepost_tunnel_bytes_total" ["rule", "direction" = "up" | "down"];
    /// Seconds for which tunnels stood, by rule.
    TUNNEL_SECONDS = Histogram "gatepost_tunnel_seconds" ["rule"] TUNNEL_LIVES;
    /// Seconds to reach the destination, name resolution and upstream proxies included, by rule.
    TUNNEL_DIAL_SECONDS = Histogram "gatepost_tunnel_dial_seconds" ["rule"] SECONDS;
    /// Lines of the access log that were lost because they came faster than they could be written.
    ACCESS_LOG_LOST = Counter "gatepost_access_log_lost_total" [];

    /// Requests for tokens, by kind of identity and outcome: "fetched", "failed" (time may mend it) or "refused" (a person
    /// must).
    TOKEN_REQUESTS = Counter "gatepost_token_requests_total" ["kind", "outcome" = "fetched" | "failed" | "refused"];

    /// When the token ends that an output sends, in seconds since 1970, by output and kind of identity; the last one, when it has
    /// none that is good.
    TOKEN_EXPIRY = Gauge "gatepost_token_expiry_timestamp_seconds" ["output", "kind"];
    /// 1 while the last try to get a token for an output failed, also while the one before it is still good; else 0.
    TOKEN_FAILING = Gauge "gatepost_token_failing" ["output", "kind"];

    /// Dead letters kept now.
    DEAD_LETTERS = Gauge "gatepost_dead_letters" [];
    /// Dead letters kept now, by the output or input that they come from and the reason.
    DEAD_LETTERS_BY_REASON = Gauge "gatepost_dead_letters_by_reason" ["source", "reason"];
    /// Dead letters that were found damaged or missing at the start.
    DEAD_LETTERS_LOST = Counter "gatepost_dead_letters_lost_total" [];
    /// Records of inputs that were not understood and whose dead letters were given up for newer ones, because they
    /// filled the share of their sender or of all inputs.
    DEAD_LETTERS_DISPLACED = Counter "gatepost_dead_letters_displaced_total" ["source", "reason" = "not_understood"];
    /// 1 while an output waits until there is room for its dead letters, else 0.
    OUTPUT_WAITS_FOR_LETTERS = Gauge "gatepost_output_waits_for_dead_letters" ["output"];
    /// Bytes of disk that an output's dead letters take, as a share of what they may take: from 1 on it waits.
    DEAD_LETTERS_SHARE_USED = Gauge "gatepost_dead_letters_share_used" ["output"];
    /// Bytes of disk that dead letters take.
    DEAD_LETTER_BYTES = Gauge "gatepost_dead_letter_bytes" [];
}

/// Tells the installed recorder what each metric is. Call once, after installing it.
pub fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => ::metrics::describe_counter!(metric.name, metric.help.trim()),
            Kind::Gauge => ::metrics::describe_gauge!(metric.name, metric.help.trim()),
            Kind::Histogram => ::metrics::describe_histogram!(metric.name, metric.help.trim()),
        }
    }
}
