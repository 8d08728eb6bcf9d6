//! What uploads of agents are answered that are hostile, wrong, packed or as large as they may be.

use std::io::Write as _;

use crate::ods::{JSON, Scene, XML, item, json, post, reason, xml};

/// The largest upload.
const BODY_MAX: usize = 30 << 20;

fn packed(how: &str, body: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    match how {
        "zlib" => {
            let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), level);
            packer.write_all(body).expect("memory");
            packer.finish().expect("memory")
        }
        "raw" => {
            let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), level);
            packer.write_all(body).expect("memory");
            packer.finish().expect("memory")
        }
        _ => {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), level);
            packer.write_all(body).expect("memory");
            packer.finish().expect("memory")
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_and_oversized_uploads_get_documented_answers_and_every_packing_is_taken() {
    let scene = Scene::new("").await;
    let running = scene.site.start().await;
    let client = scene.registered().await;
    let send = async |path: &str, encoding: Option<&str>, body: Vec<u8>| {
        let headers: Vec<(&str, String)> =
            encoding.map(|name| ("Content-Encoding", name.to_owned())).into_iter().collect();
        post(&client, &scene.site.url(path), &headers, body).await
    };
    for (n, (how, encoding)) in [("zlib", "deflate"), ("raw", "deflate"), ("gzip", "gzip")].into_iter().enumerate() {
        let body = json("LINUX_SYSLOGS_BLOB", &format!("[{{\"n\":{n}}}]"));
        assert_eq!(send(JSON, Some(encoding), packed(how, body.as_bytes())).await.status, 200, "{how}");
    }
    assert_eq!(send(JSON, Some("identity"), json("LINUX_SYSLOGS_BLOB", "[{\"n\":9}]").into()).await.status, 200);
    let wide: Vec<u8> = xml(&item(8, "")).encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(send(XML, None, [&[0xff, 0xfe], wide.as_slice()].concat()).await.status, 200, "UTF-16");
    assert_eq!(scene.spooled().await, 5);
    let boom = "<!DOCTYPE x [<!ENTITY a \"boom\"><!ENTITY b \"&a;&a;&a;&a;\">]>";
    for (path, encoding, body) in [
        (XML, None, format!("{boom}{}", xml("&b;"))),
        (XML, None, "<DataItems DataType=\"SECURITY_EVENT_BLOB\">".to_owned()),
        (XML, None, "<a".repeat(100_000)),
        (XML, Some("deflate"), xml("")),
        (JSON, None, "[1,2".to_owned()),
        (JSON, None, json("LINUX_SYSLOGS_BLOB", "[{]")),
        (JSON, None, xml("")),
        (JSON, None, json("not a type", "[]")),
    ] {
        let answer = send(path, encoding, body.clone().into_bytes()).await;
        assert_eq!(answer.status, 400, "{}", &body[..body.len().min(80)]);
        reason(&answer);
    }
    assert_eq!(send(JSON, Some("br"), b"x".to_vec()).await.status, 415);
    assert_eq!(send(JSON, None, b"{\"DataItems\":[\"\xff\"]}".to_vec()).await.status, 400);
    let deep = item(9, &("<a>".repeat(1000) + &"</a>".repeat(1000)));
    assert_eq!(
        send(XML, None, xml(&(item(10, "") + &deep)).into()).await.status,
        200,
        "one is bad, the other is taken"
    );
    assert_eq!(scene.spooled().await, 6);
    assert_eq!(scene.site.metric("gatepost_events_set_aside_total{input=\"uploads\"}").await, 1.0);
    // As large as an upload may be, and one byte more.
    let record = "x".repeat(900_000);
    let items: Vec<String> = (0..34).map(|n| format!("{{\"n\":{n},\"log\":\"{record}\"}}")).collect();
    let largest = json("LINUX_SYSLOGS_BLOB", &format!("[{}]", items.join(",")));
    let largest = format!("{largest}{}", " ".repeat(BODY_MAX - largest.len()));
    assert_eq!(send(JSON, None, largest.clone().into()).await.status, 200, "{}", scene.site.log());
    assert_eq!(send(JSON, None, (largest.clone() + " ").into()).await.status, 413);
    assert_eq!(send(JSON, Some("gzip"), packed("gzip", (largest + " ").as_bytes())).await.status, 413);
    let items: String =
        (0..33).map(|n| item(1000 + n, &format!("<EventData><Data>{record}</Data></EventData>"))).collect();
    let largest = xml(&items);
    let largest = format!("{largest}{}", " ".repeat(BODY_MAX - largest.len()));
    assert_eq!(send(XML, None, largest.clone().into()).await.status, 200, "{}", scene.site.log());
    assert_eq!(send(XML, None, (largest + " ").into()).await.status, 413);
    assert_eq!(scene.spooled().await, 6 + 34 + 33);
    scene.ends_well(running).await;
}
