//! A request for a token, as clients write it: a form, or a form and HTTP Basic.
//!
//! Clients differ: some do not percent-encode the scope, some write it with two slashes, older ones name a resource. What is
//! there twice is refused, so that nobody can mean one thing and be understood to mean another.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::answer::Fault;
use super::jwt::Unverified;
use crate::values::Secret;

/// The largest form that is read.
pub const BODY_MAX: u64 = 64 << 10;

/// Memory for all forms of one listener that are read at a time; most are two or four thousand bytes.
pub const FORMS_MAX: u64 = 1 << 20;

/// The kind of assertion that is taken (RFC 7523).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What Azure Monitor is called in its clouds: whom tokens are for.
const AUDIENCES: [&str; 3] = ["https://monitor.azure.com", "https://monitor.azure.us", "https://monitor.azure.cn"];

/// Scopes that clients add out of habit.
const HABITS: [&str; 3] = ["openid", "profile", "offline_access"];

/// A request for a token.
#[derive(Debug)]
pub struct TokenRequest {
    /// Who asks.
    pub client: String,
    /// What it shows.
    pub proof: Proof,
    /// Whom the token is for: one of Azure Monitor's names.
    pub audience: &'static str,
}

/// What a client shows to get a token.
#[derive(Debug)]
pub enum Proof {
    /// Its secret.
    Secret(Secret),
    /// Claims that it signed.
    Assertion(Secret),
}

impl TokenRequest {
    /// Reads a form, and the `Authorization` header if there is one.
    pub fn parse(body: &[u8], authorization: Option<&str>) -> Result<Self, Fault> {
        let form = Form::parse(body)?;
        match form.grant_type.as_deref() {
            Some("client_credentials") => {}
            Some(_) => return Err(Fault::grant_type()),
            None => return Err(Fault::missing("grant_type")),
        }
        let audience = audience(&form)?;
        let basic = authorization.map(basic).transpose()?.flatten();
        let (client, proof) = match (form.client_secret, form.client_assertion, basic) {
            (Some(secret), None, None) => (form.client_id, Proof::Secret(Secret::new(secret))),
            (None, Some(assertion), None) => {
                if form.client_assertion_type.as_deref() != Some(JWT_BEARER) {
                    return Err(Fault::request(50027, format!("client_assertion_type must be {JWT_BEARER}")));
                }
                (form.client_id, Proof::Assertion(Secret::new(assertion)))
            }
            (None, None, Some((id, secret))) => {
                if form.client_id.is_some_and(|other| other != id) {
                    return Err(Fault::request(90014, "client_id and the user of HTTP Basic are not the same"));
                }
                (Some(id), Proof::Secret(Secret::new(secret)))
            }
            (None, None, None) => {
                return Err(Fault::client(
                    7_000_218,
                    "the request must contain client_secret, client_assertion or HTTP Basic credentials",
                ));
            }
            _ => return Err(Fault::request(90014, "show one of client_secret, client_assertion and HTTP Basic")),
        };
        let client = client.ok_or_else(|| Fault::missing("client_id"))?;
        Ok(Self { client, proof, audience })
    }
}

#[derive(Default)]
struct Form {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    client_assertion: Option<String>,
    client_assertion_type: Option<String>,
    scope: Option<String>,
    resource: Option<String>,
}

impl Form {
    /// Fields that are not known here are left alone, as Entra does.
    fn parse(body: &[u8]) -> Result<Self, Fault> {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body.trim_ascii()) {
            let field = match &*name {
                "grant_type" => &mut form.grant_type,
                "client_id" => &mut form.client_id,
                "client_secret" => &mut form.client_secret,
                "client_assertion" => &mut form.client_assertion,
                "client_assertion_type" => &mut form.client_assertion_type,
                "scope" => &mut form.scope,
                "resource" => &mut form.resource,
                _ => continue,
            };
            if field.replace(value.into_owned()).is_some() {
                return Err(Fault::request(90014, format!("{name} is there twice; send it once")));
            }
        }
        Ok(form)
    }
}

/// Whether a token for it is for Azure Monitor.
pub(super) fn is_audience(text: &str) -> bool {
    AUDIENCES.contains(&text)
}

fn audience(form: &Form) -> Result<&'static str, Fault> {
    let wanted = match (&form.scope, &form.resource) {
        (Some(scope), _) => scope,
        (None, Some(resource)) => resource,
        (None, None) => return Err(Fault::missing("scope")),
    };
    let mut found = None;
    for scope in wanted.split_whitespace().filter(|scope| !HABITS.contains(scope)) {
        let host = scope.strip_suffix(".default").unwrap_or(scope).trim_end_matches('/');
        let known = AUDIENCES.iter().find(|audience| audience.eq_ignore_ascii_case(host));
        let known = *known.ok_or_else(Fault::scope)?;
        if found.replace(known).is_some_and(|other| other != known) {
            return Err(Fault::scope());
        }
    }
    found.ok_or_else(Fault::scope)
}

/// Id and secret of HTTP Basic; `None` for other schemes, which may belong to a proxy's past.
fn basic(authorization: &str) -> Result<Option<(String, String)>, Fault> {
    let Some((scheme, credentials)) = authorization.split_once(' ') else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let broken = || Fault::request(90014, "the credentials of HTTP Basic cannot be read");
    let bytes = STANDARD.decode(credentials.trim()).map_err(|_| broken())?;
    let text = String::from_utf8(bytes).map_err(|_| broken())?;
    let (id, secret) = text.split_once(':').ok_or_else(broken)?;
    // Both are form-encoded there (RFC 6749, section 2.3.1).
    let plain = |part: &str| form_urlencoded::parse(format!("x={part}").as_bytes()).next().map(|(_, v)| v.into_owned());
    // A part with "&" in it was not encoded.
    let plain = |part: &str| if part.contains('&') { Some(part.to_owned()) } else { plain(part) };
    Ok(Some((plain(id).ok_or_else(broken)?, plain(secret).ok_or_else(broken)?)))
}

/// What an assertion claims.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AssertionClaims {
    /// Whom it is for: the address of the token endpoint, alone or among others.
    pub aud: Audience,
    /// Who made it.
    pub iss: String,
    /// Whom it is about.
    pub sub: String,
    /// From when on it is good, in seconds since 1970. MSAL for Python writes fractions of them.
    pub nbf: Option<f64>,
    /// Until when, in seconds since 1970.
    pub exp: Option<f64>,
    /// Its own id.
    pub jti: Option<String>,
}

/// One audience or several.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Audience {
    /// Whether one of them is this path, on whatever host: clients reach a gateway by many names.
    pub fn has_path(&self, paths: &[String]) -> bool {
        let all = match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        };
        let path = |url: &str| {
            let rest = url.strip_prefix("https://")?;
            Some(rest[rest.find('/')?..].trim_end_matches('/').to_ascii_lowercase())
        };
        all.iter().filter_map(|url| path(url)).any(|path| paths.contains(&path))
    }
}

/// Takes apart what came as an assertion and tells whether it has the form of one; for fuzzing.
pub fn is_assertion(text: &str) -> bool {
    Unverified::parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "grant_type=client_credentials&client_id=plant&client_secret=s%26cret";

    fn parse(body: &str) -> Result<TokenRequest, Fault> {
        TokenRequest::parse(body.as_bytes(), None)
    }

    #[test]
    fn every_form_of_the_scope_is_understood() {
        for (scope, audience) in [
            ("scope=https%3A%2F%2Fmonitor.azure.com%2F.default", "https://monitor.azure.com"),
            ("scope=https://monitor.azure.com/.default", "https://monitor.azure.com"),
            ("scope=https%3A%2F%2Fmonitor.azure.us%2F%2F.default", "https://monitor.azure.us"),
            ("scope=https://monitor.azure.cn/.default+openid+profile", "https://monitor.azure.cn"),
            ("resource=https%3A%2F%2Fmonitor.azure.com%2F", "https://monitor.azure.com"),
        ] {
            let request = parse(&format!("{REST}&{scope}")).unwrap_or_else(|fault| panic!("{scope}: {fault:?}"));
            assert_eq!(request.audience, audience);
            assert_eq!(request.client, "plant");
            assert!(matches!(request.proof, Proof::Secret(secret) if secret.reveal() == "s&cret"));
        }
        for scope in [
            "",
            "&scope=https://management.azure.com/.default",
            "&scope=openid",
            "&scope=https://monitor.azure.com.evil/.default",
        ] {
            assert!(parse(&format!("{REST}{scope}")).is_err(), "{scope}");
        }
    }

    #[test]
    fn a_request_must_say_one_thing() {
        let scope = "scope=https://monitor.azure.com/.default";
        for body in [
            format!("client_id=a&client_secret=b&{scope}"),
            format!("grant_type=password&client_id=a&client_secret=b&{scope}"),
            format!("grant_type=client_credentials&client_secret=b&{scope}"),
            format!("grant_type=client_credentials&client_id=a&{scope}"),
            format!("{REST}&{scope}&client_id=b"),
            format!("{REST}&{scope}&client_assertion=x"),
            format!("grant_type=client_credentials&client_id=a&client_assertion=x&{scope}"),
        ] {
            assert!(parse(&body).is_err(), "{body}");
        }
    }

    #[test]
    fn http_basic_is_as_good_as_the_form() {
        let body = b"grant_type=client_credentials&scope=https://monitor.azure.com/.default";
        let header = format!("Basic {}", STANDARD.encode("plant:s%26cret"));
        let request = TokenRequest::parse(body, Some(&header)).expect("it is whole");
        assert!(matches!(request.proof, Proof::Secret(secret) if secret.reveal() == "s&cret"));
        assert!(TokenRequest::parse(body, Some("Basic !")).is_err());
        assert!(TokenRequest::parse(body, Some("Bearer x")).is_err());
    }

    #[test]
    fn an_audience_is_compared_by_its_path_alone() {
        let paths = ["/t/oauth2/v2.0/token".to_owned()];
        let one = |url: &str| Audience::One(url.to_owned());
        assert!(one("https://any:8443/T/oauth2/v2.0/token").has_path(&paths));
        assert!(Audience::Several(vec!["x".to_owned(), "https://a/t/oauth2/v2.0/token".to_owned()]).has_path(&paths));
        for url in ["http://a/t/oauth2/v2.0/token", "https://a/u/oauth2/v2.0/token", "https://a", "t/oauth2/v2.0/token"]
        {
            assert!(!one(url).has_path(&paths), "{url}");
        }
    }
}
