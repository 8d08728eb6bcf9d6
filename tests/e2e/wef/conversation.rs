//! What Windows says is answered as Windows expects, and what is hostile harms nobody.

use std::time::Duration;

use bytes::Bytes;
use gatepost::lab::wef::Faults;
use gatepost::net::upload_client::{Answer, Client};

use super::scene::{Scene, events, identities};

const WAIT: Duration = Duration::from_secs(30);

async fn post(client: &Client, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    client.post(url, headers, body.into(), WAIT).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_conversation_is_answered_as_windows_expects() {
    let scene = Scene::new("wef.read_existing_events = false", "").await;
    let running = scene.site.start().await;
    let mut host = scene.host("pc1.plant.test", Faults::default(), 1);
    let before = events("pc1.plant.test", 1, 10, 0.0);
    before.iter().for_each(|event| host.log(event));

    host.enumerate().await.unwrap();
    let thumbprint = {
        let (name, thumbprint) = host.subscriptions().next().expect("a subscription");
        assert_eq!(name, "Gatepost rules");
        thumbprint.to_owned()
    };
    assert_eq!(thumbprint.len(), 40, "the authority's SHA-1: {thumbprint}");
    host.heartbeat().await.unwrap();
    // The forwarder's own event comes first; what was logged before the subscription stays at home.
    assert_eq!(host.deliver(100).await.unwrap(), 0);
    let after: Vec<_> = events("pc1.plant.test", 1, 40, 0.0).split_off(10);
    after.iter().for_each(|event| host.log(event));
    assert_eq!(host.deliver(7).await.unwrap(), 30);
    scene.assert_arrived_once(&identities(&after)).await;
    assert_eq!(scene.site.metric("gatepost_wef_forwarder_events_total").await, 1.0);

    let shown = scene.shown().await;
    assert_eq!(shown["hosts"][0]["machine"], "pc1.plant.test", "{shown:#}");
    assert_eq!(shown["hosts"][0]["subscriptions"][0]["events"], 30, "{shown:#}");
    host.give_up(15001).await.unwrap();
    let shown = scene.shown().await;
    assert!(shown.to_string().contains("The query cannot be used"), "{shown:#}");
    assert!(running.stop().success());
    scene.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_has_a_status_that_windows_does_not_know() {
    let scene = Scene::new("", "").await;
    let running = scene.site.start().await;
    let (client, url) = (scene.client("pc1.plant.test"), scene.manager());
    let envelope = |action: &str, more: &str, body: &str| {
        format!(
            "<s:Envelope xmlns:s=\"x\"><s:Header><a:Action>{action}</a:Action><a:MessageID>uuid:1</a:MessageID>\
             <m:MachineID>pc1.plant.test</m:MachineID>{more}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
        )
    };
    let events = "http://schemas.dmtf.org/wbem/wsman/1/wsman/Events";
    let bomb: Vec<u8> = [b"\xFF\xA8".as_slice(), &[0xBF; 1], &[0x7B, 0xC0].repeat(40_000)].concat();
    let deep = envelope(events, "", &"<a>".repeat(50_000));
    for (what, headers, body, expected) in [
        ("an empty body", vec![], Bytes::new(), 200),
        ("no XML", vec![], Bytes::from_static(b"hello"), 400),
        ("gzip", vec![("content-encoding", "gzip")], Bytes::from_static(b"\x1f\x8b"), 400),
        ("plain text that claims SLDC", vec![("content-encoding", "SLDC")], envelope("x", "", "").into(), 400),
        ("no SLDC", vec![("content-encoding", "SLDC")], Bytes::from_static(b"\xFF\xFFxyz"), 400),
        ("a bomb", vec![("content-encoding", "SLDC")], bomb.into(), 400),
        ("a body of 5 MiB", vec![], vec![b' '; 5 << 20].into(), 400),
        ("nesting without end", vec![], deep.into(), 400),
        ("an unknown action", vec![], envelope("http://example/Pull", "", "").into(), 400),
        ("an unknown subscription", vec![], envelope(events, "<e:Identifier>1</e:Identifier>", "").into(), 404),
        ("half a character", vec![], Bytes::from_static(b"\xFF\xFE<\0s"), 400),
    ] {
        let answer = client.post(&url, &headers, body, WAIT).await;
        // A body that is refused before its end may cost the connection.
        let Ok(answer) = answer else {
            assert_eq!(what, "a body of 5 MiB");
            continue;
        };
        assert_eq!(answer.status, expected, "{what}: {}", String::from_utf8_lossy(&answer.body));
    }
    assert_eq!(client.get(&url, WAIT).await.unwrap().status, 404);
    assert_eq!(post(&client, &scene.site.url("/elsewhere"), &[], "x").await.status, 404);
    let nobody = scene.site.client();
    assert_eq!(post(&nobody, &url, &[], envelope(events, "", "")).await.status, 403, "without a certificate");
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_no_event_is_set_aside_and_does_not_stop_the_host() {
    let scene = Scene::new("", "").await;
    let running = scene.site.start().await;
    let mut host = scene.host("pc1.plant.test", Faults::default(), 1);
    host.enumerate().await.unwrap();
    let client = scene.client("pc1.plant.test");
    let id = gatepost_id(&scene, &client).await;
    let body = |id: &str| {
        format!(
            "<s:Envelope xmlns:s=\"x\"><s:Header><a:Action>http://schemas.dmtf.org/wbem/wsman/1/wsman/Events</a:Action>\
             <a:MessageID>uuid:1</a:MessageID><e:Identifier>{id}</e:Identifier><w:AckRequested/></s:Header>\
             <s:Body><w:Events><w:Event><![CDATA[<Other>1</Other>]]></w:Event></w:Events></s:Body></s:Envelope>"
        )
    };
    let answer = post(&client, &scene.manager(), &[], body(&id)).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(scene.site.status().await["dead_letters"]["count"], 1);
    assert!(running.stop().success());
    scene.site.assert_audit_balances();
}

/// The id of the one subscription, read from an enumeration.
async fn gatepost_id(scene: &Scene, client: &Client) -> String {
    let envelope = "<s:Envelope xmlns:s=\"x\"><s:Header><a:Action>http://schemas.xmlsoap.org/ws/2004/09/enumeration/Enumerate</a:Action>\
         <a:MessageID>uuid:1</a:MessageID></s:Header><s:Body/></s:Envelope>";
    let answer = post(client, &scene.manager(), &[], envelope).await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let (_, rest) = text.split_once("<e:Identifier>").unwrap_or_else(|| panic!("{text}"));
    rest.split_once('<').unwrap().0.to_owned()
}
