//! Conditions on the tree of an event, as XPath 1.0 evaluates them.
//!
//! A path is never collected into a set: the walk goes depth first and stops at the first node that satisfies. The position
//! of a node counts among those that its step and the predicates before select from one parent, so each predicate that
//! asks for it has a counter of its own.

use super::test::milliseconds;
use crate::event::Timestamp;
use crate::event::document::{Document, Node};
use crate::filter::xpath::ast::{self, Axis, Expr, LocationPath, NodeTest, Op, Operand};
use crate::filter::xpath::literal::{Literal, Number};

/// Counters that are kept without allocating. Queries have one or two predicates to a step.
const COUNTERS: usize = 8;

/// A condition on a node.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    Any(Box<[Condition]>),
    All(Box<[Condition]>),
    /// The node is the how many-th.
    Position(Op, Literal),
    /// Some node at the end of the path answers so.
    Some(Box<[Step]>, Ask),
    /// `@Name='x'`: the form that nearly every query for event data has.
    Attribute(Box<str>, Op, Literal),
}

/// One step, with its predicates.
#[derive(Debug, Clone)]
pub(super) struct Step {
    axis: Axis,
    test: NodeTest,
    /// Predicates in order; those that do not ask for the position are one with the predicate before.
    predicates: Box<[Condition]>,
}

/// What is asked of a node at the end of a path.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    /// Nothing: it is there.
    Exists,
    Compares(Op, Literal),
    Band(u64, Option<(Op, Literal)>),
    Age(Option<Timestamp>, Option<(Op, Literal)>),
    /// What no node has: a difference to a time that is none.
    Nothing,
}

/// Compiling.
impl Condition {
    pub(super) fn compile(expr: &Expr) -> Self {
        match expr {
            Expr::Or(exprs) => Self::Any(exprs.iter().map(Self::compile).collect()),
            Expr::And(exprs) => Self::All(exprs.iter().map(Self::compile).collect()),
            Expr::Holds(operand) => Self::of_operand(operand, None),
            Expr::Compare(operand, op, literal) => Self::of_operand(operand, Some((*op, literal.clone()))),
        }
    }

    fn of_operand(operand: &Operand, compared: Option<(Op, Literal)>) -> Self {
        let (path, ask) = match operand {
            Operand::Position => {
                // Alone it is true of every node: no position is 0.
                return compared.map_or_else(|| Self::All(Box::default()), |(op, literal)| Self::Position(op, literal));
            }
            Operand::Path(path) => (path, compared.map_or(Ask::Exists, |(op, literal)| Ask::Compares(op, literal))),
            Operand::Band(path, mask) => (path, Ask::Band(*mask, compared)),
            Operand::TimeDiff(path, None) => (path, Ask::Age(None, compared)),
            Operand::TimeDiff(path, Some(until)) => match until.as_time() {
                Some(until) => (path, Ask::Age(Some(until), compared)),
                None => (path, Ask::Nothing),
            },
        };
        match (path.steps.as_slice(), ask) {
            (
                [ast::Step { axis: Axis::Attribute, test: NodeTest::Name(name), predicates }],
                Ask::Compares(op, literal),
            ) if predicates.is_empty() => Self::Attribute(name.clone(), op, literal),
            (_, ask) => Self::Some(steps(path), ask),
        }
    }
}

fn steps(path: &LocationPath) -> Box<[Step]> {
    let step =
        |step: &ast::Step| Step { axis: step.axis, test: step.test.clone(), predicates: stages(&step.predicates) };
    path.steps.iter().map(step).collect()
}

/// The predicates, of which each but the first needs the positions that those before leave.
fn stages(predicates: &[Expr]) -> Box<[Condition]> {
    let mut stages: Vec<Vec<Condition>> = Vec::new();
    for predicate in predicates {
        match stages.last_mut() {
            Some(stage) if !predicate.asks_position() => stage.push(Condition::compile(predicate)),
            _ => stages.push(vec![Condition::compile(predicate)]),
        }
    }
    let one = |mut stage: Vec<Condition>| match stage.len() {
        1 => stage.remove(0),
        _ => Condition::All(stage.into()),
    };
    stages.into_iter().map(one).collect()
}

/// Evaluating.
impl Condition {
    /// Whether it holds of an event: of what is around it.
    pub(super) fn holds_of(&self, document: &Document, now: Timestamp) -> bool {
        self.holds(&Walk { document, now }, Node::ROOT, 1)
    }

    fn holds(&self, walk: &Walk<'_>, node: Node, position: u32) -> bool {
        match self {
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(walk, node, position)),
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(walk, node, position)),
            Self::Position(op, literal) => literal.compares_number(Number::Whole(position.into()), *op),
            Self::Some(steps, ask) => walk.finds(steps, ask, node),
            Self::Attribute(name, op, literal) => {
                let mut attributes = walk.document.attributes(node);
                attributes.any(|attribute| {
                    walk.document.name(attribute) == Some(&**name)
                        && literal.compares(walk.document.value(attribute), *op)
                })
            }
        }
    }
}

struct Walk<'d> {
    document: &'d Document,
    now: Timestamp,
}

impl Walk<'_> {
    /// Whether some node at the end of the steps answers so.
    fn finds(&self, steps: &[Step], ask: &Ask, from: Node) -> bool {
        let Some((step, rest)) = steps.split_first() else { return self.answers(ask, from) };
        let mut few = [0; COUNTERS];
        let mut many = Vec::new();
        let counters = match few.get_mut(..step.predicates.len()) {
            Some(counters) => counters,
            None => {
                many.resize(step.predicates.len(), 0);
                &mut many
            }
        };
        let mut takes = |node| {
            step.tests(self.document, node)
                && self.passes(&step.predicates, counters, node)
                && self.finds(rest, ask, node)
        };
        match step.axis {
            Axis::Child => self.document.children(from).any(&mut takes),
            Axis::Attribute => self.document.attributes(from).any(&mut takes),
        }
    }

    fn passes(&self, predicates: &[Condition], counters: &mut [u32], node: Node) -> bool {
        predicates.iter().zip(counters).all(|(predicate, counter)| {
            *counter += 1;
            predicate.holds(self, node, *counter)
        })
    }

    fn answers(&self, ask: &Ask, node: Node) -> bool {
        let text = || self.document.value(node);
        let number = |number: Number, compared: &Option<(Op, Literal)>| match compared {
            Some((op, literal)) => literal.compares_number(number, *op),
            None => number != Number::Whole(0),
        };
        match ask {
            Ask::Exists => true,
            Ask::Compares(op, literal) => literal.compares(text(), *op),
            Ask::Band(mask, compared) => Number::parse(text())
                .and_then(bits)
                .is_some_and(|bits| number(Number::Whole((bits & mask).into()), compared)),
            Ask::Age(until, compared) => Timestamp::parse(text())
                .is_some_and(|time| number(milliseconds(time, until.unwrap_or(self.now)), compared)),
            Ask::Nothing => false,
        }
    }
}

/// What `band` takes of a number: a negative one is 64 bits in two's complement, as agents write keywords.
fn bits(number: Number) -> Option<u64> {
    number.bits().or_else(|| match number {
        Number::Whole(whole) => i64::try_from(whole).ok().map(i64::cast_unsigned),
        Number::Fraction(_) => None,
    })
}

impl Step {
    fn tests(&self, document: &Document, node: Node) -> bool {
        match &self.test {
            NodeTest::Name(name) => document.name(node) == Some(&**name),
            NodeTest::Any => document.name(node).is_some(),
            NodeTest::Text => document.is_text(node),
        }
    }
}
