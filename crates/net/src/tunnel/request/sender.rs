//! What a request says about who sent it: credentials, software, and the proxies that it has been through.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::values::Secret;

/// User name and password together are not longer.
const CREDENTIALS_MAX: usize = 1 << 10;
/// Base64 of so many bytes.
const BASE64_MAX: usize = CREDENTIALS_MAX.div_ceil(3) * 4;
/// Of the User-Agent so much is kept for the log.
const USER_AGENT_MAX: usize = 256;

/// What a request says about who sent it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sender {
    /// Its `Proxy-Authorization`.
    pub credentials: Credentials,
    /// Its `User-Agent`, at most 256 bytes of printable ASCII.
    pub user_agent: Option<String>,
    via: String,
}

impl Sender {
    /// Its `Via`: the proxies that it has been through. Bytes that are no ASCII are left out.
    pub fn via(&self) -> &str {
        &self.via
    }

    pub(super) fn note_via(&mut self, value: &[u8]) {
        self.via.extend(value.iter().filter(|byte| byte.is_ascii()).map(|byte| char::from(*byte)));
        self.via.push_str(", ");
    }

    pub(super) fn note_user_agent(&mut self, value: &[u8]) {
        let printable = |byte: &u8| if matches!(byte, 0x20..=0x7e) { char::from(*byte) } else { '?' };
        self.user_agent = Some(value.iter().take(USER_AGENT_MAX).map(printable).collect());
    }
}

/// What a request shows to be let in.
#[derive(Clone, PartialEq, Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    Absent,
    /// Something that nobody can be known by: another scheme, or Basic that does not decode. Listeners that ask for no
    /// credentials tolerate it.
    Unusable,
    /// A name and a password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
}

impl Credentials {
    /// Reads the value of `Proxy-Authorization`.
    pub(super) fn parse(value: &[u8]) -> Self {
        Self::basic(value).unwrap_or(Self::Unusable)
    }

    fn basic(value: &[u8]) -> Option<Self> {
        let blank = value.iter().position(|byte| *byte == b' ')?;
        let (scheme, encoded) = (&value[..blank], value[blank..].trim_ascii_start());
        if !scheme.eq_ignore_ascii_case(b"basic") || encoded.len() > BASE64_MAX {
            return None;
        }
        let decoded = STANDARD.decode(encoded).ok().filter(|decoded| decoded.len() <= CREDENTIALS_MAX)?;
        let text = String::from_utf8(decoded).ok().filter(|text| !text.chars().any(char::is_control))?;
        let (user, password) = text.split_once(':')?;
        Some(Self::Basic { user: user.to_owned(), password: Secret::new(password) })
    }
}

/// Neither name nor password: what was typed into the wrong field is a password too.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Unusable => "Unusable",
            Self::Basic { .. } => "Basic(***)",
        })
    }
}
