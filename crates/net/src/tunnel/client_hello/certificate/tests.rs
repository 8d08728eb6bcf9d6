use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::super::tests::{BOTH, policy};
use super::super::{Progress, parse};
use super::*;

struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn identity(subject: &[(DnType, &str)]) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["allowed.test".to_owned()]).expect("params");
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    let certificate = params.self_signed(&key).expect("a certificate").der().clone();
    Identity { certificate, key: PrivateKeyDer::try_from(key.serialize_der()).expect("a key") }
}

fn agent() -> Identity {
    identity(&[
        (DnType::CommonName, "Agent-7"),
        (DnType::OrganizationalUnitName, "Linux"),
        (DnType::OrganizationName, "Foo, Inc"),
    ])
}

fn roots(identity: &Identity) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate.clone()).expect("a root");
    Arc::new(roots)
}

/// Client and destination that trust each other; the client shows its certificate when it has one.
fn pair(
    client: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let destination = identity(&[(DnType::CommonName, "destination")]);
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).expect("versions");
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots(&destination), Arc::clone(&provider)).build().expect("roots");
    let builder = builder.with_webpki_verifier(verifier);
    let client_config = match client {
        Some(client) => {
            builder.with_client_auth_cert(vec![client.certificate.clone()], client.key.clone_key()).expect("sound")
        }
        None => builder.with_no_client_auth(),
    };
    let known = client.map_or_else(|| roots(&destination), roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(known, Arc::clone(&provider)).allow_unauthenticated();
    let server_config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(BOTH)
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("roots"))
        .with_single_cert(vec![destination.certificate], destination.key)
        .expect("sound");
    (Arc::new(client_config), Arc::new(server_config))
}

fn watch(subjects: &[&str], refuse_hidden_subjects: bool) -> Watch {
    let client_subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
    Watch::new(&HelloPolicy { client_subjects, refuse_hidden_subjects, ..policy() }).expect("subjects are given")
}

/// The last word of `step` on bytes that come in pieces; nothing is asked after a decision.
fn in_pieces(bytes: &[u8], piece: usize, mut step: impl FnMut(&[u8]) -> Step) -> Step {
    bytes.chunks(piece).map(&mut step).find(|said| *said != Step::More).unwrap_or(Step::More)
}

/// Runs a handshake through a watch and says how it was decided; a client that may pass gets its answer.
fn handshake((client, server): &(Arc<ClientConfig>, Arc<ServerConfig>), mut watch: Watch, piece: usize) -> Step {
    let name = "allowed.test".to_owned().try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("a client");
    let mut server = ServerConnection::new(Arc::clone(server)).expect("a server");
    let mut to_server = Vec::new();
    client.write_tls(&mut to_server).expect("memory");
    let Progress::Hello(hello) = parse(&to_server) else { panic!("no hello") };
    let mut decided = in_pieces(&to_server[hello.len..], piece, |bytes| watch.from_client(bytes));
    for _ in 0..8 {
        if matches!(decided, Step::Refuse(_)) {
            return decided;
        }
        let mut wire = &to_server[..];
        while !wire.is_empty() {
            server.read_tls(&mut wire).expect("memory");
            server.process_new_packets().expect("the server agrees");
        }
        let mut to_client = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut to_client).expect("memory");
        }
        if decided == Step::More {
            decided = in_pieces(&to_client, piece, |bytes| watch.from_server(bytes));
        }
        let mut wire = &to_client[..];
        while !wire.is_empty() {
            client.read_tls(&mut wire).expect("memory");
            client.process_new_packets().expect("the client agrees");
        }
        to_server.clear();
        while client.wants_write() {
            client.write_tls(&mut to_server).expect("memory");
        }
        if decided == Step::More {
            decided = in_pieces(&to_server, piece, |bytes| watch.from_client(bytes));
        }
    }
    assert!(matches!(decided, Step::Refuse(_)) || !(client.is_handshaking() || server.is_handshaking()));
    decided
}

#[test]
fn a_listed_subject_passes_and_another_does_not() {
    let agent = agent();
    for piece in [1, 3, 1000, 1 << 20] {
        for (subjects, step) in [
            (&["agent-7"][..], Step::Pass),
            (&["CN=Agent-7"], Step::Pass),
            (&["CN=Agent-7, OU=Linux, O=Foo, Inc"], Step::Pass),
            (&["o=\"foo, inc\",ou=LINUX,cn=agent-7"], Step::Pass),
            (&["other", "Agent-7"], Step::Pass),
            (&["other"], Step::Refuse(Reason::SUBJECT)),
            (&["Linux"], Step::Refuse(Reason::SUBJECT)),
            (&["CN=Agent-7, OU=Linux"], Step::Refuse(Reason::SUBJECT)),
            (&[""], Step::Refuse(Reason::SUBJECT)),
        ] {
            let pair = pair(Some(&agent), &[&TLS12]);
            assert_eq!(handshake(&pair, watch(subjects, true), piece), step, "{subjects:?}, pieces of {piece}");
        }
    }
}

#[test]
fn a_common_name_cannot_pose_as_a_whole_subject() {
    let poser = identity(&[(DnType::CommonName, "CN=Agent-7,O=Foo")]);
    for subject in ["CN=Agent-7,O=Foo", "CN=CN=Agent-7,O=Foo"] {
        let pair = pair(Some(&poser), &[&TLS12]);
        assert_eq!(handshake(&pair, watch(&[subject], false), 100), Step::Refuse(Reason::SUBJECT), "{subject}");
    }
}

#[test]
fn a_client_without_a_certificate_passes() {
    assert_eq!(handshake(&pair(None, &[&TLS12]), watch(&["agent-7"], true), 7), Step::Pass);
}

#[test]
fn a_resumed_session_shows_nothing_and_passes() {
    let agent = agent();
    let pair = pair(Some(&agent), &[&TLS12]);
    assert_eq!(handshake(&pair, watch(&["agent-7"], false), 1000), Step::Pass);
    assert_eq!(handshake(&pair, watch(&["other"], false), 1000), Step::Pass);
}

#[test]
fn tls_1_3_hides_the_certificate_and_policy_decides() {
    let agent = agent();
    let pair = pair(Some(&agent), &[&TLS13]);
    assert_eq!(handshake(&pair, watch(&["other"], false), 1), Step::Pass);
    assert_eq!(handshake(&pair, watch(&["agent-7"], true), 1), Step::Refuse(Reason::SUBJECT_HIDDEN));
}

#[test]
fn what_follows_no_rules_is_refused_and_alerts_pass() {
    let fresh = || watch(&["agent-7"], false);
    let malformed = Step::Refuse(Reason::HELLO_MALFORMED);
    assert!(Watch::new(&policy()).is_none());
    let not_tls = Step::Refuse(Reason::SERVER_NOT_TLS);
    assert_eq!(fresh().from_server(b"HTTP/1.1 400 Bad Request\r\n"), not_tls);
    assert_eq!(fresh().from_server(&[22, 3, 3, 0, 4, 11, 0, 0, 0]), not_tls);
    assert_eq!(fresh().from_server(&[22, 3, 3, 0, 4, 2, 0, 0, 0]), malformed);
    assert_eq!(fresh().from_server(&[21, 3, 3, 0, 2, 2, 40]), Step::Pass);
    let mut patient = fresh();
    for record in [[22, 3, 3, 0, 0]; 1_000] {
        assert_eq!(patient.from_client(&record), Step::More, "empty records before the version is known");
    }
    assert_eq!(fresh().from_client(&[0; 70_000]), Step::Refuse(Reason::HELLO_TOO_LARGE));

    let server_hello = [&[22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3][..], &[7; 32], &[0, 0xc0, 0x2f, 0]].concat();
    let readable = || {
        let mut watch = fresh();
        assert_eq!(watch.from_server(&server_hello), Step::More);
        assert_eq!(watch.from_server(b"anything"), Step::More);
        watch
    };
    // A warning ends nothing: what follows it is looked at.
    let warning = [21, 3, 3, 0, 2, 1, 112];
    let mut warned = fresh();
    assert_eq!(warned.from_server(&warning[..4]), Step::More);
    assert_eq!(warned.from_server(&[&warning[4..], &warning, &warning[..]].concat()), Step::More);
    assert_eq!(warned.from_server(&server_hello), Step::More);
    assert_eq!(warned.from_client(&[22, 3, 3, 0, 4, 11, 0, 0, 0]), malformed);
    assert_eq!(fresh().from_server(&warning.repeat(9_000)), Step::More, "a flood of warnings is no deep recursion");
    assert_eq!(readable().from_client(&warning), malformed, "a warning must not hide the certificate behind it");
    assert_eq!(readable().from_client(&[21, 3, 3, 0, 2, 2, 40]), Step::Pass);
    assert_eq!(readable().from_client(&[20, 3, 3, 0, 1, 1]), Step::Pass);
    assert_eq!(readable().from_client(&[22, 3, 3, 0, 4, 16, 0, 0, 0]), Step::Pass);
    assert_eq!(readable().from_client(&[22, 3, 3, 0, 7, 11, 0, 0, 3, 0, 0, 0]), Step::Pass, "an empty list");
    assert_eq!(readable().from_client(b"GET / HTTP/1.1\r\n"), malformed);
    assert_eq!(readable().from_client(&[22, 3, 3, 0, 4, 11, 0, 0, 0]), malformed, "no list");
    assert_eq!(readable().from_client(&[22, 3, 3, 0, 8, 11, 0, 0, 4, 0, 0, 1, 0]), malformed, "half a list");
    let garbage = [22, 3, 3, 0, 11, 11, 0, 0, 7, 0, 0, 4, 0, 0, 1, 0];
    assert_eq!(readable().from_client(&garbage), Step::Refuse(Reason::SUBJECT));
    assert_eq!(readable().from_client(&[22, 3, 3, 0, 4, 11, 1, 0, 1]), Step::Refuse(Reason::HELLO_TOO_LARGE));

    let mut early = fresh();
    assert_eq!(early.from_client(&garbage), Step::More);
    assert_eq!(early.from_client(&[20, 3, 3, 0, 1, 1]), Step::More);
    assert_eq!(early.from_server(&server_hello), Step::Refuse(Reason::SUBJECT), "judged when the version is known");
}
