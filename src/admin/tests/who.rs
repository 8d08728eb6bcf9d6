//! Who may look, who may change, and under which name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const TOKEN: &str = "Authorization: Bearer 0123456789abcdef\r\n";

fn with_token(config: Config) -> Config {
    Config { token: Some(Secret::new("0123456789abcdef")), ..config }
}

#[tokio::test]
async fn the_address_that_a_request_arrived_at_is_a_name_of_ours() {
    let plane = plane(with_token(Config::default()), "192.0.2.1:1").await;
    // The crowd of 127.0.0.0/8 is this machine, but its names are not all configured.
    let other = SocketAddr::from(([127, 0, 0, 1], plane.address.port()));
    for (host, headers, status) in [
        (format!("Host: {other}\r\n"), TOKEN, 200),
        (format!("Host: [::ffff:127.0.0.1]:{}\r\n", other.port()), "", 401),
        ("Host: 127.0.0.2\r\n".to_owned(), "", 403),
        ("Host: evil.example\r\n".to_owned(), "", 403),
        ("Host: evil.example\r\n".to_owned(), "Authorization: Bearer wrong\r\n", 403),
        ("Host: gate.example\r\n".to_owned(), TOKEN, 200),
    ] {
        assert_eq!(plane.ask("POST /drain", &format!("{host}{headers}"), "").await.0, status, "{host}{headers}");
    }
}

#[tokio::test]
async fn pages_of_other_ports_and_schemes_are_foreign() {
    let plane =
        plane(Config { allowed_hosts: vec!["gate.example".to_owned()], ..Config::default() }, "127.0.0.1:1").await;
    for (host, origin, status) in [
        ("localhost:8449", "http://localhost:8449", 200),
        ("gate.example", "http://gate.example:80", 200),
        ("localhost:8449", "http://localhost:3000", 403),
        ("localhost:8449", "http://localhost", 403),
        ("localhost:8449", "https://localhost:8449", 403),
        ("localhost:8449", "http://127.0.0.1:8449", 403),
        ("localhost:8449", "null", 403),
        ("localhost:8449", "https://evil.example", 403),
    ] {
        let headers = format!("Host: {host}\r\nOrigin: {origin}\r\n");
        assert_eq!(plane.ask("POST /drain", &headers, "").await.0, status, "{headers}");
    }
    // A proxy on this machine that ends TLS tells so.
    let proxied = "Host: gate.example\r\nX-Forwarded-Proto: https\r\nOrigin: https://gate.example\r\n";
    assert_eq!(plane.ask("POST /drain", proxied, "").await.0, 200);
}

#[tokio::test]
async fn the_whole_plane_can_ask_for_the_token_and_health_never_does() {
    let config = with_token(Config { require_token: Scope::Everything, ..Config::default() });
    let plane = plane(config, "192.0.2.1:1").await;
    let basic = |password: &str| format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("any:{password}")));
    for path in ["/", "/status", "/hosts?silent=true", "/wef/hosts?search=a&limit=5", "/metrics"] {
        let line = format!("GET {path}");
        let (status, answer) = plane.ask(&line, LOCAL, "").await;
        assert!(status == 401 && answer.contains("www-authenticate: Bearer, Basic"), "{path}: {answer}");
        for (headers, status) in [
            (TOKEN.to_owned(), 200),
            (basic("0123456789abcdef"), 200),
            (basic("wrong"), 401),
            ("Authorization: Basic 0123456789abcdef\r\n".to_owned(), 401),
        ] {
            assert_eq!(plane.ask(&line, &format!("{LOCAL}{headers}"), "").await.0, status, "{path} {headers}");
        }
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(plane.ask(&format!("GET {path}"), "Host: evil.example\r\n", "").await.0, 200, "{path}");
    }
    // What a browser sends by itself changes nothing.
    let (status, _) = plane.ask("POST /drain", &format!("{LOCAL}{}", basic("0123456789abcdef")), "").await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn the_host_can_be_asked_for_everywhere_but_for_health() {
    for (check_host, foreign) in [(Scope::Changes, 200), (Scope::Everything, 403)] {
        let plane = plane(with_token(Config { check_host, ..Config::default() }), "127.0.0.1:1").await;
        for path in ["/", "/status", "/hosts", "/wef/hosts", "/metrics"] {
            let ask = async |headers: &str| plane.ask(&format!("GET {path}"), headers, "").await.0;
            assert_eq!(ask("Host: evil.example\r\n").await, foreign, "{path}");
            assert_eq!(ask(LOCAL).await, 200, "{path}");
            assert_eq!(ask(&format!("Host: evil.example\r\n{TOKEN}")).await, 200, "{path}");
        }
        assert_eq!(plane.ask("GET /readyz", "Host: evil.example\r\n", "").await.0, 200);
    }
}
