//! Template expressions: the few functions that say where a thing is called what.
//!
//! What depends on the deployment (`resourceGroup()`, `reference()`, …) has no value here, and says so.

use serde_json::Value;

use super::scope::Resolver;
use super::unresolved;

/// Calls within calls.
const DEPTH: usize = 32;

/// Characters of an expression: ARM's own limit.
const LENGTH: usize = 24_576;

/// Bytes that `format` may make of its few.
const FORMATTED: usize = 64 << 10;

/// Evaluates what stands between `[` and `]`; the error says why it has no value.
pub(super) fn evaluate(text: &str, resolver: &mut Resolver<'_>) -> Result<Value, String> {
    if text.len() > LENGTH {
        return Err(format!("it is longer than {LENGTH} bytes"));
    }
    let mut reader = Reader { rest: text, resolver };
    let value = reader.expression(DEPTH)?;
    reader.skip();
    if reader.rest.is_empty() { Ok(value) } else { Err(reader.unexpected("the end")) }
}

struct Reader<'t, 'r, 's> {
    rest: &'t str,
    resolver: &'r mut Resolver<'s>,
}

impl<'t> Reader<'t, '_, '_> {
    fn expression(&mut self, depth: usize) -> Result<Value, String> {
        let depth = depth.checked_sub(1).ok_or("it is nested too deeply")?;
        self.skip();
        let mut value = match self.rest.chars().next() {
            Some('\'') => self.quoted().map(Value::from)?,
            Some(c) if c.is_ascii_digit() || c == '-' => self.number()?,
            Some(c) if c.is_ascii_alphabetic() => self.call(depth)?,
            _ => return Err(self.unexpected("a function, a text in '…' or a number")),
        };
        loop {
            if self.take('.') {
                let key = self.name();
                value = property(value, &Value::from(key))?;
            } else if self.take('[') {
                let key = self.expression(depth)?;
                self.want(']')?;
                value = property(value, &key)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn call(&mut self, depth: usize) -> Result<Value, String> {
        let name = self.name();
        self.want('(')?;
        let mut arguments = Vec::new();
        if !self.take(')') {
            loop {
                let argument = self.expression(depth)?;
                if let Some((_, why)) = unresolved(&argument) {
                    return Err(why.to_owned());
                }
                arguments.push(argument);
                if self.take(')') {
                    break;
                }
                self.want(',')?;
            }
        }
        self.function(name, &arguments)
    }

    fn function(&mut self, name: &str, arguments: &[Value]) -> Result<Value, String> {
        let texts: Option<Vec<&str>> = arguments.iter().map(Value::as_str).collect();
        match (name.to_ascii_lowercase().as_str(), texts.as_deref()) {
            ("parameters", Some([parameter])) => self.resolver.parameter(parameter),
            ("variables", Some([variable])) => self.resolver.variable(variable),
            ("concat", Some(texts)) => Ok(Value::from(texts.concat())),
            ("concat", None) => concatenated_lists(arguments),
            ("tolower", Some([text])) => Ok(Value::from(text.to_lowercase())),
            ("toupper", Some([text])) => Ok(Value::from(text.to_uppercase())),
            ("format", Some([format, values @ ..])) => formatted(format, values),
            ("resourceid", Some([subscription, group, kind, name])) if kind.contains('/') => {
                Ok(Value::from(format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{kind}/{name}")))
            }
            ("resourceid", Some(_)) => {
                Err("the subscription and the resource group are those it is deployed to".to_owned())
            }
            ("subscription" | "resourcegroup" | "deployment" | "reference", _) => {
                Err(format!("{name}() is only known at the deployment"))
            }
            ("parameters" | "variables" | "tolower" | "toupper" | "format" | "resourceid", _) => {
                Err(format!("{name} has other arguments than this reader knows"))
            }
            _ => Err(format!("the function {name} is not implemented")),
        }
    }

    /// A text in single quotes; a quote within is written twice.
    fn quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let mut rest = &self.rest[1..];
        loop {
            let end = rest.find('\'').ok_or("a text has no closing quote")?;
            text.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('\'') {
                Some(more) => {
                    text.push('\'');
                    rest = more;
                }
                None => {
                    self.rest = rest;
                    return Ok(text);
                }
            }
        }
    }

    fn number(&mut self) -> Result<Value, String> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        number.parse::<i64>().map(Value::from).map_err(|_| format!("{number:?} is no whole number"))
    }

    fn name(&mut self) -> &'t str {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip();
        self.rest.strip_prefix(wanted).inspect(|rest| self.rest = rest).is_some()
    }

    fn want(&mut self, wanted: char) -> Result<(), String> {
        if self.take(wanted) { Ok(()) } else { Err(self.unexpected(&format!("{wanted:?}"))) }
    }

    fn unexpected(&self, wanted: &str) -> String {
        match self.rest.chars().next() {
            Some(found) => format!("{wanted} was expected and {found:?} found"),
            None => format!("{wanted} was expected and it ends"),
        }
    }
}

fn property(value: Value, key: &Value) -> Result<Value, String> {
    let found = match (value, key) {
        (Value::Object(mut object), Value::String(key)) => object.remove(key),
        (Value::Array(items), Value::Number(n)) => {
            let n = n.as_u64().and_then(|n| usize::try_from(n).ok());
            n.and_then(|n| items.into_iter().nth(n))
        }
        _ => None,
    };
    found.ok_or_else(|| format!("there is no {key} in the value"))
}

fn concatenated_lists(arguments: &[Value]) -> Result<Value, String> {
    let lists: Option<Vec<&Vec<Value>>> = arguments.iter().map(Value::as_array).collect();
    let lists = lists.ok_or("concat takes texts alone or lists alone")?;
    Ok(lists.into_iter().flatten().cloned().collect())
}

/// `{0}` is the first value.
fn formatted(format: &str, values: &[&str]) -> Result<Value, String> {
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('{') {
        let (index, after) = after.split_once('}').ok_or("a { has no }")?;
        let value = index.parse::<usize>().ok().and_then(|n| values.get(n));
        text.push_str(before);
        text.push_str(value.ok_or_else(|| format!("format has no value {{{index}}}"))?);
        if text.len() > FORMATTED {
            return Err(format!("format makes more than {FORMATTED} bytes"));
        }
        rest = after;
    }
    text.push_str(rest);
    Ok(Value::from(text))
}
