//! Watches for the certificate that a client shows to the destination, which TLS up to 1.2 sends in the clear.
//!
//! It keeps an honest agent of another workspace out, as the original gateway did; it does not authenticate: the
//! destination alone checks that the client holds the key. Three things stay unseen and pass: a client without a
//! certificate, a resumed session (its certificate was shown before), and a certificate that is asked for in a
//! renegotiation, which is encrypted. TLS 1.3 hides every certificate; [`HelloPolicy`] says whether that may be.

#[cfg(test)]
mod tests;

use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::hello::{self, Reader};
use super::records::{FirstMessage, Found};
use crate::tunnel::Reason;
use crate::tunnel::allow_list::HelloPolicy;
use crate::tunnel::config::TlsVersion;

const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
/// Where the level stands in an alert record, and the level that ends the handshake.
const ALERT_LEVEL: usize = 5;
const FATAL: u8 = 2;
/// Bytes of an alert record, header included.
const ALERT_RECORD: usize = 7;

/// What the watch says after bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Undecided: bytes of the client are held back.
    More,
    /// Decided: both directions are free, and the watch has ended.
    Pass,
    /// The tunnel is closed.
    Refuse(Reason),
}

/// The watch over one handshake. It is fed with what follows the ClientHello, in both directions; bytes of the server
/// may go on at once. It holds at most 64 KiB of each direction.
#[derive(Debug)]
pub struct Watch {
    subjects: Vec<Subject>,
    refuse_hidden: bool,
    server: Direction,
    client: Direction,
    /// The server's ServerHello has come, and with it a version that shows certificates.
    is_readable: bool,
}

#[derive(Debug, Default)]
struct Direction {
    bytes: Vec<u8>,
    message: FirstMessage,
}

impl Direction {
    fn find(&mut self, bytes: &[u8]) -> Found {
        self.bytes.extend_from_slice(bytes);
        self.message.find(&self.bytes)
    }
}

impl Watch {
    /// A watch, where the policy asks for one.
    pub fn new(policy: &HelloPolicy) -> Option<Self> {
        (!policy.client_subjects.is_empty()).then(|| Self {
            subjects: policy.client_subjects.iter().map(|text| Subject::new(text)).collect(),
            refuse_hidden: policy.refuse_hidden_subjects,
            server: Direction::default(),
            client: Direction::default(),
            is_readable: false,
        })
    }

    /// Notes what the destination has sent. Ask before it goes on to the client, who understands an alert better then.
    pub fn from_server(&mut self, bytes: &[u8]) -> Step {
        if self.is_readable {
            return Step::More;
        }
        let mut found = self.server.find(bytes);
        loop {
            return match found {
                Found::More => Step::More,
                Found::Message { .. } if self.server.message.kind() == Some(SERVER_HELLO) => self.server_hello(),
                Found::Other(ALERT) => match self.server.bytes.get(ALERT_LEVEL) {
                    Some(&FATAL) => Step::Pass,
                    Some(_) if self.server.bytes.len() >= ALERT_RECORD => {
                        // A warning, for example about the name; the handshake goes on behind it.
                        let rest = self.server.bytes.split_off(ALERT_RECORD);
                        self.server = Direction::default();
                        found = self.server.find(&rest);
                        continue;
                    }
                    _ => Step::More,
                },
                // A destination that does not speak TLS gets no certificate, and the client no connection.
                _ => Step::Refuse(Reason::SERVER_NOT_TLS),
            };
        }
    }

    /// Notes what the client has sent.
    pub fn from_client(&mut self, bytes: &[u8]) -> Step {
        let found = self.client.find(bytes);
        if self.is_readable {
            return self.client_flight(found);
        }
        // Early data of TLS 1.3 comes before the answer; it is not judged before the version is known.
        if self.client.bytes.len() > super::HELLO_MAX { Step::Refuse(Reason::HELLO_TOO_LARGE) } else { Step::More }
    }

    fn server_hello(&mut self) -> Step {
        match hello::server_version(self.server.message.body()) {
            Ok(Some(TlsVersion::V13)) if self.refuse_hidden => Step::Refuse(Reason::SUBJECT_HIDDEN),
            Ok(Some(TlsVersion::V13)) => Step::Pass,
            Ok(_) => {
                self.is_readable = true;
                self.server = Direction::default();
                let found = self.client.find(&[]);
                self.client_flight(found)
            }
            Err(_) => Step::Refuse(Reason::HELLO_MALFORMED),
        }
    }

    fn client_flight(&self, found: Found) -> Step {
        if self.client.message.kind().is_some_and(|kind| kind != CERTIFICATE) {
            return Step::Pass;
        }
        match found {
            Found::More => Step::More,
            Found::Message { .. } => self.certificate(self.client.message.body()),
            // A session that is resumed: its certificate was shown before.
            Found::Other(CHANGE_CIPHER_SPEC) => Step::Pass,
            // A fatal alert ends the handshake. Behind a warning a certificate may still come.
            Found::Other(ALERT) => match self.client.bytes.get(ALERT_LEVEL) {
                None => Step::More,
                Some(&FATAL) => Step::Pass,
                Some(_) => Step::Refuse(Reason::HELLO_MALFORMED),
            },
            Found::TooLarge => Step::Refuse(Reason::HELLO_TOO_LARGE),
            Found::Other(_) | Found::NotTls | Found::Malformed(_) => Step::Refuse(Reason::HELLO_MALFORMED),
        }
    }

    fn certificate(&self, body: &[u8]) -> Step {
        let mut body = Reader(body);
        let Ok(mut list) = body.vector24() else { return Step::Refuse(Reason::HELLO_MALFORMED) };
        if list.0.is_empty() {
            return Step::Pass;
        }
        let Ok(first) = list.vector24() else { return Step::Refuse(Reason::HELLO_MALFORMED) };
        let listed = X509Certificate::from_der(first.0)
            .is_ok_and(|(_, certificate)| self.subjects.iter().any(|subject| subject.is_of(certificate.subject())));
        if listed { Step::Pass } else { Step::Refuse(Reason::SUBJECT) }
    }
}

/// A subject that may pass.
#[derive(Debug)]
enum Subject {
    /// One of its common names.
    CommonName(String),
    /// All attributes, `(type, value)`, sorted: tools disagree on which end of a subject is written first.
    Whole(Vec<(String, String)>),
}

impl Subject {
    fn new(text: &str) -> Self {
        let mut attributes: Vec<(String, String)> = Vec::new();
        for part in text.split(',') {
            match (part.split_once('='), attributes.last_mut()) {
                (Some((kind, value)), _) => attributes.push((normal_type(kind), normal(value))),
                // A comma within a value.
                (None, Some((_, value))) => *value = format!("{value},{}", normal(part)),
                (None, None) => return Self::CommonName(normal(text)),
            }
        }
        // "CN=agent" alone is how Windows shows what others call "agent".
        if let [(kind, value)] = &attributes[..]
            && kind == "cn"
        {
            return Self::CommonName(value.clone());
        }
        attributes.sort();
        Self::Whole(attributes)
    }

    fn is_of(&self, subject: &X509Name<'_>) -> bool {
        match self {
            Self::CommonName(listed) => {
                subject.iter_common_name().any(|name| name.as_str().is_ok_and(|name| normal(name) == *listed))
            }
            Self::Whole(listed) => {
                let attributes = subject.iter_attributes().map(|attribute| {
                    let kind = oid2abbrev(attribute.attr_type(), oid_registry()).ok()?;
                    Some((normal_type(kind), normal(attribute.as_str().ok()?)))
                });
                let mut shown: Vec<_> = attributes.map(Option::unwrap_or_default).collect();
                shown.sort();
                shown == *listed
            }
        }
    }
}

/// Windows and OpenSSL have names of their own for two types.
fn normal_type(text: &str) -> String {
    match normal(text).as_str() {
        "s" => "st".to_owned(),
        "e" | "emailaddress" => "email".to_owned(),
        other => other.to_owned(),
    }
}

/// Case, quotes and the blanks around commas are matters of display.
fn normal(text: &str) -> String {
    let bare = text.to_lowercase().replace(['"', '\\'], "");
    bare.split(',').map(str::trim).collect::<Vec<_>>().join(",")
}
