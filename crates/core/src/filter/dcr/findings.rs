//! Collects what is to be said, within a bound: a text of nonsense must not become a longer text of complaints.

use std::fmt::{self, Display};

use super::{Finding, Severity};
use crate::limits::DCR_FINDINGS_MAX;

/// Azure's words, where it has one, and ours.
pub(super) mod code {
    pub(in crate::filter::dcr) const CONTENT: &str = "InvalidRequestContent";
    pub(in crate::filter::dcr) const PAYLOAD: &str = "InvalidPayload";
    pub(in crate::filter::dcr) const STREAM: &str = "InvalidStream";
    pub(in crate::filter::dcr) const DESTINATION: &str = "InvalidDestination";
    pub(in crate::filter::dcr) const OUTPUT_TABLE: &str = "InvalidOutputTable";
    pub(in crate::filter::dcr) const QUERY: &str = "InvalidXPathQuery";
    pub(in crate::filter::dcr) const TEMPLATE: &str = "InvalidTemplate";
    pub(in crate::filter::dcr) const NOT_IMPLEMENTED: &str = "NotImplemented";
    pub(in crate::filter::dcr) const UNKNOWN: &str = "UnknownProperty";
    pub(in crate::filter::dcr) const LIMIT: &str = "LimitExceeded";
    pub(in crate::filter::dcr) const LINT: &str = "QueryWarning";
    pub(in crate::filter::dcr) const NO_EFFECT: &str = "NoEffect";
    pub(in crate::filter::dcr) const TAKES_NOTHING: &str = "TakesNothing";
}

/// What has been found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
    refused: bool,
    untold: usize,
}

impl Findings {
    /// The rule cannot be used. The message is only made when there is room for it.
    pub(super) fn error(&mut self, code: &'static str, target: &str, message: impl Display) {
        self.refused = true;
        self.add(Severity::Error, code, target, &message);
    }

    /// The rule is used, but differs from what its author may expect.
    pub(super) fn warning(&mut self, code: &'static str, target: &str, message: impl Display) {
        self.add(Severity::Warning, code, target, &message);
    }

    /// Whether the rule is refused.
    pub(super) fn refused(&self) -> bool {
        self.refused
    }

    /// Everything found; errors first, since they decide.
    pub(super) fn into_vec(mut self) -> Vec<Finding> {
        if self.untold > 0 {
            let severity = if self.refused { Severity::Error } else { Severity::Warning };
            let message = format!("{} more findings are not told; mend these first", self.untold);
            self.found.push(Finding { severity, code: code::PAYLOAD, target: String::new(), message });
        }
        self.found.sort_by_key(|finding| finding.severity == Severity::Warning);
        self.found
    }

    fn add(&mut self, severity: Severity, code: &'static str, target: &str, message: &dyn Display) {
        let warnings = || self.found.iter().rposition(|finding| finding.severity == Severity::Warning);
        if self.found.len() >= DCR_FINDINGS_MAX {
            self.untold += 1;
            // An error has more to say than a warning.
            match (severity, warnings()) {
                (Severity::Error, Some(place)) => self.found.remove(place),
                _ => return,
            };
        }
        self.found.push(Finding { severity, code, target: target.to_owned(), message: message.to_string() });
    }
}

/// A name that nothing has, and those that there are: people know a typing error when they see the right word.
pub(super) struct NoSuch<'n> {
    /// What it is not, such as "is no destination of this rule".
    pub(super) what: &'static str,
    /// The name that was given.
    pub(super) name: &'n str,
    /// The names that there are.
    pub(super) known: &'n [&'n str],
}

/// More names than these help nobody.
const SHOWN: usize = 10;

/// Names that are looked at for one that was meant.
const COMPARED: usize = 1_000;

impl Display for NoSuch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, known } = self;
        let near = known.iter().take(COMPARED).find(|known| known.eq_ignore_ascii_case(name));
        write!(f, "{name:?} {what}; ")?;
        match (near, known) {
            (Some(near), _) => write!(f, "did you mean {near:?}?"),
            (None, []) => write!(f, "there is none; add it, or remove the name"),
            (None, known) => {
                let more = if known.len() > SHOWN { ", …" } else { "" };
                let shown = known.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
                write!(f, "there is {shown}{more}")
            }
        }
    }
}
