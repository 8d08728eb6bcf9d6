//! The fields of a ClientHello and a ServerHello that decide.

use super::{ClientHello, ServerName};
use crate::tunnel::config::TlsVersion;
use crate::tunnel::request::Name;

const SERVER_NAME: u16 = 0;
const SUPPORTED_VERSIONS: u16 = 43;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
const HOST_NAME: u8 = 0;

const TRUNCATED: &str = "a length in the message is wrong";

/// Reads a ClientHello without its message header; `len` is what it took on the wire.
pub(super) fn client(body: &[u8], len: usize) -> Result<ClientHello, &'static str> {
    let mut body = Reader(body);
    let legacy = body.u16()?;
    body.take(32)?;
    let session_id = body.vector8()?;
    let cipher_suites = body.vector16()?;
    let compressions = body.vector8()?;
    if session_id.0.len() > 32
        || cipher_suites.0.len() < 2
        || cipher_suites.0.len() % 2 != 0
        || compressions.0.is_empty()
    {
        return Err("session id, cipher suites or compression methods are malformed");
    }
    if legacy >> 8 != 3 {
        return Err("the version is none of TLS");
    }
    let mut hello = ClientHello {
        server_name: ServerName::Absent,
        // Without the extension nothing above 1.2 can be agreed on, whatever the field says.
        version_max: version(legacy.min(0x0303)),
        encrypted: false,
        len,
    };
    let mut versions_seen = false;
    for_each_extension(body, |kind, mut data| {
        match kind {
            SERVER_NAME if hello.server_name == ServerName::Absent => hello.server_name = server_name(data),
            SERVER_NAME => hello.server_name = ServerName::Unusable,
            SUPPORTED_VERSIONS => {
                let versions = data.vector8()?;
                if versions_seen || !data.0.is_empty() || versions.0.is_empty() || versions.0.len() % 2 != 0 {
                    return Err("supported_versions is repeated or malformed");
                }
                versions_seen = true;
                // What is no known version is GREASE, a draft, or from the future.
                let known =
                    versions.0.chunks_exact(2).filter_map(|pair| version(u16::from_be_bytes([pair[0], pair[1]])));
                hello.version_max = known.max();
            }
            ENCRYPTED_CLIENT_HELLO => hello.encrypted = true,
            _ => {}
        }
        Ok(())
    })?;
    Ok(hello)
}

/// The version that a ServerHello, without its message header, has chosen.
pub(super) fn server_version(body: &[u8]) -> Result<Option<TlsVersion>, &'static str> {
    let mut body = Reader(body);
    let legacy = body.u16()?;
    body.take(32)?;
    body.vector8()?;
    body.take(3)?;
    let mut chosen = version(legacy.min(0x0303));
    for_each_extension(body, |kind, mut data| {
        if kind == SUPPORTED_VERSIONS {
            chosen = version(data.u16()?);
        }
        Ok(())
    })?;
    Ok(chosen)
}

fn version(number: u16) -> Option<TlsVersion> {
    match number {
        0x0301 => Some(TlsVersion::V10),
        0x0302 => Some(TlsVersion::V11),
        0x0303 => Some(TlsVersion::V12),
        0x0304 => Some(TlsVersion::V13),
        _ => None,
    }
}

fn for_each_extension<'a>(
    mut body: Reader<'a>,
    mut each: impl FnMut(u16, Reader<'a>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    if body.0.is_empty() {
        return Ok(());
    }
    let mut extensions = body.vector16()?;
    if !body.0.is_empty() {
        return Err("bytes stand behind the extensions");
    }
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        each(kind, extensions.vector16()?)?;
    }
    Ok(())
}

/// Exactly one name that is a DNS name: whatever else stands there is read differently by different servers.
fn server_name(mut data: Reader<'_>) -> ServerName {
    let mut read = || {
        let mut list = data.vector16()?;
        let (kind, name) = (list.take(1)?[0], list.vector16()?);
        let is_alone = data.0.is_empty() && list.0.is_empty();
        Ok::<_, &'static str>((kind == HOST_NAME && is_alone).then_some(name.0))
    };
    let text = read().ok().flatten().and_then(|name| std::str::from_utf8(name).ok());
    text.and_then(|text| Name::parse(text).ok()).map_or(ServerName::Unusable, ServerName::Name)
}

/// Reads what TLS calls vectors; never past the end.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(TRUNCATED)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<usize, &'static str> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector8(&mut self) -> Result<Self, &'static str> {
        let length = self.number(1)?;
        self.take(length).map(Self)
    }

    fn vector16(&mut self) -> Result<Self, &'static str> {
        let length = self.number(2)?;
        self.take(length).map(Self)
    }

    pub(super) fn vector24(&mut self) -> Result<Self, &'static str> {
        let length = self.number(3)?;
        self.take(length).map(Self)
    }
}
