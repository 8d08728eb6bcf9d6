//! The event log of a simulated host, and places in it.

use std::collections::BTreeMap;

use super::super::events::Shape;
use super::super::events::SimulatedEvent;
use super::super::render::guid;

/// A place in the log: the last record of each channel that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) records: BTreeMap<String, u64>,
    /// The channel of the last event.
    pub(super) current: Option<String>,
}

impl Place {
    /// As Windows writes it.
    pub(super) fn written(&self, backward: bool) -> String {
        let direction = if backward { " Direction=\"backward\"" } else { "" };
        let one = |(channel, record): (&String, &u64)| {
            let current = if self.current.as_ref() == Some(channel) { " IsCurrent=\"true\"" } else { "" };
            format!("<Bookmark Channel=\"{channel}\" RecordId=\"{record}\"{current}/>")
        };
        format!("<BookmarkList{direction}>{}</BookmarkList>", self.records.iter().map(one).collect::<String>())
    }
}

/// What a host has logged, in order.
#[derive(Debug, Default)]
pub(super) struct Log {
    events: Vec<Logged>,
}

#[derive(Debug)]
struct Logged {
    channel: &'static str,
    record: u64,
    xml: String,
}

/// Events to be sent, and the place behind them.
pub(super) struct Batch<'l> {
    pub(super) events: Vec<&'l str>,
    pub(super) behind: Place,
}

impl Log {
    pub(super) fn push(&mut self, event: &SimulatedEvent) {
        let xml = String::from_utf8(event.render(Shape::Xml)).expect("events are text");
        self.events.push(Logged { channel: event.channel(), record: event.record_id(), xml });
    }

    /// Behind everything that is there now.
    pub(super) fn end(&self, channels: &[String]) -> Place {
        let mut place = Place::default();
        for logged in self.events.iter().filter(|logged| channels.iter().any(|channel| channel == logged.channel)) {
            place.records.insert(logged.channel.to_owned(), logged.record);
            place.current = Some(logged.channel.to_owned());
        }
        place
    }

    /// At most so many events of these channels behind a place. A channel that the place does not know is sent from its
    /// beginning, as Windows does.
    pub(super) fn batch(&self, channels: &[String], place: &Place, most: usize) -> Batch<'_> {
        let mut behind = place.clone();
        let is_new = |logged: &&Logged| {
            channels.iter().any(|channel| channel == logged.channel)
                && place.records.get(logged.channel).is_none_or(|last| logged.record > *last)
        };
        let mut events = Vec::new();
        for logged in self.events.iter().filter(is_new).take(most) {
            events.push(logged.xml.as_str());
            behind.records.insert(logged.channel.to_owned(), logged.record);
            behind.current = Some(logged.channel.to_owned());
        }
        Batch { events, behind }
    }
}

/// The event that the forwarder makes itself when a subscription begins without a bookmark.
pub(super) fn event_111(host: &str) -> String {
    format!(
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>\
         <Provider Name='Microsoft-Windows-EventForwarder'/><EventID>111</EventID>\
         <TimeCreated SystemTime='2026-01-01T00:00:00.123Z'/><Computer>{host}</Computer></System>\
         <SubscriptionBookmarkEvent><SubscriptionId>{}</SubscriptionId></SubscriptionBookmarkEvent></Event>",
        guid(fastrand::u128(..))
    )
}
