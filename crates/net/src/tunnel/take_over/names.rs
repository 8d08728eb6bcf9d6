//! The names that an authority may sign for. Clients look at its name constraints, so a host outside of them would be taken over
//! and then refused by every client.

use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints};

use crate::tunnel::allow_list::{Covers, is_below};

/// The DNS names that a certificate's name constraints leave to it. Without any, all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraints {
    /// A name must be one of these or lie below one; empty for all.
    permitted: Vec<String>,
    /// A name may neither be one of these nor lie below one.
    excluded: Vec<String>,
}

impl Constraints {
    /// Those of a certificate.
    pub(super) fn of(found: Option<&NameConstraints<'_>>) -> Self {
        let names = |subtrees: &Option<Vec<GeneralSubtree<'_>>>| {
            let name = |subtree: &GeneralSubtree<'_>| match subtree.base {
                GeneralName::DNSName(name) => Some(name.trim_start_matches('.').to_ascii_lowercase()),
                _ => None,
            };
            subtrees.iter().flatten().filter_map(name).collect()
        };
        found
            .map(|found| Self {
                permitted: names(&found.permitted_subtrees),
                excluded: names(&found.excluded_subtrees),
            })
            .unwrap_or_default()
    }

    /// What it may sign for, each with everything below; empty for every name.
    pub fn permitted(&self) -> &[String] {
        &self.permitted
    }

    /// Whether it may sign for this name.
    pub(super) fn allow(&self, name: &str) -> bool {
        let within = |base: &String| name == base || is_below(name, base);
        (self.permitted.is_empty() || self.permitted.iter().any(within)) && !self.excluded.iter().any(within)
    }

    /// Whether it may sign for some name that a pattern covers.
    pub(super) fn allow_some(&self, covers: &Covers) -> bool {
        match covers {
            Covers::Name(name) => self.allow(name),
            Covers::Below(parent) | Covers::Label { parent, .. } => {
                let within = |base: &String| parent == base || is_below(parent, base);
                let around = |base: &String| is_below(base, parent);
                let is_permitted = |base: &String| within(base) || around(base);
                (self.permitted.is_empty() || self.permitted.iter().any(is_permitted))
                    && !self.excluded.iter().any(within)
            }
            Covers::Address(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::allow_list::Pattern;

    #[test]
    fn a_name_is_within_its_base_and_a_pattern_where_some_name_of_it_is() {
        let constraints = Constraints {
            permitted: vec!["ods.example.com".to_owned()],
            excluded: vec!["no.ods.example.com".to_owned()],
        };
        for (name, allowed) in [
            ("ods.example.com", true),
            ("w.ods.example.com", true),
            ("wods.example.com", false),
            ("example.com", false),
            ("no.ods.example.com", false),
            ("a.no.ods.example.com", false),
        ] {
            assert_eq!(constraints.allow(name), allowed, "{name}");
            assert!(Constraints::default().allow(name));
        }
        for (pattern, some) in [
            ("*.ods.example.com", true),
            ("*.example.com", true),
            ("*.oms.example.com", false),
            ("a*.ods.example.com", true),
            ("*.no.ods.example.com", false),
            ("oms.example.com", false),
        ] {
            let covers = Pattern::parse(pattern).expect(pattern).host;
            assert_eq!(constraints.allow_some(&covers), some, "{pattern}");
        }
    }
}
