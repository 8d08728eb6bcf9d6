use super::buffer::{Buffer, Chunk};
use super::*;
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

#[test]
fn the_certificate_has_two_common_names_and_calls_itself_an_authority_on_linux() {
    for (kind, is_ca) in [(Kind::Linux, true), (Kind::Windows, false)] {
        let made = OwnCertificate::new(kind, "workspace-id", "agent-id").expect("it is made");
        let (_, certificate) = X509Certificate::from_der(made.der()).expect("it is one");
        let names: Vec<&str> = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect();
        assert_eq!(names, ["workspace-id", "agent-id"]);
        assert_eq!(certificate.is_ca(), is_ca);
        assert_eq!(certificate.issuer(), certificate.subject(), "nobody else vouches for it");
    }
}

#[test]
fn what_an_agent_keeps_and_tries_has_the_bounds_of_the_real_one() {
    let linux = Budget::of(Kind::Linux);
    let all: Duration = (1..=linux.retries).map(|nth| linux.wait(nth)).sum();
    assert_eq!(all.as_secs(), 1890, "half an hour, then the chunk is lost");
    let windows = Budget::of(Kind::Windows);
    assert_eq!(windows.wait(3), Duration::from_secs(480));
    let mut buffer = Buffer::new(linux);
    (0..12).for_each(|_| buffer.push(Chunk::default()));
    assert_eq!((buffer.len(), buffer.lost.displaced), (10, 2));
    let waits: Vec<_> = (0..7).map(|_| buffer.failed()).collect();
    assert_eq!(waits[5], Some(Duration::from_secs(960)));
    assert_eq!((waits[6], buffer.lost.given_up, buffer.len()), (None, 1, 9));
}

#[test]
fn answers_are_read_line_by_line() {
    let answer = "<LinuxAgentTopologyResponse queryInterval=\"PT1H\" telemetryReportInterval=\"PT10M\" id=\"x\">\n\
                  <CertificateUpdateEndpoint updateCertificate=\"true\">https://a/ConfigurationService.Svc/RenewCertificate</CertificateUpdateEndpoint>\n";
    assert_eq!(messages::attribute(answer, "queryInterval"), Some("PT1H"));
    assert_eq!(messages::attribute(answer, "updateCertificate"), Some("true"));
    assert_eq!(messages::renewal_address(answer), Some("https://a/ConfigurationService.Svc/RenewCertificate"));
    assert_eq!(messages::renewal_address(&answer.replace("https:", "\nhttps:")), None, "not over two lines");
}
