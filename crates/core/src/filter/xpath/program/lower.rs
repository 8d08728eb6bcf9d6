//! From a query to tests of fields.
//!
//! Lowering goes down a path as long as each of its steps can only lead to one node, and remembers where it is. What it
//! cannot put as a test of a field becomes a walk from the event on.

use memchr::memmem::Finder;

use super::Reach;
use super::test::{Field, Test, Walk};
use super::walk::Condition;
use crate::filter::xpath::ast::{Axis, Expr, LocationPath, NodeTest, Op, Operand, Step};
use crate::filter::xpath::id_set::IdSet;
use crate::filter::xpath::literal::{Literal, Number};

/// Where the lowering is: the steps that lead to one node each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Lowering {
    /// Around the event.
    #[default]
    Root,
    Event,
    System,
    /// In an element of `System` of which there is one.
    Of(Element),
}

/// The elements of `System` that are fields, or hold one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Provider,
    EventId,
    Level,
    Keywords,
    TimeCreated,
    EventRecordId,
    Channel,
    Computer,
}

use Element::{Channel, Computer, EventId, EventRecordId, Keywords, Level, Provider, TimeCreated};

impl Element {
    const ALL: [Self; 8] = [Provider, EventId, Level, Keywords, TimeCreated, EventRecordId, Channel, Computer];

    fn name(self) -> &'static str {
        match self {
            Provider => "Provider",
            EventId => "EventID",
            Level => "Level",
            Keywords => "Keywords",
            TimeCreated => "TimeCreated",
            EventRecordId => "EventRecordID",
            Channel => "Channel",
            Computer => "Computer",
        }
    }

    /// The field that its text is.
    fn text(self) -> Option<Field> {
        match self {
            EventId => Some(Field::EventId),
            Level => Some(Field::Level),
            Keywords => Some(Field::Keywords),
            EventRecordId => Some(Field::RecordId),
            Channel => Some(Field::Channel),
            Computer => Some(Field::Computer),
            Provider | TimeCreated => None,
        }
    }

    /// The field that an attribute of it is.
    fn attribute(self, name: &str) -> Option<Field> {
        match (self, name) {
            (Provider, "Name") => Some(Field::Provider),
            (TimeCreated, "SystemTime") => Some(Field::Time),
            _ => None,
        }
    }
}

impl Lowering {
    pub(super) fn lower(self, expr: &Expr) -> Test {
        match expr {
            Expr::Or(exprs) => Test::any(exprs.iter().map(|expr| self.lower(expr)).collect()),
            Expr::And(exprs) => Test::all(exprs.iter().map(|expr| self.lower(expr)).collect()),
            Expr::Holds(operand) | Expr::Compare(operand, ..) => match path(operand) {
                Some(path) => self.lower_path(&path.steps, expr).unwrap_or_else(|| self.walk(expr)),
                None => self.walk(expr),
            },
        }
    }

    /// The condition with the rest of its path; `None` when that leads to no field.
    fn lower_path(self, steps: &[Step], expr: &Expr) -> Option<Test> {
        let Some((step, rest)) = steps.split_first() else { return self.lower_node(expr) };
        if let (Some(inside), false) = (self.enter(step), step.predicates.iter().any(Expr::asks_position)) {
            let mut tests: Vec<Test> = step.predicates.iter().map(|predicate| inside.lower(predicate)).collect();
            // Whatever a predicate finds inside a node is found nowhere without the node.
            let is_implied = rest.is_empty() && !tests.is_empty() && matches!(expr, Expr::Holds(Operand::Path(_)));
            if !is_implied {
                let found = inside.lower_path(rest, expr);
                tests.push(found.unwrap_or_else(|| inside.walk(&with_steps(expr, rest))));
            }
            return Some(Test::all(tests));
        }
        match (self, &step.test) {
            (Self::Of(element), NodeTest::Name(name))
                if step.axis == Axis::Attribute && step.predicates.is_empty() && rest.is_empty() =>
            {
                lower_field(element.attribute(name)?, expr)
            }
            _ => None,
        }
    }

    /// Where a step leads to, if it can only lead to one node.
    fn enter(self, step: &Step) -> Option<Self> {
        let name = match (step.axis, &step.test) {
            (Axis::Child, NodeTest::Name(name)) => Some(name.as_ref()),
            (Axis::Child, NodeTest::Any) => None,
            _ => return None,
        };
        match self {
            Self::Root => name.is_none_or(|name| name == "Event").then_some(Self::Event),
            Self::Event => (name? == "System").then_some(Self::System),
            Self::System => Element::ALL.into_iter().find(|element| Some(element.name()) == name).map(Self::Of),
            Self::Of(_) => None,
        }
    }

    /// The condition of the node itself.
    fn lower_node(self, expr: &Expr) -> Option<Test> {
        match (self, expr) {
            (Self::Event, Expr::Holds(Operand::Path(_))) => Some(Test::always()),
            (Self::Of(element), _) => lower_field(element.text()?, expr),
            _ => None,
        }
    }

    /// A walk from the event on, for a condition that is asked where this is.
    fn walk(self, expr: &Expr) -> Test {
        let names: &[&str] = match self {
            Self::Root | Self::Event => &[],
            Self::System => &["System"],
            Self::Of(element) => &["System", element.name()],
        };
        let mut wrapped = expr.clone();
        for name in names.iter().rev() {
            wrapped = match wrapped {
                // The common case needs no predicate: System[Task=1] is System/Task=1.
                Expr::Holds(Operand::Path(path)) => Expr::Holds(Operand::Path(path.below(name))),
                Expr::Compare(Operand::Path(path), op, literal) => {
                    Expr::Compare(Operand::Path(path.below(name)), op, literal)
                }
                other => Expr::Holds(Operand::Path(LocationPath { steps: vec![child(name, vec![other])] })),
            };
        }
        let reach = if self == Self::Root || asks_beyond_system(&wrapped) { Reach::Body } else { Reach::System };
        let asks_system = self == Self::Root || asks_system(&wrapped);
        if self != Self::Root {
            wrapped = Expr::Holds(Operand::Path(LocationPath { steps: vec![child("Event", vec![wrapped])] }));
        }
        let needs = if reach == Reach::Body { needed_name(&wrapped) } else { None };
        let needs = needs.map(|name| Finder::new(name).into_owned());
        Test::Walk(Box::new(Walk {
            reach,
            asks_system,
            condition: Condition::compile(&wrapped),
            needs,
            written: wrapped,
        }))
    }
}

impl LocationPath {
    /// The same path from further up. A positional predicate of its first step counts within each parent, so this
    /// changes nothing.
    fn below(mut self, name: &str) -> Self {
        self.steps.insert(0, child(name, Vec::new()));
        self
    }
}

fn child(name: &str, predicates: Vec<Expr>) -> Step {
    Step { axis: Axis::Child, test: NodeTest::Name(name.into()), predicates }
}

fn path(operand: &Operand) -> Option<&LocationPath> {
    match operand {
        Operand::Path(path) | Operand::Band(path, _) | Operand::TimeDiff(path, _) => Some(path),
        Operand::Position => None,
    }
}

/// The condition with another path.
fn with_steps(expr: &Expr, steps: &[Step]) -> Expr {
    let path = LocationPath { steps: steps.to_vec() };
    let operand = |operand: &Operand| match operand {
        Operand::Path(_) => Operand::Path(path.clone()),
        Operand::Band(_, mask) => Operand::Band(path.clone(), *mask),
        Operand::TimeDiff(_, until) => Operand::TimeDiff(path.clone(), until.clone()),
        Operand::Position => Operand::Position,
    };
    match expr {
        Expr::Holds(inner) => Expr::Holds(operand(inner)),
        Expr::Compare(inner, op, literal) => Expr::Compare(operand(inner), *op, literal.clone()),
        Expr::Or(_) | Expr::And(_) => expr.clone(),
    }
}

fn lower_field(field: Field, expr: &Expr) -> Option<Test> {
    match expr {
        Expr::Holds(Operand::Path(_)) if field == Field::EventId => Some(Test::Ids(IdSet::all())),
        Expr::Holds(Operand::Path(_)) => Some(Test::Present(field)),
        Expr::Compare(Operand::Path(_), op, literal) => lower_comparison(field, *op, literal),
        Expr::Holds(Operand::Band(_, mask)) if field == Field::Keywords => Some(Test::Band(*mask, None)),
        Expr::Compare(Operand::Band(_, mask), op, literal) if field == Field::Keywords => {
            Some(Test::Band(*mask, Some((*op, literal.clone()))))
        }
        Expr::Compare(Operand::TimeDiff(_, until), op, literal) if field == Field::Time => {
            let until = match until {
                Some(until) => Some(until.as_time()?),
                None => None,
            };
            Some(Test::Age(until, *op, literal.clone()))
        }
        _ => None,
    }
}

/// A field that holds a typed value instead of the node's text can only answer for literals of its type.
fn lower_comparison(field: Field, op: Op, literal: &Literal) -> Option<Test> {
    let number = literal.as_number();
    match field {
        Field::EventId => Some(Test::Ids(ids(op, number?))),
        Field::Level | Field::Keywords | Field::RecordId => number.map(|_| Test::Field(field, op, literal.clone())),
        Field::Time => literal.as_time().map(|_| Test::Field(field, op, literal.clone())),
        Field::Provider | Field::Channel | Field::Computer => Some(Test::Field(field, op, literal.clone())),
    }
}

/// The ids that compare so with a number.
fn ids(op: Op, number: Number) -> IdSet {
    let (below, above) = number.neighbours();
    let between = |first: i128, last: i128| match (u32::try_from(first.max(0)), last.min(u32::MAX.into())) {
        (Ok(first), last) => u32::try_from(last).map_or_else(|_| IdSet::default(), |last| IdSet::range(first, last)),
        (Err(_), _) => IdSet::default(),
    };
    match op {
        Op::Eq if below == above => between(below, below),
        Op::Eq => IdSet::default(),
        Op::Ne => ids(Op::Eq, number).complement(),
        Op::Lt => between(0, above.saturating_sub(1)),
        Op::Le => between(0, below),
        Op::Gt => between(below.saturating_add(1), i128::MAX),
        Op::Ge => between(above, i128::MAX),
    }
}

/// Names that are in so many events that looking for them pays least.
const FREQUENT: [&str; 6] = ["Event", "System", "Name", "Data", "EventData", "UserData"];

/// The rarest of the names that an event must have for this condition to hold.
fn needed_name(expr: &Expr) -> Option<&str> {
    let mut names = Vec::new();
    collect_needed_names(expr, &mut names);
    let frequency = |name: &&str| FREQUENT.iter().position(|known| known == name).map_or(FREQUENT.len(), |at| at);
    names.into_iter().max_by_key(|name| (frequency(name), name.len()))
}

fn collect_needed_names<'e>(expr: &'e Expr, names: &mut Vec<&'e str>) {
    match expr {
        // What one of several needs, the others may not.
        Expr::Or(_) => {}
        Expr::And(exprs) => exprs.iter().for_each(|expr| collect_needed_names(expr, names)),
        Expr::Holds(operand) | Expr::Compare(operand, ..) => {
            for step in path(operand).into_iter().flat_map(|path| &path.steps) {
                // An event may have its time as a number.
                if let NodeTest::Name(name) = &step.test
                    && **name != *"SystemTime"
                {
                    names.push(name);
                }
                step.predicates.iter().for_each(|predicate| collect_needed_names(predicate, names));
            }
        }
    }
}

/// Whether a condition that is asked at the event may look into `System`.
fn asks_system(expr: &Expr) -> bool {
    match expr {
        Expr::Or(exprs) | Expr::And(exprs) => exprs.iter().any(asks_system),
        Expr::Holds(operand) | Expr::Compare(operand, ..) => {
            let first = path(operand).and_then(|path| path.steps.first());
            !first.is_some_and(|step| matches!(&step.test, NodeTest::Name(name) if **name != *"System"))
        }
    }
}

/// Whether a condition that is asked at the event may look at anything but `System`.
fn asks_beyond_system(expr: &Expr) -> bool {
    match expr {
        Expr::Or(exprs) | Expr::And(exprs) => exprs.iter().any(asks_beyond_system),
        Expr::Holds(operand) | Expr::Compare(operand, ..) => {
            let first = path(operand).and_then(|path| path.steps.first());
            !first.is_some_and(|step| {
                step.axis == Axis::Child && matches!(&step.test, NodeTest::Name(name) if **name == *"System")
            })
        }
    }
}
