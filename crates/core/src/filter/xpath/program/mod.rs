//! Queries, compiled.
//!
//! Most of what queries ask stands in the fields that every event brings along: ids, levels, providers. An event has one
//! `Event`, one `System` and in it one of each field, so conditions on these need no tree and no notion of a path: they become
//! tests of a field, ids become one set, and the cheap ones are asked first. What is left walks the event's tree, and that is read
//! only as far as the walk needs.
//!
//! A field that is missing or unreadable decides nothing: the query is then evaluated plainly, on the tree, as written. So
//! the answer is the one of plain evaluation; a property test holds both against an evaluator of its own. This rests on fields
//! and tree agreeing about every field. Of damaged fields (with elements inside, repeated, with prefixes) the tree therefore
//! holds what the fields do. One rare record stays outside of that: what has more nodes than a tree takes.

use super::ast::Expr;
use super::id_set::IdSet;
use super::view::View;
use lower::Lowering;
use test::{Test, Unsure};
use walk::Condition;

mod explain;
mod lower;
mod test;
mod walk;

#[cfg(test)]
mod tests;

/// How far into an event a program has to look, if the event has the fields that it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Only at the fields that were extracted already.
    Fields,
    /// At other parts of `System`.
    System,
    /// At anything.
    Body,
}

/// A query, ready to decide. Deciding allocates nothing once the view's document has its size.
#[derive(Debug, Clone)]
pub struct Program {
    /// The query with fields in place of paths, as far as that goes.
    test: Test,
    /// The query as written, for events that lack a field.
    plain: Condition,
    ids: Option<IdSet>,
    reach: Reach,
}

impl Program {
    /// Compiles a query.
    pub fn compile(expr: &Expr) -> Self {
        let test = Lowering::default().lower(expr);
        Self { ids: test.ids(), reach: test.reach(), plain: Condition::compile(expr), test }
    }

    /// Whether the query takes this event.
    pub fn matches(&self, view: &mut View<'_>) -> bool {
        self.test.holds(view).unwrap_or_else(|Unsure| {
            let now = view.now;
            // Without the fields, they are to be found in the document's System.
            let document = if self.reach == Reach::Body { view.whole() } else { view.system() };
            self.plain.holds_of(document, now)
        })
    }

    /// The event ids outside of which it takes nothing; `None` when it may take any. This is about events whose fields hold
    /// an id: what it takes of the others (without an id, or with one that is no number), only [`Program::matches`] knows.
    pub fn event_ids(&self) -> Option<&IdSet> {
        self.ids.as_ref()
    }

    /// Whether it takes every event with one of its ids ([`Program::event_ids`]; any event when that is `None`), whatever
    /// else the event holds.
    pub fn asks_only_ids(&self) -> bool {
        matches!(&self.test, Test::Ids(_)) || self.test.is_always()
    }

    /// How far it has to look.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// What it looks at, one condition a line, in the order in which they are asked.
    pub fn explain(&self) -> Vec<String> {
        explain::lines(self)
    }
}
