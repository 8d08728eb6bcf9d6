use std::sync::Arc;

use proptest::prelude::*;
use rustls::client::{EchGreaseConfig, EchMode};
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::*;

pub(super) const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

pub(super) fn policy() -> HelloPolicy {
    HelloPolicy {
        require_tls: true,
        version_min: TlsVersion::V12,
        missing_name: MissingName::Refuse,
        encrypted: EncryptedHello::Refuse,
        client_subjects: Vec::new(),
        refuse_hidden_subjects: false,
    }
}

fn first_flight(config: ClientConfig, server: &str) -> Vec<u8> {
    let name = server.to_owned().try_into().expect("a server name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut wire = Vec::new();
    client.write_tls(&mut wire).expect("memory");
    wire
}

fn hello_of(server: &str, versions: &[&'static SupportedProtocolVersion]) -> Vec<u8> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(versions).expect("versions");
    first_flight(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(), server)
}

fn encrypted_hello_of(server: &str) -> Vec<u8> {
    let suite = aws_lc_rs::hpke::ALL_SUPPORTED_SUITES[0];
    let (key, _) = suite.generate_key_pair().expect("a key");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_ech(EchMode::Grease(EchGreaseConfig::new(suite, key))).expect("ECH");
    first_flight(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(), server)
}

fn sound(bytes: &[u8]) -> ClientHello {
    match parse(bytes) {
        Progress::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

fn name(text: &str) -> ServerName {
    ServerName::Name(Name::parse(text).expect("a name"))
}

fn vector<const BYTES: usize>(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("short").to_be_bytes();
    [&length[4 - BYTES..], content].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector::<2>(data)].concat()
}

fn sni(names: &[&[u8]]) -> Vec<u8> {
    let entries: Vec<u8> = names.iter().flat_map(|name| [&[0][..], &vector::<2>(name)].concat()).collect();
    extension(0, &vector::<2>(&entries))
}

/// The body of a hello with this version field and these extensions.
fn body(legacy: u16, extensions: &[Vec<u8>]) -> Vec<u8> {
    let fixed = [&legacy.to_be_bytes()[..], &[7; 32], &[0], &[0, 2, 0x13, 0x01], &[1, 0]].concat();
    [fixed, vector::<2>(&extensions.concat())].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &vector::<3>(body)].concat()
}

fn record(fragment: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &vector::<2>(fragment)].concat()
}

fn hand_made(legacy: u16, extensions: &[Vec<u8>]) -> Vec<u8> {
    record(&message(1, &body(legacy, extensions)))
}

/// The same message in records of so many bytes.
fn in_records(wire: &[u8], size: usize) -> Vec<u8> {
    wire[5..].chunks(size).flat_map(record).collect()
}

#[test]
fn hellos_of_a_real_client_are_read() {
    let modern = sound(&hello_of("Allowed.Test", BOTH));
    assert_eq!(
        (modern.server_name, modern.version_max, modern.encrypted),
        (name("allowed.test"), Some(TlsVersion::V13), false)
    );
    let older = sound(&hello_of("allowed.test", &[&TLS12]));
    assert_eq!((older.server_name, older.version_max), (name("allowed.test"), Some(TlsVersion::V12)));
    assert_eq!(sound(&hello_of("192.0.2.1", BOTH)).server_name, ServerName::Absent);
    let encrypted = sound(&encrypted_hello_of("allowed.test"));
    assert_eq!((encrypted.server_name, encrypted.encrypted), (name("allowed.test"), true));
}

#[test]
fn any_fragmentation_reads_the_same() {
    let wire = hello_of("allowed.test", BOTH);
    let whole = sound(&wire);
    assert_eq!(whole.len, wire.len());
    for size in [1, 2, 3, 4, 5, 7, 100, 1 << 14] {
        let cut = in_records(&wire, size);
        assert_eq!(sound(&cut), ClientHello { len: cut.len(), ..whole.clone() }, "records of {size}");
        let mut reader = HelloReader::default();
        for upto in 0..cut.len() {
            assert_eq!(reader.read(&cut[..upto]), Progress::More, "{upto}, records of {size}");
        }
        assert_eq!(reader.read(&cut), Progress::Hello(sound(&cut)));
    }
    let mut with_empty = record(b"").repeat(16);
    with_empty.extend(in_records(&wire, 50));
    assert_eq!(sound(&with_empty).server_name, whole.server_name);
}

#[test]
fn early_data_behind_the_hello_is_left_alone() {
    let wire = hello_of("allowed.test", BOTH);
    for more in [&[20, 3, 3, 0, 1, 1][..], &[23, 3, 3, 0, 9], b"\xff"] {
        assert_eq!(sound(&[&wire[..], more].concat()).len, wire.len());
    }
    let second = record(&[&wire[5..], &message(1, b"")[..]].concat());
    assert!(matches!(parse(&second), Progress::Malformed(_)));
}

#[test]
fn what_is_no_tls_is_seen_at_once() {
    for start in ["GET / HTTP/1.1", "SSH-2.0-x", "\x05", "\x00", "\x13", "\x19", "\x15\x02", "\x17G"] {
        assert_eq!(parse(start.as_bytes()), Progress::NotTls, "{start:?}");
    }
    for start in ["\x16\x02", "\x16\x01\x03", "\x15\x03", "\x14\x03\x03\x00\x01\x01"] {
        assert!(
            matches!(parse(start.as_bytes()), Progress::Malformed(_)),
            "{start:?}: TLS, as lenient servers read it"
        );
    }
    assert_eq!(parse(b"\x80\x2e\x01\x03\x01\x00\x15"), Progress::NotTls, "SSL 2");
    assert_eq!(parse(&[0xff; 9]), Progress::NotTls);
    assert_eq!(parse(b""), Progress::More);
    assert_eq!(parse(b"\x16"), Progress::More);
}

#[test]
fn the_hello_is_limited() {
    let post_quantum = hand_made(0x0303, &[sni(&[b"a.test"]), extension(0xfe00, &[0; 15_000])]);
    assert_eq!(sound(&post_quantum).server_name, name("a.test"));
    let split = in_records(
        &[&[0; 5][..], &message(1, &body(0x0303, &[sni(&[b"a.test"]), extension(9, &[0; 50_000])]))].concat(),
        1 << 14,
    );
    assert_eq!(sound(&split).server_name, name("a.test"));
    let claimed = [22, 3, 1, 0, 4, 1, 1, 0, 1];
    assert_eq!(parse(&claimed), Progress::TooLarge, "a message that claims 65,537 bytes");
    assert_eq!(parse(&in_records(&post_quantum, 1)), Progress::TooLarge);
    assert_eq!(parse(&[22, 3, 1, 0x40, 0]), Progress::More);
    assert!(matches!(parse(&[22, 3, 1, 0x40, 1]), Progress::Malformed(_)));
    assert!(matches!(parse(&record(b"").repeat(17)), Progress::Malformed(_)));
}

#[test]
fn malformed_hellos_are_refused() {
    let sound_body = body(0x0303, &[sni(&[b"a.test"])]);
    let bodies = [
        (vec![], "nothing"),
        (sound_body[..sound_body.len() - 1].to_vec(), "an extension cut short"),
        ([&sound_body[..], &[0]].concat(), "a byte behind"),
        ([&[3, 3][..], &[7; 32], &[33], &[7; 33], &[0, 2, 1, 1, 1, 0]].concat(), "a session id of 33 bytes"),
        ([&[3, 3][..], &[7; 32], &[0], &[0, 0], &[1, 0]].concat(), "no cipher suite"),
        ([&[3, 3][..], &[7; 32], &[0], &[0, 3, 1, 1, 1], &[1, 0]].concat(), "a cipher suite and a half"),
        ([&[3, 3][..], &[7; 32], &[0], &[0, 2, 1, 1], &[0]].concat(), "no compression"),
        ([&[3, 3][..], &[7; 32], &[0], &[0, 2, 1, 1], &[1, 0, 0, 9]].concat(), "more extensions than there are"),
        (body(0x0203, &[]), "another protocol"),
        (body(0x0303, &[extension(43, &[])]), "no versions"),
        (body(0x0303, &[extension(43, &[0])]), "an empty list of versions"),
        (body(0x0303, &[extension(43, &[3, 3, 4, 3])]), "a version and a half"),
        (body(0x0303, &[extension(43, &[2, 3, 4, 0])]), "bytes behind the versions"),
        (body(0x0303, &[extension(43, &[2, 3, 4]), extension(43, &[2, 3, 4])]), "versions twice"),
    ];
    for (body, why) in bodies {
        assert!(matches!(parse(&record(&message(1, &body))), Progress::Malformed(_)), "{why}");
    }
    assert!(matches!(parse(&record(&message(2, &sound_body))), Progress::Malformed(_)), "a ServerHello");
    assert!(matches!(parse(&record(&[2])), Progress::Malformed(_)), "its first byte");
    let interrupted = [&record(&message(1, &sound_body)[..9])[..], &[21, 3, 1]].concat();
    assert!(matches!(parse(&interrupted), Progress::Malformed(_)), "a hello and close_notify");
    let no_extensions = [&[3, 1][..], &[7; 32], &[0], &[0, 2, 1, 1], &[1, 0]].concat();
    let old = sound(&record(&message(1, &no_extensions)));
    assert_eq!((old.server_name, old.version_max), (ServerName::Absent, Some(TlsVersion::V10)));
}

#[test]
fn versions_count_as_the_server_counts_them() {
    let version = |legacy, versions: Option<&[u8]>| {
        let extensions: Vec<_> = versions.iter().map(|list| extension(43, &vector::<1>(list))).collect();
        sound(&hand_made(legacy, &extensions)).version_max
    };
    assert_eq!(version(0x0300, None), None);
    assert_eq!(version(0x0301, None), Some(TlsVersion::V10));
    assert_eq!(version(0x0302, None), Some(TlsVersion::V11));
    assert_eq!(version(0x0304, None), Some(TlsVersion::V12));
    assert_eq!(version(0x03ff, None), Some(TlsVersion::V12));
    assert_eq!(version(0x0303, Some(&[0x0a, 0x0a, 3, 3, 3, 4])), Some(TlsVersion::V13));
    assert_eq!(version(0x0303, Some(&[3, 1])), Some(TlsVersion::V10));
    assert_eq!(version(0x0303, Some(&[0xfa, 0xfa, 0x7f, 0x1c])), None);
}

#[test]
fn only_one_plain_name_is_a_name() {
    let named = |extensions: &[Vec<u8>]| sound(&hand_made(0x0303, extensions)).server_name;
    assert_eq!(named(&[]), ServerName::Absent);
    assert_eq!(named(&[sni(&[b"ALLOWED.test."])]), name("allowed.test"));
    let too_long = "a".repeat(64);
    for bytes in [
        &b"allowed.test\0"[..],
        b"allowed.test\0.evil.test",
        b"",
        b".",
        b"192.0.2.1",
        b"[::1]",
        b"127.1",
        b"a b",
        b"\xff",
    ]
    .into_iter()
    .chain([&b"allowed.test:443"[..], b"allowed..test", b"*.test", b"b\xc3\xbccher.test", too_long.as_bytes()])
    {
        assert_eq!(named(&[sni(&[bytes])]), ServerName::Unusable, "{bytes:?}");
    }
    let a: &[u8] = b"a.test";
    let other_type = [&[0, 9, 1, 0, 6][..], a].concat();
    let list_too_long = [&[0, 10, 0, 0, 6][..], a].concat();
    let bytes_behind = [&[0, 9, 0, 0, 6][..], a, &[0]].concat();
    for extensions in [
        vec![sni(&[a, a])],
        vec![sni(&[a, b"b.test"])],
        vec![sni(&[])],
        vec![sni(&[a]), sni(&[a])],
        vec![sni(&[a]), sni(&[b"b.test"])],
        vec![sni(&[b"\0"]), sni(&[a])],
        vec![extension(0, &[])],
        vec![extension(0, &other_type)],
        vec![extension(0, &list_too_long)],
        vec![extension(0, &bytes_behind)],
    ] {
        assert_eq!(named(&extensions), ServerName::Unusable, "{extensions:?}");
    }
}

#[test]
fn policy_decides() {
    let authority = |text: &str| Authority::parse(text.as_bytes()).expect("an authority");
    let (by_name, by_address) = (authority("Allowed.Test:443"), authority("192.0.2.1:443"));
    let with = |names: &[&[u8]]| sound(&hand_made(0x0303, &names.iter().map(|name| sni(&[name])).collect::<Vec<_>>()));
    let (same, other, absent) = (with(&[b"ALLOWED.TEST."]), with(&[b"evil.test"]), with(&[]));
    let address = with(&[b"192.0.2.1"]);
    let strict = policy();
    let lenient = HelloPolicy { missing_name: MissingName::Allow, ..policy() };
    for (hello, policy, authority, verdict) in [
        (&same, &strict, &by_name, Ok(())),
        (&other, &strict, &by_name, Err(Reason::SNI_DIFFERS)),
        (&other, &lenient, &by_name, Err(Reason::SNI_DIFFERS)),
        (&address, &lenient, &by_name, Err(Reason::SNI_DIFFERS)),
        (&absent, &strict, &by_name, Err(Reason::SNI_ABSENT)),
        (&absent, &lenient, &by_name, Ok(())),
        (&same, &lenient, &by_address, Err(Reason::SNI_DIFFERS)),
        (&address, &lenient, &by_address, Err(Reason::SNI_DIFFERS)),
        (&absent, &strict, &by_address, Err(Reason::SNI_ABSENT)),
        (&absent, &lenient, &by_address, Ok(())),
    ] {
        assert_eq!(check(hello, policy, authority), verdict, "{hello:?} {policy:?} {authority}");
    }
    let only_13 = HelloPolicy { version_min: TlsVersion::V13, ..policy() };
    let any = HelloPolicy { version_min: TlsVersion::V10, ..policy() };
    let old = ClientHello { version_max: Some(TlsVersion::V10), ..same.clone() };
    let ssl = ClientHello { version_max: None, ..same.clone() };
    assert_eq!(check(&same, &only_13, &by_name), Err(Reason::TLS_VERSION));
    assert_eq!(check(&old, &strict, &by_name), Err(Reason::TLS_VERSION));
    assert_eq!(check(&old, &any, &by_name), Ok(()));
    assert_eq!(check(&ssl, &any, &by_name), Err(Reason::TLS_VERSION));
    let encrypted = ClientHello { encrypted: true, ..same };
    let outer = HelloPolicy { encrypted: EncryptedHello::AllowOuter, ..policy() };
    assert_eq!(check(&encrypted, &strict, &by_name), Err(Reason::ECH));
    assert_eq!(check(&encrypted, &outer, &by_name), Ok(()));
    assert_eq!(check(&ClientHello { encrypted: true, ..other }, &outer, &by_name), Err(Reason::SNI_DIFFERS));
}

#[test]
fn clients_understand_the_alert() {
    let name = "allowed.test".to_owned().try_into().expect("a name");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(BOTH).expect("versions");
    let config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let alert = alert(Reason::SNI_DIFFERS).expect("an alert");
    client.read_tls(&mut &alert[..]).expect("memory");
    let error = client.process_new_packets().expect_err("fatal");
    assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName));
    assert_eq!(super::alert(Reason::NOT_TLS), None);
    assert_eq!(super::alert(Reason::IDLE), None);
}

proptest! {
    /// No change of a byte makes it panic, and the reader that is fed in pieces agrees with the one that is not.
    #[test]
    fn changed_hellos_are_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        size in 1usize..300,
        piece in 1usize..200,
    ) {
        let mut wire = in_records(&hand_made(0x0303, &[sni(&[b"allowed.test"]), extension(43, &[4, 3, 4, 3, 3])]), size);
        for (at, byte) in &changes {
            let at = at.index(wire.len());
            wire[at] = *byte;
        }
        let mut reader = HelloReader::default();
        let mut progress = Progress::More;
        for upto in (1..=wire.len()).filter(|upto| upto % piece == 0 || *upto == wire.len()) {
            progress = reader.read(&wire[..upto]);
            if progress != Progress::More {
                break;
            }
        }
        prop_assert_eq!(progress, parse(&wire));
    }

    #[test]
    fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..300), as_body in any::<bool>()) {
        drop(parse(&if as_body { record(&message(1, &bytes)) } else { bytes }));
    }
}
