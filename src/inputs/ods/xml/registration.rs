//! A registration, and the renewal of a certificate.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::XmlFault;
use super::reader::{Element, Reader};
use crate::inputs::data_collector::signature::is_workspace_id;

/// Longest value of an element, but for the certificate.
const VALUE_MAX: usize = 4096;
/// Longest certificate in base64.
const CERTIFICATE_MAX: usize = 16 << 10;
/// Longest name of a computer.
const COMPUTER_MAX: usize = 255;
/// What is kept of a text about a system.
const SHOWN_MAX: usize = 64;

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registration {
    /// Its name, in the letters that it was told in.
    pub computer: String,
    /// Its GUID, in small letters and without braces.
    pub agent: String,
    /// Its certificate, encoded.
    pub certificate: Vec<u8>,
    /// Its operating system, where it tells: name and version.
    pub system: Option<String>,
}

/// Reads a registration.
///
/// # Errors
///
/// When it is none, or a part of it cannot be used.
pub fn registration(body: &[u8]) -> Result<Registration, XmlFault> {
    let mut reader = Reader::new(body);
    let root = named(&mut reader, b"AgentTopologyRequest", "an AgentTopologyRequest")?;
    let mut found = Registration::default();
    while let Some(part) = reader.child(&root)? {
        match part.local() {
            b"FullyQualfiedDomainName" => {
                let told = reader.value(&part, VALUE_MAX)?.into_owned();
                found.computer = computer(&told).ok_or(XmlFault::Lacks("FullyQualfiedDomainName"))?;
            }
            b"EntityTypeId" => {
                let told = reader.value(&part, VALUE_MAX)?;
                let id = told.trim_start_matches('{').trim_end_matches('}').to_ascii_lowercase();
                found.agent = Some(id).filter(|id| is_workspace_id(id)).ok_or(XmlFault::Lacks("EntityTypeId"))?;
            }
            b"AuthenticationCertificate" => found.certificate = certificate(&mut reader, &part)?,
            b"OperatingSystem" => found.system = system(&mut reader, &part)?,
            _ => _ = reader.whole(&part)?,
        }
    }
    reader.end()?;
    let parts = [
        (found.computer.is_empty(), "FullyQualfiedDomainName"),
        (found.agent.is_empty(), "EntityTypeId"),
        (found.certificate.is_empty(), "AuthenticationCertificate"),
    ];
    match parts.into_iter().find(|(is_missing, _)| *is_missing) {
        Some((_, name)) => Err(XmlFault::Lacks(name)),
        None => Ok(found),
    }
}

/// The certificate that an agent wants to show from now on.
///
/// # Errors
///
/// When this is no such request, or the certificate cannot be used.
pub fn renewal(body: &[u8]) -> Result<Vec<u8>, XmlFault> {
    let mut reader = Reader::new(body);
    let root = named(&mut reader, b"CertificateUpdateRequest", "a CertificateUpdateRequest")?;
    let mut found = Vec::new();
    while let Some(part) = reader.child(&root)? {
        match part.local() {
            b"NewCertificate" => found = certificate(&mut reader, &part)?,
            _ => _ = reader.whole(&part)?,
        }
    }
    reader.end()?;
    if found.is_empty() { Err(XmlFault::Lacks("NewCertificate")) } else { Ok(found) }
}

fn named<'a>(reader: &mut Reader<'a>, name: &[u8], what: &'static str) -> Result<Element<'a>, XmlFault> {
    let root = reader.root()?;
    if root.local() == name { Ok(root) } else { Err(XmlFault::Other(what)) }
}

/// A name that can be compared with patterns: no letter of it means anything else.
fn computer(told: &str) -> Option<String> {
    // The agent for Linux leaves line ends in.
    let name: String = told.split_ascii_whitespace().collect();
    let is_name = (1..=COMPUTER_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_name.then_some(name)
}

fn certificate<'a>(reader: &mut Reader<'a>, part: &Element<'a>) -> Result<Vec<u8>, XmlFault> {
    let told: String = reader.value(part, CERTIFICATE_MAX)?.split_ascii_whitespace().collect();
    let der = BASE64_STANDARD.decode(told).map_err(|_| XmlFault::Lacks("certificate"))?;
    let is_one = X509Certificate::from_der(&der).is_ok_and(|(rest, _)| rest.is_empty());
    if is_one { Ok(der) } else { Err(XmlFault::Lacks("certificate")) }
}

fn system<'a>(reader: &mut Reader<'a>, part: &Element<'a>) -> Result<Option<String>, XmlFault> {
    let (mut name, mut version) = (String::new(), String::new());
    while let Some(child) = reader.child(part)? {
        match child.local() {
            b"Name" => name = shown(&reader.value(&child, VALUE_MAX)?),
            b"Version" => version = shown(&reader.value(&child, VALUE_MAX)?),
            _ => _ = reader.whole(&child)?,
        }
    }
    let both = format!("{name} {version}").trim().to_owned();
    Ok((!both.is_empty()).then_some(both))
}

/// As much of a text as is shown to people.
fn shown(told: &str) -> String {
    told.chars().filter(|letter| !letter.is_control()).take(SHOWN_MAX).collect()
}
