//! The token of a mechanism inside of one of SPNEGO (RFC 4178): Windows wraps Kerberos in it under `Negotiate`.
//!
//! The library of Kerberos leads the negotiation. Here only the message of Kerberos is found in what it was given and gave.

use super::der::{Der, Malformed};
use super::messages;

const MECHANISM: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];

/// The token of the mechanism in a token that begins a negotiation or goes on with it; what is neither, is its own.
pub fn inner(token: &[u8]) -> &[u8] {
    let found = if token.first() == Some(&0xa1) { answered(token) } else { begun(token) };
    found.ok().flatten().unwrap_or(token)
}

fn begun(token: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let mut content = Der::new(token).take(0x60)?;
    if content.take(0x06)?.bytes() != MECHANISM {
        return Ok(None);
    }
    let mut fields = content.take_in(0xa0, 0x30)?;
    fields.take(0xa0)?;
    fields.take_if(0xa1)?;
    octets(&mut fields)
}

fn answered(token: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let mut fields = Der::new(token).take_in(0xa1, 0x30)?;
    fields.take_if(0xa0)?;
    fields.take_if(0xa1)?;
    octets(&mut fields)
}

fn octets<'a>(fields: &mut Der<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    let Some(mut field) = fields.take_if(0xa2)? else { return Ok(None) };
    Ok(Some(field.take(0x04)?.bytes()))
}

/// Whether a token is one of NTLM, bare or as the only one that SPNEGO offers: the host got no ticket.
pub fn is_ntlm(token: &[u8]) -> bool {
    let token = inner(token);
    messages::request(token).is_none() && token.starts_with(b"NTLMSSP\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by hand after RFC 4178, 4.2: the mechanisms, then the token of the first.
    #[test]
    fn the_token_of_the_mechanism_is_found_in_both_kinds() {
        let begins = [
            &[0x60, 0x19, 0x06, 0x06][..],
            MECHANISM,
            &[0xa0, 0x0f, 0x30, 0x0d, 0xa0, 0x04, 0x30, 0x02, 0x06, 0x00, 0xa2, 0x05, 0x04, 0x03, 1, 2, 3],
        ]
        .concat();
        assert_eq!(inner(&begins), [1, 2, 3]);
        let goes_on = [0xa1, 0x0e, 0x30, 0x0c, 0xa0, 0x03, 0x0a, 0x01, 0x00, 0xa2, 0x05, 0x04, 0x03, 4, 5, 6];
        assert_eq!(inner(&goes_on), [4, 5, 6]);
        let without = [0xa1, 0x07, 0x30, 0x05, 0xa0, 0x03, 0x0a, 0x01, 0x00];
        assert_eq!(inner(&without), without, "it holds none");
        for end in 0..begins.len() {
            assert_eq!(inner(&begins[..end]), &begins[..end], "{end}");
        }
        assert!(is_ntlm(b"NTLMSSP\0\x01") && !is_ntlm(&begins));
    }
}
