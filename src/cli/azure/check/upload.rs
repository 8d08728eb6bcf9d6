//! The endpoints: name, connection, clock, and the answer to an upload of nothing.

use std::time::{Duration, SystemTime};

use http::Uri;
use time::OffsetDateTime;

use super::Findings;
use super::token::Held;
use crate::net::http_client::{self, Answer, SendError};
use crate::outputs::workspace;
use crate::outputs::workspace::reach::{Reach, said};

/// Clocks further apart than this make tokens and times unsure.
const CLOCK_MAX: Duration = Duration::from_secs(5 * 60);
/// Longest wait for a name.
const NAME_MAX: Duration = Duration::from_secs(10);

/// Checks one endpoint.
pub(super) async fn check(
    output: &workspace::Config,
    reach: &Reach,
    (name, url): (&str, &Uri),
    held: &Held,
    findings: &mut Findings,
) {
    resolve(output, name, url, findings).await;
    // Without a token too: it shows whether the connection and the clock are good.
    match reach.upload_nothing(url, held.token.as_ref()).await {
        Ok(answer) => {
            let secure = if url.scheme_str() == Some("https") { "TLS works" } else { "answers, without TLS" };
            findings.ok(&format!("connection to {name}"), secure);
            clock(name, &answer, SystemTime::now().into(), findings);
            if held.usable {
                judge(name, &answer, findings);
            } else {
                findings.unknown(&format!("upload to {name}"), "not tried: there is no token", "see the token above");
            }
        }
        Err(SendError::Connect(what)) => findings.problem(
            &format!("connection to {name}"),
            what,
            "check the URL, the firewall, `proxy`, and `ca_file` if somebody on the way inspects TLS; the systemd unit lets \
             nothing out to the internet without its drop-in public-egress.conf",
        ),
        Err(SendError::NoAnswer(what)) => findings.problem(
            &format!("upload to {name}"),
            format!("connected, but no answer: {what}"),
            "is it a data collection endpoint? does something on the way cut connections?",
        ),
    }
}

async fn resolve(output: &workspace::Config, name: &str, url: &Uri, findings: &mut Findings) {
    let check = format!("name of {name}");
    if output.proxy.is_some() {
        findings.unknown(&check, "the proxy resolves it", "see the connection below");
        return;
    }
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    match tokio::time::timeout(NAME_MAX, tokio::net::lookup_host((host, url.port_u16().unwrap_or(443)))).await {
        Ok(Ok(mut addresses)) => match addresses.next() {
            Some(address) => findings.ok(&check, format!("{host} is {}", address.ip())),
            None => findings.problem(
                &check,
                format!("{host} has no address"),
                "check the URL and this machine's name servers",
            ),
        },
        Ok(Err(error)) => findings.problem(
            &check,
            format!("{host} is not found: {error}"),
            "check the URL and this machine's name servers",
        ),
        Err(_) => {
            findings.problem(&check, format!("no name server answers for {host}"), "check this machine's name servers")
        }
    }
}

/// How far the endpoint's clock is from ours.
fn clock(name: &str, answer: &Answer, now: OffsetDateTime, findings: &mut Findings) {
    let check = format!("clock against {name}");
    let Some(date) = http_client::date(&answer.headers) else {
        findings.unknown(&check, "the answer has no date", "see that this machine's clock is kept right");
        return;
    };
    let apart = now - date;
    let seconds = apart.whole_seconds();
    if apart.unsigned_abs() > CLOCK_MAX {
        let word = if seconds > 0 { "ahead" } else { "behind" };
        findings.problem(
            &check,
            format!("ours is {} s {word}", seconds.unsigned_abs()),
            "set this machine's clock by NTP: tokens are refused and events get wrong times",
        );
    } else {
        findings.ok(&check, format!("{seconds} s apart"));
    }
}

/// What the status means and what to do.
fn judge(name: &str, answer: &Answer, findings: &mut Findings) {
    let check = format!("upload to {name}");
    let said = said(answer);
    let advice = match answer.status {
        204 => return findings.ok(&check, "204: an upload of nothing was taken"),
        200..=299 => {
            let advice = "Azure answers 204: is this a collector that speaks the Logs Ingestion API?";
            return findings.unknown(&check, said, advice);
        }
        429 | 500..=599 => return findings.unknown(&check, said, "the endpoint is busy or failing; try again later"),
        400 => "the rule or the stream is not as configured: see that `stream` is declared in the rule",
        401 => "the token is not taken: check `cloud`, the tenant, and this machine's clock",
        403 => {
            "give the identity the role Monitoring Metrics Publisher on the rule (not on the endpoint); it takes up to half \
             an hour to act"
        }
        404 => "check `dcr` (the immutable id, not the name), `stream`, and that the endpoint is the rule's own",
        407 => "the proxy wants a name and a password: set proxy.username and proxy.password",
        300..=399 | 405 => {
            "this URL is no data collection endpoint: take `logsIngestion` of the rule or of its endpoint"
        }
        _ => "see what it says; docs/azure.md lists the answers",
    };
    findings.problem(&check, said, advice);
}
