//! A recorded conversation, word for word, for the oldest version of the interface and the newest.

use super::*;

const CONVERSATION: &str = include_str!("../../../../tests/data/azure/conversation.http");

/// One request with the answer that is expected.
#[derive(Default)]
struct Turn {
    line: String,
    headers: String,
    body: String,
    status: u16,
    answer: String,
}

fn turns(text: &str) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut answering = false;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(line) = line.strip_prefix("> ") {
            turns.push(Turn { line: line.to_owned(), ..Turn::default() });
            answering = false;
            continue;
        }
        let turn = turns.last_mut().expect("a request comes first");
        if let Some(status) = line.strip_prefix("< ") {
            turn.status = status.parse().expect("a status");
            answering = true;
        } else if answering {
            turn.answer.push_str(line);
        } else if line.starts_with("If-") {
            turn.headers = line.to_owned();
        } else {
            turn.body.push_str(line);
        }
    }
    turns
}

/// What differs each time reads "*"; where it stands is checked, and its shape.
fn mask(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let text = value.as_str().unwrap_or_default();
                let masked = match key.as_str() {
                    "etag" => text.len() == 38 && text.starts_with('"') && text.ends_with('"'),
                    "createdAt" | "lastModifiedAt" => text.len() == 28 && text.ends_with('Z'),
                    "immutableId" => text.len() == 36 && text.starts_with("dcr-") && text != "dcr-mine",
                    _ => false,
                };
                if masked { *value = Value::from("*") } else { mask(value) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

async fn converse(version: &str) {
    let dir = Place::new();
    let plane = Plane::open(dir.path());
    let turns = turns(CONVERSATION);
    assert!(turns.len() > 25, "the conversation is read whole");
    let mut etag = String::new();
    for Turn { line, headers, body, status, answer } in turns {
        let presumed = etag.clone();
        let filled = |text: &str| {
            text.replace("{rule}", &rule("logons"))
                .replace("{host}", &format!("{GROUP}/providers/Microsoft.HybridCompute/machines/jump-01"))
                .replace("{workspace}", &format!("{GROUP}/providers/Microsoft.OperationalInsights/workspaces/central"))
                .replace("{group}", GROUP)
                .replace("{etag}", &presumed)
        };
        let joint = if line.contains('?') { '&' } else { '?' };
        let asked = format!("{}{joint}api-version={version}", filled(&line));
        let mut answered = plane.ask(&asked, &filled(&headers), filled(&body)).await;
        let told = format!("{asked}\n{body}\n{}", answered.body);
        assert_eq!(answered.status, status, "{told}");
        if let Some(seen) = answered.body["etag"].as_str() {
            assert_eq!(answered.headers["etag"], seen, "{told}");
            assert_ne!(
                (line.starts_with("PUT"), seen),
                (true, etag.as_str()),
                "a change has an etag of its own: {told}"
            );
            etag = seen.to_owned();
        }
        mask(&mut answered.body);
        let wanted = if answer.is_empty() { Value::Null } else { serde_json::from_str(&filled(&answer)).unwrap() };
        assert_eq!(answered.body, wanted, "{told}");
    }
    assert!(plane.in_force.last().rules.is_empty(), "the last change is in force");
}

#[tokio::test]
async fn the_oldest_version_is_answered_as_recorded() {
    converse("2019-11-01-preview").await;
}

#[tokio::test]
async fn the_newest_version_is_answered_as_recorded() {
    converse("2025-05-11").await;
}
