//! One subscription as a host is told of it: an envelope in the envelope (MS-WSMV 3.1.4.1.30).

use std::io;

use quick_xml::events::BytesText;

use super::{Xml, element, message_id};
use crate::inputs::wef::subscription::{Content, Subscription};
use crate::inputs::wef::words;

/// The largest envelope that a host is to send, in bytes of UTF-16. Windows' own collectors ask for as much.
const ENVELOPE_SIZE: &str = "512000";
/// How often a host tries again before it waits for the next enumeration.
const RETRIES: &str = "5";

/// Where a host begins to read its logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::inputs::wef) enum Start {
    /// With what happens from now on.
    Now,
    /// With the oldest event that it has.
    Earliest,
    /// Behind this bookmark, which is the host's own.
    Behind(String),
}

/// A subscription for one host.
#[derive(Debug, Clone)]
pub(in crate::inputs::wef) struct Subscribe<'a> {
    /// What it is to send.
    pub(in crate::inputs::wef) subscription: &'a Subscription,
    /// Changes when and only when what the host sees does.
    pub(in crate::inputs::wef) version: String,
    /// Where it is to deliver.
    pub(in crate::inputs::wef) notify_to: String,
    /// SHA-1 of the authority that issued its certificate, in hexadecimal; `None` where it shows a ticket of Kerberos.
    pub(in crate::inputs::wef) issuer: Option<&'a str>,
    /// Where it begins.
    pub(in crate::inputs::wef) start: Start,
}

impl Subscribe<'_> {
    pub(super) fn write(&self, xml: &mut Xml) -> io::Result<()> {
        let item = xml.create_element("m:Subscription").with_attribute(("xmlns:m", words::MS_SUBSCRIPTION));
        item.write_inner_content(|xml| {
            element(xml, "m:Version", &format!("uuid:{}", self.version))?;
            xml.create_element("s:Envelope").write_inner_content(|xml| {
                self.header(xml)?;
                self.body(xml)
            })?;
            Ok(())
        })?;
        Ok(())
    }

    fn header(&self, xml: &mut Xml) -> io::Result<()> {
        xml.create_element("s:Header").write_inner_content(|xml| {
            element(xml, "a:To", words::ANONYMOUS)?;
            needed(xml, "w:ResourceURI", words::EVENT_LOG)?;
            xml.create_element("a:ReplyTo").write_inner_content(|xml| needed(xml, "a:Address", words::ANONYMOUS))?;
            needed(xml, "a:Action", words::SUBSCRIBE)?;
            needed(xml, "w:MaxEnvelopeSize", ENVELOPE_SIZE)?;
            element(xml, "a:MessageID", &message_id())?;
            unneeded(xml, "p:OperationID", &message_id())?;
            unneeded(xml, "p:SequenceId", "1")?;
            self.options(xml)
        })?;
        Ok(())
    }

    fn options(&self, xml: &mut Xml) -> io::Result<()> {
        let subscription = self.subscription;
        xml.create_element("w:OptionSet").with_attribute(("xmlns:xsi", words::XSI)).write_inner_content(|xml| {
            option(xml, "SubscriptionName", &subscription.name)?;
            if subscription.compress {
                option(xml, "Compression", "SLDC")?;
            }
            flag(xml, "CDATA")?;
            let content = match subscription.content {
                Content::Raw => "Raw",
                Content::Rendered => "RenderedText",
            };
            option(xml, "ContentFormat", content)?;
            flag(xml, "IgnoreChannelError")?;
            if subscription.read_existing_events {
                flag(xml, "ReadExistingEvents")?;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn body(&self, xml: &mut Xml) -> io::Result<()> {
        xml.create_element("s:Body").write_inner_content(|xml| {
            xml.create_element("e:Subscribe").write_inner_content(|xml| {
                xml.create_element("e:EndTo").write_inner_content(|xml| self.address(xml))?;
                self.delivery(xml)?;
                let filter = xml.create_element("w:Filter").with_attribute(("Dialect", words::EVENT_QUERY));
                filter.write_text_content(as_written(&self.subscription.query_list))?;
                match &self.start {
                    Start::Now => {}
                    Start::Earliest => element(xml, "w:Bookmark", words::EARLIEST)?,
                    Start::Behind(bookmark) => {
                        xml.create_element("w:Bookmark").write_text_content(as_written(bookmark))?;
                    }
                }
                xml.create_element("w:SendBookmarks").write_empty()?;
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(())
    }

    /// What stands in the address comes back with every message: its reference parameters as headers.
    fn address(&self, xml: &mut Xml) -> io::Result<()> {
        element(xml, "a:Address", &self.notify_to)?;
        xml.create_element("a:ReferenceProperties")
            .write_inner_content(|xml| element(xml, "e:Identifier", &self.subscription.id))?;
        Ok(())
    }

    fn delivery(&self, xml: &mut Xml) -> io::Result<()> {
        let delivery = xml.create_element("e:Delivery").with_attribute(("Mode", words::EVENTS_MODE));
        let pace = &self.subscription.pace;
        delivery.write_inner_content(|xml| {
            element(xml, "w:Heartbeats", &seconds(pace.heartbeat_s))?;
            xml.create_element("e:NotifyTo").write_inner_content(|xml| {
                self.address(xml)?;
                self.policy(xml)
            })?;
            let retry = xml.create_element("w:ConnectionRetry").with_attribute(("Total", RETRIES));
            retry.write_text_content(BytesText::new(&seconds(pace.retry_s)))?;
            if let Some(most) = pace.max_elements {
                element(xml, "w:MaxElements", &most.to_string())?;
            }
            element(xml, "w:MaxTime", &seconds(pace.max_time_s))?;
            let size = xml.create_element("w:MaxEnvelopeSize").with_attribute(("Policy", "Notify"));
            size.write_text_content(BytesText::new(ENVELOPE_SIZE))?;
            element(xml, "w:ContentEncoding", "UTF-16")
        })?;
        Ok(())
    }

    fn policy(&self, xml: &mut Xml) -> io::Result<()> {
        let names = [("xmlns:c", words::POLICY), ("xmlns:auth", words::MS_AUTHENTICATION)];
        xml.create_element("c:Policy").with_attributes(names).write_inner_content(|xml| {
            xml.create_element("c:ExactlyOne").write_inner_content(|xml| {
                xml.create_element("c:All").write_inner_content(|xml| {
                    let profile = if self.issuer.is_some() { words::MUTUAL_TLS } else { words::SPNEGO_KERBEROS };
                    let profile = xml.create_element("auth:Authentication").with_attribute(("Profile", profile));
                    let Some(issuer) = self.issuer else { return profile.write_empty().map(drop) };
                    profile.write_inner_content(|xml| certificate(xml, issuer)).map(drop)
                })?;
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(())
    }
}

/// Which certificate the host shows.
fn certificate(xml: &mut Xml, issuer: &str) -> io::Result<()> {
    xml.create_element("auth:ClientCertificate").write_inner_content(|xml| {
        let print = xml.create_element("auth:Thumbprint").with_attribute(("Role", "issuer"));
        print.write_text_content(BytesText::new(issuer)).map(drop)
    })?;
    Ok(())
}

/// XML that goes out as it came: a query list, a host's own bookmark.
fn as_written(xml: &str) -> BytesText<'_> {
    BytesText::from_escaped(xml)
}

fn seconds(seconds: u64) -> String {
    format!("PT{seconds}.000S")
}

/// A header that the host must understand.
fn needed(xml: &mut Xml, name: &str, text: &str) -> io::Result<()> {
    xml.create_element(name).with_attribute(("s:mustUnderstand", "true")).write_text_content(BytesText::new(text))?;
    Ok(())
}

/// A header that it may pass over.
fn unneeded(xml: &mut Xml, name: &str, text: &str) -> io::Result<()> {
    xml.create_element(name).with_attribute(("s:mustUnderstand", "false")).write_text_content(BytesText::new(text))?;
    Ok(())
}

fn option(xml: &mut Xml, name: &str, text: &str) -> io::Result<()> {
    xml.create_element("w:Option").with_attribute(("Name", name)).write_text_content(BytesText::new(text))?;
    Ok(())
}

fn flag(xml: &mut Xml, name: &str) -> io::Result<()> {
    xml.create_element("w:Option").with_attributes([("Name", name), ("xsi:nil", "true")]).write_empty()?;
    Ok(())
}
