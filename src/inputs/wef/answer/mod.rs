//! What is answered to a host: the subscriptions that it is to have, and that events are kept.
//!
//! `RelatesTo` repeats the host's message id byte for byte. `OperationID` is left out: whoever repeats it promises to answer a
//! message that comes again as it was answered before, from memory (MS-WSMV 3.1.4.1.39).

mod subscribe;

use std::io;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use quick_xml::Writer;
use quick_xml::events::BytesText;

use super::envelope::Charset;
use super::envelope::text;
use super::{ids, words};

pub(super) use subscribe::{Start, Subscribe};

/// What writes an answer.
type Xml = Writer<Vec<u8>>;

/// "Your events are kept", or "I hear you".
pub(super) fn ack(relates_to: &str, charset: Charset) -> Response<Body> {
    let written = envelope(words::ACK, relates_to, |xml| {
        xml.create_element("s:Body").write_empty()?;
        Ok(())
    });
    soap(written, charset)
}

/// The subscriptions that a host is to have; none ends those that it has.
pub(super) fn subscriptions(relates_to: &str, subscriptions: &[Subscribe<'_>], charset: Charset) -> Response<Body> {
    let written = envelope(words::ENUMERATE_RESPONSE, relates_to, |xml| {
        xml.create_element("s:Body").write_inner_content(|xml| {
            xml.create_element("n:EnumerateResponse").write_inner_content(|xml| {
                // One with content would make Windows ask for more.
                xml.create_element("n:EnumerationContext").write_empty()?;
                xml.create_element("w:Items").write_inner_content(|xml| {
                    subscriptions.iter().try_for_each(|subscription| subscription.write(xml))
                })?;
                xml.create_element("w:EndOfSequence").write_empty()?;
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(())
    });
    soap(written, charset)
}

/// Success with nothing to say.
pub(super) fn nothing(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A refusal. Windows reads nothing but the status; the text is for people.
pub(super) fn refusal(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{message}\n")));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

fn envelope(action: &str, relates_to: &str, body: impl FnOnce(&mut Xml) -> io::Result<()>) -> String {
    let mut xml = Writer::new(Vec::new());
    let names = [
        ("xmlns:s", words::SOAP),
        ("xmlns:a", words::ADDRESSING),
        ("xmlns:e", words::EVENTING),
        ("xmlns:n", words::ENUMERATION),
        ("xmlns:w", words::WSMAN),
        ("xmlns:p", words::MS_WSMAN),
    ];
    let root = xml.create_element("s:Envelope").with_attributes([("xml:lang", "en-US")]).with_attributes(names);
    let written = root.write_inner_content(|xml| {
        xml.create_element("s:Header").write_inner_content(|xml| {
            element(xml, "a:Action", action)?;
            element(xml, "a:MessageID", &message_id())?;
            element(xml, "a:To", words::ANONYMOUS)?;
            element(xml, "a:RelatesTo", relates_to)
        })?;
        body(xml)
    });
    written.expect("writing to memory does not fail");
    String::from_utf8(xml.into_inner()).expect("it was written from texts")
}

fn soap(envelope: String, charset: Charset) -> Response<Body> {
    let (name, body) = match charset {
        Charset::Utf8 => ("application/soap+xml;charset=UTF-8", envelope.into_bytes()),
        Charset::Utf16(_) => ("application/soap+xml;charset=UTF-16", text::write(&envelope, charset)),
    };
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(name));
    response
}

fn element(xml: &mut Xml, name: &str, text: &str) -> io::Result<()> {
    xml.create_element(name).write_text_content(BytesText::new(text))?;
    Ok(())
}

/// A new id for a message, in capitals as Windows writes it.
fn message_id() -> String {
    format!("uuid:{}", ids::random())
}

#[cfg(test)]
mod tests;
