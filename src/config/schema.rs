//! JSON schemas as [`Shape`]s: the few forms that Gatepost's configuration types take.
//!
//! Both the checks and the reference read shapes, never raw schemas. What schemars can express and no configuration
//! type uses is [`Shape::Anything`]: it passes the checks here and is left to deserialising.

use schemars::JsonSchema;
use serde_json::{Map, Value};

/// What a value may be.
pub(super) enum Shape {
    Table(Table),
    /// A table whose key `tag` says which of the variants it is.
    Tagged {
        tag: String,
        variants: Vec<Variant>,
    },
    List(Value),
    /// One of a few words, each with its meaning.
    Choice(Vec<(String, String)>),
    Text(Text),
    Whole {
        min: i64,
        max: i64,
    },
    Number {
        min: Option<f64>,
        max: Option<f64>,
    },
    Flag,
    /// Any of several shapes.
    Either(Vec<Value>),
    Anything,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Plain,
    Size,
    Span,
    /// A span of time, or `0 s`.
    SpanOrZero,
    Secret,
    /// Of a file that is read with the configuration.
    FileToRead,
    /// Of what the gateway keeps.
    PlaceToKeep,
}

pub(super) struct Table {
    pub(super) fields: Vec<Field>,
    /// What keys with names of the operator's choice hold; none where such keys are refused.
    pub(super) others: Option<Value>,
}

pub(super) struct Field {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) schema: Value,
}

pub(super) struct Variant {
    pub(super) name: String,
    pub(super) schema: Value,
}

/// A schema with its definitions.
pub(super) struct Schema {
    pub(super) root: Value,
}

impl Schema {
    pub(super) fn of<T: JsonSchema>() -> Self {
        Self { root: schemars::SchemaGenerator::default().into_root_schema_for::<T>().to_value() }
    }

    /// Follows `$ref`. What stands beside it (description, default, more properties) wins over what it points to.
    pub(super) fn resolve(&self, schema: &Value) -> Map<String, Value> {
        let Some(own) = schema.as_object() else { return Map::new() };
        let target =
            own.get("$ref").and_then(Value::as_str).and_then(|name| self.root.pointer(name.strip_prefix('#')?));
        let Some(target) = target else { return own.clone() };
        let mut merged = self.resolve(target);
        for (key, value) in own.iter().filter(|(key, _)| *key != "$ref") {
            match (merged.get_mut(key), value) {
                (Some(Value::Object(there)), Value::Object(here)) if key == "properties" => there.extend(here.clone()),
                (Some(Value::Array(there)), Value::Array(here)) if key == "required" => there.extend(here.clone()),
                _ => drop(merged.insert(key.clone(), value.clone())),
            }
        }
        merged
    }

    /// The shape of a schema.
    pub(super) fn shape(&self, schema: &Value) -> Shape {
        let schema = self.resolve(schema);
        if let Some(words) = words(&schema) {
            return Shape::Choice(words);
        }
        if let Some(variants) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
            return self.alternatives(variants);
        }
        match type_of(&schema) {
            Some("object") => Shape::Table(self.table(&schema)),
            Some("array") => Shape::List(schema.get("items").cloned().unwrap_or(Value::Bool(true))),
            Some("string") => Shape::Text(text(&schema)),
            Some("integer") => whole(&schema),
            Some("number") => Shape::Number { min: number(&schema, "minimum"), max: number(&schema, "maximum") },
            Some("boolean") => Shape::Flag,
            _ => Shape::Anything,
        }
    }

    fn alternatives(&self, variants: &[Value]) -> Shape {
        let some: Vec<Value> =
            variants.iter().filter(|v| v.get("type").and_then(Value::as_str) != Some("null")).cloned().collect();
        if let [only] = some.as_slice() {
            return self.shape(only);
        }
        if let Some(words) = some.iter().map(|v| words(&self.resolve(v))).collect::<Option<Vec<_>>>() {
            return Shape::Choice(words.into_iter().flatten().collect());
        }
        self.tagged(&some).unwrap_or(Shape::Either(some))
    }

    fn tagged(&self, variants: &[Value]) -> Option<Shape> {
        let mut tag = None;
        let mut named = Vec::new();
        for variant in variants {
            let schema = self.resolve(variant);
            let properties = schema.get("properties")?.as_object()?;
            let (key, name) = properties.iter().find_map(|(key, p)| Some((key, p.get("const")?.as_str()?)))?;
            if *tag.get_or_insert_with(|| key.clone()) != *key {
                return None;
            }
            named.push(Variant { name: name.to_owned(), schema: Value::Object(schema) });
        }
        Some(Shape::Tagged { tag: tag?, variants: named })
    }

    fn table(&self, schema: &Map<String, Value>) -> Table {
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let fields = properties.map(|(name, property)| Field {
            name: name.clone(),
            required: required.contains(&name.as_str()),
            schema: property.clone(),
        });
        let others = match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => None,
            Some(other) => Some(other.clone()),
            None => Some(Value::Bool(true)),
        };
        Table { fields: fields.collect(), others }
    }
}

/// The first paragraph and all else of a description, with single line feeds taken out.
pub(super) fn description(schema: &Map<String, Value>) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

fn type_of(schema: &Map<String, Value>) -> Option<&str> {
    match schema.get("type")? {
        Value::String(name) => Some(name),
        Value::Array(names) => {
            let mut names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            names.next().filter(|_| names.next().is_none())
        }
        _ => None,
    }
}

fn words(schema: &Map<String, Value>) -> Option<Vec<(String, String)>> {
    if let Some(word) = schema.get("const") {
        return Some(vec![(word.as_str()?.to_owned(), description(schema))]);
    }
    let list = schema.get("enum")?.as_array()?.iter().filter(|word| !word.is_null());
    list.map(|word| Some((word.as_str()?.to_owned(), String::new()))).collect()
}

fn text(schema: &Map<String, Value>) -> Text {
    match schema.get("format").and_then(Value::as_str) {
        Some("size") => Text::Size,
        Some("span") => Text::Span,
        Some("span or zero") => Text::SpanOrZero,
        Some("secret") => Text::Secret,
        Some("file-to-read") => Text::FileToRead,
        Some("place-to-keep") => Text::PlaceToKeep,
        _ => Text::Plain,
    }
}

fn whole(schema: &Map<String, Value>) -> Shape {
    let (low, high) = match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => (0, i64::from(u8::MAX)),
        Some("uint16") => (0, i64::from(u16::MAX)),
        Some("uint32") => (0, i64::from(u32::MAX)),
        Some("uint" | "uint64") => (0, i64::MAX),
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    let bound = |name| schema.get(name).and_then(Value::as_i64);
    Shape::Whole { min: bound("minimum").unwrap_or(low).max(low), max: bound("maximum").unwrap_or(high).min(high) }
}

fn number(schema: &Map<String, Value>, bound: &str) -> Option<f64> {
    schema.get(bound).and_then(Value::as_f64)
}
