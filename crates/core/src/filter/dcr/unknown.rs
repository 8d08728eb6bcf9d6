//! What a template does not tell: a marker in the place of a value, or a word between two zeros in a text.

use std::borrow::Cow;

use serde_json::{Value, json};

/// The keys of a marker. No property of Azure's has such a name.
const EXPRESSION: &str = "\u{0}expression";
const WHY: &str = "\u{0}why";

/// The expression that a marker stands for, and why it is not resolved.
pub(super) fn unresolved(value: &Value) -> Option<(&str, &str)> {
    Some((value.get(EXPRESSION)?.as_str()?, value.get(WHY)?.as_str()?))
}

/// What stands in the place of an expression that is not resolved.
pub(super) fn marker(expression: &str, why: &str) -> Value {
    json!({ EXPRESSION: expression, WHY: why })
}

/// A part of a text that only the deployment knows. No text of Azure's holds a zero.
pub(super) fn unknown(what: &str) -> String {
    format!("\0{what}\0")
}

/// Whether a part of a text is only known at the deployment.
pub(super) fn is_unknown(text: &str) -> bool {
    text.contains('\0')
}

/// A text for people: what is not known of it stands in brackets.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !is_unknown(text) {
        return Cow::Borrowed(text);
    }
    let parts = text.split('\0').enumerate();
    Cow::Owned(parts.map(|(n, part)| if n % 2 == 0 { part.to_owned() } else { format!("{{{part}}}") }).collect())
}
