//! A local Entra: the token endpoint that Azure's client libraries ask before they upload, for hosts that reach nothing but
//! this gateway.
//!
//! A client shows a secret or signs an assertion with its certificate, and gets a short-lived token that [`Issuer`] signed
//! and that only gateways with its keys take. Nothing is forwarded to Microsoft, and no real credential of Azure is involved.
//! A token says who its owner is; what that one may do stands in the configuration, and is looked up anew with each upload:
//! who is taken out is refused at once. It also says, in a way that only gateways with its key can read, on which listener and
//! for which credential it was given: other listeners do not take it, and it ends with its credential.

pub mod answer;
mod certificate;
mod config;
mod grant;
mod jwt;
mod keys;
mod known;
pub(in crate::inputs) mod memory;
mod proof;
pub mod request;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time;
use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

pub use config::{ClientEntry, Config, SecretHash};
pub use grant::Grant;

use crate::net::target::decode;
use crate::shared::Store;
use crate::telemetry::Repeats;
use crate::turns::{Ended, Turns, Who, network};
use crate::{clock, metrics};
use answer::Fault;
use jwt::Unverified;
use keys::Keys;
use known::{Credential, Known};
use memory::Memory;
use request::{BODY_MAX, Proof, TokenRequest};

/// How far the clocks of clients and gateways may be apart, in seconds.
const LEEWAY: u64 = 5 * 60;

/// How long a request for a token waits for its turn.
const ISSUING_WAIT: Duration = Duration::from_secs(5);

/// How often a refusal of the same kind from the same network is told.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The one role that tokens give, as Azure calls it.
const ROLE: &str = "Monitoring Metrics Publisher";

/// What is said of a token that was signed elsewhere, or was changed on its way.
const FOREIGN: &str = "the token was not issued by this gateway";

/// Why an issuer cannot start.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The folder of the keys cannot be used.
    #[error("entra.keys_dir {}: {source}", path.display())]
    Keys {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A client's certificate cannot be used.
    #[error("entra.clients: {}: {reason}", path.display())]
    Certificate {
        /// Its file.
        path: PathBuf,
        /// What is wrong and what would be right.
        reason: String,
    },
}

/// What a client wants of the issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A token in the name of this tenant.
    Token(String),
    /// Where things are.
    Metadata(String),
    /// The keys that check tokens.
    KeySet,
    /// Whether this authority has other names.
    Instance,
}

/// Issues tokens and knows them again.
#[derive(Debug)]
pub struct Issuer {
    config: Config,
    /// The name of its listener.
    listener: String,
    clients: Vec<Known>,
    keys: Arc<Keys>,
    memory: Arc<Memory>,
    turns: Turns,
    /// Refusals are told once in a while: nobody has to show anything to cause one.
    refusals: Repeats<(IpAddr, u32)>,
}

#[derive(Deserialize)]
struct TokenClaims {
    aud: String,
    sub: String,
    #[serde(default)]
    mark: String,
    tid: String,
    nbf: u64,
    exp: u64,
}

/// What a path of the issuer asks for; `None` when it is none of its paths.
pub fn asked(path: &[&str]) -> Option<Asked> {
    let path: Vec<_> = path.iter().map(|segment| decode(segment)).collect::<Option<_>>()?;
    let tail: Vec<String> = path.iter().skip(1).map(|segment| segment.to_ascii_lowercase()).collect();
    let tenant = || path.first().map(|tenant| tenant.to_ascii_lowercase());
    match tail.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["discovery", "instance"] => Some(Asked::Instance),
        ["oauth2", "token"] | ["oauth2", "v2.0", "token"] => tenant().map(Asked::Token),
        [".well-known", "openid-configuration"] | ["v2.0", ".well-known", "openid-configuration"] => {
            tenant().map(Asked::Metadata)
        }
        ["discovery", "keys"] | ["discovery", "v2.0", "keys"] => Some(Asked::KeySet),
        _ => None,
    }
}

impl Asked {
    /// The method that it takes.
    pub fn method(&self) -> Method {
        if matches!(self, Self::Token(_)) { Method::POST } else { Method::GET }
    }
}

impl Issuer {
    /// Reads keys and certificates; makes the first key. What `before` remembers is kept, and its keys if they are of the same
    /// folder: it is the issuer of the same listener until now. `listener` is that one's name.
    ///
    /// # Errors
    ///
    /// When the folder of the keys or a client's certificate cannot be used.
    pub fn open(config: &Config, listener: &str, state_dir: &Path, before: Option<&Self>) -> Result<Self, IssuerError> {
        let own = state_dir.join("entra");
        let folder = config.keys_dir.clone().unwrap_or_else(|| own.clone());
        let open = if folder == own { Keys::open_own } else { Keys::open };
        let lifetime = config.key_lifetime.get();
        // A folder that hangs must not hold up a reload either.
        let keys = match before.map(|issuer| &issuer.keys).filter(|keys| keys.are_of(&folder, lifetime)) {
            Some(keys) => Arc::clone(keys),
            None => open(&folder, lifetime, now())
                .map(Arc::new)
                .map_err(|source| IssuerError::Keys { path: folder, source })?,
        };
        let clients = config.clients.iter().map(Known::new).collect::<Result<_, _>>()?;
        let memory = before.map(|issuer| Arc::clone(&issuer.memory)).unwrap_or_default();
        let (config, listener) = (config.clone(), listener.to_owned());
        let issuer = Self {
            config,
            listener,
            clients,
            keys,
            memory,
            turns: Turns::here(),
            refusals: Repeats::new(TOLD_AGAIN_AFTER),
        };
        issuer.memory.keep_clients(now(), |id| issuer.find(id).is_some());
        Ok(issuer)
    }

    /// Keeps its keys up to date from now on, as long as it is there; the same as those of other gateways, where `documents` are
    /// shared with them, sealed.
    pub fn tend(&self, documents: Option<Arc<dyn Store>>) {
        self.keys.tend(now, documents);
    }

    /// Answers one request. `body` is the form of a request for a token.
    pub async fn answer(self: &Arc<Self>, asked: Asked, parts: &Parts, body: Bytes, address: IpAddr) -> Response<Body> {
        let correlation =
            parts.headers.get("client-request-id").and_then(|id| id.to_str().ok()).filter(|id| is_uuid(id));
        let answer = match base(parts) {
            None => Err(Fault::request(900_144, "the request names no host that could stand in an address")),
            Some(base) => match asked {
                Asked::Token(tenant) => self.token(tenant, base, &parts.headers, &body, address).await,
                Asked::Metadata(tenant) => self.check_tenant(&tenant).map(|()| answer::metadata(&base, &tenant)),
                Asked::KeySet => Ok(self.key_set()),
                Asked::Instance => Ok(answer::instance(&base, "common")),
            },
        };
        match answer {
            Ok(value) => answer::body(StatusCode::OK, &value),
            Err(fault) => fault.response(correlation),
        }
    }

    async fn token(
        self: &Arc<Self>,
        tenant: String,
        base: String,
        headers: &HeaderMap,
        body: &[u8],
        address: IpAddr,
    ) -> Result<Value, Fault> {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let issued = match self.check_tenant(&tenant).and_then(|()| TokenRequest::parse(body, authorization)) {
            Ok(request) => self.in_turn(request, tenant, base, address).await,
            Err(fault) => Err(fault),
        };
        let result = match &issued {
            Ok(_) => "issued",
            Err(fault) if fault.status == StatusCode::SERVICE_UNAVAILABLE => "failed",
            Err(_) => "refused",
        };
        metrics::ENTRA_TOKENS.add(&[&self.listener, result], 1);
        issued
    }

    /// Signing and comparing take a millisecond of CPU: off the runtime, and in turn with uploads.
    async fn in_turn(
        self: &Arc<Self>,
        request: TokenRequest,
        tenant: String,
        base: String,
        address: IpAddr,
    ) -> Result<Value, Fault> {
        let (issuer, who) = (Arc::clone(self), Who::at(address));
        let work = self.turns.run(&who, BODY_MAX, move |_| issuer.issue(&request, &tenant, &base, address));
        match timeout(ISSUING_WAIT, work).await {
            Ok(Ok(issued)) => issued,
            Ok(Err(Ended::Panicked)) => Err(Fault::keys()),
            Ok(Err(Ended::Crowded)) | Err(_) => {
                let text = "too many tokens are asked for at this moment; come back later";
                Err(Fault::later(90033, text, ISSUING_WAIT))
            }
        }
    }

    fn issue(&self, request: &TokenRequest, tenant: &str, base: &str, address: IpAddr) -> Result<Value, Fault> {
        let now = now();
        let proved = self.prove(request, tenant, address, now);
        let (known, credential) = self.throttled(proved, request, address).inspect_err(|fault| {
            if let Some(left_out) = self.tells(address, fault) {
                tracing::info!(%address, code = fault.code, reason = fault.text, left_out, "a token was refused");
            }
        })?;
        let key = self.keys.signing(now);
        let lifetime = self.config.token_lifetime.get().as_secs();
        let id = &known.entry.id;
        let claims = json!({
            "aud": request.audience,
            "iss": format!("{base}/{tenant}/v2.0"),
            "iat": now,
            "nbf": now,
            "exp": now + lifetime,
            "appid": id,
            "azp": id,
            "sub": id,
            "tid": tenant,
            "roles": [ROLE],
            "mark": credential.mark(&self.listener, &key),
            "uti": format!("{:032x}", fastrand::u128(..)),
            "ver": "2.0",
        });
        let token = jwt::sign(&key.pair, &key.id, &claims).ok_or_else(Fault::keys)?;
        tracing::debug!(%address, client = known.name(), "a token was issued");
        Ok(json!({
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": token,
        }))
    }

    /// How many refusals were not told since the last one like this, if it is time to tell one.
    fn tells(&self, address: IpAddr, fault: &Fault) -> Option<u64> {
        self.refusals.pass((network(address), fault.code))
    }

    /// Counts failures. Who is right gets through, also where others fail all the time; but guesses have a bound, beyond which
    /// right ones are answered as wrong ones are, unless they were right at this address before. What is told is the same for
    /// ids that are known here and for those that are not.
    fn throttled<'k>(
        &self,
        proved: Result<(&'k Known, Credential), Fault>,
        request: &TokenRequest,
        address: IpAddr,
    ) -> Result<(&'k Known, Credential), Fault> {
        if let Ok((_, credential)) = &proved
            && self.memory.was_proven(address, credential.0)
        {
            return proved;
        }
        // Nobody guesses a signature, nor the secret of a client that has none.
        let is_guess = |known: &&Known| matches!(request.proof, Proof::Secret(_)) && !known.secrets.is_empty();
        let client =
            self.find(&request.client).map(|at| &self.clients[at]).filter(is_guess).map(|known| &*known.entry.id);
        let is_looked_at = client.is_none_or(|client| self.memory.may_guess(address, client));
        let fault = match proved {
            Ok((known, credential)) if is_looked_at => {
                self.memory.proved(address, credential.0);
                return Ok((known, credential));
            }
            Ok(_) => request.proof.wrong(),
            Err(fault) if fault.error == "invalid_client" => fault,
            Err(fault) => return Err(fault),
        };
        if let Some(client) = client.filter(|_| is_looked_at) {
            self.memory.guessed(address, client);
        }
        let too_often = |after| Fault::later(50196, "this client failed too often here; come back later", after);
        self.memory.failed(address, &request.client).map_err(too_often)?;
        Err(fault)
    }

    /// Who owns a token that was shown at an address; the reason when it has the form of one and is not to be taken. `None` when
    /// it has not. A token outlives a restart, so it proves its credential there as the credential did: whoever guesses at that
    /// address locks nobody out who uploads from it.
    pub fn known(self: &Arc<Self>, token: &str, address: IpAddr) -> Option<Result<Grant, &'static str>> {
        if token.matches('.').count() != 2 {
            return None;
        }
        let owner = Unverified::parse(token).ok_or(FOREIGN).and_then(|parsed| self.owner(&parsed));
        Some(owner.map(|(at, credential)| {
            if !self.memory.was_proven(address, credential.0) {
                self.memory.proved(address, credential.0);
            }
            Grant { issuer: Arc::clone(self), at }
        }))
    }

    fn owner(&self, token: &Unverified<'_>) -> Result<(usize, Credential), &'static str> {
        let now = now();
        let key = token.key_id.as_deref().and_then(|id| self.keys.find(id, now)).ok_or(FOREIGN)?;
        let claims: TokenClaims = token.verify(&key.public).ok_or(FOREIGN)?;
        if claims.exp <= now {
            return Err("the token has expired");
        }
        if claims.nbf > now + LEEWAY {
            return Err("the token is not good yet by this gateway's clock");
        }
        if !request::is_audience(&claims.aud) {
            return Err("the token is for another service");
        }
        let at = self.find(&claims.sub).ok_or("the token's client is not known here any more")?;
        let same = |credential: &Credential| {
            let mark = credential.mark(&self.listener, &key);
            constant_time::verify_slices_are_equal(mark.as_bytes(), claims.mark.as_bytes()).is_ok()
        };
        let credential = self.clients[at].credentials().find(same).ok_or(
            "the token was given by another listener, or for a secret or certificate that is not known any more",
        )?;
        let tenant = self.clients[at].entry.tenant.as_ref();
        if tenant.is_some_and(|own| !own.eq_ignore_ascii_case(&claims.tid)) || self.check_tenant(&claims.tid).is_err() {
            return Err("the token's tenant is not known here any more");
        }
        Ok((at, credential))
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.clients.iter().position(|known| known.entry.id.eq_ignore_ascii_case(id))
    }

    fn check_tenant(&self, tenant: &str) -> Result<(), Fault> {
        let list = &self.config.tenants;
        let known = list.is_empty() || list.iter().any(|known| known.eq_ignore_ascii_case(tenant));
        if known && config::is_tenant(tenant) { Ok(()) } else { Err(Fault::tenant()) }
    }

    fn key_set(&self) -> Value {
        let keys = self.keys.public(now());
        let shown = keys.iter().filter_map(|key| {
            let (n, e) = key.components()?;
            Some(json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": key.id, "n": n, "e": e }))
        });
        json!({ "keys": shown.collect::<Vec<_>>() })
    }
}

/// This gateway as the client reached it.
fn base(parts: &Parts) -> Option<String> {
    let named = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = parts.uri.authority().map(http::uri::Authority::as_str).or(named)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b);
    ((1..=255).contains(&host.len()) && host.bytes().all(plain)).then(|| format!("https://{host}"))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// Seconds since 1970: tokens are about the clock on the wall.
fn now() -> u64 {
    clock::wall_s()
}

#[cfg(test)]
#[path = "issuer_tests.rs"]
mod tests;
