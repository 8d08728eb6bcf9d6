//! What works here and would not on a Windows host or in Azure, and what can never match anywhere, or always does.
//!
//! Both are warnings, not errors: published queries with such slips run on thousands of hosts, and refusing one would refuse
//! the whole rule that it stands in. But an operator wants to know that a query takes nothing.

use std::collections::HashSet;

use super::ast::{Axis, Expr, LocationPath, NodeTest, Operand, Step};
use super::forwarded;
use super::parse::shortened;
use names::Place;

mod names;
mod truth;

/// Most expressions that each place takes. Sources disagree by one or two, so these are the highest that are documented.
const LIMITS: [(usize, &str); 3] = [
    (20, "an XPath without QueryList, as in data collection rules"),
    (22, "a query of an event subscription"),
    (32, "a Select or Suppress"),
];

/// Something that works here and would not on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What, where it would be refused, and what to do.
    pub message: String,
}

/// Looks at one query.
pub fn lint(channel: Option<&str>, expr: &Expr) -> Vec<Warning> {
    let mut lint = Lint::default();
    if let Some(channel) = channel {
        lint.look_at_channel(channel);
    }
    lint.look_at_size(expressions(expr));
    lint.look_at(expr, Place::Log);
    lint.warnings
}

#[derive(Default)]
struct Lint {
    warnings: Vec<Warning>,
    /// Nobody needs to read about the same slip twice.
    said: HashSet<String>,
}

impl Lint {
    fn warn(&mut self, message: String) {
        if self.said.insert(message.clone()) {
            self.warnings.push(Warning { message });
        }
    }

    fn look_at_channel(&mut self, channel: &str) {
        if forwarded::is_log(channel) {
            self.warn(forwarded::WARNING.to_owned());
        }
        let Some((_, kind)) = channel.rsplit_once('/') else { return };
        if let Some(kind) = ["Analytic", "Analytical", "Debug"].iter().find(|known| kind.eq_ignore_ascii_case(known)) {
            self.warn(format!(
                "{channel:?} is of the kind {kind}: Windows refuses subscriptions to it (error 15009), so agents send \
                 nothing of it; use the Operational or Admin channel of the same provider"
            ));
        }
    }

    fn look_at_size(&mut self, count: usize) {
        let passed: Vec<String> = LIMITS
            .iter()
            .filter(|(most, _)| count > *most)
            .map(|(most, place)| format!("{most} are the most for {place}"))
            .collect();
        if !passed.is_empty() {
            let message = format!("the query has {count} expressions; {}: split it for use there", passed.join(", "));
            self.warn(message);
        }
    }

    fn look_at(&mut self, expr: &Expr, place: Place) {
        match expr {
            Expr::Or(terms) | Expr::And(terms) => {
                let is_and = matches!(expr, Expr::And(_));
                truth::of_list(terms, is_and, place).into_iter().for_each(|problem| self.warn(problem));
                terms.iter().for_each(|term| self.look_at(term, place));
            }
            Expr::Holds(operand) | Expr::Compare(operand, ..) => {
                truth::of_one(expr, place).into_iter().for_each(|problem| self.warn(problem));
                if let Some(path) = path_of(operand) {
                    self.look_at_path(path, place);
                }
            }
        }
    }

    fn look_at_path(&mut self, path: &LocationPath, from: Place) {
        let mut place = from;
        for (n, step) in path.steps.iter().enumerate() {
            place = self.look_at_step(step, place);
            let inner = n + 1 < path.steps.len() || place.holds_elements();
            if inner && step.predicates.iter().any(asks_position) {
                self.warn(format!(
                    "the position of {} is asked for, but Windows counts only elements that hold no others, such as \
                     `Data[1]`; ask at the last step",
                    shown(&step.test)
                ));
            }
            step.predicates.iter().for_each(|predicate| self.look_at(predicate, place));
        }
    }

    /// Where the step leads to.
    fn look_at_step(&mut self, step: &Step, from: Place) -> Place {
        match (&step.test, step.axis) {
            (NodeTest::Text, _) => Place::Text,
            (NodeTest::Any, Axis::Child) => from.any_child(),
            (NodeTest::Any, Axis::Attribute) => Place::Text,
            (NodeTest::Name(name), axis) => {
                let (place, problem) = from.enter(axis, name);
                if let Some(problem) = problem {
                    self.warn(problem);
                }
                place
            }
        }
    }
}

/// The path that an operand is about.
fn path_of(operand: &Operand) -> Option<&LocationPath> {
    match operand {
        Operand::Path(path) | Operand::Band(path, _) | Operand::TimeDiff(path, _) => Some(path),
        Operand::Position => None,
    }
}

/// How many expressions Windows counts: comparisons, and functions that stand alone.
fn expressions(expr: &Expr) -> usize {
    match expr {
        Expr::Or(terms) | Expr::And(terms) => terms.iter().map(expressions).sum(),
        Expr::Compare(operand, ..) => 1 + inside(operand),
        Expr::Holds(operand) => usize::from(!matches!(operand, Operand::Path(_))) + inside(operand),
    }
}

fn inside(operand: &Operand) -> usize {
    let steps = path_of(operand).map(|path| path.steps.as_slice()).unwrap_or_default();
    steps.iter().flat_map(|step| &step.predicates).map(expressions).sum()
}

/// Whether the predicate counts, itself and not in a path of its own.
fn asks_position(predicate: &Expr) -> bool {
    match predicate {
        Expr::Or(terms) | Expr::And(terms) => terms.iter().any(asks_position),
        Expr::Holds(operand) | Expr::Compare(operand, ..) => matches!(operand, Operand::Position),
    }
}

fn shown(test: &NodeTest) -> String {
    match test {
        NodeTest::Name(name) => format!("`{}`", shortened(name)),
        NodeTest::Any => "`*`".to_owned(),
        NodeTest::Text => "`text()`".to_owned(),
    }
}

#[cfg(test)]
mod tests;
