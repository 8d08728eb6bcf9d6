//! Single requests: Microsoft's own sample, the guard, versions, headers, limits, pages.

use super::*;
use crate::values::Secret;

/// The query of Microsoft's page, as it stands there.
const SAMPLE: &str = "Security!*[System[(EventID=) or (EventID=4688) or (EventID=4663) or (EventID=4624) or (EventID=4657) or (EventID=4100) or (EventID=4104) or (EventID=5140) or (EventID=5145) or (EventID=5156)]]";

async fn plane() -> (Place, Plane) {
    let dir = Place::new();
    let plane = Plane::open(dir.path());
    (dir, plane)
}

#[tokio::test]
async fn the_sample_of_microsofts_page_is_refused_with_a_hint_and_taken_when_filled_in() {
    let (_dir, plane) = plane().await;
    let line = format!("PUT {}?api-version=2019-11-01-preview", rule("myCollectionRule"));
    let refused = plane.ask(&line, "", body(&[SAMPLE]).to_string()).await;
    assert_eq!(refused.status, 400);
    let detail = &refused.body["error"]["details"][0];
    assert_eq!(detail["code"], "InvalidXPathQuery");
    assert_eq!(detail["target"], "properties.dataSources.windowsEventLogs[0].xPathQueries[0]");
    let message = detail["message"].as_str().unwrap();
    assert!(message.starts_with("character 28 of the query"), "{message}");
    assert!(message.contains("write the value, such as `EventID=4624`"), "{message}");
    assert_eq!(plane.in_force.changes(), 0);

    let filled = SAMPLE.replace("EventID=)", "EventID=4625)");
    let taken = plane.ask(&line, "", body(&[&filled]).to_string()).await;
    assert_eq!((taken.status, &taken.body["name"]), (201, &json!("myCollectionRule")));
    assert_eq!(plane.in_force.last().rules[0].rule.sources[0].queries[0].0, filled);
}

#[tokio::test]
async fn refusals_of_the_guard_have_azures_form() {
    let dir = Place::new();
    let config = admin::Config { token: Some(Secret::new("0123456789abcdef")), ..admin::Config::default() };
    let plane = Plane::new(Arc::new(RealFs), dir.path(), &config);
    let line = format!("GET {GROUP}/providers/Microsoft.Insights/dataCollectionRules?{VERSION}");
    let answered = plane.ask(&line, "", "").await;
    assert_eq!((answered.status, &answered.body["error"]["code"]), (401, &json!("AuthenticationFailed")));
    assert_eq!(answered.headers["www-authenticate"], "Bearer");
    let token = "Authorization: Bearer 0123456789abcdef";
    assert_eq!(plane.ask(&line, token, "").await.status, 200);
    let foreign = plane.ask(&line, &format!("{token}\nOrigin: https://evil.example"), "").await;
    assert_eq!((foreign.status, &foreign.body["error"]["code"]), (403, &json!("AuthorizationFailed")));
}

#[tokio::test]
async fn requests_that_are_wrong_say_so() {
    let (_dir, plane) = plane().await;
    let rules = format!("{GROUP}/providers/Microsoft.Insights/dataCollectionRules");
    for (line, status, code) in [
        (format!("GET {rules}"), 400, "MissingApiVersionParameter"),
        (format!("GET {rules}?api-version="), 400, "MissingApiVersionParameter"),
        (format!("GET {rules}?api-version=latest"), 400, "InvalidApiVersionParameter"),
        (format!("GET {rules}?api-version=2035-05-11"), 400, "NoRegisteredProviderFound"),
        (format!("GET {rules}?API-Version=2024-03-11&%24skiptoken=%21"), 400, "BadRequest"),
        (format!("DELETE {rules}/a?deleteAssociations=maybe&{VERSION}"), 400, "BadRequest"),
        (format!("POST {rules}?{VERSION}"), 405, "MethodNotAllowed"),
        (format!("POST {rules}/a?{VERSION}"), 405, "MethodNotAllowed"),
        (format!("GET {rules}/a/associations?{VERSION}"), 404, "ResourceNotFound"),
        (format!("PATCH {rules}/a?{VERSION}"), 400, "InvalidRequestContent"),
        (format!("GET {rules}/a/b/c?{VERSION}"), 404, "InvalidResourceType"),
        (format!("GET {GROUP}?{VERSION}"), 404, "InvalidResourceType"),
        (
            format!("GET /providers/Microsoft.Insights/dataCollectionRuleAssociations?{VERSION}"),
            400,
            "InvalidResourceId",
        ),
        (
            format!("PUT {GROUP}/providers/Microsoft.Insights/dataCollectionRuleAssociations/a?{VERSION}"),
            400,
            "InvalidResourceId",
        ),
        (
            format!("PUT /*/providers/Microsoft.Insights/dataCollectionRuleAssociations/a?{VERSION}"),
            400,
            "InvalidResourceId",
        ),
        (format!("GET {rules}/a%2Fb?{VERSION}"), 400, "InvalidResourceName"),
        (format!("GET {rules}/%2E%2E?{VERSION}"), 400, "InvalidResourceName"),
        (format!("GET {rules}/a%0Ab?{VERSION}"), 400, "InvalidResourceName"),
        (format!("GET {rules}/{}?{VERSION}", "a".repeat(261)), 400, "InvalidResourceName"),
        (format!("GET {rules}/a%FF?{VERSION}"), 400, "BadRequest"),
    ] {
        let answered = plane.ask(&line, "", "").await;
        assert_eq!((answered.status, &answered.body["error"]["code"]), (status, &json!(code)), "{line}");
    }
    assert_eq!(plane.ask("GET /elsewhere", "", "").await.status, 404);
}

#[tokio::test]
async fn bodies_have_a_type_and_a_bound() {
    let (_dir, plane) = plane().await;
    let line = format!("PUT {}?{VERSION}", rule("a"));
    let good = body(&["Security!*"]).to_string();
    let form = plane.ask(&line, "Content-Type: application/x-www-form-urlencoded", good.clone()).await;
    assert_eq!((form.status, &form.body["error"]["code"]), (415, &json!("UnsupportedMediaType")));
    let long = plane.ask(&line, "", " ".repeat(crate::limits::AZURE_BODY_MAX_BYTES + 1)).await;
    assert_eq!((long.status, &long.body["error"]["code"]), (413, &json!("RequestContentTooLarge")));
    assert_eq!(plane.ask(&line, "Content-Type: application/json; charset=utf-8", good).await.status, 201);
}

#[tokio::test]
async fn every_answer_tells_its_ids() {
    let (_dir, plane) = plane().await;
    let line = format!("GET {}?{VERSION}", rule("a"));
    let answered = plane.ask(&line, "x-ms-client-request-id: mine", "").await;
    assert_eq!(answered.headers["x-ms-client-request-id"], "mine");
    assert_eq!(answered.headers["x-ms-request-id"].len(), 36);
    assert_eq!(answered.headers["x-ms-correlation-request-id"], answered.headers["x-ms-request-id"]);
    let again = plane.ask(&line, "", "").await;
    assert_ne!(again.headers["x-ms-request-id"], answered.headers["x-ms-request-id"]);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let (_dir, plane) = plane().await;
    plane.put_rule("a").await;
    for n in 0..=crate::limits::AZURE_PAGE_MAX {
        assert_eq!(plane.associate(&format!("host-{n}"), "a").await.status, 201);
    }
    let line = format!("GET {}/associations?{VERSION}", rule("a"));
    let first = plane.ask(&line, "", "").await;
    assert_eq!(first.body["value"].as_array().unwrap().len(), crate::limits::AZURE_PAGE_MAX);
    let proxied = plane.ask(&line, "X-Forwarded-Proto: https", "").await;
    assert!(proxied.body["nextLink"].as_str().unwrap().starts_with("https://localhost:9090/"));
    let next = first.body["nextLink"].as_str().unwrap();
    let next = next.strip_prefix("http://localhost:9090").expect("the address that was asked");
    let second = plane.ask(&format!("GET {next}"), "", "").await;
    assert_eq!(second.body["value"].as_array().unwrap().len(), 1);
    assert_eq!(second.body["nextLink"], Value::Null);
    assert!(!first.body["value"].as_array().unwrap().contains(&second.body["value"][0]));
}

#[tokio::test]
async fn lists_hold_what_is_within_their_scope() {
    let (_dir, plane) = plane().await;
    plane.put_rule("a").await;
    let elsewhere = rule("b").replace("myResourceGroup", "myResourceGroup2");
    plane.ask(&format!("PUT {elsewhere}?{VERSION}"), "", body(&["Security!*"]).to_string()).await;
    let subscription = GROUP.split("/resourceGroups").next().unwrap();
    for (scope, names) in [(subscription, &["a", "b"][..]), (GROUP, &["a"]), ("/subscriptions/other", &[])] {
        let line = format!("GET {scope}/providers/microsoft.insights/DATACOLLECTIONRULES?{VERSION}");
        let answered = plane.ask(&line, "", "").await;
        let found = answered.body["value"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap());
        assert_eq!(found.collect::<Vec<_>>(), names, "{scope}");
    }
}
