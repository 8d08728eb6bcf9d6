//! What the ids of audit events mean, in the words of Windows.
//!
//! The text of an event is not in its XML: Windows makes it from a template of the event's provider. Agents put its first
//! line into `Activity`. The titles here are those lines; what such a line says about one event alone (a caller, a file) is
//! left out of it.

use std::sync::LazyLock;

/// Ids and titles, sorted by id. Source: Microsoft's documentation of audit events and the templates of the providers.
static TITLES: LazyLock<Vec<(u32, &'static str)>> = LazyLock::new(|| {
    let lines = include_str!("activities.tsv").lines();
    lines.filter_map(|line| line.split_once('\t')).filter_map(|(id, title)| Some((id.parse().ok()?, title))).collect()
});

/// The title of an audit event of the channel Security, or of an event of AppLocker. Other channels use the same ids for
/// other things.
pub fn activity(channel: &str, id: u32) -> Option<&'static str> {
    let is_applocker = (8001..=8007).contains(&id);
    let is_titled = match channel.get(..28) {
        Some(start) if start.eq_ignore_ascii_case("Microsoft-Windows-AppLocker/") => is_applocker,
        _ => channel.eq_ignore_ascii_case("Security") && !is_applocker,
    };
    let index = TITLES.binary_search_by_key(&id, |(id, _)| *id).ok().filter(|_| is_titled)?;
    Some(TITLES[index].1)
}

/// The first sentence of a message.
pub(super) fn first_sentence(message: &str) -> &str {
    let line = message.trim_start().lines().next().unwrap_or_default();
    line.find(". ").map_or(line, |end| &line[..=end]).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_titles_are_sorted_whole_and_free_of_placeholders() {
        let lines = include_str!("activities.tsv").lines().count();
        assert_eq!(TITLES.len(), lines, "each line is an id, a tab and a title");
        assert!(TITLES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (id, title) in TITLES.iter() {
            assert!(title.ends_with('.') && !title.contains(['%', '<', '\t']), "{id} {title}");
            assert!(!title.starts_with(char::is_whitespace), "{id} {title}");
        }
    }

    #[test]
    fn an_id_means_something_only_in_its_channel() {
        assert_eq!(activity("Security", 4625), Some("An account failed to log on."));
        assert_eq!(activity("security", 1102), Some("The audit log was cleared."));
        assert_eq!(activity("Microsoft-Windows-AppLocker/EXE and DLL", 8002), Some("A process was allowed to run."));
        assert_eq!(activity("Microsoft-Windows-AppLocker/MSI and Script", 4625), None);
        assert_eq!(activity("System", 4625), None);
        assert_eq!(activity("Security", 8002), None);
        assert_eq!(activity("Security", 2), None);
        assert_eq!(activity("", 4625), None);
    }

    #[test]
    fn a_sentence_ends_at_its_line() {
        assert_eq!(first_sentence("A was done. And B.\r\nC"), "A was done.");
        assert_eq!(first_sentence("\r\nIn 1.5 s\r\nC"), "In 1.5 s");
        assert_eq!(first_sentence(""), "");
    }
}
