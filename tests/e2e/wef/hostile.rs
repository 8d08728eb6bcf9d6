//! What is hostile, broken or strange harms nobody: it gets an answer that Windows knows, costs bounded memory, and the events
//! around it arrive.

use std::time::Duration;

use bytes::Bytes;
use gatepost::lab::events::{Shape, SimulatedEvent};
use gatepost::lab::wef::{Faults, compressed, wide};
use gatepost::net::upload_client::Client;

use super::scene::{Scene, events, identities};

const WAIT: Duration = Duration::from_secs(60);
/// What Windows' own collectors answer, and hosts therefore know.
const DOCUMENTED: [u16; 7] = [200, 204, 400, 403, 404, 500, 503];
const NAME: &str = "pc1.plant.test";

/// A delivery for a subscription, with these events as CDATA.
fn delivery(id: &str, events: &[String]) -> String {
    let events: String = events.iter().map(|event| format!("<w:Event><![CDATA[{event}]]></w:Event>")).collect();
    format!(
        "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" xmlns:a=\"a\" xmlns:w=\"w\" xmlns:m=\"m\" xmlns:e=\"e\">\
         <s:Header><a:Action>http://schemas.dmtf.org/wbem/wsman/1/wsman/Events</a:Action><a:MessageID>uuid:1</a:MessageID>\
         <m:MachineID>{NAME}</m:MachineID><e:Identifier>{id}</e:Identifier><w:Bookmark><BookmarkList>\
         <Bookmark Channel=\"Security\" RecordId=\"1\" IsCurrent=\"true\"/></BookmarkList></w:Bookmark><w:AckRequested/>\
         </s:Header><s:Body><w:Events>{events}</w:Events></s:Body></s:Envelope>"
    )
}

/// The id of the subscription from rules, as the gateway tells it.
async fn subscription(scene: &Scene) -> String {
    let asked = scene.site.gatepost(&["wef", "subscriptions", NAME, "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&asked.stdout).expect("one subscription");
    told["id"].as_str().expect("an id").to_owned()
}

fn xml(event: &SimulatedEvent) -> String {
    String::from_utf8(event.render(Shape::Xml)).unwrap()
}

async fn status(client: &Client, url: &str, encoding: Option<&str>, body: impl Into<Bytes>) -> Option<u16> {
    let headers: Vec<(&str, &str)> = encoding.map(|encoding| ("content-encoding", encoding)).into_iter().collect();
    // A body that is refused before its end may cost the connection.
    client.post(url, &headers, body.into(), WAIT).await.ok().map(|answer| answer.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envelope_that_is_cut_anywhere_is_refused_and_nothing_of_it_is_kept() {
    let scene = Scene::new("", "").await;
    let running = scene.site.start().await;
    let (client, url, id) = (scene.client(NAME), scene.manager(), subscription(&scene).await);
    let all = events(NAME, 1, 2, 0.0);
    let whole = wide(&delivery(&id, &all.iter().map(xml).collect::<Vec<_>>()));
    let packed = compressed(&whole);
    for (encoding, body) in [(None, &whole), (Some("SLDC"), &packed)] {
        let cuts = (1..body.len()).step_by(body.len() / 60 + 1).chain([body.len() - 2, body.len() - 1]);
        for cut in cuts {
            let answer = status(&client, &url, encoding, body[..cut].to_vec()).await;
            assert_eq!(answer, Some(400), "{encoding:?} cut at {cut} of {}", body.len());
        }
    }
    assert_eq!(scene.site.status().await["account"]["total"]["received"], 0);
    assert_eq!(status(&client, &url, Some("SLDC"), packed).await, Some(200));
    assert_eq!(status(&client, &url, None, whole).await, Some(200));
    scene.assert_arrived_once(&identities(&all)).await;
    assert!(running.stop().success());
    scene.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_xml_may_hold_stands_in_events_all_the_same_and_they_arrive() {
    let scene = Scene::new("", "").await;
    let running = scene.site.start().await;
    let (client, url, id) = (scene.client(NAME), scene.manager(), subscription(&scene).await);
    let all = events(NAME, 2, 40, 0.0);
    // Control characters, and places where half of a surrogate pair will stand.
    let strange = |n: usize, event: &SimulatedEvent| match n % 4 {
        1 => xml(event).replacen("</Data>", "\u{2}\u{f}\u{1b}</Data>", 1),
        2 => xml(event).replacen("</Data>", "\u{e000}x</Data>", 1),
        3 => xml(event).replacen("</Data>", "]]&gt;&#x2;&amp;amp;\u{fffe}</Data>", 1),
        _ => xml(event),
    };
    let written: Vec<String> = all.iter().enumerate().map(|(n, event)| strange(n, event)).collect();
    let mut body = wide(&delivery(&id, &written));
    for unit in body.chunks_exact_mut(2).filter(|unit| *unit == [0x00, 0xE0]) {
        unit.copy_from_slice(&0xD83D_u16.to_le_bytes());
    }
    assert_eq!(status(&client, &url, None, body).await, Some(200));
    scene.assert_arrived_once(&identities(&all)).await;
    assert_eq!(scene.site.status().await["dead_letters"]["count"], 0);
    assert!(running.stop().success());
    scene.site.assert_audit_balances();
}

/// Bodies that nobody means well, with how they are said to be packed.
fn hostile(id: &str) -> Vec<(&'static str, Option<&'static str>, Vec<u8>)> {
    let plain = delivery(id, &[]);
    let with = |before: &str, after: &str| plain.replacen(before, after, 1).into_bytes();
    let entities: String =
        (1..30).map(|n| format!("<!ENTITY e{n} \"{}\">", format!("&e{};", n - 1).repeat(10))).collect();
    let bomb = [b"\xFF\xA8\xBF".as_slice(), &[0x7B, 0xC0].repeat(60_000)].concat();
    let big_endian: Vec<u8> = [0xFE, 0xFF].into_iter().chain(wide(&plain).into_iter().skip(2)).collect();
    let utf32: Vec<u8> = [0xFF, 0xFE, 0, 0].into_iter().chain(plain.bytes().flat_map(|byte| [byte, 0, 0, 0])).collect();
    let events = |inner: &str| with("<w:Events></w:Events>", &format!("<w:Events>{inner}</w:Events>"));
    vec![
        ("10 MB of an envelope", None, events(&format!("<w:Event>{}</w:Event>", "x".repeat(10 << 20)))),
        ("10 MB of nothing", None, vec![b' '; 10 << 20]),
        ("10 MB once it is unpacked", Some("SLDC"), compressed(&vec![b' '; 10 << 20])),
        ("a bomb of copies", Some("SLDC"), bomb),
        ("a bomb in an odd case", Some("sldc"), vec![0xFF; 1 << 20]),
        ("entities of entities", None, [b"<!DOCTYPE a [", entities.as_bytes(), b"]>", plain.as_bytes()].concat()),
        (
            "an entity from elsewhere",
            None,
            with("<s:Envelope", "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><s:Envelope"),
        ),
        ("an entity that nobody knows", None, with("uuid:1", "&x;&x;")),
        ("a character that is none", None, with("uuid:1", "&#0;&#xD800;&#x110000;&#99999999999;")),
        ("an entity without end", None, with("uuid:1", &"&".repeat(100_000))),
        ("the other byte order than it says", None, big_endian),
        ("UTF-32", None, utf32),
        ("half a character", None, wide(&plain)[..301].to_vec()),
        (
            "no UTF-8",
            None,
            with("uuid:1", "uuid:\u{fffd}").iter().map(|byte| if *byte == 0xEF { 0xFF } else { *byte }).collect(),
        ),
        ("a hundred thousand events of nothing", None, events(&"<w:Event> </w:Event>".repeat(100_000))),
        (
            "a hundred thousand bookmarks",
            None,
            with("<w:AckRequested/>", &"<w:Bookmark>x</w:Bookmark>".repeat(100_000)),
        ),
        ("a hundred thousand attributes", None, events(&format!("<w:Event {}/>", "a=\"b\" ".repeat(100_000)))),
        ("a tag without end", None, events(&format!("<w:Event {}", "a".repeat(1 << 20)))),
        ("a comment without end", None, events(&format!("<!--{}", "-".repeat(1 << 20)))),
        ("CDATA without end", None, events(&format!("<w:Event><![CDATA[{}", "]".repeat(1 << 20)))),
        ("envelopes in envelopes", None, plain.repeat(1000).into_bytes()),
        ("an action without end", None, with("wsman/Events<", &format!("wsman/Events{}<", "s".repeat(1 << 20)))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_hostile_gets_an_answer_that_windows_knows_and_takes_bounded_memory() {
    let scene = Scene::new("wef.read_existing_events = true", "").await;
    let running = scene.site.start().await;
    let (client, url, id) = (scene.client(NAME), scene.manager(), subscription(&scene).await);
    let before = running.memory();
    for (what, encoding, body) in hostile(&id) {
        let body = Bytes::from(body);
        let together = (0..4).map(|_| status(&client, &url, encoding, body.clone()));
        for answer in futures_util::future::join_all(together).await.into_iter().flatten() {
            assert!(DOCUMENTED.contains(&answer), "{what}: {answer}");
        }
    }
    let grown = running.highest_memory().saturating_sub(before);
    assert!(grown < 96 << 20, "{} MiB more than before", grown >> 20);
    // Somebody else, and the same one, deliver as if nothing had been.
    for (n, name) in [NAME, "pc2.plant.test"].into_iter().enumerate() {
        let mut host = scene.host(name, Faults::default(), 1);
        events(name, n as u64, 20, 0.0).iter().for_each(|event| host.log(event));
        host.enumerate().await.unwrap();
        assert_eq!(host.deliver(10).await.unwrap(), 20);
    }
    assert!(running.stop().success());
    scene.site.assert_audit_balances();
}
