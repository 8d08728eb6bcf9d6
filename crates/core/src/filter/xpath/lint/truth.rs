//! Conditions that hold of no event, or of every one: an `and` that should be an `or`, or the other way round.
//!
//! An event has one of each element of `System`, and an element one of each attribute. So two conditions on one of them can
//! exclude each other, and then their negations cover everything. Below `EventData` a name may stand more than once, and nothing
//! is said.

use super::super::ast::{Axis, Expr, LocationPath, NodeTest, Op, Operand};
use super::super::literal::Literal;
use super::super::parse::shortened;
use super::names::Place;

/// How many conditions of one list are compared with each other: people write slips in short lists.
const COMPARED: usize = 64;

/// What is wrong with a list of conditions that are joined by `and` (or else `or`), asked at this place.
pub(super) fn of_list(terms: &[Expr], is_and: bool, place: Place) -> Option<String> {
    let conditions: Vec<Condition<'_>> =
        terms.iter().filter_map(|term| Condition::of(term, place)).take(COMPARED).collect();
    let pairs =
        conditions.iter().enumerate().flat_map(|(n, one)| conditions[..n].iter().map(move |other| (other, one)));
    let (one, other) = pairs.into_iter().find(|(one, other)| {
        one.path == other.path && if is_and { one.excludes(other) } else { one.negated().excludes(&other.negated()) }
    })?;
    let (join, truth, instead) = if is_and { ("and", "never", "or") } else { ("or", "always", "and") };
    Some(format!(
        "`{} {join} {}` is {truth} true, because there is one `{}`; write `{instead}`",
        shortened(&one.term.to_string()),
        shortened(&other.term.to_string()),
        shortened(&one.path.to_string()),
    ))
}

/// What is wrong with one condition by itself.
pub(super) fn of_one(term: &Expr, place: Place) -> Option<String> {
    match term {
        Expr::Holds(Operand::Band(_, 0)) => {
            Some(format!("`{}` is never true: no bit is asked for", shortened(&term.to_string())))
        }
        Expr::Compare(Operand::Path(path), Op::Eq, literal) if is_event_id(path, place) => {
            let number = literal
                .as_number()?
                .bits()
                .or_else(|| literal.text.parse().ok().map(i32::cast_unsigned).map(u64::from))?;
            let (id, qualifiers) = (number & 0xFFFF, number >> 16);
            (qualifiers > 0).then(|| {
                format!(
                    "`{}` never matches, because an event's id has 16 bits{}",
                    shortened(&term.to_string()),
                    if qualifiers <= 0xFFFF {
                        format!(": this is the id with its qualifiers; write `EventID={id}`")
                    } else {
                        String::new()
                    }
                )
            })
        }
        _ => None,
    }
}

/// A comparison of something that an event has once.
struct Condition<'q> {
    term: &'q Expr,
    path: &'q LocationPath,
    op: Op,
    literal: &'q Literal,
}

impl<'q> Condition<'q> {
    fn of(term: &'q Expr, place: Place) -> Option<Self> {
        let Expr::Compare(Operand::Path(path), op, literal) = term else { return None };
        is_single(path, place).then_some(Self { term, path, op: *op, literal })
    }

    /// What holds of a value exactly when this does not.
    fn negated(&self) -> Self {
        let op = match self.op {
            Op::Eq => Op::Ne,
            Op::Ne => Op::Eq,
            Op::Lt => Op::Ge,
            Op::Le => Op::Gt,
            Op::Gt => Op::Le,
            Op::Ge => Op::Lt,
        };
        Self { op, ..*self }
    }

    /// Whether no value passes both.
    fn excludes(&self, other: &Self) -> bool {
        match (self.op, other.op) {
            (Op::Eq, op) => !other.literal.compares(&self.literal.text, op),
            (op, Op::Eq) => !self.literal.compares(&other.literal.text, op),
            (Op::Lt | Op::Le, Op::Gt | Op::Ge) => self.ends_before(other),
            (Op::Gt | Op::Ge, Op::Lt | Op::Le) => other.ends_before(self),
            _ => false,
        }
    }

    /// Whether everything below this bound is below the other one, too.
    fn ends_before(&self, other: &Self) -> bool {
        let (high, low) = (self.literal, other.literal);
        let are_ordered = (high.as_number().is_some() && low.as_number().is_some())
            || (high.as_time().is_some() && low.as_time().is_some());
        let touch = self.op == Op::Le && other.op == Op::Ge && low.compares(&high.text, Op::Eq);
        are_ordered && low.compares(&high.text, Op::Le) && !touch
    }
}

/// Whether a path leads to one node at most: it names an element of `System`, or an attribute.
fn is_single(path: &LocationPath, from: Place) -> bool {
    let mut place = from;
    for step in &path.steps {
        let NodeTest::Name(name) = &step.test else { return false };
        let (next, problem) = place.enter(step.axis, name);
        let is_one = step.axis == Axis::Attribute || matches!(next, Place::System | Place::Field(_));
        if !is_one || problem.is_some() || !step.predicates.is_empty() {
            return false;
        }
        place = next;
    }
    true
}

fn is_event_id(path: &LocationPath, place: Place) -> bool {
    let names_it = path.steps.last().is_some_and(|step| step.test == NodeTest::Name("EventID".into()));
    names_it && is_single(path, place)
}
