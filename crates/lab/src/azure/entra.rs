//! The fake Entra: tokens for app registrations, with its errors in its own words and numbers.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::AzureError;
use super::apps::{App, Refusal};
use super::door::{Answer, Behind, Call, json};
use super::jwt::Mint;
use super::rules::random_guid;
use gatepost_spool::clock;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What tokens are given for: Azure Monitor and Resource Manager of each cloud.
const RESOURCES: [&str; 6] = [
    "https://monitor.azure.com",
    "https://monitor.azure.us",
    "https://monitor.azure.cn",
    "https://management.azure.com",
    "https://management.usgovcloudapi.net",
    "https://management.chinacloudapi.cn",
];

/// What Entra and the metadata services share: the key and the terms of tokens.
pub struct Directory {
    mint: Mint,
    state: Mutex<State>,
}

struct State {
    apps: Vec<App>,
    lifetime: Duration,
    /// Seconds that Entra's clock is ahead of this machine's.
    skew: i64,
    issued: u64,
}

/// Seconds since 1970.
fn unix_now() -> i64 {
    clock::wall_s().cast_signed()
}

impl Directory {
    pub(super) fn new() -> Result<Self, AzureError> {
        let state = State { apps: Vec::new(), lifetime: Duration::from_secs(3599), skew: 0, issued: 0 };
        Ok(Self { mint: Mint::new()?, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Registers an app, in the place of one with its id.
    pub fn register(&self, app: App) {
        let mut state = self.state();
        state.apps.retain(|other| other.client_id != app.client_id);
        state.apps.push(app);
    }

    /// Changes the credentials of an app; nothing without that app.
    pub fn change(&self, client_id: &str, change: impl FnOnce(&mut App)) {
        if let Some(app) = self.state().apps.iter_mut().find(|app| app.client_id == client_id) {
            change(app);
        }
    }

    /// How long tokens are good from now on, in whole seconds.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.state().lifetime = lifetime;
    }

    /// Sets Entra's clock so many seconds ahead of this machine's (negative: behind). Assertions are judged by it.
    pub fn set_clock_skew(&self, seconds: i64) {
        self.state().skew = seconds;
    }

    /// Tokens given out so far.
    pub fn issued(&self) -> u64 {
        self.state().issued
    }

    /// A token as Entra would give it, without asking; for identities that bring their own. `lifetime` in seconds may be
    /// negative: a token that has ended.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn token(&self, client_id: &str, audience: &str, lifetime: i64) -> Result<String, AzureError> {
        self.sign("00000000-0000-0000-0000-000000000000", client_id, audience, lifetime)
    }

    fn sign(&self, tenant: &str, client_id: &str, audience: &str, lifetime: i64) -> Result<String, AzureError> {
        let now = unix_now();
        self.mint.sign(&json!({
            "aud": audience, "iss": format!("https://sts.windows.net/{tenant}/"),
            "iat": now, "nbf": now.min(now + lifetime), "exp": now + lifetime,
            "appid": client_id, "oid": client_id, "tid": tenant, "uti": random_guid(), "ver": "1.0",
        }))
    }

    /// A token for a managed identity, with its end.
    pub(super) fn for_machine(&self, client_id: &str, resource: &str) -> Result<(String, u64, i64), AzureError> {
        let lifetime = {
            let mut state = self.state();
            state.issued += 1;
            state.lifetime.as_secs()
        };
        let token = self.sign("machines", client_id, resource.trim_end_matches('/'), lifetime.cast_signed())?;
        Ok((token, lifetime, unix_now() + lifetime.cast_signed()))
    }

    /// Who holds this token, when it is good now for Azure Monitor; else why it is not.
    pub(super) fn holder(&self, token: &str) -> Result<String, &'static str> {
        let claims = self.mint.claims(token).ok_or("The token's signature is invalid.")?;
        let audience = claims["aud"].as_str().unwrap_or_default().trim_end_matches('/');
        if !RESOURCES[..3].contains(&audience) {
            return Err("The token's audience is invalid.");
        }
        let time = |name: &str| claims[name].as_i64().unwrap_or_default();
        if unix_now() >= time("exp") {
            return Err("The token has expired.");
        }
        if unix_now() < time("nbf") {
            return Err("The token is not valid yet.");
        }
        Ok(claims["appid"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether tokens are given for this resource.
    pub(super) fn knows(resource: &str) -> bool {
        RESOURCES.contains(&resource.trim_end_matches('/'))
    }
}

/// The door of the fake Entra.
pub(super) struct Entra(pub(super) Arc<Directory>);

impl Behind for Entra {
    fn answer(&self, call: &Call) -> Answer {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let host = format!("https://{}", call.header("host").unwrap_or_default());
        match (&call.method, path.as_slice()) {
            (&Method::POST, [tenant, "oauth2", "v2.0", "token"]) => match self.token(tenant, &host, call) {
                Ok(token) => json(StatusCode::OK, &token),
                Err(refusal) => explain(&refusal),
            },
            (&Method::GET, [tenant, "v2.0", ".well-known", "openid-configuration"]) => match self.has(tenant) {
                Ok(()) => json(StatusCode::OK, &configuration(&host, tenant)),
                Err(refusal) => explain(&refusal),
            },
            (&Method::GET, ["common", "discovery", "instance"]) => {
                let name = host.trim_start_matches("https://");
                json(
                    StatusCode::OK,
                    &json!({
                        "api-version": "1.1",
                        "tenant_discovery_endpoint": format!("{host}/common/v2.0/.well-known/openid-configuration"),
                        "metadata": [{ "preferred_network": name, "preferred_cache": name, "aliases": [name] }],
                    }),
                )
            }
            (&Method::GET, [_, "discovery", "v2.0", "keys"]) => json(StatusCode::OK, &self.0.mint.key_set()),
            _ => json(StatusCode::NOT_FOUND, &json!({ "error": "not_found" })),
        }
    }

    fn refuse(&self, _: &Call, status: StatusCode) -> Answer {
        explain(&Refusal {
            status: status.as_u16(),
            number: 90_033,
            error: "temporarily_unavailable",
            message: "A transient error has occurred. Please try again.".to_owned(),
        })
    }
}

impl Entra {
    fn has(&self, tenant: &str) -> Result<(), Refusal> {
        if self.0.state().apps.iter().any(|app| app.tenant.eq_ignore_ascii_case(tenant)) {
            return Ok(());
        }
        let message = format!("Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID.");
        Err(Refusal::bad(90_002, "invalid_request", message))
    }

    fn token(&self, tenant: &str, host: &str, call: &Call) -> Result<Value, Refusal> {
        self.has(tenant)?;
        let form: Vec<(String, String)> = form_urlencoded::parse(&call.body).into_owned().collect();
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let needed = |name: &'static str| {
            field(name).filter(|value| !value.is_empty()).ok_or_else(|| {
                let message = format!("The request body must contain the following parameter: '{name}'.");
                Refusal::bad(900_144, "invalid_request", message)
            })
        };
        if needed("grant_type")? != "client_credentials" {
            let message = "The app requested an unsupported grant type.".to_owned();
            return Err(Refusal::bad(70_003, "unsupported_grant_type", message));
        }
        let client_id = needed("client_id")?;
        let audience = audience(needed("scope")?)?;
        let mut state = self.0.state();
        let app = state.apps.iter().find(|app| app.client_id == client_id && app.tenant.eq_ignore_ascii_case(tenant));
        let app = app.ok_or_else(|| {
            let message =
                format!("Application with identifier '{client_id}' was not found in the directory '{tenant}'.");
            Refusal::bad(700_016, "unauthorized_client", message)
        })?;
        if let Some(secret) = field("client_secret") {
            app.check_secret(secret)?;
        } else if field("client_assertion_type") == Some(ASSERTION_TYPE) {
            let audiences = [format!("{host}/{tenant}/oauth2/v2.0/token"), format!("{host}/{tenant}/v2.0")];
            app.check_assertion(needed("client_assertion")?, unix_now() + state.skew, &audiences)?;
        } else {
            let message =
                "'client_assertion', 'client_secret' or 'request' is required for this grant type.".to_owned();
            return Err(Refusal { status: 401, number: 7_000_216, error: "invalid_client", message });
        }
        state.issued += 1;
        let lifetime = state.lifetime.as_secs();
        drop(state);
        let token = self.0.sign(tenant, client_id, audience, lifetime.cast_signed());
        let token = token.map_err(|error| Refusal::bad(90_033, "temporarily_unavailable", error.to_string()))?;
        Ok(json!({
            "token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": token
        }))
    }
}

/// The resource of a scope. Some documents write it with two slashes.
fn audience(scope: &str) -> Result<&str, Refusal> {
    let resource = scope.strip_suffix("/.default").map(|resource| resource.trim_end_matches('/'));
    let Some(resource) = resource else {
        let message = format!(
            "The provided request must include a 'scope' input parameter. The provided value for the input parameter \
             'scope' is not valid. The scope {scope} is not valid."
        );
        return Err(Refusal::bad(70_011, "invalid_scope", message));
    };
    RESOURCES.iter().find(|known| **known == resource).copied().ok_or_else(|| {
        let message = format!("The resource principal named {resource} was not found in the tenant.");
        Refusal::bad(500_011, "invalid_resource", message)
    })
}

fn configuration(host: &str, tenant: &str) -> Value {
    json!({
        "token_endpoint": format!("{host}/{tenant}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{host}/{tenant}/discovery/v2.0/keys"),
        "issuer": format!("{host}/{tenant}/v2.0"),
        "authorization_endpoint": format!("{host}/{tenant}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{host}/{tenant}/oauth2/v2.0/devicecode"),
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}

/// An error as Entra writes it.
fn explain(refusal: &Refusal) -> Answer {
    let Refusal { number, error, message, status } = refusal;
    let (trace, correlation) = (random_guid(), random_guid());
    let now = OffsetDateTime::now_utc();
    let stamp = format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}Z",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second()
    );
    let description =
        format!("AADSTS{number}: {message} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}");
    let body = json!({
        "error": error, "error_description": description, "error_codes": [number], "timestamp": stamp,
        "trace_id": trace, "correlation_id": correlation,
        "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
    });
    json(StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST), &body)
}
