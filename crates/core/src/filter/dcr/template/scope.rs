//! What the expressions of a template can refer to, and what a value comes to with them resolved.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::given::Deployment;
use super::{expression, marker, unresolved};

/// Parameters and variables that refer to each other, one in the other.
const REFERENCES: usize = 8;

/// How often something may be copied: ARM's own limit.
const COPIES: u64 = 800;

/// The parameters and variables of a template. ARM does not mind their letter case.
pub(super) struct Scope<'t> {
    parameters: HashMap<String, &'t Value>,
    variables: HashMap<String, &'t Value>,
    /// Variables that are lists made by copying.
    copied: HashMap<String, &'t Value>,
    definitions: &'t Value,
    /// Values that were given, by lower-cased name, resolved.
    given: Map<String, Value>,
    deployment: &'t Deployment,
}

/// A copy that is being made: the name of its loop, and its number.
pub(super) type Copy = (String, i64);

impl<'t> Scope<'t> {
    pub(super) fn new(template: &'t Value, given: Map<String, Value>, deployment: &'t Deployment) -> Self {
        let named = |key: &str| {
            let entries = template[key].as_object().into_iter().flatten();
            entries.map(|(name, value)| (name.to_lowercase(), value)).collect()
        };
        let copied = copies(&template["variables"]["copy"]).unwrap_or_default().iter();
        let copied = copied.filter_map(|entry| Some((entry["name"].as_str()?.to_lowercase(), entry))).collect();
        let definitions = &template["definitions"];
        Self { parameters: named("parameters"), variables: named("variables"), copied, definitions, given, deployment }
    }

    /// The value with its expressions resolved; a marker stands where that cannot be done. `budget` is how many bytes
    /// expressions may still grow to, since a parameter of a kilobyte can be used a million times. `copies` are those that
    /// are being made, the innermost last.
    pub(super) fn resolve(&self, value: &Value, budget: &mut usize, copies: &[Copy]) -> Value {
        Resolver { scope: self, budget, references: REFERENCES, copies: copies.to_vec() }.value(value)
    }

    pub(super) fn deployment(&self) -> &'t Deployment {
        self.deployment
    }
}

/// What is copied into properties or variables, if that is what the value of a `copy` says.
fn copies(value: &Value) -> Option<&[Value]> {
    let entries = value.as_array()?;
    let is_entry = |entry: &Value| ["name", "count", "input"].iter().all(|key| entry.get(*key).is_some());
    entries.iter().all(is_entry).then_some(entries)
}

/// How many copies a resolved count asks for; the error says why that is not known.
pub(super) fn count_of(count: &Value) -> Result<i64, String> {
    match (count.as_u64(), unresolved(count)) {
        (Some(number), _) if number <= COPIES => Ok(i64::try_from(number).unwrap_or_default()),
        (None, Some((_, why))) => Err(why.to_owned()),
        _ => Err(format!("a whole number up to {COPIES} was expected")),
    }
}

/// A resolution under way.
pub(super) struct Resolver<'r> {
    scope: &'r Scope<'r>,
    budget: &'r mut usize,
    references: usize,
    copies: Vec<Copy>,
}

impl Resolver<'_> {
    fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(object) => self.object(object),
            plain => plain.clone(),
        }
    }

    fn object(&mut self, object: &Map<String, Value>) -> Value {
        let mut resolved = Map::new();
        for (key, value) in object {
            match copies(value).filter(|_| key.eq_ignore_ascii_case("copy")) {
                Some(entries) => {
                    for entry in entries {
                        let name = entry["name"].as_str().unwrap_or_default().to_owned();
                        let list = self.copied(entry).unwrap_or_else(|why| marker("copy", &why));
                        resolved.insert(name, list);
                    }
                }
                None => self.member(key, value, &mut resolved),
            }
        }
        Value::Object(resolved)
    }

    /// A member, whose name may be an expression as well: that is how Bicep writes names that are made of parameters.
    fn member(&mut self, key: &str, value: &Value, into: &mut Map<String, Value>) {
        let (name, value) = match key.starts_with('[').then(|| self.text(key)) {
            None => (key.to_owned(), self.value(value)),
            Some(Value::String(name)) => (name, self.value(value)),
            Some(other) => {
                let why = unresolved(&other).map_or("it is no text", |(_, why)| why);
                (key.to_owned(), marker(key, why))
            }
        };
        let is_new = !into.contains_key(&name);
        into.insert(name, if is_new { value } else { marker(key, "another property has the same name") });
    }

    /// The list that `{name, count, input}` makes.
    fn copied(&mut self, entry: &Value) -> Result<Value, String> {
        let count = count_of(&self.value(&entry["count"]))?;
        let name = entry["name"].as_str().unwrap_or_default().to_owned();
        let mut list = Vec::new();
        for number in 0..count {
            self.copies.push((name.clone(), number));
            let item = self.value(&entry["input"]);
            self.copies.pop();
            self.spend(&item)?;
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    /// `copyIndex([name], [offset])`.
    pub(super) fn copy_index(&self, arguments: &[Value]) -> Result<Value, String> {
        let (name, offset) = match arguments {
            [] => (None, 0),
            [Value::String(name)] => (Some(name), 0),
            [Value::Number(offset)] => (None, offset.as_i64().unwrap_or_default()),
            [Value::String(name), Value::Number(offset)] => (Some(name), offset.as_i64().unwrap_or_default()),
            _ => return Err("copyIndex has other arguments than this reader knows".to_owned()),
        };
        let is_meant = |(known, _): &&Copy| name.is_none_or(|name| known.eq_ignore_ascii_case(name));
        let (_, number) = self.copies.iter().rev().find(is_meant).ok_or("copyIndex stands in no copy of that name")?;
        Ok(Value::from(number.saturating_add(offset)))
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
        let declared = *scope.parameters.get(&key).ok_or_else(|| format!("there is no parameter {name:?}"))?;
        match declared.get("defaultValue").filter(|value| !value.is_null()) {
            Some(default) => self.referred(default),
            None if scope.may_be_null(declared) => Ok(Value::Null),
            None => Err(format!(
                "the parameter {name:?} has no default value and was not given: name a file of parameters in `parameters` \
                 beside `file`, or give `--parameters {name}=…`"
            )),
        }
    }

    /// The value of a variable.
    pub(super) fn variable(&mut self, name: &str) -> Result<Value, String> {
        let (scope, key) = (self.scope, name.to_lowercase());
        if let Some(entry) = scope.copied.get(&key) {
            return self.deeper(|resolver| resolver.copied(entry))?;
        }
        let variable = scope.variables.get(&key);
        self.referred(variable.ok_or_else(|| format!("there is no variable {name:?}"))?)
    }

    pub(super) fn deployment(&self) -> &Deployment {
        self.scope.deployment
    }

    fn referred(&mut self, value: &Value) -> Result<Value, String> {
        self.spend(value)?;
        self.deeper(|resolver| resolver.value(value))
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> Result<T, String> {
        self.references =
            self.references.checked_sub(1).ok_or("parameters and variables refer to each other too deeply")?;
        let value = read(self);
        self.references += 1;
        Ok(value)
    }

    /// Pays for a value out of the budget.
    pub(super) fn spend(&mut self, value: &Value) -> Result<(), String> {
        // What is not paid for must not be measured again and again either.
        let left = if *self.budget == 0 { None } else { self.budget.checked_sub(size(value)) };
        *self.budget = left.unwrap_or(0);
        left.map(drop).ok_or_else(|| "the template's expressions grow too large".to_owned())
    }
}

impl Scope<'_> {
    /// Whether a parameter may be left out, by itself or by the type that it refers to.
    fn may_be_null(&self, declared: &Value) -> bool {
        let definition = declared["$ref"].as_str().and_then(|path| path.strip_prefix("#/definitions/"));
        let definition = definition.map_or(&Value::Null, |name| &self.definitions[name]);
        declared["nullable"] == true || definition["nullable"] == true
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
