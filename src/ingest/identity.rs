//! Whether the events of an upload are their sender's to send.
//!
//! Looked at before anything is filtered or kept: a refused upload leaves nothing behind, and who may not speak for a
//! computer learns nothing of what the rules would do with its events.

use std::sync::Arc;

use super::accept::Refusal;
use crate::event::{Client, Event, IdentityPolicy};
use crate::metrics;

/// What became of foreign events: label values.
const REFUSED: &str = "refused";
const TAGGED: &str = "tagged";

/// Compares every event with what its sender is bound to, and does what the policy of the listener says.
pub(super) fn check(input: &Arc<str>, client: &Client, events: &[Event<'_>]) -> Result<(), Refusal> {
    let action = match client.policy {
        IdentityPolicy::Off => return Ok(()),
        IdentityPolicy::Tag if client.binding.is_empty() => return Ok(()),
        IdentityPolicy::Tag => TAGGED,
        IdentityPolicy::Enforce => REFUSED,
    };
    if client.binding.is_empty() {
        return Err(Refusal::Foreign(format!(
            "the client {:?} is bound to no computer, and this listener takes events only from clients that are; \
             configure hosts for its token, its certificate or its entra client",
            client.name
        )));
    }
    let foreign = events.iter().enumerate().filter_map(|(at, event)| Some((at, client.binding.foreign(event)?)));
    let mut foreign = foreign.peekable();
    let first = foreign.peek().map(|(at, what)| (at + 1, what.to_string()));
    let count = foreign.count() as u64;
    if count > 0 {
        metrics::EVENTS_FOREIGN.add(&[input, action], count);
    }
    match first {
        Some((position, what)) if action == REFUSED => Err(Refusal::Foreign(format!(
            "event {position} names the {what}, for which the client {:?} may not speak; nothing of this upload was kept",
            client.name
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Binding, Syntax, decode};

    fn checked(policy: IdentityPolicy, hosts: &[&str], body: &str) -> Result<(), Refusal> {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let binding = Binding { hosts, ..Binding::default() };
        let client = Client { name: "plant".into(), policy, binding, ..Client::default() };
        check(&"uploads".into(), &client, &decode(Syntax::JsonArray, body.as_bytes()).expect("an array").events)
    }

    #[test]
    fn enforcing_names_the_first_foreign_computer_and_its_place() {
        let body = r#"[{"Computer":"a"},{"EventID":1},{"Computer":"b"},{"Computer":"c"}]"#;
        let Err(Refusal::Foreign(text)) = checked(IdentityPolicy::Enforce, &["a"], body) else { panic!("it passed") };
        assert!(text.contains("event 3") && text.contains("\"b\"") && text.contains("\"plant\""), "{text}");
        assert_eq!(checked(IdentityPolicy::Enforce, &["a", "b", "c"], body), Ok(()));
        assert_eq!(checked(IdentityPolicy::Tag, &["a"], body), Ok(()));
        assert_eq!(checked(IdentityPolicy::Off, &[], body), Ok(()));
    }

    #[test]
    fn who_is_bound_to_nothing_is_told_what_to_configure() {
        let Err(Refusal::Foreign(text)) = checked(IdentityPolicy::Enforce, &[], "[]") else { panic!("it passed") };
        assert!(text.contains("configure hosts"), "{text}");
        assert_eq!(checked(IdentityPolicy::Tag, &[], r#"[{"Computer":"a"}]"#), Ok(()));
    }
}
