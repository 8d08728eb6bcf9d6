use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256};
use rcgen::{CertificateParams, KeyPair as CertificateKey, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};

use super::*;
use crate::inputs::http::reply;

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const SCOPE: &str = "scope=https://monitor.azure.com//.default&grant_type=client_credentials&client_id=plant";
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

fn hex(secret: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}

struct Bench {
    folder: tempfile::TempDir,
    config: Config,
}

impl Bench {
    /// One client, `plant`, with the secret `sesame`.
    fn new() -> Self {
        let sha256 = hex("sesame");
        let entry =
            ClientEntry { id: "plant".to_owned(), secrets: vec![SecretHash { sha256 }], ..ClientEntry::default() };
        let config = Config { enabled: true, clients: vec![entry], ..Config::default() };
        Self { folder: tempfile::tempdir().expect("a folder"), config }
    }

    fn issuer(&self) -> Arc<Issuer> {
        self.issuer_of("agents", None)
    }

    fn issuer_of(&self, listener: &str, before: Option<&Issuer>) -> Arc<Issuer> {
        Arc::new(Issuer::open(&self.config, listener, self.folder.path(), before).expect("it opens"))
    }

    fn secret(&mut self, secret: &str) {
        let sha256 = hex(secret);
        self.config.clients[0].secrets = vec![SecretHash { sha256 }];
    }

    /// Gives the client another certificate; returns its key.
    fn certify(&mut self, algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = CertificateKey::generate_for(algorithm).expect("a key");
        let params = CertificateParams::new(vec!["plant".to_owned()]).expect("a name");
        let path = self.folder.path().join(format!("{}.pem", self.config.clients[0].certificates.len()));
        std::fs::write(&path, params.self_signed(&key).expect("it is signed").pem()).expect("it is written");
        self.config.clients[0].certificates.push(path);
        key.serialize_der()
    }
}

fn ask(issuer: &Issuer, rest: &str) -> Result<String, Fault> {
    ask_from(issuer, HERE, rest)
}

fn issue(issuer: &Issuer, address: IpAddr, body: &str) -> Result<Value, Fault> {
    issuer.check_tenant(TENANT)?;
    issuer.issue(&TokenRequest::parse(body.as_bytes(), None)?, TENANT, "https://gate:8443", address)
}

fn ask_from(issuer: &Issuer, address: IpAddr, rest: &str) -> Result<String, Fault> {
    let answer = issue(issuer, address, &format!("{SCOPE}&{rest}"))?;
    assert_eq!((&answer["token_type"], answer["expires_in"].is_u64()), (&json!("Bearer"), true));
    Ok(answer["access_token"].as_str().expect("a token").to_owned())
}

fn claims() -> Value {
    json!({
        "aud": format!("https://other-name/{TENANT}/oauth2/v2.0/token"),
        "iss": "plant", "sub": "plant", "jti": "1", "nbf": now(), "exp": now() as f64 + 600.5,
    })
}

fn signed(algorithm: &str, key: &[u8], claims: &Value) -> String {
    let header = json!({ "alg": algorithm, "typ": "JWT", "x5t": "AAAA==" });
    let text = format!("{}.{}", jwt::encode(header.to_string().as_bytes()), jwt::encode(claims.to_string().as_bytes()));
    let random = SystemRandom::new();
    let signature = if algorithm == "ES256" {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key).expect("a key");
        key.sign(&random, text.as_bytes()).expect("it signs").as_ref().to_vec()
    } else {
        let key = aws_lc_rs::rsa::KeyPair::from_pkcs8(key).expect("a key");
        let mut made = vec![0; key.public_modulus_len()];
        let padding = if algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
        key.sign(padding, &random, text.as_bytes(), &mut made).expect("it signs");
        made
    };
    format!("{text}.{}", jwt::encode(&signature))
}

fn with_assertion(issuer: &Issuer, assertion: &str, address: IpAddr) -> Result<Value, Fault> {
    let kind = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let body = format!("{SCOPE}&{kind}&client_assertion={assertion}");
    issue(issuer, address, &body)
}

#[test]
fn a_secret_gets_a_token_that_is_known_again_and_says_who_it_is() {
    let mut bench = Bench::new();
    let entry = &mut bench.config.clients[0];
    (entry.name, entry.hosts) = (Some("Plant 7".to_owned()), vec!["web*".to_owned()]);
    let issuer = bench.issuer();
    let token = ask(&issuer, "client_secret=sesame").expect("the secret is right");
    let client = issuer.known(&token, HERE).expect("a token").expect("it is good").client();
    assert_eq!(
        (&*client.name, &*client.scope, &*client.binding.hosts),
        ("Plant 7", "client:plant", &["web*".to_owned()][..])
    );
    assert_eq!(ask(&issuer, "client_secret=Sesame").map_err(|fault| fault.code), Err(7_000_215));
    assert!(issuer.known("no-token", HERE).is_none());
    let stranger = Bench::new().issuer();
    assert_eq!(
        stranger.known(&token, HERE).expect("a token").map(|_| ()),
        Err("the token was not issued by this gateway")
    );
}

#[test]
fn gateways_that_share_the_keys_take_each_others_tokens_until_the_client_is_taken_out() {
    let mut bench = Bench::new();
    let token = ask(&bench.issuer(), "client_secret=sesame").expect("the secret is right");
    assert!(bench.issuer().known(&token, HERE).expect("a token").is_ok());
    bench.config.tenants = vec!["elsewhere".to_owned()];
    assert!(bench.issuer().known(&token, HERE).expect("a token").is_err());
    assert_eq!(ask(&bench.issuer(), "client_secret=sesame").map_err(|fault| fault.code), Err(90002));
    bench.config.tenants.clear();
    bench.config.clients[0].id = "other".to_owned();
    assert!(bench.issuer().known(&token, HERE).expect("a token").is_err());
}

#[test]
fn an_assertion_of_each_algorithm_gets_a_token_but_only_once() {
    let mut bench = Bench::new();
    let (rsa, p256) = (bench.certify(&PKCS_RSA_SHA256), bench.certify(&PKCS_ECDSA_P256_SHA256));
    let issuer = bench.issuer();
    for (n, (algorithm, key)) in [("RS256", &rsa), ("PS256", &rsa), ("ES256", &p256)].into_iter().enumerate() {
        let mut claims = claims();
        claims["jti"] = json!(n.to_string());
        let assertion = signed(algorithm, key, &claims);
        assert!(with_assertion(&issuer, &assertion, HERE).is_ok(), "{algorithm}");
        assert!(with_assertion(&issuer, &assertion, HERE).is_ok(), "its answer may have been lost");
        let elsewhere = with_assertion(&issuer, &assertion, THERE).expect_err("it was used");
        assert!(elsewhere.text.contains("used before"), "{elsewhere:?}");
        let renewed = bench.issuer_of("agents", Some(&issuer));
        assert!(with_assertion(&renewed, &assertion, THERE).is_err(), "a reload forgets nothing");
    }
}

#[test]
fn an_assertion_that_claims_something_else_is_refused_with_what_is_wrong() {
    let mut bench = Bench::new();
    let key = bench.certify(&PKCS_ECDSA_P256_SHA256);
    let other = Bench::new().certify(&PKCS_ECDSA_P256_SHA256);
    let issuer = bench.issuer();
    for (claim, value, told) in [
        ("iss", json!("other"), "iss"),
        ("sub", json!("other"), "sub"),
        ("aud", json!(format!("https://gate/{TENANT}/v2.0")), "aud"),
        ("exp", json!(now() - 301), "exp"),
        ("exp", json!(now() + 4000), "more than an hour"),
        ("exp", Value::Null, "no exp"),
        ("nbf", json!(now() + 400), "nbf"),
    ] {
        let mut claims = claims();
        claims[claim] = value;
        let fault = with_assertion(&issuer, &signed("ES256", &key, &claims), HERE).expect_err(told);
        assert!(fault.text.contains(told), "{fault:?}");
        assert_eq!((fault.error, fault.code), ("invalid_client", 700_027));
    }
    for assertion in [signed("ES256", &other, &claims()), "x".to_owned()] {
        assert!(with_assertion(&issuer, &assertion, HERE).is_err());
    }
}

#[test]
fn who_fails_too_often_is_told_to_wait() {
    let issuer = Bench::new().issuer();
    for _ in 0..20 {
        assert_eq!(ask(&issuer, "client_secret=wrong").map_err(|fault| fault.error), Err("invalid_client"));
    }
    let fault = ask(&issuer, "client_secret=wrong").expect_err("it failed too often");
    assert_eq!(fault.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(fault.retry_after.is_some());
    let there = ask_from(&issuer, THERE, "client_secret=wrong").expect_err("it is wrong");
    assert_eq!(there.error, "invalid_client", "elsewhere nothing failed");
}

#[test]
fn wrong_secrets_of_others_at_the_same_address_do_not_lock_out_who_is_right() {
    let issuer = Bench::new().issuer();
    for _ in 0..400 {
        ask(&issuer, "client_secret=wrong").expect_err("it is wrong");
    }
    ask(&issuer, "client_secret=sesame").expect("it is right, and was never seen here");
}

#[test]
fn guesses_are_bounded_and_beyond_the_bound_a_right_one_is_answered_as_a_wrong_one() {
    let issuer = Bench::new().issuer();
    for _ in 0..500 {
        ask(&issuer, "client_secret=wrong").expect_err("it is wrong");
    }
    let [wrong, right] = ["wrong", "sesame"]
        .map(|secret| ask(&issuer, &format!("client_secret={secret}")).expect_err("no more guesses"));
    assert_eq!((wrong.status, wrong.code, &wrong.text), (right.status, right.code, &right.text));
    ask_from(&issuer, THERE, "client_secret=sesame").expect("elsewhere nobody guessed");
}

#[test]
fn a_tenant_does_not_tell_whether_a_secret_was_right() {
    let mut bench = Bench::new();
    bench.config.clients[0].tenant = Some("elsewhere".to_owned());
    let issuer = bench.issuer();
    for _ in 0..30 {
        let [wrong, right] = [(HERE, "wrong"), (THERE, "sesame")].map(|(address, secret)| {
            ask_from(&issuer, address, &format!("client_secret={secret}")).expect_err("it is another tenant")
        });
        assert_eq!((wrong.status, wrong.code, wrong.text), (right.status, right.code, right.text));
    }
}

#[test]
fn guesses_at_secrets_lock_out_no_client_that_signs() {
    for has_a_secret in [false, true] {
        let mut bench = Bench::new();
        let key = bench.certify(&PKCS_ECDSA_P256_SHA256);
        if !has_a_secret {
            bench.config.clients[0].secrets.clear();
        }
        let issuer = bench.issuer();
        for _ in 0..510 {
            ask(&issuer, "client_secret=wrong").expect_err("it is wrong");
        }
        let assertion = signed("ES256", &key, &claims());
        with_assertion(&issuer, &assertion, HERE).expect("it is signed by the client");
    }
}

#[test]
fn after_a_restart_guesses_lock_out_nobody_who_uploads_with_a_token_from_before() {
    let bench = Bench::new();
    let token = ask(&bench.issuer(), "client_secret=sesame").expect("the secret is right");
    let restarted = bench.issuer();
    restarted.known(&token, HERE).expect("a token").expect("it is good");
    for _ in 0..510 {
        ask(&restarted, "client_secret=wrong").expect_err("it is wrong");
    }
    ask(&restarted, "client_secret=sesame").expect("it was right here before the restart");
}

#[test]
fn refusals_are_told_once_in_a_while() {
    let issuer = Bench::new().issuer();
    let (wrong, late) = (Fault::client(7_000_215, "x"), Fault::later(50196, "x", Duration::ZERO));
    let told = [&wrong, &wrong, &late, &wrong].map(|fault| issuer.tells(HERE, fault));
    assert_eq!(told, [Some(0), None, Some(0), None]);
    assert_eq!(issuer.tells(THERE, &wrong), Some(0));
}

#[test]
fn ids_that_are_known_get_the_same_answers_as_those_that_are_not() {
    let mut bench = Bench::new();
    bench.certify(&PKCS_ECDSA_P256_SHA256);
    let stranger = Bench::new().certify(&PKCS_ECDSA_P256_SHA256);
    let issuer = bench.issuer();
    let told = |result: Result<Value, Fault>| {
        let fault = result.expect_err("it is wrong");
        (fault.status, fault.code, fault.text, fault.retry_after.is_some())
    };
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for n in 0..60 {
        let as_nobody = SCOPE.replace("client_id=plant", "client_id=nobody");
        let proof = if n % 2 == 0 {
            "client_secret=x".to_owned()
        } else {
            let kind = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
            format!("{kind}&client_assertion={}", signed("ES256", &stranger, &claims()))
        };
        known.push(told(issue(&issuer, HERE, &format!("{SCOPE}&{proof}"))));
        unknown.push(told(issue(&issuer, THERE, &format!("{as_nobody}&{proof}"))));
    }
    assert_eq!(known, unknown);
    assert!(known.iter().any(|(status, ..)| *status == StatusCode::TOO_MANY_REQUESTS));
}

#[test]
fn an_assertion_is_checked_with_as_many_certificates_whoever_it_names() {
    let mut bench = Bench::new();
    let (id, secrets) = ("two".to_owned(), bench.config.clients[0].secrets.clone());
    bench.config.clients.insert(0, ClientEntry { id, secrets, ..ClientEntry::default() });
    bench.certify(&PKCS_ECDSA_P256_SHA256);
    bench.certify(&PKCS_RSA_SHA256);
    bench.certify(&PKCS_RSA_SHA256);
    let issuer = bench.issuer();
    for (algorithm, count) in [("RS256", 2), ("PS256", 2), ("ES256", 1), ("none", 0)] {
        for known in [None, Some(&issuer.clients[0]), Some(&issuer.clients[1])] {
            let checked = issuer.checked_with(known, algorithm);
            assert_eq!(checked.len(), count, "{algorithm}");
            let own = known.is_some_and(|known| known.entry.id == "two");
            assert!(checked.iter().all(|(_, is_own)| *is_own == own), "{algorithm}");
        }
    }
}

#[test]
fn who_proves_itself_never_waits_for_others_at_its_address() {
    let mut bench = Bench::new();
    let other = ClientEntry {
        id: "other".to_owned(),
        secrets: vec![SecretHash { sha256: hex("other") }],
        ..ClientEntry::default()
    };
    bench.config.clients.push(other);
    let issuer = bench.issuer();
    ask(&issuer, "client_secret=sesame").expect("the secret is right");
    for _ in 0..30 {
        ask(&issuer, "client_secret=old").expect_err("it is wrong");
    }
    ask(&issuer, "client_secret=sesame").expect("it was right here before");
    let as_other = SCOPE.replace("client_id=plant", "client_id=other");
    issue(&issuer, HERE, &format!("{as_other}&client_secret=other")).expect("another client failed");
    let unknown = SCOPE.replace("client_id=plant", "client_id=nobody");
    for _ in 0..30 {
        issue(&issuer, HERE, &format!("{unknown}&client_secret=x")).expect_err("it is wrong");
    }
    ask(&issuer, "client_secret=sesame").expect("strangers failed");
    let renewed = bench.issuer_of("agents", Some(&issuer));
    assert_eq!(ask(&renewed, "client_secret=old").map_err(|fault| fault.code), Err(50196), "a reload forgives nothing");
}

#[test]
fn a_token_is_good_on_its_own_listener_and_for_as_long_as_its_secret_or_certificate() {
    let mut bench = Bench::new();
    let key = bench.certify(&PKCS_ECDSA_P256_SHA256);
    let issuer = bench.issuer();
    let by_secret = ask(&issuer, "client_secret=sesame").expect("the secret is right");
    let by_certificate = with_assertion(&issuer, &signed("ES256", &key, &claims()), HERE).expect("it is signed");
    let by_certificate = by_certificate["access_token"].as_str().expect("a token").to_owned();
    let good = |issuer: &Arc<Issuer>| {
        [&by_secret, &by_certificate].map(|token| issuer.known(token, HERE).expect("a token").is_ok())
    };
    assert_eq!(good(&bench.issuer()), [true, true], "another gateway of the same configuration");
    assert_eq!(good(&bench.issuer_of("other", None)), [false, false]);
    bench.secret("another secret");
    assert_eq!(good(&bench.issuer()), [false, true]);
    bench.config.clients[0].certificates.clear();
    assert_eq!(good(&bench.issuer()), [false, false]);
    bench.secret("sesame");
    assert_eq!(good(&bench.issuer()), [true, false]);
}

#[tokio::test]
async fn requests_for_tokens_take_turns() {
    let mut issuer = Bench::new().issuer();
    Arc::get_mut(&mut issuer).expect("it is nobody else's").turns = Turns::new(1, 1, Duration::ZERO);
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let turns = issuer.turns.clone();
    // Large work, which has a thread of its own: the clock would not be paused beside blocking work of the runtime.
    let busy = tokio::spawn(async move { turns.run(&Who::at(THERE), u64::MAX, move |_| ended.recv().ok()).await });
    tokio::task::yield_now().await;
    let request = || {
        let body = format!("{SCOPE}&client_secret=sesame");
        let request = TokenRequest::parse(body.as_bytes(), None).expect("it is whole");
        issuer.in_turn(request, TENANT.to_owned(), "https://gate".to_owned(), HERE)
    };
    tokio::time::pause();
    let fault = request().await.expect_err("nobody is done");
    assert_eq!(fault.status, StatusCode::TOO_MANY_REQUESTS);
    tokio::time::resume();
    drop(end);
    request().await.expect("now it is its turn");
    assert_eq!(busy.await.expect("it is not cut"), Ok(None));
}

#[test]
fn a_grant_holds_to_its_rules_its_streams_and_its_rates() {
    let mut bench = Bench::new();
    let entry = &mut bench.config.clients[0];
    (entry.rules, entry.streams) = (vec!["dcr-1".to_owned()], vec!["Custom-A".to_owned()]);
    entry.requests_per_second = Some(2);
    let issuer = bench.issuer();
    let token = ask(&issuer, "client_secret=sesame").expect("the secret is right");
    let grant = issuer.known(&token, HERE).expect("a token").expect("it is good");
    assert_eq!(grant.allows("DCR-1", "custom-a"), Ok(()));
    for (rule, stream) in [("dcr-2", "Custom-A"), ("dcr-1", "Custom-B"), ("", "")] {
        let failure = grant.allows(rule, stream).expect_err("it is restricted");
        assert_eq!((failure.status(), reply::code(&failure)), (StatusCode::FORBIDDEN, "OperationFailed"));
    }
    assert_eq!((grant.take_request(), grant.take_request()), (Ok(()), Ok(())));
    let failure = grant.take_request().expect_err("that was the third");
    assert_eq!(failure.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(failure.retry_after.is_some());
}

#[test]
fn paths_are_known_in_every_spelling() {
    let path = |text: &str| asked(&crate::net::target::segments(text));
    let tenant = "t.example".to_owned();
    assert_eq!(path("//T.example/oauth2/v2.0/Token"), Some(Asked::Token(tenant.clone())));
    assert_eq!(path("/t.example/oauth2/token"), Some(Asked::Token(tenant.clone())));
    assert_eq!(path("/t.example/v2.0/.well-known/openid-configuration"), Some(Asked::Metadata(tenant.clone())));
    assert_eq!(path("/t.example/.well-known/openid-configuration"), Some(Asked::Metadata(tenant)));
    assert_eq!(path("/t.example/discovery/v2.0/keys"), Some(Asked::KeySet));
    assert_eq!(path("/common/discovery/instance"), Some(Asked::Instance));
    for other in ["/", "/oauth2/token", "/dataCollectionRules/d/streams/s", "/v1/events"] {
        assert_eq!(path(other), None, "{other}");
    }
}
