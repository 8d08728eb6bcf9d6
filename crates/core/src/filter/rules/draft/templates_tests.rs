//! Templates of a configuration, with what it gives to them.

use std::io;
use std::path::Path;

use super::*;
use crate::filter::config::Config;
use crate::filter::rules::{Managed, Rules};

const TEMPLATE: &str = r#"{
    "parameters": { "workspace": { "type": "string" }, "id": { "type": "int" } },
    "resources": [{ "type": "Microsoft.Insights/dataCollectionRules", "name": "r", "properties": {
        "dataSources": { "windowsEventLogs": [{ "name": "e", "streams": ["Microsoft-SecurityEvent"],
            "xPathQueries": ["[format('Security!*[System[EventID={0}]]', parameters('id'))]"] }] },
        "destinations": { "logAnalytics": [{ "name": "la",
            "workspaceResourceId": "[resourceId('Microsoft.OperationalInsights/workspaces', parameters('workspace'))]" }] },
        "dataFlows": [{ "streams": ["Microsoft-SecurityEvent"], "destinations": ["la"] }]
    } }]
}"#;

const PARAMETERS: &str = r#"{ "parameters": { "workspace": { "value": "soc" }, "id": { "value": 4688 } } }"#;

fn text(name: &str, text: &str) -> Text {
    let stem = name.trim_end_matches(".json").to_owned();
    Text { path: name.to_owned(), stem, text: text.to_owned() }
}

/// The queries of the rules of a section `filter`, or what is wrong with it. The folder `both` holds a template and its
/// parameters.
fn queries(toml: &str) -> Result<Vec<String>, String> {
    let config: Config = toml::from_str(toml).expect("the section has the right types");
    if let Some((key, message)) = config.problems().into_iter().next() {
        return Err(format!("{key}: {message}"));
    }
    let read = |path: &Path| match path.to_str() {
        Some("t.json") => Ok(vec![text("t.json", TEMPLATE)]),
        Some("p.json") => Ok(vec![text("p.json", PARAMETERS)]),
        Some("both") => Ok(vec![text("t.json", TEMPLATE), text("t.parameters.json", PARAMETERS)]),
        Some("alone") => Ok(vec![text("t.json", TEMPLATE), text("u.parameters.json", PARAMETERS)]),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let outputs = ["soc".to_owned()];
    let material = Material { config: &config, outputs: &outputs, read: &read, managed: &Managed::default() };
    let rules = Rules::build(&material)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    Ok(rules.list().into_iter().flat_map(|rule| rule.queries).map(|query| query.query).collect())
}

#[test]
fn a_template_gets_the_parameters_and_the_group_that_the_configuration_names() {
    let rule = "[[rules]]\nfile = \"t.json\"\nparameters = \"p.json\"\n";
    let taken = Ok(vec!["Security!*[System[EventID=4688]]".to_owned()]);
    assert_eq!(queries(rule), taken);
    let grouped = format!("{rule}resource_group = \"/subscriptions/s/resourceGroups/g\"\n");
    assert_eq!(queries(&grouped), taken);
    for (toml, message) in [
        ("[[rules]]\nfile = \"t.json\"\n", "`parameters` beside `file`"),
        ("[[rules]]\nfile = \"t.json\"\nparameters = \"no.json\"\n", "no.json cannot be read"),
        (
            "[[rules]]\nfile = \"t.json\"\nparameters = \"t.json\"\n",
            "t.json gives the parameter \"workspace\" no value",
        ),
        (
            "[[rules]]\nfile = \"t.json\"\nresource_group = \"soc\"\n",
            "rules[0].resource_group: \"soc\" is no resource group",
        ),
        (
            "[[rules]]\nname = \"x\"\nqueries = [\"Security!*\"]\noutputs = [\"soc\"]\nparameters = \"p.json\"\n",
            "rules[0].parameters: goes with file",
        ),
    ] {
        let told = queries(toml).expect_err(toml);
        assert!(told.contains(message), "{toml}: {told}");
    }
}

#[test]
fn in_a_folder_the_parameters_of_a_template_stand_beside_it() {
    assert_eq!(queries("[[rules]]\nfile = \"both\"\n"), Ok(vec!["Security!*[System[EventID=4688]]".to_owned()]));
    let told = queries("[[rules]]\nfile = \"alone\"\n").expect_err("nobody is meant");
    assert!(told.contains("u.parameters.json has parameters, and no u.json stands beside it"), "{told}");
}
