//! Whether a client is who it says: its secret, or claims that it signed.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::constant_time;

use super::answer::Fault;
use super::certificate::Certificate;
use super::jwt::Unverified;
use super::known::{Credential, Known, sha256};
use super::memory::Use;
use super::request::{AssertionClaims, Proof, TokenRequest};
use super::{Issuer, LEEWAY};

/// The longest life of an assertion, in seconds: it bounds what must be remembered. Libraries make them for 10 minutes.
const ASSERTION_LIFETIME_MAX: u64 = 60 * 60;

impl Issuer {
    /// The client that a request is from, if it proves that. What is told of a right proof in another tenant than the client's is
    /// what is told of a wrong one: otherwise the tenant would tell who guessed right.
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
        if elsewhere { Err(request.proof.wrong()) } else { Ok((known, credential)) }
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
        found.ok_or_else(wrong_secret)
    }

    fn by_assertion(
        &self,
        id: &str,
        assertion: &str,
        tenant: &str,
        address: IpAddr,
        now: u64,
    ) -> Result<(&Known, Credential), Fault> {
        let parsed = Unverified::parse(assertion).ok_or_else(|| wrong("is not a signed JWT"))?;
        let known = self.find(id).map(|at| &self.clients[at]);
        let mut signed_by = None;
        for (certificate, is_own) in self.checked_with(known, &parsed.algorithm) {
            let claims = parsed.verify::<AssertionClaims>(&certificate.key);
            if is_own && signed_by.is_none() {
                signed_by = claims.map(|claims| (certificate, claims));
            }
        }
        let (Some(known), Some((certificate, claims))) = (known, signed_by) else { return Err(unsigned()) };
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
    /// The certificates that an assertion with this algorithm is checked with: the client's own, filled up with others' to as
    /// many as any client has. So it takes the same time whether the client is known, and how many it has.
    pub(super) fn checked_with<'c>(
        &'c self,
        client: Option<&'c Known>,
        algorithm: &str,
    ) -> Vec<(&'c Certificate, bool)> {
        let fitting = |known: &'c Known| -> Vec<&'c Certificate> {
            known.certificates.iter().filter(|certificate| certificate.key.takes(algorithm)).collect()
        };
        let own = client.map(fitting).unwrap_or_default();
        let all: Vec<Vec<_>> = self.clients.iter().map(fitting).collect();
        let most = all.iter().map(Vec::len).max().unwrap_or_default();
        let is_own = |certificate: &Certificate| own.iter().any(|own| std::ptr::eq(*own, certificate));
        let others = all.iter().flatten().copied().filter(|certificate| !is_own(certificate));
        let own = own.iter().map(|certificate| (*certificate, true));
        own.chain(others.map(|certificate| (certificate, false))).take(most).collect()
    }
}

impl Proof {
    /// What is said of a proof of this kind that is none.
    pub(super) fn wrong(&self) -> Fault {
        match self {
            Self::Secret(_) => wrong_secret(),
            Self::Assertion(_) => unsigned(),
        }
    }
}

fn wrong_secret() -> Fault {
    Fault::client(7_000_215, "this client id and secret are not known here together in this tenant")
}

fn unsigned() -> Fault {
    wrong("is not signed with RS256, PS256 or ES256 by a certificate of this client in this tenant")
}

fn wrong(text: &str) -> Fault {
    Fault::client(700_027, format!("client_assertion {text}"))
}
