//! What contradicts itself in the configuration of tunnels, found before a client does.
//!
//! Each problem is a key and what would be right there, as the end of a sentence that begins with the key. All are told
//! at once. The rule is: what would silently let more or fewer people through than somebody meant is a problem.

mod rules;
mod upstream;

use std::net::IpAddr;

pub use upstream::proxy_url_problem;

use super::{Authentication, Config, Group, Listener};
use crate::net::tls_server::{ClientCertificates, Mode};
use crate::values::ByteSize;

/// Collects problems under one table.
struct Problems {
    found: Vec<(String, String)>,
}

impl Problems {
    fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.found.push((key.into(), message.into()));
    }

    fn when(&mut self, wrong: bool, key: impl Into<String>, message: impl Into<String>) {
        if wrong {
            self.add(key, message);
        }
    }

    /// Names in a list of tables: plain, and each used once.
    fn names<'n>(&mut self, list: &str, names: impl Iterator<Item = &'n str>) {
        let mut seen: Vec<&str> = Vec::new();
        for (n, name) in names.enumerate() {
            let key = format!("{list}[{n}].name");
            let sound = (1..=64).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !sound {
                self.add(key, "is no name; write 1 to 64 letters, digits, \"-\", \"_\" or \".\"");
            } else if let Some(first) = seen.iter().position(|other| *other == name) {
                self.add(key, format!("is taken by {list}[{first}]; choose another"));
            }
            seen.push(name);
        }
    }

    /// References to tables by their names.
    fn references(&mut self, key: &str, given: &[String], what: &str, known: &[&str]) {
        for (n, name) in given.iter().enumerate().filter(|(_, name)| !known.contains(&name.as_str())) {
            self.add(format!("{key}[{n}]"), no_such(name, what, known));
        }
    }
}

/// A name that nothing has, and those that there are; people know a typing error when they see the right word.
fn no_such(name: &str, what: &str, known: &[&str]) -> String {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', '.'], "");
    if let Some(near) = known.iter().find(|known| plain(known) == plain(name)) {
        return format!("names no {what}; did you mean {near:?}?");
    }
    match known {
        [] => format!("names no {what}, and there is none; add one, or remove the name"),
        [only] => format!("names no {what}; there is only {only:?}"),
        known => format!("names no {what}; there is {}", known.join(", ")),
    }
}

impl Config {
    /// Everything that cannot work or cannot be meant, each with its key and what would be right.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems { found: Vec::new() };
        problems.names("listeners", self.listeners.iter().map(|listener| listener.name.as_str()));
        problems.names("allow", self.allow.iter().map(|rule| rule.name.as_str()));
        problems.names("groups", self.groups.iter().map(|group| group.name.as_str()));
        problems.names("upstream_proxies", self.upstream_proxies.iter().map(|proxies| proxies.name.as_str()));
        for (n, listener) in self.listeners.iter().enumerate() {
            self.listener(&format!("listeners[{n}]"), listener, &mut problems);
        }
        for (n, rule) in self.allow.iter().enumerate() {
            rules::check(&format!("allow[{n}]"), rule, &self.ways(), &mut problems);
        }
        for (n, group) in self.groups.iter().enumerate() {
            self.group(&format!("groups[{n}]"), group, &mut problems);
        }
        self.users(&mut problems);
        upstream::check(&self.upstream_proxies, &mut problems);
        problems.when(!self.ways().contains(&self.via.as_str()), "via", self.no_way(&self.via));
        for (n, _) in self.dns.servers.iter().enumerate().filter(|(_, server)| server.port() == 0) {
            problems.add(format!("dns.servers[{n}]"), "has port 0; DNS servers listen on 53, as in \"10.0.0.53:53\"");
        }
        self.limits(&mut problems);
        problems.found
    }

    /// What `via` may say.
    fn ways(&self) -> Vec<&str> {
        let named = self.upstream_proxies.iter().map(|proxies| proxies.name.as_str());
        std::iter::once(Self::DIRECT).chain(named).collect()
    }

    fn no_way(&self, name: &str) -> String {
        no_such(name, "table in upstream_proxies", &self.ways())
    }

    fn listener(&self, at: &str, listener: &Listener, problems: &mut Problems) {
        let key = |name: &str| format!("{at}.{name}");
        problems.references(&key("groups"), &listener.groups, "group", &names(&self.groups));
        problems.when(
            self.groups.is_empty() && !is_loopback(listener.listen.ip()),
            key("listen"),
            "is reached from other machines, and without a group nobody may connect; add [[tunnel.groups]] with the \
             networks that agents come from, or listen on 127.0.0.1",
        );
        problems.when(
            self.groups.is_empty() && !listener.proxy_protocol_from.is_empty(),
            key("proxy_protocol_from"),
            "speaks for other machines, and without a group nobody may connect; add [[tunnel.groups]] with the networks \
             that agents come from",
        );
        let tls = &listener.tls;
        if tls.mode == Mode::Off {
            for (name, given) in [
                ("tls.certificate", tls.certificate.is_some()),
                ("tls.key", tls.key.is_some()),
                ("tls.second_certificate", tls.second_certificate.is_some()),
                ("tls.second_key", tls.second_key.is_some()),
                ("tls.client_ca", tls.client_ca.is_some()),
            ] {
                problems.when(given, key(name), "needs TLS to the proxy; remove it, or tls.mode = \"off\"");
            }
        } else {
            for (half, needs) in tls.half_given() {
                problems.when(true, key(half), needs);
            }
        }
        problems.when(
            tls.client_certificates == ClientCertificates::Required && tls.client_ca.is_none(),
            key("tls.client_ca"),
            "is missing, since tls.client_certificates is \"required\"; name the file with the authorities",
        );
        problems.when(
            listener.plain_http && !self.allow.iter().any(|rule| rule.plain_http),
            key("plain_http"),
            "has no rule to serve; set plain_http = true in a table of [[tunnel.allow]], or remove it here",
        );
    }

    fn group(&self, at: &str, group: &Group, problems: &mut Problems) {
        let key = |name: &str| format!("{at}.{name}");
        let users: Vec<&str> = self.users.iter().map(|user| user.name.as_str()).collect();
        let rules: Vec<&str> = self.allow.iter().map(|rule| rule.name.as_str()).collect();
        problems.references(&key("users"), &group.users, "user", &users);
        problems.references(&key("allow"), &group.allow, "rule", &rules);
        problems.when(
            group.networks.is_empty() && group.users.is_empty() && group.certificates.is_empty(),
            at,
            "asks for nothing, so everybody would be in it; set networks, users or certificates",
        );
        for (n, name) in group.certificates.iter().enumerate() {
            problems.when(
                name.trim() != name || name.is_empty(),
                format!("{at}.certificates[{n}]"),
                "is no name; write a common name or DNS name, or \"*\" for every certificate of tls.client_ca",
            );
        }
        let serving = || {
            let takes = |listener: &&Listener| listener.groups.is_empty() || listener.groups.contains(&group.name);
            self.listeners.iter().filter(takes)
        };
        if serving().next().is_none() {
            problems.when(!self.listeners.is_empty(), at, "is let in by no listener; add its name to groups of one");
            return;
        }
        problems.when(
            !group.certificates.is_empty() && !serving().any(|listener| listener.tls.client_ca.is_some()),
            key("certificates"),
            "are asked for by no listener of this group; set tls.client_ca of one, which needs TLS to the proxy",
        );
        problems.when(
            !group.users.is_empty() && serving().all(|listener| listener.authentication == Authentication::Off),
            key("users"),
            "are asked by no listener of this group; remove authentication = \"off\" from one",
        );
    }

    fn users(&self, problems: &mut Problems) {
        let mut seen: Vec<&str> = Vec::new();
        for (n, user) in self.users.iter().enumerate() {
            let key = format!("users[{n}].name");
            if user.name.is_empty() || user.name.len() > 128 || user.name.contains(|c: char| c == ':' || c.is_control())
            {
                problems.add(key, "is no user name; write 1 to 128 bytes without \":\", which ends it in HTTP Basic");
            } else if let Some(first) = seen.iter().position(|other| *other == user.name) {
                problems.add(key, format!("is taken by users[{first}]; choose another"));
            }
            seen.push(&user.name);
            problems.when(
                !crate::tunnel::clients::is_usable_hash(user.password_hash.reveal()),
                format!("users[{n}].password_hash"),
                "is no Argon2id hash; `gatepost password` makes one, which begins with \"$argon2id$\"",
            );
        }
    }

    fn limits(&self, problems: &mut Problems) {
        let limits = &self.limits;
        for (key, zero) in [
            ("limits.max_tunnels", limits.max_tunnels == 0),
            ("limits.max_tunnels_per_client", limits.max_tunnels_per_client == 0),
        ] {
            problems.when(
                zero,
                key,
                "is 0, so every tunnel would be refused; write 1 or more, or remove the listeners",
            );
        }
        let nothing = Some(ByteSize::bytes(0));
        for (key, zero) in [
            ("limits.bandwidth", limits.bandwidth == nothing),
            ("limits.bandwidth_per_client", limits.bandwidth_per_client == nothing),
        ] {
            problems.when(zero, key, "is 0, so nothing would move; leave it out for no limit");
        }
    }
}

fn names(groups: &[Group]) -> Vec<&str> {
    groups.iter().map(|group| group.name.as_str()).collect()
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests;
