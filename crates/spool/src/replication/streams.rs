//! The streams of an installation at servers of NATS, and how each must be so that nothing is lost in it.

use std::time::Duration;

use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};

use super::config::Config;

/// For how long a value is kept that nobody renews.
const LIFE: Duration = Duration::from_secs(400 * 24 * 3600);

/// How much longer than the window the servers keep which events were seen: their clocks differ.
const SEEN_LONGER: Duration = Duration::from_secs(3600);

/// A stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// What is in logs: everything is kept until it is removed, and what has no room is refused.
    Logs,
    /// Whose logs are, and how far their outputs have come: of each the last message.
    States,
    /// Documents that gateways share, in parts: of each the last message.
    Documents,
    /// Small values that gateways share: of each the last message, until nobody has renewed it for long.
    Values,
    /// Which events were seen, for so many seconds and in so many bytes: the oldest goes first.
    Seen {
        /// For how long.
        window_s: u64,
        /// In how many bytes.
        max_size: u64,
    },
}

impl Which {
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Logs => ("logs", "log"),
            Self::States => ("states", "state"),
            Self::Documents => ("documents", "document"),
            Self::Values => ("values", "value"),
            Self::Seen { .. } => ("seen", "seen"),
        }
    }

    /// What is in it, for people.
    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::Logs | Self::States => "replicated logs",
            Self::Documents | Self::Values => "what gateways share",
            Self::Seen { .. } => "which events were seen",
        }
    }

    /// Its name at the servers.
    pub(super) fn stream(self, config: &Config) -> String {
        format!("{}_{}", config.prefix, self.names().0)
    }

    /// What its subjects begin with.
    pub(super) fn subjects(self, config: &Config) -> String {
        format!("{}.{}.", config.prefix, self.names().1)
    }

    /// Whether a stream that is there grows to what is configured now: of what gateways want the most counts.
    pub(super) const fn may_grow(self) -> bool {
        matches!(self, Self::Seen { .. })
    }

    /// How it must be.
    pub(super) fn wanted(self, config: &Config) -> stream::Config {
        let limit = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        // Where one message of a subject is kept, the one before it goes, which with `New` would have to be asked for.
        let (discard, max_bytes, of_subject, max_age) = match self {
            Self::Logs => (DiscardPolicy::New, limit(config.max_size.as_u64()), -1, Duration::ZERO),
            Self::States | Self::Documents => (DiscardPolicy::Old, -1, 1, Duration::ZERO),
            Self::Values => (DiscardPolicy::Old, -1, 1, LIFE),
            Self::Seen { window_s, max_size } => {
                (DiscardPolicy::Old, limit(max_size), -1, Duration::from_secs(window_s) + SEEN_LONGER)
            }
        };
        stream::Config {
            name: self.stream(config),
            subjects: vec![self.subjects(config) + ">"],
            retention: RetentionPolicy::Limits,
            discard,
            max_bytes,
            max_messages: -1,
            max_messages_per_subject: of_subject,
            max_age,
            storage: StorageType::File,
            num_replicas: config.replicas,
            description: Some(format!("Gatepost: {}", self.about())),
            ..stream::Config::default()
        }
    }
}

/// What of a stream that is there would lose what it is for.
pub(super) fn objection(found: &stream::Config, wanted: &stream::Config) -> Option<String> {
    let differs = [
        (found.retention != wanted.retention, "its retention must be limits"),
        (found.discard != wanted.discard && wanted.discard == DiscardPolicy::New, "its discard policy must be new"),
        (!found.max_age.is_zero() && wanted.max_age.is_zero(), "it must have no max_age"),
        (found.max_age < wanted.max_age && !found.max_age.is_zero(), "its max_age is too short"),
        (found.storage != StorageType::File, "its storage must be file"),
        (found.max_messages > 0, "it must have no limit of messages"),
        (found.max_bytes > 0 && wanted.max_bytes < 0, "it must have no limit of bytes"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_would_lose_events_is_not_used() {
        let wanted = Which::Logs.wanted(&Config::default());
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

    #[test]
    fn what_was_seen_is_kept_for_longer_than_the_window_and_its_oldest_goes_first() {
        let wanted = Which::Seen { window_s: 86_400, max_size: 1 << 20 }.wanted(&Config::default());
        assert!(wanted.max_age > Duration::from_secs(86_400) && wanted.max_bytes == 1 << 20);
        assert_eq!((wanted.discard, wanted.max_messages_per_subject), (DiscardPolicy::Old, -1));
        let smaller = stream::Config { max_bytes: 1 << 16, ..wanted.clone() };
        assert_eq!(objection(&smaller, &wanted), None, "it costs duplicates, which are warned of");
    }

    #[test]
    fn values_may_be_kept_longer_and_never_shorter_and_nothing_pushes_them_out() {
        let wanted = Which::Values.wanted(&Config::default());
        let found = |change: fn(&mut stream::Config)| {
            let mut found = wanted.clone();
            change(&mut found);
            objection(&found, &wanted)
        };
        assert_eq!(found(|_| {}), None);
        assert_eq!(found(|found| found.max_age = Duration::ZERO), None);
        assert!(found(|found| found.max_age = Duration::from_secs(3600)).is_some());
        assert!(found(|found| found.max_bytes = 1 << 20).is_some());
    }
}
