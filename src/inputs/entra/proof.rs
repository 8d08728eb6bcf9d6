//! Whether a client is who it says: its secret, or claims that it signed.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::constant_time;

use super::answer::Fault;
use super::jwt::Unverified;
use super::known::{Credential, Known, sha256};
use super::memory::Use;
use super::request::{AssertionClaims, Proof, TokenRequest};
use super::{Issuer, LEEWAY};

/// The longest life of an assertion, in seconds: it bounds what must be remembered. Libraries make them for 10 minutes.
const ASSERTION_LIFETIME_MAX: u64 = 60 * 60;

impl Issuer {
    /// The client that a request is from, if it proves that.
    pub(super) fn prove(
        &self,
        request: &TokenRequest,
        tenant: &str,
        address: IpAddr,
        now: u64,
    ) -> Result<(&Known, Credential), Fault> {
        let (known, credential) = match &request.proof {
            Proof::Secret(secret) => self.by_secret(&request.client, secret.reveal()),
            Proof::Assertion(assertion) => self.by_assertion(&request.client, assertion.reveal(), tenant, address, now),
        }?;
        let elsewhere = known.entry.tenant.as_ref().is_some_and(|own| !own.eq_ignore_ascii_case(tenant));
        if elsewhere { Err(Fault::tenant()) } else { Ok((known, credential)) }
    }

    /// Compares with every secret of every client in constant time, so that timing tells nothing about any of them.
    fn by_secret(&self, id: &str, secret: &str) -> Result<(&Known, Credential), Fault> {
        let shown = sha256(&[secret.as_bytes()]);
        let mut found = None;
        for known in &self.clients {
            for hash in &known.secrets {
                let same = constant_time::verify_slices_are_equal(&shown, hash).is_ok();
                if same && known.entry.id.eq_ignore_ascii_case(id) {
                    found = Some((known, known.secret(hash)));
                }
            }
        }
        found.ok_or_else(|| Fault::client(7_000_215, "this client id and secret are not known here together"))
    }

    fn by_assertion(
        &self,
        id: &str,
        assertion: &str,
        tenant: &str,
        address: IpAddr,
        now: u64,
    ) -> Result<(&Known, Credential), Fault> {
        let wrong = |text: &str| Fault::client(700_027, format!("client_assertion {text}"));
        let parsed = Unverified::parse(assertion).ok_or_else(|| wrong("is not a signed JWT"))?;
        let known = self.find(id).map(|at| &self.clients[at]);
        let certificates = known.map(|known| known.certificates.as_slice()).unwrap_or_default();
        let signed_by = certificates
            .iter()
            .find_map(|certificate| Some((certificate, parsed.verify::<AssertionClaims>(&certificate.key)?)));
        let (Some(known), Some((certificate, claims))) = (known, signed_by) else {
            return Err(wrong("is not signed with RS256, PS256 or ES256 by a certificate of this client"));
        };
        if !certificate.is_valid(now) {
            return Err(wrong("is signed by a certificate that is not valid now; give the client a new one"));
        }
        let own = |name: &str| name.eq_ignore_ascii_case(&known.entry.id);
        if !own(&claims.iss) || !own(&claims.sub) {
            return Err(wrong("must name the client as iss and as sub"));
        }
        let paths = [format!("/{tenant}/oauth2/v2.0/token"), format!("/{tenant}/oauth2/token")];
        if !claims.aud.has_path(&paths) {
            return Err(wrong("must have the address of this token endpoint as aud"));
        }
        let ends = (claims.exp.ok_or_else(|| wrong("has no exp"))? as u64).saturating_add(LEEWAY);
        if ends < now || claims.nbf.is_some_and(|begins| begins as u64 > now + LEEWAY) {
            return Err(wrong("is not good now by this gateway's clock; see exp and nbf"));
        }
        if ends > now + LEEWAY + ASSERTION_LIFETIME_MAX {
            return Err(wrong("is good for more than an hour; make it for some minutes"));
        }
        let unique = sha256(&[claims.jti.as_deref().unwrap_or(parsed.signed).as_bytes()]);
        match self.memory.use_once(&known.entry.id, unique, address, ends, now) {
            Use::Fine => Ok((known, known.certificate(certificate))),
            Use::Replayed => Err(wrong("was used before; make a new one, with a jti of its own")),
            Use::Full => {
                let text =
                    "too many assertions of this client are open; make them for some minutes, and come back later";
                Err(Fault::later(50196, text, Duration::from_secs(30)))
            }
        }
    }
}
