use super::*;

fn target(path: &str) -> Option<Target> {
    Target::of_path(path).map(|target| target.expect("a sound path"))
}

#[test]
fn paths_mean_what_azure_means_by_them() {
    let machine = "/subscriptions/s/resourceGroups/g/providers/Microsoft.HybridCompute/machines/Srv 01";
    for (path, scope, thing) in [
        ("/subscriptions/s/providers/Microsoft.Insights/dataCollectionRules", "/subscriptions/s", Thing::Rules),
        (
            "//Subscriptions/S/ResourceGroups/G/Providers/MICROSOFT.INSIGHTS/DataCollectionRules/Mine/",
            "/Subscriptions/S/ResourceGroups/G",
            Thing::Rule("Mine".to_owned()),
        ),
        (
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Insights/dataCollectionRules/a%2Db/Associations",
            "/subscriptions/s/resourceGroups/g",
            Thing::RuleAssociations("a-b".to_owned()),
        ),
        (
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.HybridCompute/machines/Srv%2001/providers/Microsoft.Insights/dataCollectionRuleAssociations/a",
            machine,
            Thing::Association("a".to_owned()),
        ),
        (
            "/hosts/web-*/providers/Microsoft.Insights/dataCollectionRuleAssociations",
            "/hosts/web-*",
            Thing::Associations,
        ),
        ("/subscriptions/s/providers/Microsoft.Insights/dataCollectionEndpoints", "/subscriptions/s", Thing::Endpoints),
    ] {
        assert_eq!(target(path), Some(Target { scope: scope.to_owned(), thing }), "{path}");
    }
    for path in ["/", "/metrics", "/subscription/s", "/providers/Microsoft.Compute/x", "/%FF"] {
        assert!(Target::of_path(path).is_none(), "{path} is somebody else's");
    }
}

#[test]
fn associations_stand_on_resources() {
    let path = |scope: &str| format!("{scope}/providers/Microsoft.Insights/dataCollectionRuleAssociations/a");
    for scope in [
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.HybridCompute/machines/web-*",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.HybridCompute/machines/providers",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/v/virtualMachines/0",
        "/subscriptions/s/resourceGroups/g/Providers/Microsoft.Insights/components/c",
        "/hosts/*",
    ] {
        assert_eq!(target(&path(scope)).map(|target| target.scope).as_deref(), Some(scope));
    }
    for scope in [
        "",
        "/*",
        "/web-01",
        "/subscriptions/s",
        "/subscriptions/s/resourceGroups/g",
        "/subscriptions/providers/resourceGroups/g",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.HybridCompute",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.HybridCompute/machines",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/v/virtualMachines",
        "/hosts",
        "/hosts/a/b",
    ] {
        for refused in [Target::of_path(&path(scope)).expect("ours"), Target::of_id(&path(scope))] {
            let message = refused.expect_err(scope).to_string();
            assert!(message.contains("…/providers/Microsoft.HybridCompute/machines/NAME"), "{scope}: {message}");
        }
    }
}

#[test]
fn ids_have_azures_spelling_and_the_callers_names() {
    let path = "/subscriptions/S/resourcegroups/G/providers/microsoft.insights/datacollectionrules/Mine";
    let id = target(path).expect("ours").id();
    assert_eq!(id, "/subscriptions/S/resourcegroups/G/providers/Microsoft.Insights/dataCollectionRules/Mine");
    assert_eq!(Target::of_id(&id).expect("sound").id(), id);
}

#[test]
fn an_etag_is_named_with_and_without_quotes_in_lists_and_by_the_star() {
    let resource = serde_json::json!({ "etag": "\"e1\"" });
    let id = "/hosts/a/providers/Microsoft.Insights/dataCollectionRuleAssociations/x";
    let entry = Entry::read(id, resource).expect("an association");
    let holds = |name: http::HeaderName, value: &str, present: bool| {
        let value = HeaderValue::from_str(value).expect("a header");
        Presumed::of(&HeaderMap::from_iter([(name, value)])).check(present.then_some(&entry)).is_ok()
    };
    for (value, there, absent) in [("\"e1\"", true, false), ("e1", true, false), ("*", true, false)] {
        assert_eq!(holds(header::IF_MATCH, value, true), there, "{value}");
        assert_eq!(holds(header::IF_MATCH, value, false), absent, "{value}");
        assert_eq!(holds(header::IF_NONE_MATCH, value, true), !there, "{value}");
        assert_eq!(holds(header::IF_NONE_MATCH, value, false), !absent, "{value}");
    }
    assert!(holds(header::IF_MATCH, "\"e0\", \"e1\"", true) && !holds(header::IF_MATCH, "\"e0\"", true));
    assert!(Presumed::default().check(None).is_ok() && Presumed::default().check(Some(&entry)).is_ok());
}

#[test]
fn a_clock_that_stands_still_gives_each_state_its_own_etag() {
    let id = "/hosts/a/providers/Microsoft.Insights/dataCollectionRuleAssociations/x";
    let now = Timestamp::from_ticks(0);
    let mut resource = serde_json::json!({ "name": "x" });
    resource::stamp(&mut resource, None, now);
    let first = Entry::read(id, resource.clone()).expect("an association");
    resource::stamp(&mut resource, Some(&first), now);
    assert_ne!(resource["etag"], first.resource["etag"]);
    assert_eq!(resource["systemData"]["createdAt"], "1970-01-01T00:00:00.0000000Z");
}
