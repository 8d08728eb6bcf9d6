//! What the configuration file may say: one field for each component's own `Config`.
//!
//! Components do not know each other, so this is where an output meets its balancer and its forwarding, and where keys
//! of different sections are compared. A new section is a field of [`Config`] and a line in [`read`].

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::load::Sections;
use crate::spool::dead_letter;
use crate::values::{PlaceToKeep, SpanOrZero};
use crate::{
    access_log, admin, balancer, dedup, filter, forward, hosts, ingest, inputs, outputs, replication, spool, telemetry,
    tunnel,
};

/// Everything that can be configured. Every key has a default: without a file Gatepost listens on loopback, keeps its
/// state in `./gatepost-state` and writes events to files there.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder for everything that Gatepost keeps: spool, positions, dedup journal, dead letters, its own certificate.
    /// One running gateway per folder. Not changed by a reload.
    #[schemars(with = "PlaceToKeep")]
    pub state_dir: PathBuf,
    /// How long uploads and new tunnels are still taken after readiness has fallen, at SIGTERM and at `POST /drain`, so that
    /// load balancers see it first; meanwhile clients are told to close their connections. Longer than two probes of the
    /// balancer. A stop takes so much longer; a second SIGTERM, or Ctrl-C, cuts it short. Default 10 s; 0 s: no grace.
    pub drain_grace: SpanOrZero,
    /// What Gatepost writes to standard error.
    pub telemetry: telemetry::Config,
    /// The admin plane: health, readiness, metrics, status, control.
    pub admin: admin::Config,
    /// Where agents upload events. One table for each listening address. Without any, one on loopback.
    pub listeners: Vec<inputs::Config>,
    /// One line for each request to these listeners: who, what became of it, and why. Refusals that repeat are told once in ten
    /// seconds for each client and reason.
    pub access_log: access_log::Config,
    /// Tunnels for agents that only know a proxy.
    pub tunnel: tunnel::Config,
    /// Admission of uploads.
    pub ingest: ingest::Config,
    /// Which events are kept, and which outputs get them.
    pub filter: filter::Config,
    /// Which events count as seen before.
    pub dedup: dedup::Config,
    /// A second place for what is acknowledged, so that it outlives the machine of the gateway.
    pub replication: replication::Config,
    /// The durable log between uploads and outputs.
    pub spool: spool::Config,
    /// Who sends events, and from when on a computer counts as silent.
    pub hosts: hosts::Config,
    /// What no endpoint takes, kept for a person.
    pub dead_letters: dead_letter::Config,
    /// Where events go. Each output gets every kept event, or what rules of `filter` route to it, and has a read position of
    /// its own. Without any, files in the state folder.
    pub outputs: Vec<Output>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("./gatepost-state"),
            drain_grace: SpanOrZero::secs(10),
            telemetry: telemetry::Config::default(),
            admin: admin::Config::default(),
            listeners: vec![inputs::Config::default()],
            access_log: access_log::Config::default(),
            tunnel: tunnel::Config::default(),
            ingest: ingest::Config::default(),
            filter: filter::Config::default(),
            dedup: dedup::Config::default(),
            replication: replication::Config::default(),
            spool: spool::Config::default(),
            hosts: hosts::Config::default(),
            dead_letters: dead_letter::Config::default(),
            outputs: vec![Output::default()],
        }
    }
}

/// One output: its protocol and endpoints, how its endpoints are balanced, how it is fed from the spool.
///
/// In the file `balancer` and `forward` are tables inside the output's own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Output {
    /// The protocol and its endpoints, by `kind`.
    pub output: outputs::Config,
    /// How its endpoints are balanced.
    pub balancer: balancer::Config,
    /// How it is fed from the spool.
    pub forward: forward::Config,
}

/// Reads every section and compares them with each other.
pub(super) fn read(sections: &mut Sections<'_>) -> Config {
    let mut config = Config::default();
    sections.one("state_dir", &mut config.state_dir, none);
    sections.one("drain_grace", &mut config.drain_grace, none);
    sections.one("telemetry", &mut config.telemetry, telemetry::Config::problems);
    sections.one("admin", &mut config.admin, admin::Config::problems);
    sections.list("listeners", &mut config.listeners, inputs::Config::problems);
    sections.one("access_log", &mut config.access_log, none);
    sections.one("tunnel", &mut config.tunnel, tunnel::Config::problems);
    sections.one("ingest", &mut config.ingest, none);
    sections.one("filter", &mut config.filter, filter::Config::problems);
    sections.one("dedup", &mut config.dedup, none);
    sections.one("replication", &mut config.replication, none);
    sections.one("spool", &mut config.spool, spool_problems);
    sections.one("hosts", &mut config.hosts, hosts::Config::problems);
    sections.one("dead_letters", &mut config.dead_letters, dead_letter::Config::problems);
    sections.list("outputs", &mut config.outputs, |output: &Output| output.output.problems());
    compare(&config, sections);
    config
}

/// The spool's message begins with the key it is about.
fn spool_problems(spool: &spool::Config) -> Vec<(String, String)> {
    let keyed = |message: String| match message.split_once(' ') {
        Some((key, rest)) => (key.to_owned(), rest.to_owned()),
        None => (String::new(), message),
    };
    spool.check().err().map(keyed).into_iter().collect()
}

fn none<T>(_: &T) -> Vec<(String, String)> {
    Vec::new()
}

fn compare(config: &Config, sections: &mut Sections<'_>) {
    if config.listeners.is_empty() {
        sections.wrong("listeners", "must hold at least one table; leave the key out for one on loopback");
    }
    if config.outputs.is_empty() {
        sections.wrong("outputs", "must hold at least one table; leave the key out for files in the state folder");
    }
    let listeners = || config.listeners.iter();
    unique(sections, "listeners", "name", listeners().map(|l| l.name.clone()));
    let address = |(n, l): (usize, &inputs::Config)| match l.listen.port() {
        0 => format!("listeners[{n}]"),
        _ => l.listen.to_string(),
    };
    unique(sections, "listeners", "listen", listeners().enumerate().map(address));
    unique(sections, "outputs", "name", config.outputs.iter().map(|o| o.output.name().to_owned()));
    for (n, listener) in listeners().enumerate() {
        let is_sound = sections.is_sound("admin.listen");
        if is_sound && listener.listen == config.admin.listen && listener.listen.port() != 0 {
            sections
                .wrong(format!("listeners[{n}].listen"), "is the address of the admin plane too; choose another port");
        }
    }
    tunnel_addresses(config, sections);
    inputs_of_tunnels(config, sections);
    groups_of_rules(config, sections);
}

/// A rule for a group that no client can belong to would wait for ever.
fn groups_of_rules(config: &Config, sections: &mut Sections<'_>) {
    if !sections.is_sound("listeners") {
        return;
    }
    let groups: Vec<&str> = config.listeners.iter().flat_map(inputs::Config::groups).collect();
    for (n, rule) in config.filter.rules.iter().enumerate() {
        for (m, group) in rule.groups.iter().enumerate().filter(|(_, group)| !groups.contains(&group.as_str())) {
            let known: Vec<String> = groups.iter().map(|group| format!("{group:?}")).collect();
            let there = if known.is_empty() {
                "none has a group yet".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            let message = format!("{group:?} is not the group of any token, certificate or listener; {there}");
            sections.wrong(format!("filter.rules[{n}].groups[{m}]"), message);
        }
    }
}

/// Tunnels listen where nothing else does.
fn tunnel_addresses(config: &Config, sections: &mut Sections<'_>) {
    let uploads = config.listeners.iter().enumerate().map(|(n, l)| (l.listen, format!("listeners[{n}]")));
    let mut taken: Vec<_> = uploads.filter(|(_, name)| sections.is_sound(&format!("{name}.listen"))).collect();
    if sections.is_sound("admin.listen") {
        taken.push((config.admin.listen, "the admin plane".to_owned()));
    }
    for (n, listener) in config.tunnel.listeners.iter().enumerate().filter(|(_, l)| l.listen.port() != 0) {
        if let Some((_, by)) = taken.iter().find(|(address, _)| *address == listener.listen) {
            let message = format!("is the address of {by} too; choose another port");
            sections.wrong(format!("tunnel.listeners[{n}].listen"), message);
        }
        taken.push((listener.listen, format!("tunnel.listeners[{n}]")));
    }
}

/// What is taken over goes to an upload listener that there is.
fn inputs_of_tunnels(config: &Config, sections: &mut Sections<'_>) {
    if !sections.is_sound("listeners") {
        return;
    }
    for (n, table) in config.tunnel.take_over.iter().enumerate() {
        let message = match config.listeners.iter().find(|listener| listener.name == table.input) {
            Some(listener) if listener.admits_only_this_host() => format!(
                "{:?} lets in whoever is on this host and nobody else, and tunnels bring others there; say who may upload: set \
                 auth.networks, auth.tokens or tls.client_ca of that listener",
                table.input
            ),
            Some(_) => continue,
            None => {
                let known: Vec<String> =
                    config.listeners.iter().map(|listener| format!("{:?}", listener.name)).collect();
                format!("{:?} is no upload listener; there is {}", table.input, known.join(", "))
            }
        };
        sections.wrong(format!("tunnel.take_over[{n}].input"), message);
    }
}

fn unique(sections: &mut Sections<'_>, list: &str, key: &str, values: impl Iterator<Item = String>) {
    let mut seen: Vec<Option<String>> = Vec::new();
    for (n, value) in values.enumerate() {
        let path = format!("{list}[{n}].{key}");
        // What stands in for one that could not be read takes nothing from the others.
        let is_meant = sections.is_sound(&path) && !sections.has_unknown(&format!("{list}[{n}]"));
        let value = is_meant.then_some(value);
        if let Some(first) = seen.iter().position(|other| value.is_some() && *other == value) {
            sections.wrong(path, format!("is taken by {list}[{first}]; choose another"));
        }
        seen.push(value);
    }
}

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = Map::deserialize(deserializer)?;
        let mut part = |key| map.remove(key).unwrap_or(Value::Object(Map::new()));
        let balancer = serde_json::from_value(part("balancer")).map_err(D::Error::custom)?;
        let forward = serde_json::from_value(part("forward")).map_err(D::Error::custom)?;
        let output = serde_json::from_value(Value::Object(map)).map_err(D::Error::custom)?;
        Ok(Self { output, balancer, forward })
    }
}

impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serde_json::to_value(&self.output).map_err(S::Error::custom)?;
        if let Some(map) = value.as_object_mut() {
            map.insert("balancer".to_owned(), serde_json::to_value(&self.balancer).map_err(S::Error::custom)?);
            map.insert("forward".to_owned(), serde_json::to_value(&self.forward).map_err(S::Error::custom)?);
        }
        value.serialize(serializer)
    }
}

impl JsonSchema for Output {
    fn schema_name() -> Cow<'static, str> {
        "Output".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut balancer = generator.subschema_for::<balancer::Config>();
        balancer.insert("description".to_owned(), "How the output's endpoints are balanced.".into());
        let mut forward = generator.subschema_for::<forward::Config>();
        forward.insert("description".to_owned(), "How the output is fed from the spool.".into());
        let mut schema = outputs::Config::json_schema(generator);
        let variants = schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten();
        for properties in variants.filter_map(|variant| variant.as_object_mut()) {
            let properties = properties.entry("properties").or_insert_with(|| Value::Object(Map::new()));
            if let Some(properties) = properties.as_object_mut() {
                properties.insert("balancer".to_owned(), balancer.clone().to_value());
                properties.insert("forward".to_owned(), forward.clone().to_value());
            }
        }
        schema
    }
}
