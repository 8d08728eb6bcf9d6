//! Problems of upstream proxies.

use http::Uri;

use super::super::{Config, Proxy, UpstreamProxies};
use super::Problems;
use crate::net::url::askable;

pub(super) fn check(tables: &[UpstreamProxies], problems: &mut Problems) {
    for (n, table) in tables.iter().enumerate() {
        let at = format!("upstream_proxies[{n}]");
        problems.when(
            table.name == Config::DIRECT,
            format!("{at}.name"),
            "is \"direct\", which means no proxy at all in via; choose another",
        );
        problems.when(table.proxies.is_empty(), format!("{at}.proxies"), "is empty; name at least one proxy");
        problems.when(
            table.ca_file.is_some() && !table.proxies.iter().any(|proxy| proxy.url.starts_with("https://")),
            format!("{at}.ca_file"),
            "is for https proxies, and there is none; write https in a url, or remove it",
        );
        for (p, proxy) in table.proxies.iter().enumerate() {
            let at = format!("{at}.proxies[{p}]");
            let earlier = table.proxies[..p].iter().any(|other| other.url == proxy.url);
            problems.when(earlier, format!("{at}.url"), "is there already; give it more weight instead");
            check_proxy(&at, proxy, problems);
        }
    }
}

fn check_proxy(at: &str, proxy: &Proxy, problems: &mut Problems) {
    if let Some(message) = proxy_url_problem(&proxy.url) {
        problems.add(format!("{at}.url"), message);
    }
    for (half, given, other) in
        [("user", &proxy.user.is_some(), "password"), ("password", &proxy.password.is_some(), "user")]
    {
        let is_alone = *given && proxy.user.is_some() != proxy.password.is_some();
        problems.when(is_alone, format!("{at}.{half}"), format!("needs {other} beside it"));
    }
    problems.when(
        proxy.user.as_ref().is_some_and(|user| user.contains(|c: char| c == ':' || c.is_control())),
        format!("{at}.user"),
        "cannot hold \":\", which ends the user name in HTTP Basic",
    );
    problems.when(
        !(proxy.weight.is_finite() && proxy.weight > 0.0),
        format!("{at}.weight"),
        "is no share; write a number above 0",
    );
}

/// What is wrong with the URL of a proxy, without repeating it: it may hold a password.
pub fn proxy_url_problem(url: &str) -> Option<String> {
    const RIGHT: &str = "write \"http://proxy.example.com:3128\", or https for TLS to the proxy";
    let Ok(uri) = url.parse::<Uri>() else { return Some(format!("is no URL; {RIGHT}")) };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Some(format!("is no http or https URL; {RIGHT}"));
    }
    let Some(authority) = uri.authority() else { return Some(format!("names no host; {RIGHT}")) };
    if authority.as_str().contains('@') {
        return Some("has a user in it; set user and password as keys of their own".to_owned());
    }
    if askable(url).is_none() {
        return Some(format!("names no host and port; {RIGHT}"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Some(format!("has a path, which a proxy has not; {RIGHT}"));
    }
    None
}
