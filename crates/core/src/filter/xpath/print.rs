//! From tree to text: what is printed reads back as the same tree.

use std::fmt::{self, Display, Formatter, Write};

use super::ast::{Axis, Expr, LocationPath, NodeTest, Op, Operand, Step};
use super::literal::Literal;
use super::parse::is_place;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Or(terms) => joined(f, terms, " or ", |term| matches!(term, Self::Or(_))),
            Self::And(terms) => joined(f, terms, " and ", |term| matches!(term, Self::Or(_) | Self::And(_))),
            Self::Holds(operand) => operand.fmt(f),
            Self::Compare(operand, op, literal) => {
                // Spaces only where they help to read: `EventID=4624`, but `timediff(@SystemTime) <= 86400000`.
                let gap = if matches!(op, Op::Eq | Op::Ne) { "" } else { " " };
                write!(f, "{operand}{gap}{op}{gap}")?;
                write_literal(f, literal)
            }
        }
    }
}

fn joined(f: &mut Formatter<'_>, terms: &[Expr], between: &str, grouped: fn(&Expr) -> bool) -> fmt::Result {
    for (n, term) in terms.iter().enumerate() {
        if n > 0 {
            f.write_str(between)?;
        }
        if grouped(term) {
            write!(f, "({term})")?;
        } else {
            term.fmt(f)?;
        }
    }
    Ok(())
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Band(path, mask) => write!(f, "band({path}, {mask:#x})"),
            Self::TimeDiff(path, None) => write!(f, "timediff({path})"),
            Self::TimeDiff(path, Some(time)) => {
                write!(f, "timediff({path}, ")?;
                write_literal(f, time)?;
                f.write_char(')')
            }
            Self::Position => f.write_str("position()"),
        }
    }
}

impl Display for LocationPath {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (n, step) in self.steps.iter().enumerate() {
            if n > 0 {
                f.write_char('/')?;
            }
            step.fmt(f)?;
        }
        Ok(())
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.axis == Axis::Attribute {
            f.write_char('@')?;
        }
        match &self.test {
            NodeTest::Name(name) => f.write_str(name)?,
            NodeTest::Any => f.write_char('*')?,
            NodeTest::Text => f.write_str("text()")?,
        }
        self.predicates.iter().try_for_each(|predicate| match predicate {
            Expr::Compare(Operand::Position, Op::Eq, place) if !place.quoted && is_place(&place.text) => {
                write!(f, "[{}]", place.text)
            }
            predicate => write!(f, "[{predicate}]"),
        })
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        })
    }
}

/// A literal that came from a query holds at most one kind of quote.
fn write_literal(f: &mut Formatter<'_>, literal: &Literal) -> fmt::Result {
    let text = &literal.text;
    match (literal.quoted, text.contains('\'')) {
        (false, _) => f.write_str(text),
        (true, false) => write!(f, "'{text}'"),
        (true, true) => write!(f, "\"{text}\""),
    }
}

#[cfg(test)]
#[path = "print_tests.rs"]
mod tests;
