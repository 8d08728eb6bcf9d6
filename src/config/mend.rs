//! A section with mistakes, made whole enough that the rest of it can be judged: an operator wants all mistakes at once.
//!
//! What stands in for a wrong value is never used: a configuration with a finding is refused. It only has to be read.

use serde_json::{Map, Value};

use super::document::Finding;
use super::schema::{Schema, Shape, Text};

/// What becomes of a wrong value while the rest is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mend {
    /// It goes.
    LeaveOut,
    /// This stands in for it.
    Put(Value),
    /// Nothing can stand in for it, so that what it belongs to cannot be judged.
    Nothing,
}

/// What stands in for a value of this schema.
pub(super) fn stand_in(schema: &Schema, of: &Value) -> Mend {
    if let Some(default) = schema.resolve(of).get("default").filter(|default| !default.is_null()) {
        return Mend::Put(default.clone());
    }
    Mend::Put(match schema.shape(of) {
        Shape::Text(Text::Size) => "1 MiB".into(),
        Shape::Text(Text::Span | Text::SpanOrZero) => "1 s".into(),
        Shape::Text(_) => "x".into(),
        Shape::Choice(words) => words.first().map(|(word, _)| word.as_str()).unwrap_or_default().into(),
        Shape::Whole { min, max } => min.max(1).min(max).into(),
        Shape::Number { min, .. } => min.unwrap_or(1.0).into(),
        Shape::Flag => false.into(),
        Shape::List(_) => Value::Array(Vec::new()),
        Shape::Table(table) => {
            let needed = table.fields.iter().filter(|field| field.required);
            let fields = needed.map(|field| match stand_in(schema, &field.schema) {
                Mend::Put(value) => Some((field.name.clone(), value)),
                Mend::LeaveOut | Mend::Nothing => None,
            });
            match fields.collect::<Option<Map<_, _>>>() {
                Some(fields) => Value::Object(fields),
                None => return Mend::Nothing,
            }
        }
        Shape::Either(shapes) => return shapes.first().map_or(Mend::LeaveOut, |shape| stand_in(schema, shape)),
        Shape::Tagged { .. } => return Mend::Nothing,
        Shape::Anything => return Mend::LeaveOut,
    })
}

/// The section at `path` without its mistakes; none when something of it cannot be mended.
pub(super) fn mended(section: &Value, path: &str, findings: &[&Finding]) -> Option<Value> {
    let mut section = section.clone();
    for finding in findings {
        mend(&mut section, &steps(&finding.path[path.len()..]), &finding.mend)?;
    }
    Some(section)
}

fn mend(section: &mut Value, steps: &[&str], mend: &Mend) -> Option<()> {
    let Some((last, way)) = steps.split_last() else {
        if let Mend::Put(value) = mend {
            *section = value.clone();
        }
        return matches!(mend, Mend::Put(_)).then_some(());
    };
    match (at(section, way)?, mend) {
        (_, Mend::Nothing) => return None,
        (Value::Object(map), Mend::Put(value)) => drop(map.insert((*last).to_owned(), value.clone())),
        (Value::Object(map), Mend::LeaveOut) => drop(map.shift_remove(*last)),
        (Value::Array(items), Mend::Put(value)) => *items.get_mut(last.parse::<usize>().ok()?)? = value.clone(),
        // The numbers of the other items must stay, so all of them go.
        (Value::Array(items), Mend::LeaveOut) => items.clear(),
        _ => return None,
    }
    Some(())
}

/// The value at a dotted path.
pub(super) fn at_path<'v>(value: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    at(value, &steps(path))
}

fn at<'v>(value: &'v mut Value, steps: &[&str]) -> Option<&'v mut Value> {
    steps.iter().try_fold(value, |value, step| match value {
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        value => value.get_mut(*step),
    })
}

fn steps(path: &str) -> Vec<&str> {
    path.split(['.', '[', ']']).filter(|step| !step.is_empty()).collect()
}
