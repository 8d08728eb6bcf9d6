//! Which value made deserialising fail?
//!
//! Some values pass their schema and are refused by their type: an address, a path of a rule. serde says what is wrong
//! but not where, the less so inside a tagged enum. So each value is left out in turn; the one without which the
//! complaint goes away is the one to blame. Configurations are small, and this runs only for bad ones.

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

/// Every (path within the section, complaint); the path is empty when no single value is to blame.
pub(super) fn blame<T: DeserializeOwned>(section: &Value) -> Vec<(String, String)> {
    let mut section = section.clone();
    let mut blamed = Vec::new();
    for _ in 0..ROUNDS {
        let Err(error) = T::deserialize(&section).map(drop) else { break };
        let complaint = error.to_string();
        let Some((steps, clean)) = culprit::<T>(&section, &complaint) else {
            blamed.push((String::new(), complaint));
            break;
        };
        blamed.push((show(&steps), complaint));
        if !clean {
            break;
        }
        // A list goes as a whole, so that the numbers of its other items stay as they are in the file.
        let upto = steps.iter().position(|step| matches!(step, Step::Index(_))).unwrap_or(steps.len());
        remove(&mut section, &steps[..upto]);
    }
    blamed
}

/// The value to blame, and whether leaving it out leaves a complete section.
fn culprit<T: DeserializeOwned>(section: &Value, complaint: &str) -> Option<(Vec<Step>, bool)> {
    let mut leaves = Vec::new();
    collect(section, &mut Vec::new(), &mut leaves);
    let mut needed = None;
    for steps in leaves {
        let mut without = section.clone();
        remove(&mut without, &steps);
        match T::deserialize(&without).map(drop) {
            Ok(()) => return Some((steps, true)),
            Err(error) if error.to_string() == complaint => {}
            // A key that must be there is missing now: it may be the culprit, or the complaint is only delayed.
            Err(error) if error.to_string().starts_with("missing field") => needed = needed.or(Some(steps)),
            Err(_) => return Some((steps, true)),
        }
    }
    needed.map(|steps| (steps, false))
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

fn remove(value: &mut Value, steps: &[Step]) {
    match (steps, value) {
        // Not Map::remove, which changes the order of the other keys, and with it which complaint comes first.
        ([Step::Key(key)], Value::Object(map)) => {
            *map = std::mem::take(map).into_iter().filter(|(k, _)| k != key).collect()
        }
        ([Step::Index(n)], Value::Array(items)) => drop(items.remove(*n)),
        ([Step::Key(key), rest @ ..], Value::Object(map)) => {
            if let Some(inner) = map.get_mut(key) {
                remove(inner, rest);
            }
        }
        ([Step::Index(n), rest @ ..], Value::Array(items)) => {
            if let Some(inner) = items.get_mut(*n) {
                remove(inner, rest);
            }
        }
        _ => {}
    }
}

fn show(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Key(key) => join(&path, key),
        Step::Index(n) => format!("{path}[{n}]"),
    })
}
