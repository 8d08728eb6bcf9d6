//! Functions that compare and calculate.

use std::cmp::Ordering;

use serde_json::Value;

use super::wrong;

pub(super) fn call(name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    Some(match (name, arguments) {
        ("true", []) => Ok(Value::from(true)),
        ("false", []) => Ok(Value::from(false)),
        ("null", []) => Ok(Value::Null),
        ("not", [Value::Bool(truth)]) => Ok(Value::from(!truth)),
        ("and", [_, _, ..]) => truths(name, arguments).map(|all| Value::from(all.iter().all(|truth| *truth))),
        ("or", [_, _, ..]) => truths(name, arguments).map(|all| Value::from(all.iter().any(|truth| *truth))),
        ("xor", [Value::Bool(one), Value::Bool(other)]) => Ok(Value::from(one != other)),
        ("bool", [value]) => truth_of(value),
        ("equals", [one, other]) => Ok(Value::from(one == other)),
        ("less", [one, other]) => compared(name, one, other, Ordering::is_lt),
        ("lessorequals", [one, other]) => compared(name, one, other, Ordering::is_le),
        ("greater", [one, other]) => compared(name, one, other, Ordering::is_gt),
        ("greaterorequals", [one, other]) => compared(name, one, other, Ordering::is_ge),
        ("add" | "sub" | "mul" | "div" | "mod", [Value::Number(one), Value::Number(other)]) => {
            calculated(name, one.as_i64(), other.as_i64())
        }
        ("min" | "max", [_, ..]) => extreme(name, arguments),
        (
            "true" | "false" | "null" | "not" | "and" | "or" | "xor" | "bool" | "equals" | "less" | "lessorequals"
            | "greater" | "greaterorequals" | "add" | "sub" | "mul" | "div" | "mod" | "min" | "max" | "if" | "coalesce"
            | "map" | "filter" | "lambda" | "parameters" | "variables",
            _,
        ) => wrong(name),
        _ => return None,
    })
}

fn truths(name: &str, arguments: &[Value]) -> Result<Vec<bool>, String> {
    let truths: Option<Vec<bool>> = arguments.iter().map(Value::as_bool).collect();
    truths.ok_or_else(|| format!("{name} asks for what is true or false"))
}

fn truth_of(value: &Value) -> Result<Value, String> {
    match value {
        Value::Bool(truth) => Ok(Value::from(*truth)),
        Value::Number(number) => Ok(Value::from(number.as_i64() != Some(0))),
        Value::String(text) if text.eq_ignore_ascii_case("true") || text == "1" => Ok(Value::from(true)),
        Value::String(text) if text.eq_ignore_ascii_case("false") || text == "0" => Ok(Value::from(false)),
        _ => wrong("bool"),
    }
}

fn compared(name: &str, one: &Value, other: &Value, holds: impl Fn(Ordering) -> bool) -> Result<Value, String> {
    let order = match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one.as_i64().zip(other.as_i64()).map(|(one, other)| one.cmp(&other))
        }
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    };
    order.map_or_else(|| wrong(name), |order| Ok(Value::from(holds(order))))
}

fn calculated(name: &str, one: Option<i64>, other: Option<i64>) -> Result<Value, String> {
    let (Some(one), Some(other)) = (one, other) else { return wrong(name) };
    let result = match name {
        "add" => one.checked_add(other),
        "sub" => one.checked_sub(other),
        "mul" => one.checked_mul(other),
        "div" => one.checked_div(other),
        _ => one.checked_rem(other),
    };
    result.map(Value::from).ok_or_else(|| format!("{name} has no result for {one} and {other}"))
}

/// The least or greatest of some numbers, or of a list of them.
fn extreme(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let numbers = match arguments {
        [Value::Array(items)] => items.as_slice(),
        items => items,
    };
    let numbers: Option<Vec<i64>> = numbers.iter().map(Value::as_i64).collect();
    let numbers = numbers.unwrap_or_default().into_iter();
    let found = if name == "min" { numbers.min() } else { numbers.max() };
    found.map_or_else(|| wrong(name), |number| Ok(Value::from(number)))
}
