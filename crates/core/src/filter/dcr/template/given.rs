//! What was given at a deployment and does not stand in the template: parameters, and where it is deployed to.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::findings::{Findings, code};
use super::unknown;

/// Parameters of a template, and the resource group that it is deployed to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Given {
    /// By their names in lower case: the names as they were given, and the values.
    parameters: BTreeMap<String, (String, Parameter)>,
    deployment: Deployment,
}

#[derive(Debug, Clone, PartialEq)]
enum Parameter {
    Value(Value),
    /// Of a command line: what the template declares says what it is.
    Words(String),
    /// In a vault that nobody reads here.
    Secret,
}

/// Where a template is deployed to, as far as it was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Deployment {
    /// The subscription and the name of the group.
    group: Option<(String, String)>,
}

impl Given {
    /// Adds the parameters of a file, as `az deployment group create --parameters @FILE` takes it: with `parameters` around
    /// them, or bare. Later ones count.
    ///
    /// # Errors
    ///
    /// With what is wrong with it.
    pub fn add_file(&mut self, text: &str) -> Result<(), String> {
        let document = super::super::text::parse(text)?;
        let parameters = document.get("parameters").unwrap_or(&document);
        let parameters = parameters.as_object().ok_or("is no file of parameters: write {\"NAME\": {\"value\": …}}")?;
        for (name, entry) in parameters {
            let parameter = match (entry.get("value"), entry.get("reference")) {
                (Some(value), _) => Parameter::Value(value.clone()),
                (None, Some(_)) => Parameter::Secret,
                (None, None) => return Err(format!("gives the parameter {name:?} no value: write {{\"value\": …}}")),
            };
            self.add(name, parameter);
        }
        Ok(())
    }

    /// Adds `NAME=VALUE`.
    ///
    /// # Errors
    ///
    /// When it is no such pair.
    pub fn add_pair(&mut self, pair: &str) -> Result<(), String> {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not NAME=VALUE"))?;
        self.add(name.trim(), Parameter::Words(value.to_owned()));
        Ok(())
    }

    /// Says which resource group the template is deployed to, by its id.
    ///
    /// # Errors
    ///
    /// When it is no id of a resource group.
    pub fn set_group(&mut self, id: &str) -> Result<(), String> {
        let parts: Vec<&str> = id.trim_end_matches('/').split('/').collect();
        match parts[..] {
            ["", subscriptions, subscription, groups, group]
                if subscriptions.eq_ignore_ascii_case("subscriptions")
                    && groups.eq_ignore_ascii_case("resourceGroups")
                    && !subscription.is_empty()
                    && !group.is_empty() =>
            {
                self.deployment.group = Some((subscription.to_owned(), group.to_owned()));
                Ok(())
            }
            _ => Err(format!("{id:?} is no resource group; write /subscriptions/…/resourceGroups/…")),
        }
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, name: &str, parameter: Parameter) {
        self.parameters.insert(name.to_lowercase(), (name.to_owned(), parameter));
    }

    pub(super) fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The values for a template, by lower-cased name. What does not fit its declaration is told.
    pub(super) fn values_for(&self, template: &Value, findings: &mut Findings) -> Map<String, Value> {
        let declared = template["parameters"].as_object();
        let mut values = Map::new();
        for (key, (name, parameter)) in &self.parameters {
            let declaration = declared.into_iter().flatten().find(|(known, _)| known.to_lowercase() == *key);
            let Some((known, declaration)) = declaration else {
                let known: Vec<&str> = declared.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let message = format_args!("the template declares no parameter {name:?}; it declares {known}");
                findings.error(code::TEMPLATE, "parameters", message);
                continue;
            };
            match parameter.value(declaration) {
                Ok(Some(value)) => drop(values.insert(key.clone(), value)),
                Ok(None) => {}
                Err(why) => findings.error(code::TEMPLATE, &format!("parameters.{known}"), why),
            }
        }
        values
    }
}

impl Parameter {
    /// The value, if it is known, as the template declares it.
    fn value(&self, declaration: &Value) -> Result<Option<Value>, String> {
        let kind = declaration["type"].as_str().unwrap_or_default().to_ascii_lowercase();
        let value = match self {
            Self::Secret => return Ok(None),
            Self::Value(value) => value.clone(),
            Self::Words(words) if kind.ends_with("string") => Value::from(words.as_str()),
            Self::Words(words) => {
                serde_json::from_str(words).map_err(|_| format!("is declared as {kind}, and {words:?} is none"))?
            }
        };
        let fits = match kind.as_str() {
            "string" | "securestring" => value.is_string(),
            "int" => value.is_i64(),
            "bool" => value.is_boolean(),
            "array" => value.is_array(),
            "object" | "secureobject" => value.is_object(),
            _ => true,
        };
        if !fits && !value.is_null() {
            return Err(format!("is declared as {kind}, and {value} was given"));
        }
        match declaration["allowedValues"].as_array() {
            Some(allowed) if !allowed.contains(&value) => {
                Err(format!("may be one of {}, and {value} was given", Value::from(allowed.clone())))
            }
            _ => Ok(Some(value)),
        }
    }
}

impl Deployment {
    pub(super) fn subscription(&self) -> String {
        self.group.as_ref().map_or_else(|| unknown("subscription"), |(subscription, _)| subscription.clone())
    }

    pub(super) fn group(&self) -> String {
        self.group.as_ref().map_or_else(|| unknown("resource group"), |(_, group)| group.clone())
    }

    pub(super) fn group_id(&self) -> String {
        format!("/subscriptions/{}/resourceGroups/{}", self.subscription(), self.group())
    }
}
