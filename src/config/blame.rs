//! Which values made deserialising fail?
//!
//! Some values pass their schema and are refused by their type: an address, a path of a rule. serde says what is wrong
//! but not where, the less so inside a tagged enum, and it stops there. So values are left out in turn; the one without which
//! the complaint goes away is the one to blame, and the search goes on without it. Configurations are small, and this runs
//! only for bad ones.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document::join;

/// More mistakes than this in one section are not told apart.
const ROUNDS: usize = 50;

#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

/// A section, as far as it can be read, and what of it cannot.
pub(super) struct Judged<T> {
    /// The section without the values to blame; none when not even the rest of it can be read.
    pub(super) section: Option<T>,
    /// Every (path within the section, complaint); the path is empty when no single value is to blame.
    pub(super) blamed: Vec<(String, String)>,
}

/// Reads a section, and finds every value to blame.
pub(super) fn judge<T: DeserializeOwned>(section: &Value) -> Judged<T> {
    let mut section = section.clone();
    let mut blamed = Vec::new();
    for _ in 0..ROUNDS {
        let complaint = match T::deserialize(&section) {
            Ok(section) => return Judged { section: Some(section), blamed },
            Err(error) => error.to_string(),
        };
        let Some(steps) = culprit::<T>(&section, &complaint) else {
            blamed.push((String::new(), complaint));
            break;
        };
        match steps.split_last() {
            Some((Step::Index(_), list)) => blamed.extend(items_to_blame::<T>(&section, list)),
            _ => blamed.push((show(&steps), complaint)),
        }
        let Some(rest) = without_culprit::<T>(&section, &steps) else { break };
        section = rest;
    }
    Judged { section: None, blamed }
}

/// The value to blame. The last ones are left out first, so that the places of the others stay, and they stay out as long as
/// the complaint does: the same may be wrong in several places.
fn culprit<T: DeserializeOwned>(section: &Value, complaint: &str) -> Option<Vec<Step>> {
    let mut leaves = Vec::new();
    collect(section, &mut Vec::new(), &mut leaves);
    let mut rest = section.clone();
    let mut needed = None;
    for steps in leaves.into_iter().rev() {
        let mut without = rest.clone();
        remove(&mut without, &steps);
        match T::deserialize(&without).map(drop) {
            Ok(()) => return Some(steps),
            Err(error) if error.to_string() == complaint => rest = without,
            // A key that must be there: it may be the culprit, or the complaint only comes later. No later one is missed.
            Err(error) if is_missing(&error) => needed = needed.or(Some(steps)),
            Err(_) => return Some(steps),
        }
    }
    needed
}

/// The items of a list that cannot be read, each tried alone.
fn items_to_blame<T: DeserializeOwned>(section: &Value, list: &[Step]) -> Vec<(String, String)> {
    let Some(items) = at(section, list).and_then(Value::as_array) else { return Vec::new() };
    let complaint = |items: Vec<Value>| {
        let mut changed = section.clone();
        if let Some(place) = at_mut(&mut changed, list) {
            *place = Value::Array(items);
        }
        T::deserialize(&changed).map(drop).err().map(|error| error.to_string())
    };
    let elsewhere = complaint(Vec::new());
    let alone = items.iter().enumerate().map(|(n, item)| (n, complaint(vec![item.clone()])));
    let wrong = alone.filter(|(_, complaint)| *complaint != elsewhere);
    wrong.filter_map(|(n, complaint)| Some((format!("{}[{n}]", show(list)), complaint?))).collect()
}

/// The section without the value to blame, or without as little around it as may be missing. A list goes as a whole, so that
/// the numbers of its other items stay as they are in the file.
fn without_culprit<T: DeserializeOwned>(section: &Value, steps: &[Step]) -> Option<Value> {
    let keys = (1..=steps.len()).rev().filter(|upto| matches!(steps[upto - 1], Step::Key(_)));
    let rests = keys.map(|upto| {
        let mut rest = section.clone();
        remove(&mut rest, &steps[..upto]);
        rest
    });
    rests.into_iter().find(|rest| T::deserialize(rest).map(drop).err().is_none_or(|error| !is_missing(&error)))
}

fn is_missing(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("missing field")
}

fn at<'v>(value: &'v Value, steps: &[Step]) -> Option<&'v Value> {
    steps.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(n) => value.get(n),
    })
}

fn at_mut<'v>(value: &'v mut Value, steps: &[Step]) -> Option<&'v mut Value> {
    steps.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(n) => value.get_mut(n),
    })
}

fn collect(value: &Value, at: &mut Vec<Step>, leaves: &mut Vec<Vec<Step>>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                at.push(Step::Key(key.clone()));
                collect(inner, at, leaves);
                at.pop();
            }
        }
        Value::Array(items) => {
            for (n, inner) in items.iter().enumerate() {
                at.push(Step::Index(n));
                collect(inner, at, leaves);
                at.pop();
            }
        }
        _ => leaves.push(at.clone()),
    }
}

fn remove(section: &mut Value, steps: &[Step]) {
    let Some((last, way)) = steps.split_last() else { return };
    match (last, at_mut(section, way)) {
        // Not Map::remove, which changes the order of the other keys, and with it which complaint comes first.
        (Step::Key(key), Some(Value::Object(map))) => {
            *map = std::mem::take(map).into_iter().filter(|(k, _)| k != key).collect();
        }
        (Step::Index(n), Some(Value::Array(items))) if *n < items.len() => drop(items.remove(*n)),
        _ => {}
    }
}

fn show(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Key(key) => join(&path, key),
        Step::Index(n) => format!("{path}[{n}]"),
    })
}
