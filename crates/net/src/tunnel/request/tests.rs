use proptest::prelude::*;

use super::*;
use crate::net::http1_guard::{FIELDS_MAX, HEAD_MAX};
use crate::tunnel::config::HostHeader;

const STRICT: Rules = Rules { host_header: HostHeader::Same, plain_http: false };
const ANY_HOST: Rules = Rules { host_header: HostHeader::Ignored, plain_http: false };
const PLAIN: Rules = Rules { host_header: HostHeader::Same, plain_http: true };

fn code(head: &[u8], rules: Rules) -> Result<Request, &'static str> {
    parse(head, rules).map_err(|fault| fault.reason.code)
}

fn connect(head: &str) -> Connect {
    match parse(head.as_bytes(), STRICT) {
        Ok(Request::Connect(connect)) => connect,
        other => panic!("{head:?}: {other:?}"),
    }
}

fn plain(head: &str) -> Plain {
    match parse(head.as_bytes(), PLAIN) {
        Ok(Request::Plain(plain)) => plain,
        other => panic!("{head:?}: {other:?}"),
    }
}

/// `CONNECT` for this target, with a Host that says the same.
fn target(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// A CONNECT that is sound but for these header lines.
fn with(lines: &str) -> String {
    format!("CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n{lines}\r\n")
}

/// What the agents' HTTP libraries send, in their order and spelling.
const DIALECTS: &[&str] = &[
    // Ruby Net::HTTP
    "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n",
    "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n",
    // curl, and curl with --proxy1.0
    "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\nUser-Agent: curl/8.5.0\r\nProxy-Connection: Keep-Alive\r\n\r\n",
    "CONNECT allowed.test:443 HTTP/1.0\r\nHost: allowed.test:443\r\nUser-Agent: curl/8.5.0\r\nProxy-Connection: Keep-Alive\r\n\r\n",
    // WinHTTP, new and old
    "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\nProxy-Connection: Keep-Alive\r\nUser-Agent: MMA\r\nContent-Length: 0\r\nPragma: no-cache\r\n\r\n",
    "CONNECT allowed.test:443 HTTP/1.0\r\nUser-Agent: WinHTTP/1.0\r\nHost: allowed.test\r\nContent-Length: 0\r\nProxy-Connection: Keep-Alive\r\nPragma: no-cache\r\n\r\n",
    // Go
    "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\nUser-Agent: Go-http-client/1.1\r\n\r\n",
    // .NET
    "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\nContent-Length: 0\r\nProxy-Connection: Keep-Alive\r\n\r\n",
    "CONNECT Allowed.Test:443 HTTP/1.1\r\nhost:allowed.test:443\r\n\r\n",
    // Python's http.client, which names no host
    "CONNECT allowed.test:443 HTTP/1.0\r\n\r\n",
    "CONNECT allowed.test:443 HTTP/1.1\r\nHost: ALLOWED.test.\r\nX-Empty:\r\nX-Utf8: \u{e9}\r\n\r\n",
];

#[test]
fn the_dialects_of_real_clients_are_understood() {
    for head in DIALECTS {
        assert_eq!(connect(head).authority.to_string(), "allowed.test:443", "{head:?}");
    }
    assert_eq!(connect(DIALECTS[2]).sender.user_agent.as_deref(), Some("curl/8.5.0"));
    assert_eq!(connect(DIALECTS[0]).sender.user_agent, None);
    assert_eq!(connect(&target("[::1]:443")).authority.to_string(), "[::1]:443");
}

#[test]
fn literals_and_ports_that_grammar_allows_are_left_to_the_rules() {
    for sound in ["169.254.169.254:443", "127.0.0.1:443", "10.0.0.1:443", "100.64.0.1:443", "[::1]:443", "[::]:443"]
        .into_iter()
        .chain(["[::ffff:127.0.0.1]:443", "[::127.0.0.1]:443", "[fd00:ec2::254]:443", "[64:ff9b::7f00:1]:443"])
        .chain(["0.0.0.0:443", "localhost.:443", "allowed.test:22", "allowed.test:25", "xallowed.test:443"])
    {
        assert!(parse(target(sound).as_bytes(), STRICT).is_ok(), "{sound}");
    }
}

#[test]
fn targets_outside_the_grammar_are_refused() {
    for bad in [
        "127.1:443",
        "0x7f.0.0.1:443",
        "2130706433:443",
        "0177.0.0.1:443",
        "0:443",
        "[fe80::1%25lo]:443",
        "[fe80::1%lo]:443",
    ]
    .into_iter()
    .chain([
        "allowed.test",
        "allowed.test:",
        "allowed.test:0",
        "allowed.test:65979",
        "allowed.test:-1",
        "allowed.test:+443",
    ])
    .chain([
        "allowed.test:0443",
        "allowed.test:443x",
        "allowed.test:443:22",
        "u@allowed.test:443",
        "u:p@allowed.test:443",
    ])
    .chain(["evil.test:443@allowed.test:443", "allowed.test:443/", "allowed.test:443#x", "allowed.test:443?x"])
    .chain([
        "http://allowed.test:443",
        "allowed%2etest:443",
        "allowed.test\\:443",
        "allowed.test\t:443",
        "allowed..test:443",
    ])
    .chain([
        ".allowed.test:443",
        "allowed\u{3002}test:443",
        "evil.test,allowed.test:443",
        "[allowed.test]:443",
        ":443",
        "*",
    ])
    .chain(["\u{1b}[31mevil.test:443", "evil.test%0d%0a:443", "\u{202e}evil.test:443", "/", ""])
    {
        assert_eq!(code(target(bad).as_bytes(), STRICT), Err("malformed_authority"), "{bad:?}");
        assert_eq!(code(target(bad).as_bytes(), ANY_HOST), Err("malformed_authority"), "{bad:?}");
    }
    let long = target(&format!("{}.test:443", "a".repeat(64)));
    assert_eq!(code(long.as_bytes(), STRICT), Err("malformed_authority"));
    assert_eq!(code(target("allowed.test\0:443").as_bytes(), STRICT), Err("malformed_request"));
    assert_eq!(code(target("allowed.test :443").as_bytes(), STRICT), Err("malformed_request"));
}

#[test]
fn the_host_header_may_not_contradict() {
    let head = |lines: &str| format!("CONNECT allowed.test:443 HTTP/1.1\r\n{lines}\r\n");
    for (lines, verdict, when_ignored) in [
        ("Host: evil.test:443\r\n", Some("host_differs"), None),
        ("Host: allowed.test:8443\r\n", Some("host_differs"), None),
        ("Host: u@allowed.test\r\n", Some("host_differs"), None),
        ("Host:\r\n", Some("host_differs"), None),
        ("Host: allowed.test:443\r\nHost: allowed.test:443\r\n", Some("malformed_request"), Some("malformed_request")),
        ("Host: allowed.test:443\r\nhost: evil.test\r\n", Some("malformed_request"), Some("malformed_request")),
        ("", Some("malformed_request"), None),
        ("Host: allowed.test\r\n", None, None),
        ("Host: ALLOWED.TEST:443\r\n", None, None),
    ] {
        assert_eq!(code(head(lines).as_bytes(), STRICT).err(), verdict, "{lines:?}");
        assert_eq!(code(head(lines).as_bytes(), ANY_HOST).err(), when_ignored, "{lines:?}");
    }
    let without_port = "CONNECT allowed.test:8443 HTTP/1.1\r\nHost: allowed.test\r\n\r\n";
    assert!(code(without_port.as_bytes(), STRICT).is_ok());
    assert_eq!(code(b"CONNECT a.test:443 HTTP/1.0\r\nHost: b.test\r\n\r\n", STRICT), Err("host_differs"));
}

#[test]
fn methods_and_versions() {
    for (line, verdict) in [
        ("CONNECT allowed.test:443", "malformed_request"),
        ("CONNECT allowed.test:443 HTTP/0.9", "http_version"),
        ("CONNECT allowed.test:443 HTTP/1.2", "http_version"),
        ("CONNECT allowed.test:443 HTTP/2.0", "http_version"),
        ("PRI * HTTP/2.0", "http_version"),
        ("CONNECT allowed.test:443 http/1.1", "malformed_request"),
        ("CONNECT allowed.test:443 HTTP/1.1 ", "malformed_request"),
        ("CONNECT  allowed.test:443 HTTP/1.1", "malformed_request"),
        ("CONNECT\tallowed.test:443 HTTP/1.1", "malformed_request"),
        ("CONNECT allowed.test:443 HTTP/1.10", "malformed_request"),
        ("CONNECT allowed.test:443 x HTTP/1.1", "malformed_request"),
        ("connect allowed.test:443 HTTP/1.1", "not_connect"),
        ("GET / HTTP/1.1", "not_connect"),
        ("GET http://allowed.test/ HTTP/1.1", "not_connect"),
        ("POST http://allowed.test/ HTTP/1.1", "not_connect"),
        ("OPTIONS * HTTP/1.1", "not_connect"),
        ("CONN@CT allowed.test:443 HTTP/1.1", "malformed_request"),
    ] {
        let head = format!("{line}\r\nHost: allowed.test:443\r\n\r\n");
        assert_eq!(code(head.as_bytes(), STRICT), Err(verdict), "{line:?}");
    }
}

#[test]
fn nothing_is_smuggled_before_the_switch() {
    for lines in [
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: 00\r\n",
        "Content-Length: +0\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "X: folded\r\n again\r\n",
        "X: folded\r\n\tagain\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X : y\r\n",
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        "X: a\x0bb\r\n",
        "X: \x0ca\r\n",
        "X: a\x7f\r\n",
        ": nameless\r\n",
        "no colon\r\n",
        "X\u{e9}: y\r\n",
        "X: y\n",
        "\nX: y\r\n",
        "Proxy-Authorization: Basic dTpw\r\nProxy-Authorization: Basic dTpw\r\n",
    ] {
        for rules in [STRICT, ANY_HOST] {
            assert_eq!(code(with(lines).as_bytes(), rules), Err("malformed_request"), "{lines:?}");
        }
    }
    for head in [
        "CONNECT allowed.test:443 HTTP/1.1\nHost: allowed.test:443\n\n",
        "CONNECT allowed.test:443 HTTP/1.1\r\n Host: allowed.test:443\r\n\r\n",
        "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\n\r\n",
        "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test\n:443\r\n\r\n",
        "\r\nCONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nCONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n",
        "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n",
        "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\nmore",
        "",
    ] {
        assert_eq!(code(head.as_bytes(), ANY_HOST), Err("malformed_request"), "{head:?}");
    }
}

#[test]
fn fields_that_ask_for_another_mode_mean_nothing() {
    let lines = "Upgrade: websocket\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nExpect: 100-continue\r\n";
    assert_eq!(connect(&with(lines)).authority.to_string(), "allowed.test:443");
}

#[test]
fn the_head_is_limited_in_bytes_and_fields() {
    assert!(parse(with(&"X: y\r\n".repeat(FIELDS_MAX - 1)).as_bytes(), STRICT).is_ok());
    assert_eq!(code(with(&"X: y\r\n".repeat(FIELDS_MAX)).as_bytes(), STRICT), Err("head_too_large"));
    let room = HEAD_MAX - with("").len();
    let line = |bytes: usize| format!("X: {}\r\n", "y".repeat(bytes - 5));
    assert!(parse(with(&line(room - 1)).as_bytes(), STRICT).is_ok());
    assert_eq!(code(with(&line(room + 1)).as_bytes(), STRICT), Err("head_too_large"));
    let endless = with(&line(2 * HEAD_MAX));
    assert_eq!(EndOfHead::default().find(&endless.as_bytes()[..HEAD_MAX - 1]), Ok(None));
    assert_eq!(EndOfHead::default().find(endless.as_bytes()).map_err(|fault| fault.reason.status), Err(431));
}

#[test]
fn credentials_are_absent_unusable_or_a_name_and_a_password() {
    let credentials = |value: &str| connect(&with(&format!("Proxy-Authorization: {value}\r\n"))).sender.credentials;
    let basic = |user: &str, password: &str| Credentials::Basic {
        user: user.to_owned(),
        password: crate::values::Secret::new(password),
    };
    assert_eq!(connect(&with("")).sender.credentials, Credentials::Absent);
    assert_eq!(credentials("Basic dXNlcjpwYXNz"), basic("user", "pass"));
    assert_eq!(credentials("bASIC  dXNlcjpwYTpzcw=="), basic("user", "pa:ss"));
    assert_eq!(credentials("Basic dTpww6Q="), basic("u", "p\u{e4}"));
    let huge = format!("Basic {}", "dTpw".repeat(400));
    for value in [
        "",
        "Basic",
        "Basic ",
        "BasicdTpw",
        "Basic dTpw dTpw",
        "Basic dTpw=",
        "Basic dXNlcg==",
        "Basic !!!!",
        "Basic /zpw",
    ]
    .into_iter()
    .chain(["Bearer x", "Negotiate dTpw", "dTpw", "Basic dToA", "Basic Cjpw", huge.as_str()])
    {
        assert_eq!(credentials(value), Credentials::Unusable, "{value:?}");
    }
    let shown = format!("{:?}", connect(&with("Proxy-Authorization: Basic dXNlcjpjYW5hcnk=\r\n")));
    assert!(!shown.contains("canary") && !shown.contains("dXNlcj"), "{shown}");
}

#[test]
fn the_user_agent_is_short_and_printable() {
    let agent = |value: &str| connect(&with(&format!("User-Agent: {value}\r\n"))).sender.user_agent.unwrap_or_default();
    assert_eq!(agent(&"x".repeat(10_000)).len(), 256);
    assert_eq!(agent("a\tb\u{202e}\"\\"), "a?b???\"\\");
}

#[test]
fn every_via_is_kept_for_whoever_looks_for_loops() {
    let via = |lines: &str| connect(&with(lines)).sender.via().to_owned();
    assert_eq!(via(""), "");
    assert_eq!(via("Via: 1.0 squid (a, b)\r\nVIA: 1.1 gatepost-b\r\n"), "1.0 squid (a, b), 1.1 gatepost-b, ");
}

#[test]
fn plain_requests_are_written_anew() {
    let plain = plain(
        "GET http://WWW.Microsoft.com/pkiops/certs/a%20b.crt?x=1 HTTP/1.1\r\nHost: www.microsoft.com\r\nAccept: */*\r\n\
         Proxy-Authorization: Basic dTpw\r\nProxy-Connection: keep-alive\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nTE: trailers\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nKeep-Alive: 5\r\nVia: 1.1 inner\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\
         If-None-Match: \"e\"\r\n\r\n",
    );
    assert_eq!((plain.method, plain.authority.to_string().as_str()), (Method::Get, "www.microsoft.com:80"));
    let expected = "GET /pkiops/certs/a%20b.crt?x=1 HTTP/1.1\r\nHost: www.microsoft.com\r\nVia: 1.1 gatepost-a1\r\n\
                    Connection: close\r\nAccept: */*\r\nIf-None-Match: \"e\"\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&plain.to_destination("1.1 gatepost-a1")), expected);
}

#[test]
fn plain_requests_are_only_those_that_can_be_nothing_else() {
    let head = |line: &str| format!("{line} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(plain(&head("HEAD HTTP://a.test:80")).path_and_query, "/");
    assert_eq!(plain(&head("GET http://a.test?q")).path_and_query, "/?q");
    assert_eq!(plain("GET http://a.test/ HTTP/1.0\r\n\r\n").method.as_str(), "GET");
    assert!(matches!(parse(with("").as_bytes(), PLAIN), Ok(Request::Connect(_))));
    for (line, verdict) in [
        ("POST http://a.test/", "not_connect"),
        ("get http://a.test/", "not_connect"),
        ("GET /", "not_connect"),
        ("GET *", "not_connect"),
        ("GET a.test:80", "not_connect"),
        ("GET https://a.test/", "not_connect"),
        ("GET ftp://a.test/", "not_connect"),
        ("GET http:/a.test/", "not_connect"),
        ("GET http:///", "malformed_authority"),
        ("GET http://u@a.test/", "malformed_authority"),
        ("GET http://127.1/", "malformed_authority"),
        ("GET http://a.test:443/", "port_not_allowed"),
        ("GET http://a.test/#x", "malformed_request"),
        ("GET http://a.test\\x/", "malformed_request"),
        ("GET http://a.test/\u{e9}", "malformed_request"),
        ("GET http://b.test/", "host_differs"),
    ] {
        assert_eq!(code(head(line).as_bytes(), PLAIN), Err(verdict), "{line:?}");
    }
    let body = "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(code(body.as_bytes(), PLAIN), Err("malformed_request"));
}

#[test]
fn what_can_become_no_request_is_refused_at_once() {
    for first in [0x16, 0x80, 0x05, 0x04, 0x00, b'\r', b'\n', b' ', b'"', b'{', 0xff] {
        assert!(EndOfHead::default().find(&[first]).is_err(), "{first:#x}");
    }
    assert_eq!(EndOfHead::default().find(b""), Ok(None));
    assert_eq!(EndOfHead::default().find(b"C"), Ok(None));
    assert!(EndOfHead::default().find(&[b'A'; 33]).is_err());
    assert!(EndOfHead::default().find(b"CONNECT a\n").is_err());
    assert!(EndOfHead::default().find(b"CONNECT a\rb").is_err());
}

#[test]
fn early_data_is_left_alone() {
    let head = with("");
    let more = [head.as_bytes(), b"\x16\x03\x01\n\0\r"].concat();
    assert_eq!(EndOfHead::default().find(&more), Ok(Some(head.len())));
    let many = [head.as_bytes(), &vec![0; 2 * HEAD_MAX]].concat();
    assert_eq!(EndOfHead::default().find(&many), Ok(Some(head.len())));
}

proptest! {
    /// However the network cuts the bytes, the same end is found, or the same reason.
    #[test]
    fn cuts_change_nothing(
        head in prop_oneof!["CONNECT [a-z]{1,9}:443 HTTP/1.1(\r\n|\n|\r|\r\n\r\n|[A-Za-z: \0]){0,60}", "[A-Z \r\n]{0,80}"],
        piece in 1usize..9,
    ) {
        let bytes = head.as_bytes();
        let whole = EndOfHead::default().find(bytes).map_err(|fault| fault.reason);
        let mut search = EndOfHead::default();
        let mut end = Ok(None);
        for upto in (1..=bytes.len()).filter(|upto| upto % piece == 0 || *upto == bytes.len()) {
            end = search.find(&bytes[..upto]).map_err(|fault| fault.reason);
            if end != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(end, whole);
    }

    /// No bytes make it panic, and the target of whatever is accepted reads back as itself.
    #[test]
    fn anything_may_come(
        line in "(CONNECT|GET|HEAD|\\PC{1,8}) (http://)?[a-zA-Z0-9.:\\[\\]/?_-]{0,30}(:443)? HTTP/1.[01]",
        fields in prop::collection::vec("(Host|Via|Proxy-Authorization|Connection|\\PC{0,9}): ?(Basic )?[\\PC\t]{0,20}", 0..6),
        plain_http in any::<bool>(),
    ) {
        let head = format!("{line}\r\n{}\r\n", fields.iter().map(|field| format!("{field}\r\n")).collect::<String>());
        if let Ok(request) = parse(head.as_bytes(), Rules { host_header: HostHeader::Ignored, plain_http }) {
            let text = request.authority().to_string();
            prop_assert_eq!(Authority::parse(text.as_bytes()), Ok(request.authority().clone()));
            if let Request::Plain(plain) = &request {
                let sent = plain.to_destination("1.1 gatepost-a1");
                prop_assert_eq!(sent.windows(4).position(|end| end == b"\r\n\r\n"), Some(sent.len() - 4));
            }
        }
    }

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(parse(&bytes, PLAIN));
    }
}
