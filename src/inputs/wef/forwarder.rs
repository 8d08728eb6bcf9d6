//! The forwarder's own event.
//!
//! A host that begins a subscription without a bookmark sends event 111: it was made for the collector, stands in no log, and
//! has neither a record id nor a channel. The bookmark that comes with it counts; the event is nobody's.

use memchr::memmem;

use crate::event::from_xml;

const PROVIDER: &str = "Microsoft-Windows-EventForwarder";
const BEGINS: u32 = 111;
/// The provider's name stands within so many bytes.
const LOOKED_AT: usize = 512;

/// Whether an event is that one.
pub(super) fn is_own(event: &[u8]) -> bool {
    let start = &event[..event.len().min(LOOKED_AT)];
    if memmem::find(start, PROVIDER.as_bytes()).is_none() {
        return false;
    }
    from_xml::scan(event).is_ok_and(|(fields, _)| {
        fields.provider.as_deref() == Some(PROVIDER)
            && fields.event_id == Some(BEGINS)
            && fields.record_id.is_none()
            && fields.channel.is_none_or(|channel| channel.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_forwarders_event_without_a_place_in_a_log_is_its_own() {
        let event = |provider: &str, id: u32, more: &str| {
            let xmlns = "http://schemas.microsoft.com/win/2004/08/events/event";
            format!(
                "<Event xmlns='{xmlns}'><System><Provider Name='{provider}'/><EventID>{id}</EventID>\
                 <TimeCreated SystemTime='2022-09-22T08:05:18.123Z'/>{more}<Computer>pc1</Computer></System>\
                 <SubscriptionBookmarkEvent><SubscriptionId/></SubscriptionBookmarkEvent></Event>"
            )
        };
        assert!(is_own(event(PROVIDER, 111, "").as_bytes()));
        assert!(!is_own(event(PROVIDER, 112, "").as_bytes()));
        assert!(!is_own(event(PROVIDER, 111, "<EventRecordID>5</EventRecordID>").as_bytes()));
        assert!(!is_own(event(PROVIDER, 111, "<Channel>Security</Channel>").as_bytes()));
        assert!(!is_own(event("Microsoft-Windows-Eventlog", 111, "").as_bytes()));
        assert!(!is_own(b""));
    }
}
