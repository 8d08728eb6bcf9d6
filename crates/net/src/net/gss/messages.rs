//! What two messages of Kerberos hold when a context is made (RFC 4120): the ticket of the host with its session key, and the
//! answer with the key of the context.
//!
//! The library of Kerberos decides whether a ticket is good. It keeps the keys to itself; these are read here from the same
//! messages with the same keytab, so that bodies can be opened without it.

use super::cipher::{Key, KeyError};
use super::der::{Der, Malformed};
use super::keytab::Entry;

/// The number of a purpose, as RFC 4120, 7.5.1 has it.
const TICKET: u32 = 2;
const AUTHENTICATOR: u32 = 11;
const ANSWER: u32 = 12;

/// In front of a message in a token of GSS: what kind it is.
const REQUEST_KIND: &[u8] = &[1, 0];
const ANSWER_KIND: &[u8] = &[2, 0];

/// The identifiers of Kerberos: its own, and one that Windows writes for it.
const MECHANISMS: [&[u8]; 2] =
    [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02], &[0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 0x01, 0x02, 0x02]];

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not encoded as it has to be.
    #[error("a message of Kerberos cannot be read")]
    Malformed,
    /// No key fits.
    #[error("no key of the keytab opens the ticket")]
    NoKey,
    /// A key that is not taken.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No key for the context: the host did not ask for one.
    #[error("the answer holds no key for the context")]
    NoSubkey,
}

impl From<Malformed> for ReadError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// What a host's ticket says, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Whose it is, such as `PC1$@PLANT.EXAMPLE`.
    pub principal: String,
    /// When it ends, in Unix seconds.
    pub ends_s: i64,
    /// Where the host begins to number its messages.
    pub first: u64,
    session: Key,
}

/// The message in a token of GSS, without what stands in front of it.
fn framed<'a>(token: &'a [u8], kind: &[u8]) -> Option<&'a [u8]> {
    let mut content = Der::new(token).take(0x60).ok()?;
    let mechanism = content.take(0x06).ok()?.bytes();
    if !MECHANISMS.contains(&mechanism) {
        return None;
    }
    content.bytes().strip_prefix(kind)
}

/// The request in a token, if it is one of Kerberos.
pub fn request(token: &[u8]) -> Option<&[u8]> {
    framed(token, REQUEST_KIND)
}

/// The answer in a token, if it is one of Kerberos.
pub fn answer(token: &[u8]) -> Option<&[u8]> {
    framed(token, ANSWER_KIND)
}

impl Ticket {
    /// Opens the ticket of a request with one of these keys.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or no key fits.
    pub fn open(request: &[u8], keytab: &[Entry]) -> Result<Self, ReadError> {
        let mut fields = Der::new(request).take_in(0x6e, 0x30)?;
        fields.number_in(0xa0)?;
        fields.number_in(0xa1)?;
        fields.take(0xa2)?;
        let mut ticket = fields.take_in(0xa3, 0x61)?.take(0x30)?;
        ticket.number_in(0xa0)?;
        ticket.take(0xa1)?;
        ticket.take(0xa2)?;
        let plain = Encrypted::of(&mut ticket, 0xa3)?.opened_with(keytab)?;
        let mut part = Der::new(&plain).take_in(0x63, 0x30)?;
        part.take(0xa0)?;
        let session = key(&mut part, 0xa1)?;
        let realm = text(part.take(0xa2)?.any()?);
        let name = name(part.take_in(0xa3, 0x30)?)?;
        part.take(0xa4)?;
        part.take(0xa5)?;
        part.take_if(0xa6)?;
        let ends_s = time(part.take_in(0xa7, 0x18)?.bytes()).ok_or(ReadError::Malformed)?;
        let first = first(&Encrypted::of(&mut fields, 0xa4)?.opened(&session, AUTHENTICATOR)?)?;
        Ok(Self { principal: format!("{name}@{realm}"), ends_s, first, session })
    }

    /// The key of the context that the answer to this ticket makes.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or holds none.
    pub fn context_key(&self, answer: &[u8]) -> Result<Key, ReadError> {
        let mut fields = Der::new(answer).take_in(0x6f, 0x30)?;
        fields.number_in(0xa0)?;
        fields.number_in(0xa1)?;
        let plain = Encrypted::of(&mut fields, 0xa2)?.opened(&self.session, ANSWER)?;
        let mut part = Der::new(&plain).take_in(0x7b, 0x30)?;
        part.take(0xa0)?;
        part.take(0xa1)?;
        if part.tag() == Some(0xa2) { key(&mut part, 0xa2) } else { Err(ReadError::NoSubkey) }
    }
}

/// Where a host begins to number, as its authenticator says. Some write the number with a sign.
fn first(authenticator: &[u8]) -> Result<u64, ReadError> {
    let mut fields = Der::new(authenticator).take_in(0x62, 0x30)?;
    for tag in 0xa0..=0xa2 {
        fields.take(tag)?;
    }
    fields.take_if(0xa3)?;
    fields.take(0xa4)?;
    fields.take(0xa5)?;
    fields.take_if(0xa6)?;
    let number = if fields.tag() == Some(0xa7) { fields.number_in(0xa7)? } else { 0 };
    Ok(number as u64 & u64::from(u32::MAX))
}

/// Something encrypted in a message.
struct Encrypted<'a> {
    enctype: i64,
    version: Option<i64>,
    bytes: &'a [u8],
}

impl<'a> Encrypted<'a> {
    fn of(fields: &mut Der<'a>, tag: u8) -> Result<Self, ReadError> {
        let mut fields = fields.take_in(tag, 0x30)?;
        let enctype = fields.number_in(0xa0)?;
        let version = if fields.tag() == Some(0xa1) { Some(fields.number_in(0xa1)?) } else { None };
        Ok(Self { enctype, version, bytes: fields.take_in(0xa2, 0x04)?.bytes() })
    }

    fn opened(&self, key: &Key, usage: u32) -> Result<Vec<u8>, ReadError> {
        if key.enctype() as i64 != self.enctype {
            return Err(ReadError::Malformed);
        }
        key.cipher(usage).opened(self.bytes).map_err(|_| ReadError::NoKey)
    }

    /// Keys of the right version first; names do not count, since one account has several.
    fn opened_with(&self, keytab: &[Entry]) -> Result<Vec<u8>, ReadError> {
        let mut fitting: Vec<&Entry> = keytab.iter().filter(|entry| entry.enctype == self.enctype).collect();
        fitting.sort_by_key(|entry| self.version != Some(entry.version.into()));
        let keys = fitting.into_iter().filter_map(Entry::key);
        let mut opened = keys.filter_map(|key| self.opened(&key, TICKET).ok());
        super::cipher::Enctype::of(self.enctype)?;
        opened.next().ok_or(ReadError::NoKey)
    }
}

fn key(fields: &mut Der<'_>, tag: u8) -> Result<Key, ReadError> {
    let mut fields = fields.take_in(tag, 0x30)?;
    let enctype = fields.number_in(0xa0)?;
    Ok(Key::new(enctype, fields.take_in(0xa1, 0x04)?.bytes())?)
}

fn name(mut fields: Der<'_>) -> Result<String, ReadError> {
    fields.number_in(0xa0)?;
    let mut parts = fields.take_in(0xa1, 0x30)?;
    let mut name = Vec::new();
    while !parts.is_empty() {
        name.push(text(parts.any()?));
    }
    Ok(name.join("/"))
}

fn text(content: Der<'_>) -> String {
    String::from_utf8_lossy(content.bytes()).into_owned()
}

/// `YYYYMMDDhhmmssZ` in Unix seconds.
fn time(text: &[u8]) -> Option<i64> {
    let digits = std::str::from_utf8(text.strip_suffix(b"Z")?).ok()?;
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits[from..to].parse::<u16>().ok();
    let small = |at: usize| part(at, at + 2).and_then(|part| u8::try_from(part).ok());
    let month = time::Month::try_from(small(4)?).ok()?;
    let date = time::Date::from_calendar_date(part(0, 4)?.into(), month, small(6)?).ok()?;
    let clock = time::Time::from_hms(small(8)?, small(10)?, small(12)?).ok()?;
    Some(time::PrimitiveDateTime::new(date, clock).assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::super::keytab::tests::written;
    use super::super::{cts, keytab};
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let length = if length < 128 { vec![length as u8] } else { vec![0x82, (length >> 8) as u8, length as u8] };
        [vec![tag], length, content.to_vec()].concat()
    }

    fn number(tag: u8, value: u8) -> Vec<u8> {
        element(tag, &[0x02, 0x01, value])
    }

    fn sealed(key: &Key, usage: u32, text: &[u8]) -> Vec<u8> {
        let mut text = [&[3; cts::BLOCK], text].concat();
        let tag = key.cipher(usage).encrypt(&mut text);
        let octets = element(0x04, &[text, tag].concat());
        let kind = key.enctype() as u8;
        element(0x30, &[number(0xa0, kind), number(0xa1, 2), element(0xa2, &octets)].concat())
    }

    fn key_field(tag: u8, key: &Key) -> Vec<u8> {
        let octets = element(0x04, key.bytes());
        element(tag, &element(0x30, &[number(0xa0, key.enctype() as u8), element(0xa1, &octets)].concat()))
    }

    /// A request with a ticket of `PC1$`, and the answer with a key for the context.
    fn exchange(service: &Key, session: &Key, subkey: &Key) -> (Vec<u8>, Vec<u8>) {
        let string = |text: &str| element(0x1b, text.as_bytes());
        let names = element(0x30, &[number(0xa0, 1), element(0xa1, &element(0x30, &string("PC1$")))].concat());
        let time = |tag: u8| element(tag, &element(0x18, b"20260102030405Z"));
        let part = [
            element(0xa0, &[]),
            key_field(0xa1, session),
            element(0xa2, &string("EXAMPLE.TEST")),
            element(0xa3, &names),
            element(0xa4, &[]),
            time(0xa5),
            time(0xa7),
        ];
        let part = element(0x63, &element(0x30, &part.concat()));
        let ticket = [
            number(0xa0, 5),
            element(0xa1, &string("EXAMPLE.TEST")),
            element(0xa2, &[]),
            element(0xa3, &sealed(service, TICKET, &part)),
        ];
        let ticket = element(0x61, &element(0x30, &ticket.concat()));
        let empty = |tags: std::ops::RangeInclusive<u8>| tags.flat_map(|tag| element(tag, &[])).collect::<Vec<u8>>();
        let authenticator = [empty(0xa0..=0xa2), empty(0xa4..=0xa5), element(0xa7, &[0x02, 0x04, 0xff, 0, 0, 9])];
        let authenticator = element(0x62, &element(0x30, &authenticator.concat()));
        let request = [
            number(0xa0, 5),
            number(0xa1, 14),
            element(0xa2, &[]),
            element(0xa3, &ticket),
            element(0xa4, &sealed(session, AUTHENTICATOR, &authenticator)),
        ];
        let answer = element(0x7b, &element(0x30, &[empty(0xa0..=0xa1), key_field(0xa2, subkey)].concat()));
        let answer = [number(0xa0, 5), number(0xa1, 15), element(0xa2, &sealed(session, ANSWER, &answer))];
        (element(0x6e, &element(0x30, &request.concat())), element(0x6f, &element(0x30, &answer.concat())))
    }

    fn keys() -> [Key; 3] {
        [(18, 1, 32), (18, 2, 32), (17, 3, 16)]
            .map(|(kind, byte, length)| Key::new(kind, &vec![byte; length]).expect("a key"))
    }

    #[test]
    fn the_key_of_a_context_comes_out_of_its_messages() {
        let [service, session, subkey] = keys();
        let (request, answer) = exchange(&service, &session, &subkey);
        let keytab = written(&[("HTTP/a", "R", 9, 18, &[9; 32]), ("GATE$", "R", 2, 18, service.bytes())]);
        let keytab = keytab::read(&keytab).expect("a keytab");
        let ticket = Ticket::open(&request, &keytab).expect("it opens");
        assert_eq!((ticket.principal.as_str(), ticket.ends_s), ("PC1$@EXAMPLE.TEST", 1_767_323_045));
        assert_eq!(ticket.first, 0xff00_0009, "a number below zero is one without a sign");
        assert_eq!(ticket.context_key(&answer), Ok(subkey));
        assert_eq!(Ticket::open(&request, &keytab[..1]), Err(ReadError::NoKey));
        assert!(ticket.context_key(&request).is_err());
    }

    #[test]
    fn messages_that_are_cut_or_changed_are_refused() {
        let [service, session, subkey] = keys();
        let (request, answer) = exchange(&service, &session, &subkey);
        let keytab = keytab::read(&written(&[("a", "R", 2, 18, service.bytes())])).expect("a keytab");
        let ticket = Ticket::open(&request, &keytab).expect("it opens");
        for end in 0..request.len() {
            assert!(Ticket::open(&request[..end], &keytab).is_err(), "{end}");
        }
        for end in 0..answer.len() {
            assert!(ticket.context_key(&answer[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn only_a_token_of_kerberos_holds_a_message() {
        let token = |mechanism: &[u8], kind: &[u8]| {
            element(0x60, &[&element(0x06, mechanism), kind, b"message".as_slice()].concat())
        };
        for mechanism in MECHANISMS {
            assert_eq!(request(&token(mechanism, REQUEST_KIND)), Some(&b"message"[..]));
            assert_eq!(answer(&token(mechanism, ANSWER_KIND)), Some(&b"message"[..]));
            assert_eq!(request(&token(mechanism, ANSWER_KIND)), None);
        }
        assert_eq!(request(&token(b"ntlm", REQUEST_KIND)), None);
        assert_eq!(request(b"NTLMSSP\0"), None);
    }
}
