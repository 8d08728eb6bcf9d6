//! What ends by itself and has to be renewed by somebody: certificates, revocation lists, tokens.
//!
//! The files of listeners are read when they come into force, so what is shown is what is used. An output's certificate and token
//! change while it runs, and are asked for each time.

use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;

use super::build::Parts;
use super::gauges::Gauge;
use crate::clock::wall_s;
use crate::config::Config;
use crate::forward::Forwarder;
use crate::metrics;
use crate::net::expiry::{Ends, first_end};
use crate::net::tls_server;

/// From so many seconds before the end of a certificate on a person is told.
const CERTIFICATE_SOON: i64 = 14 * 24 * 3600;

/// The same for a revocation list, which is renewed every day or week.
const LIST_SOON: i64 = 12 * 3600;

/// What of which something ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Certificate,
    RevocationList,
}

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Ending {
    what: What,
    /// What it is for, as in the metrics.
    #[serde(rename = "use")]
    used: &'static str,
    /// The listener or output that uses it.
    name: String,
    /// In seconds since 1970.
    ends_s: i64,
}

impl Ending {
    fn at(what: What, used: &'static str, name: &str, ends_s: Option<i64>) -> Option<Self> {
        Some(Self { what, used, name: name.to_owned(), ends_s: ends_s? })
    }

    /// What a person is told about one that ends soon.
    fn warning(&self, now_s: i64) -> Option<String> {
        let left = self.ends_s - now_s;
        let (what, soon) = match self.what {
            What::Certificate => ("certificate", CERTIFICATE_SOON),
            What::RevocationList => ("revocation list", LIST_SOON),
        };
        let when = match left {
            ..=0 => "has ended".to_owned(),
            _ if left < 2 * 24 * 3600 => format!("ends in {} hours", left / 3600),
            _ => format!("ends in {} days", left / (24 * 3600)),
        };
        (left < soon).then(|| format!("{} {:?}: its {what} {when}; renew it", self.used.replace('_', " "), self.name))
    }
}

/// What ends, and what is shown of it.
pub(super) struct Expiry {
    of_listeners: ArcSwap<Vec<Ending>>,
    shown: Mutex<Shown>,
}

struct Shown {
    certificates: Gauge,
    lists: Gauge,
    tokens: Gauge,
    failing: Gauge,
}

impl Expiry {
    /// Nothing is in force yet.
    pub(super) fn new() -> Self {
        let shown = Shown {
            certificates: Gauge::new(&metrics::CERTIFICATE_EXPIRY),
            lists: Gauge::new(&metrics::CRL_NEXT_UPDATE),
            tokens: Gauge::new(&metrics::TOKEN_EXPIRY),
            failing: Gauge::new(&metrics::TOKEN_FAILING),
        };
        Self { of_listeners: ArcSwap::default(), shown: Mutex::new(shown) }
    }

    /// Reads the files of a configuration that comes into force. Those that a listener makes for itself must be there.
    pub(super) fn renew(&self, config: &Config, state_dir: &Path) {
        self.of_listeners.store(Arc::new(read(config, state_dir)));
    }

    /// Everything that ends, the next end first.
    pub(super) fn list(&self, parts: &Parts) -> Vec<Ending> {
        let of_output = |forwarder: &Arc<Forwarder>| {
            let ends = forwarder.token().and_then(|token| token.certificate_ends);
            Ending::at(What::Certificate, "identity", forwarder.name(), ends)
        };
        let of_outputs: Vec<Ending> = parts.outputs.forwarders().iter().filter_map(of_output).collect();
        let mut all = [self.of_listeners.load().as_slice(), &of_outputs].concat();
        all.sort_by_key(|ending| ending.ends_s);
        all
    }

    /// What ends soon, for people.
    pub(super) fn warnings(&self, parts: &Parts) -> Vec<String> {
        self.list(parts).iter().filter_map(|ending| ending.warning(wall_s().cast_signed())).collect()
    }

    /// Shows all of it as metrics.
    pub(super) fn show(&self, parts: &Parts) {
        let mut shown = self.shown.lock();
        let (certificates, lists): (Vec<_>, Vec<_>) =
            self.list(parts).into_iter().partition(|ending| ending.what == What::Certificate);
        let series = |ending: Ending| (vec![ending.used.to_owned(), ending.name], ending.ends_s as f64);
        shown.certificates.show(certificates.into_iter().map(series));
        shown.lists.show(lists.into_iter().map(series));
        show_tokens(parts, &mut shown);
    }
}

fn show_tokens(parts: &Parts, shown: &mut Shown) {
    let (mut ends, mut failing) = (Vec::new(), Vec::new());
    for forwarder in parts.outputs.forwarders() {
        let Some(token) = forwarder.token() else { continue };
        let labels = vec![forwarder.name().to_owned(), token.kind.to_owned()];
        failing.push((labels.clone(), f64::from(u8::from(token.last_error.is_some()))));
        if let Some(left) = token.expires_in_seconds {
            ends.push((labels, (wall_s() + left) as f64));
        }
    }
    shown.tokens.show(ends);
    shown.failing.show(failing);
}

fn read(config: &Config, state_dir: &Path) -> Vec<Ending> {
    let of = |tls: &tls_server::Config, name: &str, uses: [&'static str; 3]| {
        let Ends { certificate, client_ca, client_crl } = Ends::of(tls, state_dir);
        [
            Ending::at(What::Certificate, uses[0], name, certificate),
            Ending::at(What::Certificate, uses[1], name, client_ca),
            Ending::at(What::RevocationList, uses[2], name, client_crl),
        ]
    };
    let uploads = config.listeners.iter().map(|it| of(&it.tls, &it.name, ["upload", "upload_client_ca", "upload"]));
    let tunnels =
        config.tunnel.listeners.iter().map(|it| of(&it.tls, &it.name, ["tunnel", "tunnel_client_ca", "tunnel"]));
    let admin = of(&config.admin.tls, "admin", ["admin", "admin", "admin"]);
    let authorities = config.tunnel.ca.pairs().map(|pair| first_end(std::slice::from_ref(pair.certificate))).min();
    let take_over = Ending::at(What::Certificate, "take_over_ca", "tunnel", authorities.flatten());
    uploads.chain(tunnels).chain([admin]).flatten().flatten().chain(take_over).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_fourteen_days_before_a_certificate_ends_and_half_a_day_before_a_list_does() {
        let told = |what, left| {
            Ending::at(what, "upload_client_ca", "agents", Some(1_000_000 + left)).and_then(|it| it.warning(1_000_000))
        };
        let day: i64 = 24 * 3600;
        assert_eq!(told(What::Certificate, 14 * day), None);
        let soon = told(What::Certificate, 14 * day - 1).unwrap_or_default();
        assert_eq!(soon, "upload client ca \"agents\": its certificate ends in 13 days; renew it");
        assert!(told(What::Certificate, -1).is_some_and(|told| told.contains("has ended")));
        assert_eq!(told(What::RevocationList, day), None);
        assert!(told(What::RevocationList, 7200).is_some_and(|told| told.contains("list ends in 2 hours")));
    }
}
