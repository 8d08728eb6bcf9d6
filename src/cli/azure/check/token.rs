//! The token: whether there is one, and what stands in it. It is decoded, not verified: that is Azure's work.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Findings;
use crate::clock;
use crate::outputs::identity::{Identity, Token};
use crate::outputs::workspace::{self, reach::Reach};

/// What is known of who uploads.
#[derive(Default)]
pub(super) struct Held {
    pub(super) token: Option<Token>,
    /// Whether uploads can be tried: there is a token, or none is wanted.
    pub(super) usable: bool,
    /// The object id of the service principal or managed identity.
    pub(super) object_id: Option<String>,
}

/// Asks for a token and looks into it.
pub(super) async fn check(output: &workspace::Config, reach: &Reach, findings: &mut Findings) -> Held {
    let kind = output.identity.kind();
    let token = match reach.uploads.token().await {
        Err(error) => {
            let advice =
                error.advice.unwrap_or_else(|| format!("check outputs.identity (kind {kind}) and the way to Entra ID"));
            findings.problem("token", error.detail, advice);
            return Held::default();
        }
        Ok(None) if output.identity == Identity::None => {
            findings.unknown(
                "token",
                "none is configured",
                "set outputs.identity, unless the endpoint asks for none, as another Gatepost may",
            );
            return Held { usable: true, ..Held::default() };
        }
        Ok(None) => {
            findings.problem("token", format!("the identity of kind {kind} gave none"), "check outputs.identity");
            return Held::default();
        }
        Ok(Some(token)) => token,
    };
    let object_id = match claims(token.reveal()) {
        None => {
            findings.unknown(
                "token",
                format!("there is one (kind {kind}), but it is no JWT and tells nothing"),
                "Azure takes only its own tokens",
            );
            None
        }
        Some(claims) => {
            judge(&claims, output, findings);
            text(&claims, "oid")
        }
    };
    Held { token: Some(token), usable: true, object_id }
}

fn judge(claims: &Value, output: &workspace::Config, findings: &mut Findings) {
    let known = |name: &str, claim: Option<String>| claim.map(|value| format!("{name} {value}"));
    let roles = claims["roles"]
        .as_array()
        .map(|roles| roles.iter().filter_map(Value::as_str).map(shown).collect::<Vec<_>>().join(", "));
    let app = text(claims, "appid").or_else(|| text(claims, "azp"));
    let parts = [
        known("tenant", text(claims, "tid")),
        known("application", app),
        known("object", text(claims, "oid")),
        known("roles", roles.filter(|roles| !roles.is_empty())),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    findings.ok(
        "token",
        format!(
            "kind {}, {}",
            output.identity.kind(),
            if parts.is_empty() { "tells nothing of its owner".to_owned() } else { parts.join(", ") }
        ),
    );

    let wanted = output.cloud.monitor();
    match text(claims, "aud") {
        Some(audience) if audience.trim_end_matches('/') == wanted => findings.ok("token audience", audience),
        Some(audience) => findings.problem(
            "token audience",
            format!("{audience}, but uploads need {wanted}"),
            "ask for a token with that scope; is `cloud` right?",
        ),
        None => findings.unknown("token audience", "the token names none", format!("uploads need {wanted}")),
    }
    let now = clock::wall_s().cast_signed();
    match claims["exp"].as_i64() {
        Some(end) if end <= now => findings.problem(
            "token expiry",
            format!("it ended at {}", time_of(end)),
            "get a fresh one; a fixed token (kind token) is not renewed by Gatepost; is this machine's clock right?",
        ),
        Some(end) => findings.ok("token expiry", format!("good until {}", time_of(end))),
        None => findings.unknown("token expiry", "the token names none", "Azure will tell"),
    }
}

/// What the middle part of a JWT says.
fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, body, _) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = URL_SAFE_NO_PAD.decode(body.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object)
}

fn text(claims: &Value, name: &str) -> Option<String> {
    claims[name].as_str().map(shown)
}

/// A token comes from outside: what of it is shown is short and has no control characters.
fn shown(text: &str) -> String {
    text.chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn time_of(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| seconds.to_string())
}
