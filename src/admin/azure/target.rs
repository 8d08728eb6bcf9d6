//! Which resource a path means.
//!
//! Azure does not mind the letter case of the fixed segments; ids keep the case of who made them. Percent-encoding is
//! undone once, segment by segment; an encoded slash would make two ids of one and is refused.
//!
//! An association stands on a resource, whose last segment is the host's name. Where no Azure knows the host,
//! `/hosts/{name}` is Gatepost's own short form of such a resource. Anything wider is refused: its last segment would be
//! taken for the name of a host, and the rule for everybody would be a rule for nobody.

use std::borrow::Cow;

use super::error::Refusal;
use crate::limits::AZURE_TEXT_MAX_CHARS;
use crate::net::target::decode;

/// The type of rules, in Azure's spelling.
pub(super) const RULE_TYPE: &str = "Microsoft.Insights/dataCollectionRules";

/// The type of associations, in Azure's spelling.
pub(super) const ASSOCIATION_TYPE: &str = "Microsoft.Insights/dataCollectionRuleAssociations";

/// Most characters of a name.
const NAME_MAX: usize = 260;

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Where it belongs: a subscription or a resource group, for associations a resource; with a leading slash.
    pub(super) scope: String,
    pub(super) thing: Thing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Thing {
    /// The rules of the scope.
    Rules,
    Rule(String),
    /// The associations of a rule.
    RuleAssociations(String),
    /// The associations of the scope.
    Associations,
    Association(String),
    /// Data collection endpoints, which Gatepost has none of.
    Endpoints,
}

impl Target {
    /// The target of a path; `None` for paths that are no business of Azure Monitor's.
    pub(super) fn of_path(path: &str) -> Option<Result<Self, Refusal>> {
        let raw: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let decoded: Option<Vec<Cow<'_, str>>> = raw.iter().map(|segment| decode(segment)).collect();
        let Some(segments) = decoded else {
            let ours = raw.first().is_some_and(|first| first.eq_ignore_ascii_case("subscriptions"));
            return ours.then(|| Err(Refusal::bad("BadRequest", "the path is not well percent-encoded UTF-8")));
        };
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let ours = segments.first().is_some_and(|first| first.eq_ignore_ascii_case("subscriptions"));
        (ours || provider(&segments).is_some()).then(|| Self::of(&segments))
    }

    /// The target of a resource id, which is not encoded.
    pub(super) fn of_id(id: &str) -> Result<Self, Refusal> {
        Self::of(&id.split('/').filter(|segment| !segment.is_empty()).collect::<Vec<_>>())
    }

    fn of(segments: &[&str]) -> Result<Self, Refusal> {
        let unsound = |segment: &&&str| segment.contains(['/', '\\']) || segment.contains(char::is_control);
        if let Some(segment) = segments.iter().find(|segment| unsound(segment) || [".", ".."].contains(*segment)) {
            return Err(Refusal::bad("InvalidResourceName", format!("{segment:?} is no segment of a resource id")));
        }
        if segments.iter().map(|segment| segment.chars().count() + 1).sum::<usize>() > AZURE_TEXT_MAX_CHARS {
            let message = format!("the resource id is longer than {AZURE_TEXT_MAX_CHARS} characters");
            return Err(Refusal::bad("InvalidResourceName", message));
        }
        let unknown = || {
            let message = "there is no such resource type here; Gatepost has Microsoft.Insights/dataCollectionRules and \
                           Microsoft.Insights/dataCollectionRuleAssociations";
            Refusal::new(http::StatusCode::NOT_FOUND, "InvalidResourceType", message)
        };
        let at = provider(segments).ok_or_else(unknown)?;
        let (scope, rest) = (&segments[..at], &segments[at + 2..]);
        let kind = rest.first().map(|kind| kind.to_ascii_lowercase());
        let thing = match (kind.as_deref(), &rest[1.min(rest.len())..]) {
            (Some("datacollectionrules"), []) if is_group(scope) || scope.len() == 2 => Thing::Rules,
            (Some("datacollectionrules"), [rule]) if is_group(scope) => Thing::Rule(name(rule)?),
            (Some("datacollectionrules"), [rule, associations])
                if is_group(scope) && associations.eq_ignore_ascii_case("associations") =>
            {
                Thing::RuleAssociations(name(rule)?)
            }
            (Some("datacollectionruleassociations"), [] | [_]) if !is_resource(scope) => {
                return Err(no_resource(scope));
            }
            (Some("datacollectionruleassociations"), []) => Thing::Associations,
            (Some("datacollectionruleassociations"), [own]) => Thing::Association(name(own)?),
            (Some("datacollectionendpoints"), _) => Thing::Endpoints,
            _ => return Err(unknown()),
        };
        Ok(Self { scope: format!("/{}", scope.join("/")), thing })
    }

    /// The id of the rule or association that this is about, or of the rule whose associations it is about.
    pub(super) fn id(&self) -> String {
        let (kind, name) = match &self.thing {
            Thing::Rule(name) | Thing::RuleAssociations(name) => (RULE_TYPE, name.as_str()),
            Thing::Association(name) => (ASSOCIATION_TYPE, name.as_str()),
            Thing::Rules | Thing::Associations | Thing::Endpoints => return self.scope.clone(),
        };
        format!("{}/providers/{kind}/{name}", self.scope)
    }
}

/// Where `providers/Microsoft.Insights` stands; the last one counts, since a resource has a provider of its own.
fn provider(segments: &[&str]) -> Option<usize> {
    segments.windows(2).rposition(|pair| {
        pair[0].eq_ignore_ascii_case("providers") && pair[1].eq_ignore_ascii_case("Microsoft.Insights")
    })
}

fn is_group(scope: &[&str]) -> bool {
    matches!(scope, [subscriptions, _, groups, _]
        if subscriptions.eq_ignore_ascii_case("subscriptions") && groups.eq_ignore_ascii_case("resourceGroups"))
}

/// Whether it ends in `providers/{namespace}/{type}/{name}`, perhaps with more types and names, or is `hosts/{name}`.
fn is_resource(scope: &[&str]) -> bool {
    let named = |rest: &[&str]| rest.len() >= 3 && rest.len() % 2 == 1;
    let provided = |at: usize| scope[at].eq_ignore_ascii_case("providers") && named(&scope[at + 1..]);
    matches!(scope, [hosts, _] if hosts.eq_ignore_ascii_case("hosts")) || (0..scope.len()).any(provided)
}

fn no_resource(scope: &[&str]) -> Refusal {
    let message = format!(
        "an association stands on a resource, and \"/{}\" is none; write \
         …/providers/Microsoft.HybridCompute/machines/NAME, where * in NAME stands for any part, or /hosts/NAME",
        scope.join("/")
    );
    Refusal::bad("InvalidResourceId", message)
}

fn name(name: &str) -> Result<String, Refusal> {
    let sound = name.chars().count() <= NAME_MAX && !name.contains(['<', '>', '*', '%', '&', ':', '?', '#', '+']);
    if !sound || name.ends_with(['.', ' ']) {
        let message = format!("{name:?} is no name; write at most {NAME_MAX} letters, digits, \"-\", \"_\" and \".\"");
        return Err(Refusal::bad("InvalidResourceName", message));
    }
    Ok(name.to_owned())
}
