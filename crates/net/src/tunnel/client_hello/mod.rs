//! The TLS handshake inside a tunnel, as far as it can be read: is it TLS, to which server, in which version.
//!
//! Nothing is decrypted and nothing changed. What is read is the ClientHello, before any byte of it reaches the
//! destination, and up to TLS 1.2 the client's certificate ([`Watch`]). The name in the hello must be the name of the
//! CONNECT request: otherwise one allowed name on a shared front would be a door to all its neighbours. The name that
//! HTTP says inside the encryption stays invisible, so names on shared fronts should not be allowed.

mod certificate;
mod hello;
mod records;
#[cfg(test)]
mod tests;

pub use certificate::{Step, Watch};

use self::records::{FirstMessage, Found};
use super::Reason;
use super::allow_list::HelloPolicy;
use super::config::{EncryptedHello, MissingName, TlsVersion};
use super::request::{Authority, Host, Name};

/// The most bytes on the wire, record headers included, that a ClientHello may take.
pub const HELLO_MAX: usize = records::WIRE_MAX;

const CLIENT_HELLO: u8 = 1;

/// What a ClientHello says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// Whom it names.
    pub server_name: ServerName,
    /// The highest TLS version that it offers: by `supported_versions`, else by its version field. None when it offers
    /// none that is known, as SSL 3.
    pub version_max: Option<TlsVersion>,
    /// It holds an `encrypted_client_hello` extension.
    pub encrypted: bool,
    /// The bytes that it took on the wire, record headers included. What follows belongs to [`Watch`].
    pub len: usize,
}

/// The server name indication of a ClientHello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerName {
    /// There is none.
    Absent,
    /// A DNS name, in normal form.
    Name(Name),
    /// Something that servers read differently: an address, two names, two extensions, bytes that no name has.
    Unusable,
}

/// How far the ClientHello has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is not all there.
    More,
    /// It is.
    Hello(ClientHello),
    /// The client speaks something else, or SSL 2.
    NotTls,
    /// It takes more than [`HELLO_MAX`].
    TooLarge,
    /// It is TLS, but not a sound ClientHello.
    Malformed(&'static str),
}

/// Reads a ClientHello as its bytes come in. Each record is looked at once, whatever the number of segments: a hello
/// that comes byte by byte costs one look at a record header for each byte, and one pass over its content.
#[derive(Debug, Default)]
pub struct HelloReader {
    message: FirstMessage,
}

impl HelloReader {
    /// `bytes` is all that came since the tunnel stood. Call it again with the same bytes and more.
    pub fn read(&mut self, bytes: &[u8]) -> Progress {
        let found = self.message.find(bytes);
        if self.message.kind().is_some_and(|kind| kind != CLIENT_HELLO) {
            return Progress::Malformed("the first handshake message is no ClientHello");
        }
        match found {
            Found::More => Progress::More,
            Found::Message { .. } if self.message.is_followed() => {
                Progress::Malformed("another handshake message follows before the server has answered")
            }
            Found::Message { end } => match hello::client(self.message.body(), end) {
                Ok(hello) => Progress::Hello(hello),
                Err(wrong) => Progress::Malformed(wrong),
            },
            Found::Other(_) => Progress::Malformed("a record of another type comes before the ClientHello"),
            Found::NotTls => Progress::NotTls,
            Found::TooLarge => Progress::TooLarge,
            Found::Malformed(wrong) => Progress::Malformed(wrong),
        }
    }
}

/// Reads a ClientHello that is all there, or says that it is not. While bytes come in, [`HelloReader`] is cheaper.
pub fn parse(bytes: &[u8]) -> Progress {
    HelloReader::default().read(bytes)
}

/// Whether a tunnel to `authority` may go on with this hello.
pub fn check(hello: &ClientHello, policy: &HelloPolicy, authority: &Authority) -> Result<(), Reason> {
    if hello.version_max.is_none_or(|version| version < policy.version_min) {
        return Err(Reason::TLS_VERSION);
    }
    if hello.encrypted && policy.encrypted == EncryptedHello::Refuse {
        return Err(Reason::ECH);
    }
    match (&hello.server_name, &authority.host) {
        (ServerName::Name(name), Host::Name(target)) if name == target => Ok(()),
        (ServerName::Absent, _) if policy.missing_name == MissingName::Allow => Ok(()),
        (ServerName::Absent, _) => Err(Reason::SNI_ABSENT),
        (ServerName::Name(_) | ServerName::Unusable, _) => Err(Reason::SNI_DIFFERS),
    }
}

/// The fatal TLS alert, as a record, that tells the client of a refusal before the tunnel is closed. None where the
/// client speaks no TLS that could carry it.
pub fn alert(reason: Reason) -> Option<[u8; 7]> {
    let description = match reason {
        Reason::SNI_DIFFERS | Reason::SNI_ABSENT => 112, // unrecognized_name
        Reason::TLS_VERSION => 70,                       // protocol_version
        Reason::HELLO_MALFORMED | Reason::HELLO_TOO_LARGE => 50, // decode_error
        Reason::ECH | Reason::SUBJECT | Reason::SUBJECT_HIDDEN => 49, // access_denied
        _ => return None,
    };
    Some([21, 3, 3, 0, 2, 2, description])
}
