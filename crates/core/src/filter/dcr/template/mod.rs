//! ARM templates: finds the rules in one and resolves its expressions, as far as the template alone can tell.
//!
//! Parameters are those that were given beside it, else they count as their default values. What cannot be resolved is left as
//! a marker, and a part of a text that only the deployment knows as a word between two zeros. Either is an error only where the
//! rule is read: an unknown location matters to nobody, and a workspace is known by its name.

mod expression;
mod functions;
mod given;
mod parse;
mod scope;

use serde_json::Value;

use super::findings::{Findings, code};
use super::unknown::{is_unknown, marker, shown, unknown, unresolved};
use super::{ASSOCIATION_TYPE, Found, RULE_TYPE};
use crate::limits::{DCR_RULES_MAX, DCR_TEMPLATE_GROWTH_MAX_BYTES};
pub use given::Given;
use scope::{Copy, Scope, count_of};

const DEPLOYMENT_TYPE: &str = "Microsoft.Resources/deployments";

/// Deployments and resources within each other.
const NESTING: usize = 8;

/// The rules of a template, resolved.
pub(super) fn rules(template: &Value, given: &Given, findings: &mut Findings) -> Vec<Found> {
    let values = given.values_for(template, findings);
    let mut walk = Walk { findings, found: Vec::new(), budget: DCR_TEMPLATE_GROWTH_MAX_BYTES, copies: Vec::new() };
    let scope = Scope::new(template, values, given.deployment());
    walk.resources("", template, &scope, NESTING);
    walk.found
}

struct Walk<'f> {
    findings: &'f mut Findings,
    found: Vec<Found>,
    budget: usize,
    /// The copies of resources that are being made, the innermost last.
    copies: Vec<Copy>,
}

const ASSOCIATIONS: &str = "associations of a template are not read; write them in the configuration, or PUT them";

/// Bytes of the budget that a copy costs before anything of it is resolved.
const COPY: usize = 1_024;

impl Walk<'_> {
    /// The resources of a template, or those within a resource.
    fn resources(&mut self, path: &str, parent: &Value, scope: &Scope<'_>, nesting: usize) {
        let dot = if path.is_empty() { "" } else { "." };
        match &parent["resources"] {
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    self.resource(&format!("{path}{dot}resources[{n}]"), item, scope, nesting);
                }
            }
            Value::Object(named) => {
                for (key, item) in named {
                    self.resource(&format!("{path}{dot}resources.{key}"), item, scope, nesting);
                }
            }
            _ => self.findings.error(
                code::TEMPLATE,
                &format!("{path}{dot}resources"),
                "must be a list of resources, or an object of named ones",
            ),
        }
    }

    fn resource(&mut self, path: &str, resource: &Value, scope: &Scope<'_>, nesting: usize) {
        let kind = resource["type"].as_str().unwrap_or_default();
        if is_association(kind) {
            self.findings.warning(code::NOT_IMPLEMENTED, path, ASSOCIATIONS);
        }
        let is_of_interest = kind.eq_ignore_ascii_case(RULE_TYPE)
            || kind.eq_ignore_ascii_case(DEPLOYMENT_TYPE)
            || !resource["resources"].is_null();
        if !is_of_interest || self.is_passed_over(path, resource) {
            return;
        }
        if resource["copy"].is_null() {
            return self.one(path, resource, scope, nesting);
        }
        let copy = &resource["copy"];
        match count_of(&scope.resolve(&copy["count"], &mut self.budget, &self.copies)) {
            Ok(count) => {
                let name = copy["name"].as_str().unwrap_or_default();
                (0..count).for_each(|number| self.copy(path, resource, scope, nesting, (name.to_owned(), number)));
            }
            Err(why) => {
                let message = format_args!("how many copies there are cannot be resolved here: {why}");
                self.findings.error(code::TEMPLATE, &format!("{path}.copy.count"), message);
            }
        }
    }

    /// Whether a deployment has no rule inside. What it makes of large parameters is nobody's business here, and may be much.
    fn is_passed_over(&mut self, path: &str, resource: &Value) -> bool {
        let is_deployment = resource["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case(DEPLOYMENT_TYPE));
        let template = &resource["properties"]["template"];
        if !is_deployment || template.is_null() || holds(resource, |kind| kind.eq_ignore_ascii_case(RULE_TYPE)) {
            return false;
        }
        if holds(resource, is_association) {
            self.findings.warning(code::NOT_IMPLEMENTED, path, ASSOCIATIONS);
        }
        true
    }

    fn copy(&mut self, path: &str, resource: &Value, scope: &Scope<'_>, nesting: usize, copy: Copy) {
        let Some(left) = self.budget.checked_sub(COPY) else { return self.too_large(path) };
        self.budget = left;
        let path = format!("{path}(copy {})", copy.1);
        self.copies.push(copy);
        self.one(&path, resource, scope, nesting);
        self.copies.pop();
    }

    fn too_large(&mut self, path: &str) {
        self.budget = 0;
        self.findings.error(code::TEMPLATE, path, "the template's expressions grow too large");
    }

    /// One resource, of which nothing more is copied.
    fn one(&mut self, path: &str, resource: &Value, scope: &Scope<'_>, nesting: usize) {
        if resource["existing"] == true && resource["type"].as_str().unwrap_or_default().eq_ignore_ascii_case(RULE_TYPE)
        {
            let message = "is true: the rule is in Azure and not in this template; export it with \
                           `az monitor data-collection rule show`";
            self.findings.warning(code::NO_EFFECT, &format!("{path}.existing"), message);
            return;
        }
        if !self.is_deployed(path, resource, scope) {
            return;
        }
        match resource["type"].as_str().unwrap_or_default() {
            kind if kind.eq_ignore_ascii_case(RULE_TYPE) => self.rule(path, resource, scope),
            kind if kind.eq_ignore_ascii_case(DEPLOYMENT_TYPE) => self.deployment(path, resource, scope, nesting),
            _ => {}
        }
        if !resource["resources"].is_null()
            && let Some(nesting) = self.deeper(path, nesting)
        {
            self.resources(path, resource, scope, nesting);
        }
    }

    /// Whether its condition lets a resource be, as far as that is known.
    fn is_deployed(&mut self, path: &str, resource: &Value, scope: &Scope<'_>) -> bool {
        let message = match scope.resolve(&resource["condition"], &mut self.budget, &self.copies) {
            Value::Null | Value::Bool(true) => return true,
            Value::Bool(false) => "is false: it is not deployed, and not used here",
            _ => "is not known here; it is used",
        };
        self.findings.warning(code::NO_EFFECT, &format!("{path}.condition"), message);
        !message.starts_with("is false")
    }

    /// How much deeper it may go within the thing at `path`.
    fn deeper(&mut self, path: &str, nesting: usize) -> Option<usize> {
        let left = nesting.checked_sub(1);
        if left.is_none() {
            let message = format_args!(
                "more than {NESTING} deployments and resources within each other are not read; take the inner one"
            );
            self.findings.error(code::TEMPLATE, path, message);
        }
        left
    }

    fn rule(&mut self, path: &str, resource: &Value, scope: &Scope<'_>) {
        // One more than allowed is enough to be refused, and bounds what a short template can grow to.
        if self.found.len() > DCR_RULES_MAX {
            return;
        }
        let mut own = resource.as_object().cloned().unwrap_or_default();
        // These are the template's business, and done with.
        ["condition", "copy", "dependsOn", "existing", "resources"].iter().for_each(|key| drop(own.remove(*key)));
        let mut resource = scope.resolve(&Value::Object(own), &mut self.budget, &self.copies);
        let nameless = match (unresolved(&resource["name"]), resource["name"].as_str()) {
            (Some((expression, why)), _) => Some(format!("the expression {expression} cannot be resolved here: {why}")),
            (None, Some(name)) if is_unknown(name) => {
                Some(format!("a part of {:?} is only known at the deployment", shown(name)))
            }
            _ => None,
        };
        if let (Some(why), Some(object)) = (nameless, resource.as_object_mut()) {
            let message = format_args!("{why}; the rule is named after its file");
            self.findings.warning(code::TEMPLATE, &format!("{path}.name"), message);
            object.remove("name");
        }
        self.found.push(Found { path: path.to_owned(), resource });
    }

    fn deployment(&mut self, path: &str, resource: &Value, scope: &Scope<'_>, nesting: usize) {
        let Some(nesting) = self.deeper(path, nesting) else { return };
        let properties = &resource["properties"];
        let template = &properties["template"];
        if template.is_null() {
            let message = "a deployment whose template stands elsewhere is not read; give that template";
            self.findings.warning(code::NOT_IMPLEMENTED, &format!("{path}.properties"), message);
            return;
        }
        let inner_path = format!("{path}.properties.template");
        let evaluation = properties["expressionEvaluationOptions"]["scope"].as_str().unwrap_or("outer");
        if evaluation.eq_ignore_ascii_case("inner") {
            let given = properties["parameters"].as_object().into_iter().flatten();
            let given = given.filter_map(|(name, given)| {
                // The whole entry may be an expression.
                let given = scope.resolve(given, &mut self.budget, &self.copies);
                let value = if unresolved(&given).is_some() { given } else { given.get("value")?.clone() };
                Some((name.to_lowercase(), value))
            });
            let inner = Scope::new(template, given.collect(), scope.deployment());
            self.resources(&inner_path, template, &inner, nesting);
        } else {
            self.resources(&inner_path, template, scope, nesting);
        }
    }
}

/// Whether a resource, or one within it or within its template, is of such a type.
fn holds(resource: &Value, is_wanted: impl Fn(&str) -> bool) -> bool {
    let mut left = vec![resource];
    while let Some(resource) = left.pop() {
        if resource["type"].as_str().is_some_and(&is_wanted) {
            return true;
        }
        for inside in [&resource["resources"], &resource["properties"]["template"]["resources"]] {
            match inside {
                Value::Array(items) => left.extend(items),
                Value::Object(named) => left.extend(named.values()),
                _ => {}
            }
        }
    }
    false
}

/// An association stands alone, with a scope, or on its machine: `Microsoft.Compute/virtualMachines/providers/…`.
fn is_association(kind: &str) -> bool {
    let on_machine = "providers/datacollectionruleassociations";
    kind.eq_ignore_ascii_case(ASSOCIATION_TYPE) || kind.to_ascii_lowercase().ends_with(on_machine)
}
