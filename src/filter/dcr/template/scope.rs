//! What the expressions of a template can refer to, and what a value comes to with them resolved.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{expression, marker};

/// Parameters and variables that refer to each other, one in the other.
const REFERENCES: usize = 4;

/// The parameters and variables of a template. ARM does not mind their letter case.
pub(super) struct Scope<'t> {
    defaults: HashMap<String, &'t Value>,
    variables: HashMap<String, &'t Value>,
    /// Values that an outer deployment gives, by lower-cased name, resolved.
    given: Map<String, Value>,
}

impl<'t> Scope<'t> {
    pub(super) fn new(template: &'t Value, given: Map<String, Value>) -> Self {
        let named = |key: &str| {
            let entries = template[key].as_object().into_iter().flatten();
            entries.map(|(name, value)| (name.to_lowercase(), value)).collect()
        };
        Self { defaults: named("parameters"), variables: named("variables"), given }
    }

    /// The value with its expressions resolved; a marker stands where that cannot be done. `budget` is how many bytes
    /// expressions may still grow to, since a parameter of a kilobyte can be used a million times.
    pub(super) fn resolve(&self, value: &Value, budget: &mut usize) -> Value {
        Resolver { scope: self, budget, references: REFERENCES }.value(value)
    }
}

/// A resolution under way.
pub(super) struct Resolver<'r> {
    scope: &'r Scope<'r>,
    budget: &'r mut usize,
    references: usize,
}

impl Resolver<'_> {
    fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(object) => {
                let entries = object.iter().map(|(key, value)| (key.clone(), self.value(value)));
                Value::Object(entries.collect())
            }
            plain => plain.clone(),
        }
    }

    fn text(&mut self, text: &str) -> Value {
        let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else {
            return Value::from(text);
        };
        // `[[` is how a template writes a text that begins with a bracket.
        if inner.starts_with('[') {
            return Value::from(&text[1..]);
        }
        let result = expression::evaluate(inner, self).and_then(|value| self.spend(&value).map(|()| value));
        result.unwrap_or_else(|why| marker(text, &why))
    }

    /// The value of a parameter.
    pub(super) fn parameter(&mut self, name: &str) -> Result<Value, String> {
        let (scope, key) = (self.scope, name.to_lowercase());
        if let Some(given) = scope.given.get(&key) {
            self.spend(given)?;
            return Ok(given.clone());
        }
        let declared = scope.defaults.get(&key).ok_or_else(|| format!("there is no parameter {name:?}"))?;
        let default = declared.get("defaultValue").filter(|value| !value.is_null());
        self.referred(default.ok_or_else(|| format!("the parameter {name:?} has no default value"))?)
    }

    /// The value of a variable.
    pub(super) fn variable(&mut self, name: &str) -> Result<Value, String> {
        let variable = self.scope.variables.get(&name.to_lowercase());
        self.referred(variable.ok_or_else(|| format!("there is no variable {name:?}"))?)
    }

    fn referred(&mut self, value: &Value) -> Result<Value, String> {
        self.spend(value)?;
        self.references =
            self.references.checked_sub(1).ok_or("parameters and variables refer to each other too deeply")?;
        let value = self.value(value);
        self.references += 1;
        Ok(value)
    }

    fn spend(&mut self, value: &Value) -> Result<(), String> {
        // What is not paid for must not be measured again and again either.
        let left = if *self.budget == 0 { None } else { self.budget.checked_sub(size(value)) };
        *self.budget = left.unwrap_or(0);
        left.map(drop).ok_or_else(|| "the template's expressions grow too large".to_owned())
    }
}

/// About how many bytes a value takes.
fn size(value: &Value) -> usize {
    const EACH: usize = 32;
    EACH + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(object) => object.iter().map(|(key, value)| key.len() + size(value)).sum(),
        _ => 0,
    }
}
