//! Conditions on the fields of an event, and what combines them.

use memchr::memmem::Finder;

use super::Reach;
use super::walk::Condition;
use crate::event::{Format, Timestamp};
use crate::filter::xpath::ast::{Expr, Op};
use crate::filter::xpath::id_set::IdSet;
use crate::filter::xpath::literal::{Literal, Number};
use crate::filter::xpath::view::View;

/// A field of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Provider,
    Channel,
    Computer,
    EventId,
    Level,
    Keywords,
    RecordId,
    Time,
}

/// A field that the test needs is missing or unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsure;

/// A condition on an event.
#[derive(Debug, Clone)]
pub(super) enum Test {
    /// At least one holds; of none, none does.
    Any(Box<[Test]>),
    /// All hold; of none, all do.
    All(Box<[Test]>),
    /// The event id is one of these.
    Ids(IdSet),
    /// The field is there.
    Present(Field),
    /// The field compares so.
    Field(Field, Op, Literal),
    /// What `timediff` tells of the time compares so.
    Age(Option<Timestamp>, Op, Literal),
    /// What the keywords have in common with a mask: anything, or what compares so.
    Band(u64, Option<(Op, Literal)>),
    /// A walk over the event's tree.
    Walk(Box<Walk>),
}

/// A condition on the tree.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// How much of the tree has to be read for it.
    pub(super) reach: Reach,
    /// Whether it looks into `System`.
    pub(super) asks_system: bool,
    /// What is asked.
    pub(super) condition: Condition,
    /// A name without which it cannot hold: a search for it is far cheaper than reading the event.
    pub(super) needs: Option<Finder<'static>>,
    /// The same as `condition`, for people.
    pub(super) written: Expr,
}

impl Test {
    /// What every event passes.
    pub(super) fn always() -> Self {
        Self::All(Box::default())
    }

    pub(super) fn is_always(&self) -> bool {
        matches!(self, Self::All(tests) if tests.is_empty())
    }

    /// At least one of these.
    pub(super) fn any(tests: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(tests.len());
        for test in tests {
            match test {
                Self::Any(inner) => flat.extend(inner),
                test if test.is_always() => return test,
                test => flat.push(test),
            }
        }
        Self::merged(flat, Self::Any, IdSet::union)
    }

    /// All of these.
    pub(super) fn all(tests: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(tests.len());
        for test in tests {
            match test {
                Self::All(inner) => flat.extend(inner),
                test => flat.push(test),
            }
        }
        Self::merged(flat, Self::All, IdSet::intersection)
    }

    /// One set for all sets of ids, and the cheap tests first. No order changes what holds: tests have no effects.
    fn merged(
        tests: Vec<Self>,
        combine: impl Fn(Box<[Self]>) -> Self,
        merge: impl Fn(&IdSet, &IdSet) -> IdSet,
    ) -> Self {
        let mut ids: Option<IdSet> = None;
        let mut others = Vec::with_capacity(tests.len());
        for test in tests {
            match test {
                Self::Ids(more) => ids = Some(ids.map_or(more.clone(), |ids| merge(&ids, &more))),
                test => others.push(test),
            }
        }
        others.extend(ids.map(Self::Ids));
        others.sort_by_key(Self::cost);
        match others.len() {
            1 => others.remove(0),
            _ => combine(others.into()),
        }
    }

    fn cost(&self) -> u8 {
        match self {
            Self::Ids(_) | Self::Present(_) => 0,
            Self::Field(Field::Provider | Field::Channel | Field::Computer, ..) => 2,
            Self::Field(..) | Self::Age(..) | Self::Band(..) => 1,
            Self::Walk(walk) => {
                if walk.reach == Reach::Body {
                    4
                } else {
                    3
                }
            }
            Self::Any(tests) | Self::All(tests) => tests.iter().map(Self::cost).max().unwrap_or(0),
        }
    }

    pub(super) fn reach(&self) -> Reach {
        match self {
            Self::Any(tests) | Self::All(tests) => tests.iter().map(Self::reach).max().unwrap_or(Reach::Fields),
            Self::Walk(walk) => walk.reach,
            _ => Reach::Fields,
        }
    }

    /// The ids outside of which it cannot hold.
    pub(super) fn ids(&self) -> Option<IdSet> {
        match self {
            Self::Ids(ids) => Some(ids.clone()),
            Self::All(tests) => tests.iter().filter_map(Self::ids).reduce(|a, b| a.intersection(&b)),
            Self::Any(tests) => {
                tests.iter().map(Self::ids).try_fold(IdSet::default(), |all, ids| Some(all.union(&ids?)))
            }
            _ => None,
        }
    }

    pub(super) fn holds(&self, view: &mut View<'_>) -> Result<bool, Unsure> {
        let fields = &view.event.fields;
        match self {
            Self::Any(tests) => {
                for test in tests {
                    if test.holds(view)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::All(tests) => {
                for test in tests {
                    if !test.holds(view)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Ids(ids) => fields.event_id.map(|id| ids.contains(id)).ok_or(Unsure),
            Self::Present(field) => {
                if field.is_in(view) {
                    Ok(true)
                } else {
                    Err(Unsure)
                }
            }
            Self::Field(field, op, literal) => field.compares(view, *op, literal).ok_or(Unsure),
            Self::Age(until, op, literal) => {
                let age = |time| milliseconds(time, until.unwrap_or(view.now));
                fields.time.map(|time| literal.compares_number(age(time), *op)).ok_or(Unsure)
            }
            Self::Band(mask, compared) => {
                let common = fields.keywords.ok_or(Unsure)? & mask;
                Ok(match compared {
                    Some((op, literal)) => literal.compares_number(Number::Whole(common.into()), *op),
                    None => common != 0,
                })
            }
            Self::Walk(walk) => {
                let lacks = |name: &Finder<'_>| view.event.format == Format::Xml && name.find(view.event.raw).is_none();
                if walk.needs.as_ref().is_some_and(lacks) {
                    return Ok(false);
                }
                let now = view.now;
                let document = match (walk.reach, walk.asks_system) {
                    (Reach::Body, false) => view.body(),
                    (Reach::Body, true) => view.whole(),
                    (Reach::Fields | Reach::System, _) => view.system(),
                };
                Ok(walk.condition.holds_of(document, now))
            }
        }
    }
}

impl Field {
    fn compares(self, view: &View<'_>, op: Op, literal: &Literal) -> Option<bool> {
        let fields = &view.event.fields;
        let text = |text: Option<&str>| text.map(|text| literal.compares(text, op));
        let number =
            |number: Option<u64>| number.map(|number| literal.compares_number(Number::Whole(number.into()), op));
        match self {
            Self::Provider => text(fields.provider.as_deref()),
            Self::Channel => text(fields.channel.as_deref()),
            Self::Computer => text(fields.computer.as_deref()),
            Self::EventId => number(fields.event_id.map(u64::from)),
            Self::Level => number(fields.level.map(u64::from)),
            Self::Keywords => number(fields.keywords),
            Self::RecordId => number(fields.record_id),
            Self::Time => fields.time.map(|time| literal.compares_time(time, op)),
        }
    }

    fn is_in(self, view: &View<'_>) -> bool {
        let fields = &view.event.fields;
        match self {
            Self::Provider => fields.provider.is_some(),
            Self::Channel => fields.channel.is_some(),
            Self::Computer => fields.computer.is_some(),
            Self::EventId => fields.event_id.is_some(),
            Self::Level => fields.level.is_some(),
            Self::Keywords => fields.keywords.is_some(),
            Self::RecordId => fields.record_id.is_some(),
            Self::Time => fields.time.is_some(),
        }
    }
}

/// What `timediff` tells: milliseconds from one time to another, with their fractions.
pub(super) fn milliseconds(from: Timestamp, to: Timestamp) -> Number {
    const TICKS: i128 = 10_000;
    let ticks = i128::from(to.ticks()) - i128::from(from.ticks());
    if ticks % TICKS == 0 { Number::Whole(ticks / TICKS) } else { Number::Fraction(ticks as f64 / TICKS as f64) }
}
