//! Templates that need what is given at a deployment: parameters, a resource group; in the shapes that tools and people write.

use super::*;

const GROUP: &str = "/subscriptions/703362b3-f278-4e4b-9179-c76eaf41ffc2/resourceGroups/myResourceGroup";

/// A rule whose parts are replaced by expressions.
fn rule(changes: Value) -> Value {
    let mut properties = json!({
        "dataSources": { "windowsEventLogs": [
            { "name": "events", "streams": ["Microsoft-SecurityEvent"], "xPathQueries": ["Security!*[System[(EventID=4688)]]"] },
        ] },
        "destinations": { "logAnalytics": [{ "name": "la", "workspaceResourceId": CENTRAL }] },
        "dataFlows": [{ "streams": ["Microsoft-SecurityEvent"], "destinations": ["la"] }],
    });
    for (place, value) in changes.as_object().expect("an object") {
        *properties.pointer_mut(place).unwrap_or_else(|| panic!("{place}")) = value.clone();
    }
    json!({ "type": RULE_TYPE, "apiVersion": "2025-05-11", "name": "r", "location": "[resourceGroup().location]", "properties": properties })
}

fn template(parameters: Value, variables: Value, resources: Value) -> String {
    let schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#";
    json!({ "$schema": schema, "parameters": parameters, "variables": variables, "resources": resources }).to_string()
}

fn given(parameters: &Value, group: Option<&str>) -> Given {
    let mut given = Given::default();
    let file = json!({ "$schema": "x", "contentVersion": "1.0.0.0", "parameters": parameters });
    given.add_file(&file.to_string()).expect("parameters");
    group.into_iter().for_each(|id| given.set_group(id).expect("a group"));
    given
}

fn deployed(text: &str, given: &Given) -> Vec<DataCollectionRule> {
    let (rules, findings) = super::super::read(text, "file", given);
    assert_eq!(told(&findings, Severity::Error), [""; 0], "{text}: {findings:?}");
    rules
}

const WORKSPACE: &str = "/destinations/logAnalytics/0/workspaceResourceId";
const NAME: &str = "/destinations/logAnalytics/0/name";
const FLOW: &str = "/dataFlows/0/destinations";

#[test]
fn templates_that_need_only_parameters_and_a_group_load() {
    let id = json!({ "id": { "type": "string" } });
    let give_id = json!({ "id": { "value": CENTRAL } });
    let name = json!({ "workspaceName": { "type": "string" } });
    let give_name = json!({ "workspaceName": { "value": "centralTeamWorkspace" } });
    let in_group = "[resourceId('Microsoft.OperationalInsights/workspaces', parameters('workspaceName'))]";
    let flag = json!({ "id": { "type": "string" }, "toWorkspace": { "type": "bool", "defaultValue": true } });
    for (what, parameters, variables, resources, file) in [
        (
            "a parameter",
            id.clone(),
            json!({}),
            json!([rule(json!({ WORKSPACE: "[parameters('id')]" }))]),
            give_id.clone(),
        ),
        (
            "the name out of an id",
            id.clone(),
            json!({ "ws": "[split(parameters('id'), '/')[8]]" }),
            json!([rule(
                json!({ WORKSPACE: "[parameters('id')]", NAME: "[variables('ws')]", FLOW: ["[last(split(parameters('id'), '/'))]"] })
            )]),
            give_id.clone(),
        ),
        (
            "the group that it is deployed to",
            name.clone(),
            json!({}),
            json!([rule(json!({ WORKSPACE: in_group }))]),
            give_name.clone(),
        ),
        (
            "an id put together",
            name.clone(),
            json!({ "base": "[concat(subscription().id, '/resourcegroups/', resourceGroup().name)]" }),
            json!([rule(
                json!({ WORKSPACE: "[format('{0}/providers/Microsoft.OperationalInsights/workspaces/{1}', variables('base'), parameters('workspaceName'))]" })
            )]),
            give_name.clone(),
        ),
        (
            "an id below another, as Bicep writes it",
            name.clone(),
            json!({}),
            json!({ "dcr": rule(json!({ WORKSPACE: "[extensionResourceId(format('/subscriptions/{0}/resourceGroups/{1}', subscription().subscriptionId, 'myResourceGroup'), 'Microsoft.OperationalInsights/workspaces', parameters('workspaceName'))]" })) }),
            give_name,
        ),
        (
            "a choice whose other branch has no value",
            flag,
            json!({}),
            json!([rule(json!({
                "/destinations": "[if(parameters('toWorkspace'), createObject('logAnalytics', createArray(createObject('name', 'la', 'workspaceResourceId', parameters('id')))), reference('other').destinations)]",
            }))]),
            give_id.clone(),
        ),
        (
            "queries as a parameter",
            json!({ "queries": { "type": "array" }, "extra": { "type": "array", "defaultValue": [] } }),
            json!({ "all": "[if(empty(parameters('extra')), parameters('queries'), union(parameters('queries'), parameters('extra')))]" }),
            json!([rule(json!({ "/dataSources/windowsEventLogs/0/xPathQueries": "[variables('all')]" }))]),
            json!({ "queries": { "value": ["Security!*[System[(EventID=4688)]]"] } }),
        ),
        (
            "a query for each id",
            json!({ "ids": { "type": "array" } }),
            json!({}),
            json!([rule(json!({ "/dataSources/windowsEventLogs/0": {
                "name": "events", "streams": ["Microsoft-SecurityEvent"],
                "copy": [{ "name": "xPathQueries", "count": "[length(parameters('ids'))]",
                    "input": "[format('Security!*[System[(EventID={0})]]', parameters('ids')[copyIndex('xPathQueries')])]" }],
            } }))]),
            json!({ "ids": { "value": [4688] } }),
        ),
        (
            "the same with map",
            json!({ "ids": { "type": "array" } }),
            json!({}),
            json!([rule(json!({ "/dataSources/windowsEventLogs/0/xPathQueries":
                "[map(filter(parameters('ids'), lambda('n', greater(lambdaVariables('n'), 1000))), lambda('id', concat('Security!*[System[(EventID=', string(lambdaVariables('id')), ')]]')))]" }))]),
            json!({ "ids": { "value": [7, 4688] } }),
        ),
        (
            "everything as objects, and what may be left out",
            json!({
                "sources": { "type": "object" }, "description": { "type": "string", "nullable": true },
                "tags": { "$ref": "#/definitions/tags" }, "rule": { "type": "object", "defaultValue": { "kind": "Windows" } },
            }),
            json!({}),
            json!({ "dcr": {
                "type": RULE_TYPE, "name": "r", "kind": "[tryGet(parameters('rule'), 'kind')]",
                "condition": "[and(not(empty(parameters('sources'))), equals(parameters('rule').kind, 'Windows'))]",
                "tags": "[coalesce(parameters('description'), json('{}'))]",
                "properties": { "description": "[parameters('description')]", "dataSources": "[parameters('sources')]",
                    "destinations": { "logAnalytics": [{ "name": "[guid('la')]", "workspaceResourceId": CENTRAL }] },
                    "dataFlows": [{ "streams": ["Microsoft-SecurityEvent"], "destinations": ["[guid('la')]"] }] },
            } }),
            json!({ "sources": { "value": { "windowsEventLogs": [
                { "name": "e", "streams": ["Microsoft-SecurityEvent"], "xPathQueries": ["Security!*[System[(EventID=4688)]]"] },
            ] } } }),
        ),
        (
            "a nested deployment with parameters of its own",
            id.clone(),
            json!({}),
            json!([{ "type": "Microsoft.Resources/deployments", "condition": "[not(empty(parameters('id')))]", "properties": {
                "expressionEvaluationOptions": { "scope": "inner" },
                "parameters": { "ws": { "value": "[parameters('id')]" } },
                "template": { "parameters": { "ws": { "type": "string" } }, "resources": [rule(json!({ WORKSPACE: "[parameters('ws')]" }))] },
            } }]),
            give_id,
        ),
    ] {
        let rules = deployed(&template(parameters, variables, resources), &given(&file, Some(GROUP)));
        let [one] = &rules[..] else { panic!("{what}: {rules:?}") };
        assert!(
            one.destinations[0].workspace_resource_id.as_deref().is_some_and(|id| id.eq_ignore_ascii_case(CENTRAL)),
            "{what}: {one:?}"
        );
        assert_eq!(one.flows[0].destinations, [one.destinations[0].name.clone()], "{what}");
        let queries: Vec<&str> = one.sources[0].queries.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(queries, ["Security!*[System[(EventID=4688)]]"], "{what}");
    }
}

#[test]
fn names_of_properties_may_be_expressions() {
    let mut own = rule(json!({}));
    own["properties"]["streamDeclarations"] =
        json!({ "[format('Custom-{0}', parameters('table'))]": { "columns": [] }, "[[odd]": {} });
    own["properties"]["dataFlows"][0]["streams"] = json!(["[concat('Custom-', parameters('table'))]"]);
    let text = |table: &str| {
        template(json!({ "table": { "defaultValue": table } }), json!({}), json!([own])).replace("[[odd]", "Custom-odd")
    };
    assert_eq!(deployed(&text("Fw"), &Given::default())[0].declared, ["Custom-Fw", "Custom-odd"]);
    let (_, findings) = read(&text("odd"), "x");
    assert!(findings[0].message.contains("another property has the same name"), "{findings:?}");
    let missing = text("Fw").replace("parameters('table'))]\":", "parameters('tables'))]\":");
    let (_, findings) = read(&missing, "x");
    assert!(findings.iter().any(|told| told.message.contains("there is no parameter \"tables\"")), "{findings:?}");
}

#[test]
fn a_rule_is_copied_as_often_as_the_template_says() {
    let mut copied = rule(
        json!({ "/dataSources/windowsEventLogs/0/xPathQueries/0": "[concat(parameters('channels')[copyIndex()], '!*')]" }),
    );
    copied["name"] = json!("[format('dcr-{0}', copyIndex('each', 1))]");
    copied["copy"] = json!({ "name": "each", "count": "[length(parameters('channels'))]" });
    let text = template(json!({ "channels": { "type": "array" } }), json!({}), json!([copied]));
    let rules = deployed(&text, &given(&json!({ "channels": { "value": ["System", "Security"] } }), None));
    let told: Vec<_> = rules.iter().map(|rule| (rule.name.as_str(), &*rule.sources[0].queries[0].1.channel)).collect();
    assert_eq!(told, [("dcr-1", "System"), ("dcr-2", "Security")]);
    let many = text.replace("[length(parameters('channels'))]", "[range(0, 10000)[9999]]");
    let (_, findings) = read(&many, "x");
    assert!(findings[0].message.contains("up to 800"), "{findings:?}");
}

#[test]
fn deployments_without_a_rule_cost_nothing_and_parameters_of_one_may_be_expressions_whole() {
    let inner = |resource: Value| {
        json!({
            "expressionEvaluationOptions": { "scope": "inner" },
            "parameters": { "ws": "[if(empty(parameters('other')), createObject('value', parameters('id')), reference('x'))]" },
            "template": { "parameters": { "ws": {} }, "resources": [resource] },
        })
    };
    let kind = "Microsoft.Resources/deployments";
    let mut alerts = inner(json!({ "type": "Microsoft.Insights/metricAlerts", "name": "a" }));
    alerts["parameters"]["list"] = json!({ "value": "[parameters('alerts')]" });
    let text = template(
        json!({ "id": { "defaultValue": CENTRAL }, "other": { "defaultValue": "" }, "alerts": { "defaultValue": ["x".repeat(99_000)] } }),
        json!({}),
        json!([
            { "type": kind, "copy": { "name": "alerts", "count": 800 }, "properties": alerts },
            { "type": kind, "properties": inner(json!({ "type": ASSOCIATION })) },
            { "type": kind, "properties": inner(rule(json!({ WORKSPACE: "[parameters('ws')]" }))) },
        ]),
    );
    let (rules, findings) = read(&text, "x");
    assert_eq!(rules[0].destinations[0].workspace_resource_id.as_deref(), Some(CENTRAL), "{findings:?}");
    assert_eq!(told(&findings, Severity::Warning), ["NotImplemented resources[1]"]);
}

#[test]
fn a_workspace_of_an_unknown_group_goes_by_its_name_and_that_is_said() {
    let text = template(
        json!({}),
        json!({}),
        json!([rule(json!({ WORKSPACE: "[resourceId('Microsoft.OperationalInsights/workspaces', 'central')]" }))]),
    );
    let (rules, findings) = read(&text, "x");
    assert_eq!(
        rules[0].destinations[0].workspace_resource_id.as_deref(),
        Some(
            "/subscriptions/{subscription}/resourceGroups/{resource group}/providers/Microsoft.OperationalInsights/workspaces/central"
        )
    );
    assert!(
        findings[0].severity == Severity::Warning && findings[0].message.contains("resource_group"),
        "{findings:?}"
    );
    let own = |what: &str| template(json!({}), json!({}), json!([rule(json!({ WORKSPACE: what }))]));
    for unsure in [
        "[concat('/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/', uniqueString('x'))]",
        "[resourceGroup().name]",
        "[if(equals(resourceGroup().location, 'westeurope'), 'a', 'b')]",
    ] {
        let (rules, findings) = read(&own(unsure), "x");
        assert!(
            rules.is_empty() && findings[0].message.contains("only known at the deployment"),
            "{unsure}: {findings:?}"
        );
    }
    let query =
        json!({ "/dataSources/windowsEventLogs/0/xPathQueries/0": "[concat('Security!*', resourceGroup().name)]" });
    let (rules, findings) = read(&template(json!({}), json!({}), json!([rule(query)])), "x");
    assert!(rules.is_empty() && findings[0].message.contains("{resource group}"), "{findings:?}");
}

#[test]
fn what_is_given_must_fit_what_the_template_declares() {
    let declared = json!({
        "id": { "type": "string" }, "count": { "type": "int", "defaultValue": 1, "allowedValues": [1, 2] },
        "list": { "type": "array", "defaultValue": [] },
    });
    let text = template(declared, json!({}), json!([rule(json!({ WORKSPACE: "[parameters('id')]" }))]));
    let pairs = |pairs: &[&str]| {
        let mut given = Given::default();
        pairs.iter().for_each(|pair| given.add_pair(pair).expect(pair));
        given
    };
    let right = format!("ID={CENTRAL}");
    let right = right.as_str();
    assert_eq!(deployed(&text, &pairs(&[right, "count=2", "list=[\"a\"]"])).len(), 1);
    for (wrong, message) in [
        ("count=x", "is declared as int"),
        ("count=3", "may be one of [1,2]"),
        ("list={}", "is declared as array"),
        ("other=1", "the template declares no parameter \"other\"; it declares id, count, list"),
    ] {
        let (rules, findings) = super::super::read(&text, "x", &pairs(&[right, wrong]));
        assert!(rules.is_empty() && findings[0].message.contains(message), "{wrong}: {findings:?}");
    }
    let (_, findings) = read(&text, "x");
    assert!(findings[0].message.contains("--parameters id=…"), "{findings:?}");
    for (file, message) in [
        ("[]", "no file of parameters"),
        (r#"{"parameters":{"a":1}}"#, "gives the parameter \"a\" no value"),
        ("using './main.bicep'", "az bicep build-params"),
    ] {
        let refused = Given::default().add_file(file).expect_err(file);
        assert!(refused.contains(message), "{refused}");
    }
    let mut vault = Given::default();
    vault.add_file(r#"{"id":{"reference":{"keyVault":{"id":"x"},"secretName":"y"}}}"#).expect("bare parameters");
    let (_, findings) = super::super::read(&text, "x", &vault);
    assert!(findings[0].message.contains("was not given"), "{findings:?}");
    assert!(Given::default().set_group("soc").is_err() && Given::default().add_pair("x").is_err());
}

#[test]
fn comments_of_a_template_are_passed_over_and_texts_that_look_like_them_are_not() {
    let plain = template(json!({}), json!({}), json!([rule(json!({}))]));
    let text = plain.replace("{\"$schema\"", "// mine, with a \" in it\n{ /* two\nlines */ \"$schema\"");
    assert!(text.contains("https://schema"), "an address in a text holds two slashes");
    assert_eq!(deployed(&text, &Given::default()), taken(&plain));
    assert!(read(&format!("{text} /* open"), "x").0.len() == 1, "a comment that does not end takes the rest");
}

#[test]
fn functions_give_what_azure_says() {
    for (expression, expected) in [
        ("format('{{{0}}} {1} {2}', 'a', 7, true())", "{a} 7 True"),
        ("replace(toLower('A-B'), '-', '')", "ab"),
        ("join(createArray('a', 'b'), ';')", "a;b"),
        ("substring('abcdef', 2, 3)", "cde"),
        ("padLeft(7, 3, '0')", "007"),
        ("concat('a', 7)", "a7"),
        ("if(and(startsWith('abc', 'A'), endsWith('abc', 'bc'), contains('abc', 'b')), 'yes', 'no')", "yes"),
        ("if(or(less(2, 1), greaterOrEquals(mod(7, 4), 3)), 'yes', 'no')", "yes"),
        ("union(createObject('a', 'x'), createObject('a', 'y')).A", "y"),
        ("first(skip(createArray('a', 'b'), 1))", "b"),
        ("string(length(intersection(createArray(1, 2), createArray(2, 3))))", "1"),
        ("items(createObject('b', 'x', 'a', 'y'))[0].value", "y"),
        ("coalesce(null(), tryGet(createObject('a', 'x'), 'b'), 'z')", "z"),
        ("json('{\"a\": [\"x\"]}').a[0]", "x"),
        ("string(max(createArray(3, int('9'))))", "9"),
        ("string(indexOf('äbc', 'C'))", "2"),
        ("resourceId('s', 'g', 'N.P/a/b', 'x', 'y')", "/subscriptions/s/resourceGroups/g/providers/N.P/a/x/b/y"),
        ("subscriptionResourceId('N.P/a/', 'x')", "/subscriptions/{subscription}/providers/N.P/a/x"),
        ("tenantResourceId('N.P/a', 'x')", "/providers/N.P/a/x"),
    ] {
        let named = rule(json!({ "/dataSources/windowsEventLogs/0/name": format!("[{expression}]") }));
        let rules = deployed(&template(json!({}), json!({}), json!([named])), &Given::default());
        assert_eq!(rules[0].sources[0].name, expected, "{expression}");
    }
}
