//! The log of a collector, in queries.
//!
//! Windows puts events that came from other hosts into a log of their own there. Forwarded events keep the channel of their
//! origin, and nothing in one says that it came through a collector: so a query for that log stands for every channel.

const FORWARDED_EVENTS: &str = "ForwardedEvents";

/// What is said wherever a query names that log.
pub(super) const WARNING: &str = "ForwardedEvents is the log of a collector, and events tell the channel of their origin: \
                                  this query sees the events of every channel";

/// Whether a channel is that log.
pub(super) fn is_log(channel: &str) -> bool {
    channel.eq_ignore_ascii_case(FORWARDED_EVENTS)
}

/// The channel that events tell which a query for this channel sees; `None` when they may tell any.
pub fn told_channel(asked: &str) -> Option<&str> {
    Some(asked).filter(|channel| !is_log(channel))
}
