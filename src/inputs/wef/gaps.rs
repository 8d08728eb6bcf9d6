//! Events that a host lost before it could send them.
//!
//! The host's own log is the only buffer: when it wraps, the oldest events are gone, and nothing says so but their numbers.
//! Record ids of a channel follow each other, so where every event of a channel is asked for a jump is a loss. Where a query
//! leaves events out, ids jump anyway, and nothing can be told.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::event::from_xml;
use crate::event::xml::{Token, Tokens, attributes};

/// Most channels of a bookmark that are looked at: as many as a query list can name.
const CHANNELS_MAX: usize = 256;

/// Most events that a delivery can say are gone: no log held more between two. A host can write any number, and what all of
/// them lost together must not overflow.
const MISSING_MAX: u64 = u32::MAX as u64;

/// The events that are missing before and between those of a delivery. `whole`: the channels of which every event is asked
/// for, in lower case; `before`: the bookmark that the host gave with the delivery before.
pub fn missing<'e>(whole: &[String], before: Option<&str>, events: impl Iterator<Item = &'e [u8]>) -> u64 {
    if whole.is_empty() {
        return 0;
    }
    let mut last = before.map(places).unwrap_or_default();
    let mut missing = 0;
    for event in events {
        let Ok((fields, _)) = from_xml::scan(event) else { continue };
        let (Some(channel), Some(id)) = (fields.channel, fields.record_id) else { continue };
        let channel = channel.to_lowercase();
        if !whole.contains(&channel) {
            continue;
        }
        // A lower id is one that comes again, or the first after the log was cleared.
        if let Some(last) = last.insert(channel, id).filter(|last| *last < id) {
            missing = (id - last - 1).saturating_add(missing).min(MISSING_MAX);
        }
    }
    missing
}

/// The record id of each channel in a bookmark, by the channel's name in lower case.
fn places(bookmark: &str) -> HashMap<String, u64> {
    let mut tokens = Tokens::new(bookmark.as_bytes(), 0);
    let mut places = HashMap::new();
    while let Ok(Some(token)) = tokens.next_token() {
        if let Token::Open { name: b"Bookmark", attributes: written, .. } = token
            && places.len() < CHANNELS_MAX
        {
            let value = |wanted: &str| attributes(written).find(|(name, _)| *name == wanted).map(|(_, value)| value);
            let channel = value("Channel").map(Cow::into_owned);
            let id = value("RecordId").and_then(|id| id.trim().parse().ok());
            places.extend(channel.map(|channel| channel.to_lowercase()).zip(id));
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(channel: &str, id: u64) -> Vec<u8> {
        format!("<Event><System><EventRecordID>{id}</EventRecordID><Channel>{channel}</Channel></System></Event>")
            .into()
    }

    fn count(before: &str, events: &[(&str, u64)]) -> u64 {
        let events: Vec<Vec<u8>> = events.iter().map(|(channel, id)| event(channel, *id)).collect();
        missing(&["security".to_owned()], Some(before), events.iter().map(Vec::as_slice))
    }

    const AT_TEN: &str =
        r#"<BookmarkList><Bookmark Channel="Security" RecordId="10" IsCurrent="true"/></BookmarkList>"#;

    #[test]
    fn a_jump_of_a_channel_that_is_asked_for_whole_is_a_loss() {
        assert_eq!(count(AT_TEN, &[("Security", 11), ("security", 12)]), 0);
        assert_eq!(count(AT_TEN, &[("Security", 51)]), 40, "before the delivery");
        assert_eq!(count(AT_TEN, &[("Security", 11), ("Security", 14)]), 2, "within it");
        assert_eq!(count(AT_TEN, &[("System", 500)]), 0, "a channel that is not asked for whole");
        assert_eq!(count("", &[("Security", 500)]), 0, "the first that is seen");
    }

    #[test]
    fn what_comes_again_and_a_cleared_log_are_no_loss() {
        assert_eq!(count(AT_TEN, &[("Security", 8), ("Security", 9), ("Security", 10), ("Security", 11)]), 0);
        assert_eq!(count(AT_TEN, &[("Security", 1), ("Security", 2)]), 0);
    }

    #[test]
    fn a_host_that_makes_up_numbers_spoils_no_sum() {
        let jumps = [("Security", u64::MAX), ("Security", 3), ("Security", u64::MAX), ("Security", 5), ("Security", 7)];
        assert_eq!(count(AT_TEN, &jumps), MISSING_MAX);
    }
}
