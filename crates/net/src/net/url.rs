//! URLs that a configuration names.

use http::Uri;

/// A URL that can be asked as it stands: `http` or `https`, a host, no user name, and a port that is one. What is no port would else
/// be taken for the scheme's own, and somebody else be asked.
pub fn askable(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority().filter(|authority| !authority.host().is_empty())?;
    // A user name stands before the host.
    let behind_host = authority.as_str().strip_prefix(authority.host())?;
    let is_port = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse() != Ok(0_u16);
    let has_port = behind_host.strip_prefix(':').is_some_and(|digits| is_port(digits) && uri.port_u16().is_some());
    let is_sound = (behind_host.is_empty() || has_port) && matches!(uri.scheme_str(), Some("http" | "https"));
    is_sound.then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_port_is_not_taken_for_the_usual_one() {
        for text in ["http://a", "https://a.example/x?y", "http://a:1", "https://[::1]", "http://[::1]:65535/"] {
            assert!(askable(text).is_some(), "{text}");
        }
        for text in [
            "",
            "a",
            "a:80",
            "ftp://a",
            "http://",
            "http:///x",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:+80",
            "http://a:http",
            "http://u@a",
            "http://u:p@a:80",
            "http://[::1",
            "http://[::1]x",
            "http://a b",
        ] {
            assert_eq!(askable(text), None, "{text}");
        }
    }
}
