//! Keeps secrets out of messages, by where they stand.
//!
//! A message about a key may repeat that key's value, in quotes or at length, and nobody else's. So a secret is only looked for
//! in messages about its own key. Taking it out of every text would do harm: a secret that is a common word would turn up as a
//! gap in messages that have nothing to do with it, and so be told. Only long texts, which are no words, are kept out of all.

use super::load::within;

/// A text of so many bytes is no word of a message.
const NO_WORD: usize = 16;

/// A text of so many bytes is looked for without quotes in messages about its own key.
const UNQUOTED_MIN: usize = 8;

/// The message about the key at `path` without what must not be shown. `hidden` are paths and texts.
pub(super) fn redacted(message: String, path: &str, hidden: &[(String, String)]) -> String {
    let message = hidden.iter().filter(|(_, text)| !text.is_empty()).fold(message, |message, (at, text)| {
        let is_own = within(at, path) || within(path, at);
        let message = if is_own { message.replace(&format!("{text:?}"), "\"***\"") } else { message };
        let anywhere = text.len() >= if is_own { UNQUOTED_MIN } else { NO_WORD };
        if anywhere { message.replace(text.as_str(), "***") } else { message }
    });
    without_credentials(&message)
}

/// A text without the credentials of URLs in it: `https://***@host`, `https://host?sig=***`.
///
/// A password may have a "/" that should have been written as %2F. So what stands before an "@" is hidden also behind a
/// slash, where a ":" before the slash has something behind it that is no port.
pub(super) fn without_credentials(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        shown.push_str("://");
        let (url, after) = rest.split_at(rest.find(['"', '\'', ' ', ',']).unwrap_or(rest.len()));
        let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
        let has_password = url[..authority]
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty() && port.bytes().any(|byte| !byte.is_ascii_digit()));
        let reach = if has_password { url.len() } else { authority };
        let url = match url[..reach].rfind('@') {
            Some(at) => format!("***{}", &url[at..]),
            None => url.to_owned(),
        };
        shown.push_str(&without_query(&url));
        shown.push_str(after);
    }
    shown
}

/// A URL with `***` for each value of its query: signatures and keys are handed out that way.
fn without_query(url: &str) -> String {
    let Some((before, query)) = url.split_once('?') else { return url.to_owned() };
    let (query, fragment) = query.split_at(query.find('#').unwrap_or(query.len()));
    let hidden = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if !value.is_empty() => format!("{name}=***"),
        _ => pair.to_owned(),
    });
    format!("{before}?{}{fragment}", hidden.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_where_it_may_be_told_and_no_word_is_eaten() {
        let hidden = [("admin.token", "short"), ("outputs[0].url", "https://canary"), ("x", "0123456789abcdef")];
        let hidden = hidden.map(|(path, text)| (path.to_owned(), text.to_owned()));
        for (path, message, shown) in [
            ("admin.token", "is too short", "is too short"),
            ("admin.token", "\"short\" is too short", "\"***\" is too short"),
            ("listeners[0].name", "is short", "is short"),
            ("outputs[0].url", "https://canary is wrong", "*** is wrong"),
            ("outputs[0]", "\"https://canary\" is wrong", "\"***\" is wrong"),
            ("elsewhere", "0123456789abcdef is known", "*** is known"),
        ] {
            assert_eq!(redacted(message.to_owned(), path, &hidden), shown);
        }
    }

    #[test]
    fn credentials_in_urls_are_hidden() {
        for (text, shown) in [
            ("\"https://me:canary@host/path\" must be", "\"https://***@host/path\" must be"),
            ("http://host/@path", "http://host/@path"),
            ("a://b@c d://e@f", "a://***@c d://***@f"),
            ("https://me:can/ary@host/path is", "https://***@host/path is"),
            ("https://[::1]:8443/a@b", "https://[::1]:8443/a@b"),
            ("\"https://host/p?sv=1&sig=canary#x\" has a query", "\"https://host/p?sv=***&sig=***#x\" has a query"),
            ("https://me:canary@host?sig=canary", "https://***@host?sig=***"),
            ("https://host/? is", "https://host/? is"),
            ("no url", "no url"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
