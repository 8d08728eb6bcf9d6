//! However the network cuts a handshake, the ClientHello reads the same, within its bound; and the watch for
//! certificates survives whatever both sides send after it.
#![no_main]

use gatepost::tunnel::allow_list::HelloPolicy;
use gatepost::tunnel::client_hello::{HELLO_MAX, HelloReader, Progress, Step, Watch, parse};
use gatepost::tunnel::config::{EncryptedHello, MissingName, TlsVersion};
use libfuzzer_sys::fuzz_target;

fn read(input: &[u8], piece: usize) -> Progress {
    let mut reader = HelloReader::default();
    let mut end = 0;
    loop {
        end = input.len().min(end + piece);
        let progress = reader.read(&input[..end]);
        if progress != Progress::More || end == input.len() {
            return progress;
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let whole = parse(input);
    assert_eq!(whole, read(input, 1));
    assert_eq!(whole, read(input, 7));
    if let Progress::Hello(hello) = &whole {
        assert!(hello.len <= input.len().min(HELLO_MAX));
    }

    let policy = HelloPolicy {
        require_tls: true,
        version_min: TlsVersion::V12,
        missing_name: MissingName::Refuse,
        encrypted: EncryptedHello::Refuse,
        client_subjects: vec!["agent".to_owned()],
        refuse_hidden_subjects: false,
    };
    let Some((cut, flights)) = input.split_first() else { return };
    let (server, client) = flights.split_at(flights.len().min(usize::from(*cut)));
    let mut watch = Watch::new(&policy).expect("a subject is given");
    if watch.from_server(server) == Step::More {
        for byte in client.chunks(1) {
            if watch.from_client(byte) != Step::More {
                break;
            }
        }
    }
});
