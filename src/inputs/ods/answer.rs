//! What agents are answered.
//!
//! They read a registration's answer with regular expressions: an element is whole on one line, attributes have double quotes,
//! and the address of renewals begins with `https` and ends with `RenewCertificate`. Of a refusal they show the one line of
//! `<Reason>`. Of everything else they look at the status only: any but 2xx means that the same comes again.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};

use super::registry::Agent;
use crate::inputs::http::reply;
use crate::inputs::reason::Failure;

const NAMESPACE: &str = "http://schemas.microsoft.com/WorkloadMonitoring/HealthServiceProtocol/2014/09/";

/// What an agent is told when it registers, or refreshes its registration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Topology<'a> {
    /// The root of the answer.
    pub(super) root: &'a str,
    /// Whose it is.
    pub(super) agent: &'a Agent,
    /// Where it asked: `https://host:port`.
    pub(super) base: &'a str,
    /// Whether it is to renew its certificate.
    pub(super) renew: bool,
    pub(super) refresh_every_s: u64,
    pub(super) telemetry_every_s: u64,
}

/// 200 with nothing.
pub(super) fn nothing() -> Response<Body> {
    Response::new(Body::empty())
}

/// 200 with what an agent is told.
pub(super) fn topology(told: &Topology<'_>) -> Response<Body> {
    let Topology { root, agent, base, renew, refresh_every_s, telemetry_every_s } = told;
    let (refresh, telemetry) = (duration(*refresh_every_s), duration(*telemetry_every_s));
    let (workspace, id) = (&agent.workspace, &agent.agent);
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <{root} queryInterval=\"{refresh}\" telemetryReportInterval=\"{telemetry}\" id=\"{id}\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns=\"{NAMESPACE}\">\n\
         <CertificateUpdateEndpoint updateCertificate=\"{renew}\">{base}/ConfigurationService.Svc/RenewCertificate</CertificateUpdateEndpoint>\n\
         <DscConfiguration><Endpoint>{base}/Accounts/{workspace}/Nodes(AgentId='{id}')</Endpoint><NodeConfigurationName>MicrosoftOperationsManagementLinuxConfiguration.common</NodeConfigurationName></DscConfiguration>\n\
         </{root}>\n"
    );
    xml(StatusCode::OK, text)
}

/// A failure as an answer.
pub(super) fn refused(failure: &Failure) -> Response<Body> {
    let mut line = String::new();
    for letter in failure.message.chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
        match letter {
            '&' => line.push_str("&amp;"),
            '<' => line.push_str("&lt;"),
            '>' => line.push_str("&gt;"),
            other => line.push(other),
        }
    }
    let mut response = xml(status(failure), format!("<Error><Reason>{line}</Reason></Error>\n"));
    reply::put_on(failure, &mut response);
    response
}

/// Who is not known is told so with 403, as by the service.
fn status(failure: &Failure) -> StatusCode {
    match failure.status() {
        StatusCode::UNAUTHORIZED => StatusCode::FORBIDDEN,
        status => status,
    }
}

fn xml(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    response
}

/// Where an agent asked: it can reach that. `None` when it does not say so in a way that can be repeated.
pub(super) fn asked_at(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let told = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = told.or_else(|| uri.authority().map(|authority| authority.as_str()))?;
    let sound = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte));
    sound.then(|| format!("https://{host}"))
}

/// A span in ISO 8601.
fn duration(seconds: u64) -> String {
    let parts = [(seconds / 3600, 'H'), (seconds / 60 % 60, 'M'), (seconds % 60, 'S')];
    let text: String =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    format!("PT{}", if text.is_empty() { "0S" } else { &text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::reason::Reason;

    async fn text(response: Response<Body>) -> (u16, String) {
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 16).await.expect("a body");
        (parts.status.as_u16(), String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn what_agents_look_for_stands_on_lines_of_its_own_in_double_quotes() {
        let made = rcgen::generate_simple_self_signed(vec!["web01".to_owned()]).expect("a certificate");
        let agent = Agent::new(made.cert.der(), "W", "A", "web01", None, 1).expect("it is one");
        let told = Topology {
            root: "LinuxAgentTopologyResponse",
            agent: &agent,
            base: "https://gate:8443",
            renew: true,
            refresh_every_s: 1200,
            telemetry_every_s: 3_690,
        };
        let (status, body) = text(topology(&told)).await;
        assert_eq!(status, 200);
        let lines: Vec<&str> = body.lines().collect();
        assert!(lines[1].contains("queryInterval=\"PT20M\" telemetryReportInterval=\"PT1H1M30S\" id=\"a\""), "{body}");
        assert!(lines[2].contains("updateCertificate=\"true\">https://"), "{body}");
        assert!(lines[2].ends_with("RenewCertificate</CertificateUpdateEndpoint>"), "{body}");
        assert!(lines[3].contains("<Endpoint>https://gate:8443/Accounts/w/Nodes(AgentId='a')</Endpoint>"), "{body}");
    }

    #[tokio::test]
    async fn a_refusal_has_its_reason_on_one_line_and_strangers_get_403() {
        for reason in [Reason::TOKEN, Reason::CREDENTIALS, Reason::CERTIFICATE, Reason::ADDRESS] {
            let (status, body) = text(refused(&Failure::new(reason, "a\nb <c> & d"))).await;
            assert_eq!((status, body.trim()), (403, "<Error><Reason>a b &lt;c&gt; &amp; d</Reason></Error>"));
        }
        let later = refused(&Failure::new(Reason::SPOOL_FULL, "full"));
        assert_eq!((later.status().as_u16(), later.headers().contains_key("retry-after")), (503, true));
    }

    #[test]
    fn the_address_is_the_one_that_was_asked_and_never_markup() {
        let asked = |host: &str| {
            let headers = [(header::HOST, HeaderValue::try_from(host).expect("a value"))].into_iter().collect();
            asked_at(&Uri::from_static("/"), &headers)
        };
        assert_eq!(asked("a.oms.example:443").as_deref(), Some("https://a.oms.example:443"));
        assert_eq!(asked("a\"><b"), None);
        let uri = Uri::from_static("https://h2.example/AgentService.svc");
        assert_eq!(asked_at(&uri, &HeaderMap::new()).as_deref(), Some("https://h2.example"));
    }
}
