//! ARM templates: finds the rules in one and resolves its expressions, as far as the template alone can tell.
//!
//! Parameters count as their default values: what was given at the deployment is not in the template. What cannot be
//! resolved is left as a marker. It is an error only where the rule is read: an unknown location matters to nobody.

mod expression;
mod scope;

use serde_json::{Map, Value, json};

use super::document::{ASSOCIATION_TYPE, Found, RULE_TYPE};
use super::findings::{Findings, code};
use crate::limits::{DCR_RULES_MAX, DCR_TEMPLATE_GROWTH_MAX_BYTES};
use scope::Scope;

const DEPLOYMENT_TYPE: &str = "Microsoft.Resources/deployments";

/// Deployments and resources within each other.
const NESTING: usize = 8;

/// The keys of a marker. No property of Azure's has such a name.
const EXPRESSION: &str = "\u{0}expression";
const WHY: &str = "\u{0}why";

/// The expression that a marker stands for, and why it is not resolved.
pub(super) fn unresolved(value: &Value) -> Option<(&str, &str)> {
    Some((value.get(EXPRESSION)?.as_str()?, value.get(WHY)?.as_str()?))
}

fn marker(expression: &str, why: &str) -> Value {
    json!({ EXPRESSION: expression, WHY: why })
}

/// The rules of a template, resolved.
pub(super) fn rules(template: &Value, findings: &mut Findings) -> Vec<Found> {
    let mut walk = Walk { findings, found: Vec::new(), budget: DCR_TEMPLATE_GROWTH_MAX_BYTES };
    let scope = Scope::new(template, Map::new());
    walk.resources("", template, &scope, NESTING);
    walk.found
}

struct Walk<'f> {
    findings: &'f mut Findings,
    found: Vec<Found>,
    budget: usize,
}

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
        if kind.eq_ignore_ascii_case(RULE_TYPE) {
            self.rule(path, resource, scope);
        } else if kind.eq_ignore_ascii_case(DEPLOYMENT_TYPE) {
            self.deployment(path, resource, scope, nesting);
        } else if is_association(kind) {
            let message = "associations of a template are not read; write them in the configuration, or PUT them";
            self.findings.warning(code::NOT_IMPLEMENTED, path, message);
        }
        if !resource["resources"].is_null()
            && let Some(nesting) = self.deeper(path, nesting)
        {
            self.resources(path, resource, scope, nesting);
        }
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
        if resource["existing"] == true {
            let message = "is true: the rule is in Azure and not in this template; export it with \
                           `az monitor data-collection rule show`";
            self.findings.warning(code::NO_EFFECT, &format!("{path}.existing"), message);
            return;
        }
        if !resource["copy"].is_null() {
            let message = "loops are not unrolled; deploy the template and export the rules with \
                           `az monitor data-collection rule list`";
            self.findings.error(code::TEMPLATE, &format!("{path}.copy"), message);
            return;
        }
        // One more than allowed is enough to be refused, and bounds what a short template can grow to.
        if self.found.len() > DCR_RULES_MAX {
            return;
        }
        let mut resource = scope.resolve(resource, &mut self.budget);
        match &resource["condition"] {
            Value::Null | Value::Bool(true) => {}
            Value::Bool(false) => {
                let message = "is false: the rule is not deployed, and not used here";
                self.findings.warning(code::NO_EFFECT, &format!("{path}.condition"), message);
                return;
            }
            _ => {
                let message = "is not known here; the rule is used";
                self.findings.warning(code::NO_EFFECT, &format!("{path}.condition"), message);
            }
        }
        if let Some(object) = resource.as_object_mut() {
            // These are the template's business, and done with.
            ["existing", "resources"].iter().for_each(|key| drop(object.remove(*key)));
        }
        let name = unresolved(&resource["name"]).map(|(expression, why)| {
            format!("the expression {expression} cannot be resolved here: {why}; the rule is named after its file")
        });
        if let (Some(message), Some(object)) = (name, resource.as_object_mut()) {
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
            let given =
                given.map(|(name, given)| (name.to_lowercase(), scope.resolve(&given["value"], &mut self.budget)));
            let inner = Scope::new(template, given.collect());
            self.resources(&inner_path, template, &inner, nesting);
        } else {
            self.resources(&inner_path, template, scope, nesting);
        }
    }
}

/// An association stands alone, with a scope, or on its machine: `Microsoft.Compute/virtualMachines/providers/…`.
fn is_association(kind: &str) -> bool {
    let on_machine = "providers/datacollectionruleassociations";
    kind.eq_ignore_ascii_case(ASSOCIATION_TYPE) || kind.to_ascii_lowercase().ends_with(on_machine)
}
