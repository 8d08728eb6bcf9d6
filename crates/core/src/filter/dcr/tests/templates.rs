//! ARM templates: which resources are taken, and how far expressions are resolved.

use super::*;

#[test]
fn expressions_are_resolved_as_far_as_the_template_can_tell() {
    let place = "/destinations/logAnalytics/0/workspaceResourceId";
    let template = |id: &str| {
        json!({
            "parameters": {
                "whole": { "defaultValue": CENTRAL },
                "name": { "defaultValue": "centralTeamWorkspace" },
                "object": { "defaultValue": { "ids": [CENTRAL] } },
                "open": { "type": "string" },
                "one": { "defaultValue": "[parameters('other')]" },
                "other": { "defaultValue": "[parameters('one')]" },
            },
            "variables": { "group": "myResourceGroup", "sub": "703362b3-f278-4e4b-9179-c76eaf41ffc2" },
            "resources": { "rule": {
                "type": "microsoft.insights/datacollectionrules", "name": "r", "properties": with(place, json!(id)),
            } },
        })
    };
    for id in [
        "[parameters('WHOLE')]",
        "[ parameters( 'object' ).ids[0] ]",
        "[resourceId(variables('sub'), variables('group'), 'Microsoft.OperationalInsights/workspaces', parameters('name'))]",
        "[concat('/subscriptions/', variables('sub'), '/resourceGroups/myResourceGroup/providers/Microsoft.OperationalInsights/workspaces/', parameters('name'))]",
        "[format('/subscriptions/{0}/resourceGroups/{1}/providers/Microsoft.OperationalInsights/workspaces/{2}', variables('sub'), variables('group'), parameters('name'))]",
    ] {
        let rules = taken(&template(id).to_string());
        assert_eq!(rules[0].destinations[0].workspace_resource_id.as_deref(), Some(CENTRAL), "{id}");
    }
    for (id, why) in [
        ("[parameters('open')]", "has no default value"),
        ("[parameters('missing')]", "there is no parameter"),
        ("[parameters('one')]", "refer to each other"),
        ("[concat('/subscriptions/', subscription().subscriptionId)]", "only known at the deployment"),
        ("[reference('x').id]", "only known at the deployment"),
        ("[uniqueString('x')]", "only known at the deployment"),
        ("[toObject('x')]", "toobject is not implemented"),
        ("[contoso.workspace('x')]", "the template's own"),
        ("[resourceId('Microsoft.OperationalInsights/workspaces', 'x', 'y')]", "with 1 names, and 2 are given"),
        ("[if('yes', 'a', 'b')]", "true or false"),
        ("[copyIndex()]", "stands in no copy"),
        ("[concat('a']", "and it ends"),
        ("[concat('a]", "no closing quote"),
        ("[]", "was expected"),
    ] {
        let (rules, findings) = read(&template(id).to_string(), "x");
        assert!(rules.is_empty(), "{id}");
        let at = "resources.rule.properties.destinations.logAnalytics[0].workspaceResourceId";
        assert!(told(&findings, Severity::Error)[0].ends_with(at), "{id}: {findings:?}");
        assert!(findings[0].message.contains(why), "{id}: {}", findings[0].message);
    }
}

#[test]
fn a_text_that_begins_with_two_brackets_is_no_expression() {
    let text = TEMPLATE.replace("\"[variables('destination')]\"", "\"[[variables('destination')]\"");
    assert_eq!(taken(&text)[0].destinations[0].name, "[variables('destination')]");
}

#[test]
fn resources_of_a_template_are_taken_or_told_about() {
    let rule: Value = serde_json::from_str(TEMPLATE).expect("JSON");
    let template = |changes: Value| {
        let mut template = rule.clone();
        let resource = template["resources"][0].as_object_mut().expect("an object");
        resource.extend(changes.as_object().expect("an object").clone());
        template.to_string()
    };
    let (rules, findings) =
        read(&template(json!({ "condition": "[parameters('location')]", "name": "[x()]" })), "file");
    assert_eq!(rules[0].name, "file");
    let at = |key: &str| format!("resources[0].{key}");
    let unknown = [format!("NoEffect {}", at("condition")), format!("InvalidTemplate {}", at("name"))];
    assert_eq!(told(&findings, Severity::Warning), unknown);
    let (_, findings) = read(&template(json!({ "copy": { "name": "l", "count": "[x()]" } })), "file");
    assert_eq!(told(&findings, Severity::Error), [format!("InvalidTemplate {}", at("copy.count"))]);
    let (_, findings) = read(&template(json!({ "copy": { "name": "l", "count": 2 } })), "file");
    assert_eq!(told(&findings, Severity::Error), ["InvalidPayload resources[0](copy 1)"], "both have one name");
    let (_, findings) = read(&template(json!({ "condition": false })), "file");
    assert!(told(&findings, Severity::Warning).contains(&format!("NoEffect {}", at("condition"))));
    let (_, findings) = read(&template(json!({ "type": ASSOCIATION })), "file");
    assert_eq!(told(&findings, Severity::Warning), ["NotImplemented resources[0]"]);
}

#[test]
fn a_small_template_cannot_grow_large() {
    let ten = |name: &str| format!("[concat({})]", vec![format!("parameters('{name}')"); 100].join(","));
    let template = json!({
        "parameters": {
            "a": { "defaultValue": "x".repeat(1_000) },
            "b": { "defaultValue": ten("a") },
            "c": { "defaultValue": ten("b") },
            "d": { "defaultValue": ten("c") },
        },
        "resources": [{ "type": RULE_TYPE, "properties": with("/dataFlows/0/destinations/0", json!(ten("d"))) }],
    });
    let (_, findings) = read(&template.to_string(), "x");
    assert!(findings[0].message.contains("grow too large"), "{findings:?}");
}

#[test]
fn copies_and_functions_cannot_grow_large() {
    let thousand = "x".repeat(1_000);
    let replaced =
        (0..8).fold("parameters('a')".to_owned(), |inner, _| format!("replace({inner}, 'x', parameters('a'))"));
    let copied = (0..6).fold(
        json!("[parameters('a')]"),
        |inner, n| json!({ "copy": [{ "name": format!("l{n}"), "count": 800, "input": inner }] }),
    );
    for value in [
        json!(format!("[{replaced}]")),
        json!("[padLeft('x', 1000000000, 'y')]"),
        json!(format!("[join(map(range(0, 10000), lambda('n', parameters('a'))), '{thousand}')]")),
        copied,
    ] {
        let rule = json!({ "type": RULE_TYPE, "name": "r", "properties": with("/dataFlows/0/destinations/0", value) });
        let copies = json!({ "name": "n", "count": 800 });
        let deployment = |inner: Value| {
            json!({
                "type": "Microsoft.Resources/deployments", "copy": copies, "properties": { "template": { "resources": [inner] } },
            })
        };
        let template =
            json!({ "parameters": { "a": { "defaultValue": thousand } }, "resources": [deployment(deployment(rule))] });
        let (rules, findings) = read(&template.to_string(), "x");
        assert!(rules.is_empty() && !findings.is_empty());
    }
}

/// The template's rule, under another name.
fn named(name: &str) -> Value {
    let mut template: Value = serde_json::from_str(TEMPLATE).expect("JSON");
    let mut rule = template["resources"][0].take();
    rule["name"] = json!(name);
    rule
}

/// A template with the parameters of the sample and these resources.
fn template_of(resources: Value) -> String {
    let mut template: Value = serde_json::from_str(TEMPLATE).expect("JSON");
    template["resources"] = resources;
    template.to_string()
}

#[test]
fn a_rule_that_exists_already_is_not_in_the_template() {
    let existing = json!({
        "existing": true, "type": RULE_TYPE, "apiVersion": "2023-03-11", "name": "of-another-template",
    });
    let mut own = named("own");
    own["existing"] = json!(false);
    let workspace = json!({ "existing": true, "type": "Microsoft.OperationalInsights/workspaces", "name": "w" });
    let resources = json!({ "other": existing, "own": own, "workspace": workspace });
    let (rules, findings) = read(&template_of(resources), "x");
    assert_eq!(rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["own"]);
    assert_eq!(told(&findings, Severity::Warning), ["NoEffect resources.other.existing"]);

    let (rules, findings) = read(&template_of(json!({ "other": existing })), "x");
    assert!(rules.is_empty());
    assert!(findings[0].message.starts_with("there is no data collection rule"), "{findings:?}");
}

#[test]
fn resources_within_resources_are_walked() {
    let machine = "Microsoft.HybridCompute/machines";
    let associations = [ASSOCIATION, "providers/dataCollectionRuleAssociations"].map(|kind| json!({ "type": kind }));
    let mut outer = named("outer");
    outer["resources"] = json!([named("inner")]);
    let resources = json!([
        { "type": machine, "name": "m", "resources": { "rule": named("of-machine") } },
        outer,
        { "type": machine, "name": "n", "resources": associations },
        { "type": format!("{machine}/providers/dataCollectionRuleAssociations"), "name": "n/Microsoft.Insights/a" },
    ]);
    let (rules, findings) = read(&template_of(resources), "x");
    let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["of-machine", "outer", "inner"], "{findings:?}");
    let told = told(&findings, Severity::Warning);
    let at = |place: &str| format!("NotImplemented resources{place}");
    assert_eq!(told, [at("[2].resources[0]"), at("[2].resources[1]"), at("[3]")]);
}

#[test]
fn resources_are_nested_to_a_bound() {
    let nested = |depth: usize| {
        let within = |inner: Value, _| json!({ "type": "Microsoft.Example/boxes", "name": "b", "resources": [inner] });
        template_of(json!([(0..depth).fold(named("inner"), within)]))
    };
    assert_eq!(taken(&nested(8))[0].name, "inner");
    let (rules, findings) = read(&nested(9), "x");
    assert!(rules.is_empty());
    assert!(findings[0].message.contains("within each other are not read"), "{findings:?}");
    let (_, findings) = read(&template_of(json!([{ "type": "Microsoft.Example/boxes", "resources": 7 }])), "x");
    assert_eq!(told(&findings, Severity::Error), ["InvalidTemplate resources[0].resources"]);
}
