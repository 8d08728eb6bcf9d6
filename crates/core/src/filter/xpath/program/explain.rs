//! What a program looks at, in words.

use std::fmt::{self, Display};

use super::test::{Field, Test};
use super::{Program, Reach};
use crate::filter::xpath::ast::Op;
use crate::filter::xpath::literal::Literal;

/// The reach, the ids, and the conditions with two blanks for each level of and/or.
pub(super) fn lines(program: &Program) -> Vec<String> {
    let reach = match program.reach {
        Reach::Fields => "the fields that every event brings along",
        Reach::System => "the System part of the event",
        Reach::Body => "the whole event",
    };
    let mut lines = vec![format!("reads {reach}")];
    lines.push(match &program.ids {
        Some(ids) => format!("takes only events with these ids: {ids}"),
        None => "takes events of any id".to_owned(),
    });
    describe(&program.test, 0, &mut lines);
    lines
}

fn describe(test: &Test, depth: usize, lines: &mut Vec<String>) {
    let mut line = |text: &str| lines.push(format!("{}{text}", "  ".repeat(depth)));
    match test {
        Test::All(tests) if tests.is_empty() => line("every event"),
        Test::Any(tests) | Test::All(tests) => {
            line(if matches!(test, Test::Any(_)) { "any of" } else { "all of" });
            tests.iter().for_each(|test| describe(test, depth + 1, lines));
        }
        Test::Ids(ids) => line(&format!("event id in {ids}")),
        Test::Present(field) => line(&format!("{} is there", name(*field))),
        Test::Field(field, op, literal) => line(&format!("{} {}", name(*field), Compared(*op, literal))),
        Test::Age(until, op, literal) => {
            let until = until.map_or_else(|| "now".to_owned(), |until| until.to_string());
            line(&format!("milliseconds from time created to {until} {}", Compared(*op, literal)));
        }
        Test::Band(mask, None) => line(&format!("keywords have a bit of {mask:#x}")),
        Test::Band(mask, Some((op, literal))) => {
            line(&format!("keywords & {mask:#x} {}", Compared(*op, literal)));
        }
        Test::Walk(walk) => line(&format!("in the tree: {}", walk.written)),
    }
}

fn name(field: Field) -> &'static str {
    match field {
        Field::Provider => "provider",
        Field::Channel => "channel",
        Field::Computer => "computer",
        Field::EventId => "event id",
        Field::Level => "level",
        Field::Keywords => "keywords",
        Field::RecordId => "record id",
        Field::Time => "time created",
    }
}

struct Compared<'a>(Op, &'a Literal);

impl Display for Compared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = self.0;
        let (text, quoted) = (&self.1.text, self.1.quoted);
        match (quoted, text.contains('\'')) {
            (false, _) => write!(f, "{op} {text}"),
            (true, false) => write!(f, "{op} '{text}'"),
            (true, true) => write!(f, "{op} \"{text}\""),
        }
    }
}
