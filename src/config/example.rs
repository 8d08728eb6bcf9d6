//! The configuration as a commented example: every key stands in it, with its default.

use serde_json::Value;

use super::document::join;
use super::reference::{inline, put, split};
use super::schema::{Field, Schema, Shape, description};
use super::tree::Config;

/// What the example shows instead of the default state folder: where packages keep it.
const EXAMPLE_STATE_DIR: &str = "/var/lib/gatepost";

const EXAMPLE_HEAD: &str = "\
# Gatepost: every key with its default. Made by `gatepost reference example`.
# Lines that start with \"# \" explain; take the \"#\" away from the others to change a value.
";

/// An example file in which every key stands, commented out, with its default.
pub fn text() -> String {
    let schema = Schema::of::<Config>();
    let mut out = EXAMPLE_HEAD.to_owned();
    Example { schema: &schema, out: &mut out, in_list: false }.table("", "", &schema.root);
    out
}

struct Example<'a> {
    schema: &'a Schema,
    out: &'a mut String,
    /// Inside `[[…]]`, or a table that is more than its keys. There headers are commented out too, because one more table
    /// would be one more listener.
    in_list: bool,
}

impl Example<'_> {
    fn table(&mut self, path: &str, header: &str, schema: &Value) {
        match self.schema.shape(schema) {
            Shape::Tagged { tag, variants } => {
                let is_one = !header.starts_with("[[");
                for (n, variant) in variants.into_iter().enumerate() {
                    let begin = self.out.len();
                    self.comment(&description(&self.schema.resolve(&variant.schema)));
                    put(self.out, format_args!("#{header}\n#{tag} = \"{}\"\n", variant.name));
                    let Shape::Table(table) = self.schema.shape(&variant.schema) else { continue };
                    self.fields(path, table.fields.into_iter().filter(|field| field.name != tag).collect());
                    if n > 0 && is_one {
                        self.quote_from(begin);
                    }
                }
            }
            Shape::Table(table) => {
                if !header.is_empty() {
                    put(self.out, format_args!("{}{header}\n", if self.in_list { "#" } else { "" }));
                }
                if let Some(others) = &table.others {
                    put(self.out, format_args!("#name-of-your-choice = {}\n", self.sample(others)));
                }
                self.fields(path, table.fields);
            }
            _ => {}
        }
    }

    fn fields(&mut self, path: &str, fields: Vec<Field>) {
        let split = split(self.schema, path, fields);
        for field in split.plain {
            let resolved = self.schema.resolve(&field.schema);
            self.comment(&description(&resolved));
            if path.is_empty() && field.name == "state_dir" {
                put(self.out, format_args!("state_dir = {EXAMPLE_STATE_DIR:?}\n"));
                continue;
            }
            let value = match resolved.get("default") {
                None | Some(Value::Null) => self.sample(&field.schema),
                Some(value) => inline(value),
            };
            put(self.out, format_args!("#{} = {value}\n", field.name));
        }
        for (header, field) in split.tables {
            self.out.push('\n');
            self.comment(&description(&self.schema.resolve(&field.schema)));
            let outside = self.in_list;
            self.in_list |= header.starts_with("[[") || self.is_more_than_its_keys(&field);
            self.table(&join(path, &field.name), &header, &field.schema);
            self.in_list = outside;
        }
    }

    /// Whether an empty table means something else than none.
    fn is_more_than_its_keys(&self, field: &Field) -> bool {
        let Shape::Table(table) = self.schema.shape(&field.schema) else { return false };
        let without = |inner: &Field| field.schema.get("default")?.get(&inner.name).cloned();
        let empty = |inner: &Field| self.schema.resolve(&inner.schema).get("default").cloned();
        table.fields.iter().any(|inner| without(inner).zip(empty(inner)).is_some_and(|(none, empty)| none != empty))
    }

    /// Makes settings comments of comments: a table can be there only once, and its other kinds are to be read.
    fn quote_from(&mut self, begin: usize) {
        let quoted = self.out.split_off(begin);
        for line in quoted.lines() {
            match line.strip_prefix('#') {
                Some(setting) if !setting.starts_with(' ') => put(self.out, format_args!("#   {setting}\n")),
                _ => put(self.out, format_args!("{line}\n")),
            }
        }
    }

    fn comment(&mut self, text: &str) {
        for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
            let mut line = String::new();
            for word in paragraph.split(' ') {
                if line.len() + word.len() > 110 {
                    put(self.out, format_args!("#{line}\n"));
                    line.clear();
                }
                put(&mut line, format_args!(" {word}"));
            }
            put(self.out, format_args!("#{line}\n"));
        }
    }

    /// A value of the right type for a key that has no default.
    fn sample(&self, schema: &Value) -> String {
        if let Some(example) = self.schema.resolve(schema).get("examples").and_then(|examples| examples.get(0)) {
            return inline(example);
        }
        match self.schema.shape(schema) {
            Shape::List(_) => "[]".to_owned(),
            Shape::Table(_) | Shape::Tagged { .. } => "{}".to_owned(),
            Shape::Choice(words) => words.first().map(|(word, _)| format!("{word:?}")).unwrap_or_default(),
            Shape::Whole { min, .. } => min.max(1).to_string(),
            Shape::Number { .. } => "1.0".to_owned(),
            Shape::Flag => "true".to_owned(),
            Shape::Either(shapes) => shapes.first().map(|shape| self.sample(shape)).unwrap_or_default(),
            Shape::Text(_) | Shape::Anything => "\"…\"".to_owned(),
        }
    }
}
