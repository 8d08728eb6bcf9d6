use super::*;

const OURS: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";
const BATCH: &str = "aaaaaaaa-bbbb-8ccc-8ddd-eeeeeeeeeeee";

fn request(positions: Range<u64>) -> Request<'static> {
    Request {
        took: Duration::from_millis(3),
        ids: (OURS, None),
        traceparent: None,
        positions,
        failure: None,
        attributes: vec![("http.response.status_code", 204.into())],
    }
}

fn sent(positions: Range<u64>) -> Sent<'static> {
    Sent { took: Duration::from_secs(1), batch: BATCH, positions, failure: None, attributes: Vec::new() }
}

fn spans(traces: &Traces) -> Vec<Value> {
    traces.take().0.iter().map(Span::json).collect()
}

#[test]
fn a_batch_links_to_the_uploads_whose_events_it_holds() {
    let traces = Traces::default();
    [0..3, 3..7, 7..9, 0..0].into_iter().for_each(|positions| traces.answered(request(positions)));
    traces.sent(sent(2..7));
    let spans = spans(&traces);
    let batch = &spans[4];
    assert_eq!((&batch["traceId"], &batch["name"]), (&BATCH.replace('-', "").into(), &"batch".into()));
    let linked: Vec<&Value> = batch["links"].as_array().expect("links").iter().map(|of| &of["spanId"]).collect();
    assert_eq!(linked, [&spans[1]["spanId"], &spans[0]["spanId"]]);
    assert_eq!(spans[0]["traceId"], OURS.replace('-', ""));
    assert!(spans[3].get("links").is_none() && spans[3]["kind"] == 2 && batch["kind"] == 3);
}

#[test]
fn the_trace_is_the_clients_where_it_told_one() {
    let trace_of_request = |traceparent, clients| {
        let traces = Traces::default();
        traces.answered(Request { traceparent, ids: (OURS, clients), ..request(0..0) });
        let spans = spans(&traces);
        (spans[0]["traceId"].as_str().expect("a trace").to_owned(), spans[0].get("parentSpanId").cloned())
    };
    let (told, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let header = format!("00-{told}-{parent}-01");
    assert_eq!(trace_of_request(Some(&header), Some(BATCH)), (told.to_owned(), Some(parent.into())));
    assert_eq!(trace_of_request(None, Some(BATCH)), (BATCH.replace('-', ""), None));
    for (traceparent, clients) in [
        (None, None),
        (Some("00-0-0-01"), Some("request-17")),
        (Some("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), None),
        (Some("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None),
    ] {
        assert_eq!(trace_of_request(traceparent, clients), (OURS.replace('-', ""), None), "{traceparent:?}");
    }
}

#[test]
fn what_nobody_takes_away_is_dropped_and_counted() {
    let traces = Traces::default();
    (0..WAITING_MAX + 5).for_each(|_| traces.answered(request(1..2)));
    let (kept, dropped) = traces.take();
    assert_eq!((kept.len(), dropped), (WAITING_MAX, 5));
    assert_eq!(traces.recent.lock().len(), RECENT_MAX);
    traces.sent(sent(1..2));
    assert_eq!(spans(&traces)[0]["links"].as_array().map(Vec::len), Some(LINKS_MAX));
}

#[test]
fn the_body_is_as_otlp_has_it() {
    let traces = Traces::default();
    traces.answered(Request { failure: Some("the gateway is busy"), ..request(7..9) });
    let (spans, _) = traces.take();
    let body = export(&spans, "1.2.3", "here");
    let scope = &body["resourceSpans"][0]["scopeSpans"][0];
    assert_eq!(body["resourceSpans"][0]["resource"]["attributes"][0]["value"]["stringValue"], "gatepost");
    let span = &scope["spans"][0];
    assert_eq!(span["status"], json!({ "code": 2, "message": "the gateway is busy" }));
    assert!(
        span["attributes"]
            .as_array()
            .expect("attributes")
            .contains(&json!({ "key": "http.response.status_code", "value": { "intValue": "204" } }))
    );
    let at = |key: &str| span[key].as_str().expect("a text").parse::<u128>().expect("nanoseconds");
    assert_eq!(at("endTimeUnixNano") - at("startTimeUnixNano"), 3_000_000);
    assert_eq!(span["spanId"].as_str().map(str::len), Some(16));
}
