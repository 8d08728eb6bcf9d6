//! What the configuration says about Windows Event Forwarding on a listener.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::issuer::Authorities;
use super::kerberos::{self, Tickets};
use super::relays;
use super::subscription::{self, Content, Delivery, Listed, Manner, PARTS_MAX, Subscription, derived, derived_id};
use super::{Asked, OnListener, Wef};
use crate::event::Client;
use crate::faults::Fault;
use crate::filter::Rules;
use crate::inputs::protocol::{OpenError, Place, Protocol, Settings};

/// Windows Event Forwarding on a listener.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether this listener takes forwarded events, at paths that begin with `/wsman`. It needs `tls.client_ca`, since a host is who
    /// its certificate says, or `wef.kerberos.keytab`. Such a listener speaks HTTP/1.1 only. Windows' port for it is 5986. Default false.
    pub enabled: bool,
    /// Where hosts deliver, such as `"https://gateway.example.com:5986"`. Default: where they asked for their subscriptions,
    /// which is right unless a load balancer sends the two to different places. With Kerberos, say it or `kerberos.services`: what
    /// a host asks for comes under no seal, and somebody between could write another place into it.
    pub notify_to: Option<String>,
    /// Whether hosts are asked for what the rules that apply to them take (`filter.rules`, and `filter.event_set` for the
    /// others). Default true. Where a rule names no channel, hosts are asked for Security and the two AppLocker channels.
    pub from_rules: bool,
    /// `"raw"`, or `"rendered"`: with texts in the language of the host, two to three times as large. Default `"raw"`.
    pub content: Content,
    /// `"low_latency"` (within 30 s), `"normal"` (within 15 minutes) or `"low_bandwidth"` (within 6 hours). Default
    /// `"low_latency"`.
    pub delivery: Delivery,
    /// Whether hosts compress what they send, to about a third. Default true.
    pub compression: bool,
    /// Whether a host that is new begins with the oldest event that it has, instead of what happens from then on. Default
    /// false.
    pub read_existing_events: bool,
    /// Hosts that forward what others have sent to them, such as a Windows collector. Every other host speaks for itself.
    pub relays: Vec<relays::Config>,
    /// Tickets of Kerberos in place of certificates.
    pub kerberos: kerberos::Config,
    /// Subscriptions beside those from rules.
    pub subscriptions: Vec<subscription::Config>,
}

/// A subscription, and whether a host gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Whether it does.
    pub gets: bool,
    /// Why, or why not.
    pub because: String,
    /// What it would be told.
    pub subscription: Subscription,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: false,
            notify_to: None,
            from_rules: true,
            content: Content::default(),
            delivery: Delivery::default(),
            compression: true,
            read_existing_events: false,
            relays: Vec::new(),
            kerberos: kerberos::Config::default(),
            subscriptions: Vec::new(),
        }
    }
}

impl Config {
    fn manner(&self) -> Manner {
        let Self { content, delivery, compression: compress, read_existing_events, .. } = *self;
        Manner { content, delivery, compress, read_existing_events }
    }

    /// Where hosts deliver, as it stands before the path.
    fn base(&self) -> Result<Option<String>, String> {
        let Some(given) = &self.notify_to else { return Ok(None) };
        let base = given.trim_end_matches('/');
        let sound = base.parse::<http::Uri>().is_ok_and(|uri| {
            uri.scheme_str() == Some(self.scheme())
                && uri.authority().is_some()
                && uri.path() == "/"
                && uri.query().is_none()
        });
        if sound {
            return Ok(Some(base.to_owned()));
        }
        let (scheme, port) = (self.scheme(), if self.kerberos.is_enabled() { 5985 } else { 5986 });
        Err(format!(
            "{given:?} is no address of a gateway; write one such as \"{scheme}://gateway.example.com:{port}\""
        ))
    }

    /// What hosts reach the listener by.
    pub fn scheme(&self) -> &'static str {
        if self.kerberos.is_enabled() { "http" } else { "https" }
    }
}

impl Config {
    /// The name of the gateway in `notify_to`.
    pub fn host(&self) -> Option<String> {
        self.place().map(|(host, _)| host)
    }

    /// The name and the port in `notify_to`.
    pub fn place(&self) -> Option<(String, u16)> {
        let uri: http::Uri = self.notify_to.as_ref()?.parse().ok()?;
        let usual = if self.kerberos.is_enabled() { 80 } else { 443 };
        Some((uri.host()?.to_owned(), uri.port_u16().unwrap_or(usual)))
    }

    /// Everything that is wrong with the files that it names.
    pub fn faults(&self, listener: &str) -> Vec<Fault> {
        if !self.enabled {
            return Vec::new();
        }
        let loaded = self.subscriptions.iter().map(|one| Listed::load(one, listener, self.manner()));
        let faulty = loaded.enumerate().filter_map(|(n, loaded)| Some((n, loaded.err()?)));
        let faulty = faulty.map(|(n, reason)| Fault::stops(format!("subscriptions[{n}].query_list"), reason));
        faulty.chain(self.kerberos.faults().into_iter().map(|fault| fault.within("kerberos"))).collect()
    }

    /// The subscriptions of a host, for people.
    ///
    /// # Errors
    ///
    /// When a file with a query cannot be used.
    pub fn subscriptions_of(
        &self,
        listener: &str,
        rules: &Rules,
        client: &Client,
        machine: &str,
    ) -> Result<Vec<Subscription>, String> {
        let asked = Asked {
            listed: self.listed(listener).map_err(|(_, reason)| reason)?,
            from_rules: self.from_rules.then(|| self.manner()),
        };
        Ok(asked.subscriptions_of(listener, rules, client, machine))
    }

    /// Each subscription that there is, and whether a host gets it and why, for people.
    ///
    /// # Errors
    ///
    /// When a file with a query cannot be used.
    pub fn explained(
        &self,
        listener: &str,
        rules: &Rules,
        client: &Client,
        machine: &str,
    ) -> Result<Vec<Explained>, String> {
        let listed = self.listed(listener).map_err(|(_, reason)| reason)?;
        let explained = listed.into_iter().map(|listed| {
            let verdict = listed.verdict(client, machine);
            Explained { gets: verdict.gets(), because: verdict.to_string(), subscription: listed.subscription.clone() }
        });
        let mut explained: Vec<Explained> = explained.collect();
        if self.from_rules {
            let applying = rules.applying(client, machine);
            let because = match &applying[..] {
                [] => "no rule applies to it, so filter.event_set decides".to_owned(),
                names => format!("of the rules that apply to it: {}", names.join(", ")),
            };
            let derived = derived(&rules.wanted(client, machine), listener, self.manner()).into_iter();
            let one = |subscription| Explained { gets: true, because: because.clone(), subscription };
            explained.extend(derived.map(one));
        }
        Ok(explained)
    }

    /// The subscriptions of the configuration; what is wrong with the first that cannot be loaded, with its number.
    fn listed(&self, listener: &str) -> Result<Vec<Listed>, (usize, String)> {
        let numbered = self.subscriptions.iter().enumerate();
        numbered.map(|(n, one)| Listed::load(one, listener, self.manner()).map_err(|reason| (n, reason))).collect()
    }
}

impl Settings for Config {
    fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn brings_credentials(&self) -> bool {
        self.kerberos.is_enabled()
    }

    fn groups(&self) -> Vec<&str> {
        self.kerberos.groups()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.kerberos.problems();
        if let Err(problem) = self.base() {
            problems.push(format!("wef.notify_to: {problem}"));
        }
        if self.enabled && !self.from_rules && self.subscriptions.is_empty() {
            problems.push(
                "wef.subscriptions: there is none and from_rules is false, so hosts would be asked for nothing; add one, or set from_rules = true"
                    .to_owned(),
            );
        }
        for (n, relay) in self.relays.iter().enumerate() {
            let keyed = relay.problems().into_iter();
            problems.extend(keyed.map(|(key, problem)| format!("wef.relays[{n}].{key}: {problem}")));
        }
        for (n, subscription) in self.subscriptions.iter().enumerate() {
            let keyed = subscription.problems().into_iter();
            problems.extend(keyed.map(|(key, problem)| format!("wef.subscriptions[{n}].{key}: {problem}")));
            let same = |other: &subscription::Config| other.name == subscription.name;
            if self.subscriptions[..n].iter().any(same) {
                let name = &subscription.name;
                problems.push(format!(
                    "wef.subscriptions[{n}].name: {name:?} is the name of another; write one of its own"
                ));
            }
        }
        problems
    }

    fn open(&self, place: &Place<'_>) -> Result<Arc<dyn Protocol>, OpenError> {
        let wrong = |key: &str, reason: String| OpenError { key: format!("wef.{key}"), reason };
        let listed = self.listed(place.listener);
        let listed = listed.map_err(|(n, reason)| wrong(&format!("subscriptions[{n}].query_list"), reason))?;
        let pem = place.config.tls.client_ca.as_ref().map(std::fs::read).transpose();
        let pem = pem.map_err(|error| OpenError { key: "tls.client_ca".to_owned(), reason: error.to_string() })?;
        let memory = Arc::clone(&place.shared.wef);
        let before = place.before::<OnListener>().and_then(|running| running.0.tickets.as_deref());
        let tickets = Tickets::open(&self.kerberos, place, before)?;
        Ok(Arc::new(OnListener(Arc::new(Wef {
            listener: place.listener.to_owned(),
            policy: place.config.identity.policy,
            notify_to: self.base().map_err(|reason| wrong("notify_to", reason))?,
            authorities: Authorities::of_pem(&pem.unwrap_or_default()),
            relays: self.relays.clone(),
            parts: (0..PARTS_MAX).filter(|_| self.from_rules).map(|part| derived_id(place.listener, part)).collect(),
            asked: Asked { listed, from_rules: self.from_rules.then(|| self.manner()) },
            memory,
            tickets,
        }))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_names_its_key_and_what_would_be_right() {
        let sound = r#"{ name = "a", query_list = "a.xml" }"#;
        for (text, key) in [
            ("notify_to = \"gateway\"", "wef.notify_to"),
            ("notify_to = \"http://gateway\"", "wef.notify_to"),
            ("enabled = true\nfrom_rules = false", "wef.subscriptions"),
            ("subscriptions = [{ query_list = \"a.xml\" }]", "wef.subscriptions[0].name"),
            ("subscriptions = [{ name = \"a\" }]", "wef.subscriptions[0].query_list"),
            (&format!("subscriptions = [{sound}, {sound}]"), "wef.subscriptions[1].name"),
            ("subscriptions = [{ name = \"a\", query_list = \"a\", hosts = [\"\"] }]", "wef.subscriptions[0].hosts"),
            ("relays = [{ hosts = [\"*\"] }]", "wef.relays[0].certificate"),
            ("relays = [{ certificate = \"wec.plant.test\" }]", "wef.relays[0].hosts"),
            (
                "subscriptions = [{ name = \"a\", query_list = \"a\", max_elements = 0 }]",
                "subscriptions[0].max_elements",
            ),
        ] {
            let found = toml::from_str::<Config>(text).expect("it can be read").problems();
            assert!(found.len() == 1 && found[0].contains(key), "{text}: {found:?}");
        }
        assert_eq!(Config { enabled: true, ..Config::default() }.problems(), Vec::<String>::new());
    }
}
