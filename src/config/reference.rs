//! The configuration as documents: the reference, the list of metrics, the effective values. [`super::example`] has the example.
//!
//! All of it is made from the types: doc comments are the prose, `Default` gives the defaults. `tests/tidy/reference.rs`
//! compares the committed documents with what stands here.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::check::check;
use super::document::join;
use super::mend::at_path;
use super::schema::{Field, Schema, Shape, Text, Variant, description};
use super::tree::Config;
use crate::metrics;

const CONFIGURATION_HEAD: &str = "\
# Configuration

<!-- Made by `gatepost reference config` from the types in the source. Do not edit. -->

One TOML file, given by `--config` or `GATEPOST_CONFIG`. Every key has a default unless it says that it is needed.
Unknown keys are refused. `gatepost check` reports every mistake at once; `gatepost check --print` shows the effective values.

- A **size** is a whole number and a unit: `\"64 MiB\"`, `\"10 GiB\"`, `\"1 MB\"`.
- A **span** of time is a whole number above 0 and a unit: `\"500 ms\"`, `\"30 s\"`, `\"5 min\"`, `\"24 h\"`, `\"30 d\"`.
- In any text `${env:NAME}` stands for an environment variable and `${file:/path}` for the content of a file, without its
  last line feed. `$${` stands for a plain `${`.
- A relative **path** starts at the folder of the configuration file, wherever it stands. `gatepost check --print` shows what it
  comes to. Files that are read (certificates, authorities, rules, `${file:…}`) are watched: another content is put in force like a
  changed configuration, and what cannot be used leaves the old one in force.
- A **secret** is never shown again: not by `check`, not in logs, not on the status page.
";

const METRICS_HEAD: &str = "\
# Metrics

<!-- Made by `gatepost reference metrics` from crates/core/src/metrics/mod.rs. Do not edit. -->

Served by the admin plane at `/metrics`. Labels hold only values from closed sets or from the configuration. Beside these
there are the usual `process_*` metrics.

The page comes as Prometheus' text, or as OpenMetrics to whoever asks for that, and compressed with gzip where the client takes it.
Histograms have fixed buckets. Native histograms are not offered. Prometheus reads them from protobuf only, which the library behind
this page (metrics-exporter-prometheus 0.18.3) can write, at two prices. It keeps a histogram in one of both forms, so that
a native one would be missing for everybody who reads text or OpenMetrics; both forms at once would take a second recorder and a
second observation of everything on the main path. And its protobuf needs `protoc` on every machine that builds Gatepost. Another
library (prometheus-client) would bring registries and label types of its own for the same gain: fewer series, which are below
their bound as it is.

The dashboards in `dashboards/` and the alerts in `deploy/prometheus/` name no other metrics. In the tests a real Prometheus answers every
query of theirs. Grafana itself is not started there, because no registry that the tests may use has it: the dashboards are read
with the types that Grafana publishes (grafana-foundation-sdk), which have to know every key and value in them.
";

/// `docs/configuration.md`: every section, key, type, default and meaning.
pub fn configuration() -> String {
    let schema = Schema::of::<Config>();
    let mut out = CONFIGURATION_HEAD.to_owned();
    Reference { schema: &schema, out: &mut out }.section("", "The top of the file", &schema.root);
    out
}

/// `docs/metrics.md`: every metric, its kind, labels and meaning.
pub fn metrics() -> String {
    let mut out = METRICS_HEAD.to_owned();
    out.push_str("\n| metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n");
    for metric in metrics::ALL {
        let kind = match metric.kind {
            metrics::Kind::Counter => "counter",
            metrics::Kind::Gauge => "gauge",
            metrics::Kind::Histogram => "histogram",
        };
        let values = |values: &[&str]| match values {
            [] => String::new(),
            values => format!(" ({})", values.join(", ")),
        };
        let labels = metric.labels.iter().zip(metric.values);
        let labels: Vec<String> = labels.map(|(label, of)| format!("`{label}`{}", values(of))).collect();
        put(
            &mut out,
            format_args!("| `{}` | {kind} | {} | {} |\n", metric.name, labels.join(", "), metric.help.trim()),
        );
    }
    out
}

/// The effective configuration as TOML, secrets as `***`.
pub fn effective(config: &Config) -> String {
    as_toml(plain(config))
}

/// The same with whole paths, as JSON: where each path leads for a process of this working directory.
pub fn resolved(config: &Config) -> Value {
    let mut value = plain(config);
    for (key, _) in check(&Schema::of::<Config>(), &value).files {
        if let Some(path) = at_path(&mut value, &key)
            && let Some(whole) = path.as_str().and_then(|path| std::path::absolute(path).ok())
        {
            *path = whole.to_string_lossy().into();
        }
    }
    value
}

/// A tree of plain values: each component's Serialize is derived.
fn plain(config: &Config) -> Value {
    serde_json::to_value(config).expect("configuration values are plain data")
}

/// What [`resolved`] returns, as TOML.
pub fn as_toml(value: Value) -> String {
    let table: toml::Table = serde_json::from_value(without_nulls(value)).expect("no nulls are left");
    toml::to_string_pretty(&table).expect("a table of plain values is TOML")
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(k, v)| (k, without_nulls(v)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect::<Vec<_>>().into(),
        other => other,
    }
}

pub(super) fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

/// Keys that open tables of their own come after plain keys, as TOML wants it.
pub(super) struct Split {
    pub(super) plain: Vec<Field>,
    /// With the header that opens the table: `[path]` or `[[path]]`.
    pub(super) tables: Vec<(String, Field)>,
}

pub(super) fn split(schema: &Schema, path: &str, fields: Vec<Field>) -> Split {
    let mut split = Split { plain: Vec::new(), tables: Vec::new() };
    for field in fields {
        let inner = join(path, &field.name);
        match schema.shape(&field.schema) {
            Shape::Table(_) | Shape::Tagged { .. } => split.tables.push((format!("[{inner}]"), field)),
            Shape::List(items) if matches!(schema.shape(&items), Shape::Table(_) | Shape::Tagged { .. }) => {
                split.tables.push((format!("[[{inner}]]"), Field { schema: beside(&field.schema, items), ..field }));
            }
            _ => split.plain.push(field),
        }
    }
    split
}

/// The schema of a list's items under the description of the list.
fn beside(list: &Value, items: Value) -> Value {
    let mut items = items;
    if let (Some(items), Some(text)) = (items.as_object_mut(), list.get("description")) {
        items.insert("description".to_owned(), text.clone());
    }
    items
}

struct Reference<'a> {
    schema: &'a Schema,
    out: &'a mut String,
}

impl Reference<'_> {
    fn section(&mut self, path: &str, title: &str, schema: &Value) {
        let depth = if path.is_empty() { 1 } else { path.matches('.').count() + 1 };
        put(self.out, format_args!("\n{} {title}\n", "#".repeat((depth + 1).min(5))));
        let resolved = self.schema.resolve(schema);
        let text = description(&resolved);
        if !text.is_empty() {
            put(self.out, format_args!("\n{text}\n"));
        }
        match self.schema.shape(schema) {
            Shape::Tagged { tag, variants } => self.variants(path, title, &tag, variants),
            Shape::Table(table) => {
                let others = table.others.clone();
                self.fields(path, table.fields);
                if let Some(others) = others {
                    put(
                        self.out,
                        format_args!("\nKeys are names of your choice; each value is {}.\n", self.kind(&others)),
                    );
                }
            }
            _ => {}
        }
    }

    /// Each kind with what is its own; tables that every kind has come once, at the end.
    fn variants(&mut self, path: &str, title: &str, tag: &str, variants: Vec<Variant>) {
        let parts: Vec<(String, String, Split)> =
            variants.into_iter().map(|variant| self.variant(path, tag, variant)).collect();
        let everywhere = |field: &Field| {
            parts.iter().all(|(_, _, split)| {
                split.tables.iter().any(|(_, other)| other.name == field.name && other.schema == field.schema)
            })
        };
        let shared: Vec<String> = parts
            .first()
            .map(|(_, _, split)| {
                split.tables.iter().filter(|(_, f)| everywhere(f)).map(|(_, f)| f.name.clone()).collect()
            })
            .unwrap_or_default();
        let mut last = Vec::new();
        for (name, text, split) in parts {
            put(self.out, format_args!("\n### {title} with `{tag} = \"{name}\"`\n\n{text}\n"));
            self.rows(split.plain);
            let (common, own): (Vec<_>, Vec<_>) = split.tables.into_iter().partition(|(_, f)| shared.contains(&f.name));
            for (header, field) in own {
                let title = format!("`{header}` with `{tag} = \"{name}\"`");
                self.section(&join(path, &field.name), &title, &field.schema);
            }
            last = common;
        }
        self.tables(path, last);
    }

    fn variant(&self, path: &str, tag: &str, variant: Variant) -> (String, String, Split) {
        let text = description(&self.schema.resolve(&variant.schema));
        let fields = match self.schema.shape(&variant.schema) {
            Shape::Table(table) => table.fields.into_iter().filter(|field| field.name != tag).collect(),
            _ => Vec::new(),
        };
        (variant.name, text, split(self.schema, path, fields))
    }

    fn fields(&mut self, path: &str, fields: Vec<Field>) {
        let split = split(self.schema, path, fields);
        self.rows(split.plain);
        self.tables(path, split.tables);
    }

    fn tables(&mut self, path: &str, tables: Vec<(String, Field)>) {
        for (header, field) in tables {
            self.section(&join(path, &field.name), &format!("`{header}`"), &field.schema);
        }
    }

    fn rows(&mut self, fields: Vec<Field>) {
        if fields.is_empty() {
            return;
        }
        self.out.push_str("\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
        for field in fields {
            let resolved = self.schema.resolve(&field.schema);
            let default = match resolved.get("default") {
                _ if field.required => "needed".to_owned(),
                None | Some(Value::Null) => "not set".to_owned(),
                Some(value) => format!("`{}`", inline(value)),
            };
            let mut text = description(&resolved).replace("\n\n", "<br>").replace('|', "\\|");
            if let Shape::Choice(words) = self.schema.shape(&field.schema) {
                for (word, meaning) in words.iter().filter(|(_, meaning)| !meaning.is_empty()) {
                    put(&mut text, format_args!("<br>`{word}`: {}", meaning.replace('|', "\\|")));
                }
            }
            put(self.out, format_args!("| `{}` | {} | {default} | {text} |\n", field.name, self.kind(&field.schema)));
        }
    }

    fn kind(&self, schema: &Value) -> String {
        match self.schema.shape(schema) {
            Shape::Table(_) | Shape::Tagged { .. } => "table".to_owned(),
            Shape::List(items) => format!("list of {}", self.kind(&items)),
            Shape::Choice(words) => {
                words.iter().map(|(word, _)| format!("`\"{word}\"`")).collect::<Vec<_>>().join(" or ")
            }
            Shape::Text(Text::Plain) => "text".to_owned(),
            Shape::Text(Text::Size) => "size".to_owned(),
            Shape::Text(Text::Span) => "span".to_owned(),
            Shape::Text(Text::SpanOrZero) => "span or `\"0 s\"`".to_owned(),
            Shape::Text(Text::Secret) => "secret".to_owned(),
            Shape::Text(Text::FileToRead | Text::PlaceToKeep) => "path".to_owned(),
            Shape::Whole { min, max } if min > 0 && max < i64::MAX => format!("whole number, {min} to {max}"),
            Shape::Whole { min, .. } if min > 0 => format!("whole number, {min} or more"),
            Shape::Whole { .. } => "whole number".to_owned(),
            Shape::Number { min: Some(min), max: Some(max) } => format!("number, {min} to {max}"),
            Shape::Number { .. } => "number".to_owned(),
            Shape::Flag => "true or false".to_owned(),
            Shape::Either(shapes) => shapes.iter().map(|shape| self.kind(shape)).collect::<Vec<_>>().join(" or "),
            Shape::Anything => "any value".to_owned(),
        }
    }
}

/// A JSON value as TOML on one line.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let set = map.iter().filter(|(_, value)| !value.is_null());
            format!(
                "{{ {} }}",
                set.map(|(key, value)| format!("{key} = {}", inline(value))).collect::<Vec<_>>().join(", ")
            )
            .replace("{  }", "{}")
        }
        plain => plain.to_string(),
    }
}
