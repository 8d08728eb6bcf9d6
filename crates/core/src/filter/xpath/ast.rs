//! What a query says, as a tree.
//!
//! The tree is what the parser found, without interpretation: compiling, explaining and linting all start from it.

use super::literal::Literal;
pub use super::literal::Op;

/// Something that is true or false of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// At least one holds. Never empty.
    Or(Vec<Expr>),
    /// All hold. Never empty.
    And(Vec<Expr>),
    /// The operand alone: a path selects something, a `band` has a bit in common.
    Holds(Operand),
    /// Some value of the operand compares so with the literal.
    Compare(Operand, Op, Literal),
}

impl Expr {
    /// Whether the answer depends on the number of the node among those that its step selects.
    pub fn asks_position(&self) -> bool {
        match self {
            Self::Or(exprs) | Self::And(exprs) => exprs.iter().any(Self::asks_position),
            Self::Holds(operand) | Self::Compare(operand, ..) => *operand == Operand::Position,
        }
    }
}

/// What stands on the left of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// The nodes that a path selects.
    Path(LocationPath),
    /// `band(path, mask)`: the bits that a number has in common with the mask.
    Band(LocationPath, u64),
    /// `timediff(path)`: milliseconds from the time to now; with a second time: to that one.
    TimeDiff(LocationPath, Option<Literal>),
    /// `position()`: the number of the node among those that its step selects, from 1.
    Position,
}

/// Steps from the context node on. Never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct LocationPath {
    /// In order.
    pub steps: Vec<Step>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Where to.
    pub axis: Axis,
    /// Which nodes there.
    pub test: NodeTest,
    /// What must hold of each, in order; `[3]` is `position() = 3`.
    pub predicates: Vec<Expr>,
}

/// Where a step goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// The elements (or the text) inside.
    Child,
    /// `@`.
    Attribute,
}

/// Which nodes a step takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeTest {
    /// Those of this name; namespaces are ignored.
    Name(Box<str>),
    /// `*`.
    Any,
    /// `text` or `text()`.
    Text,
}
