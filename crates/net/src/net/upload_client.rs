//! A small HTTP client for uploads: POST and GET over HTTP or HTTPS, with a certificate authority of one's own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, header};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::client::WantsClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, ClientConfig, ConfigBuilder};

use crate::faults::with_causes;
use crate::net::tls_named::Named;
use crate::net::tls_own::Own;

/// The largest answer that is read.
const ANSWER_LIMIT: usize = 4 << 20;

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Retry-After`, when given in seconds.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No connection: nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The request may have been sent, and no answer came.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// Nothing that passes: another try would end alike until somebody changes something.
    #[error("{0}")]
    Lasting(String),
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The certificates cannot be used.
    #[error("the certificates of the authority cannot be used: {0}")]
    Certificates(String),
}

/// A certificate to show, with its key.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate, and behind it those above it that are shown too.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first.
    pub key: PrivateKeyDer<'static>,
}

/// A client with a pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    /// A client that trusts the certificates in this PEM text (authorities, or the very certificate of a self-signed
    /// server); without it, the authorities of the system.
    pub fn new(ca_pem: Option<&[u8]>) -> Result<Self, ClientError> {
        Ok(Self::with(trusting(ca_pem)?.with_no_client_auth()))
    }

    /// The same, which shows a certificate of its own.
    pub fn showing(ca_pem: Option<&[u8]>, own: Certificate) -> Result<Self, ClientError> {
        let Certificate { chain, key } = own;
        Ok(Self::with(trusting(ca_pem)?.with_client_auth_cert(chain, key).map_err(|e| wrong(&e))?))
    }

    /// A client of a server whose own certificates are at hand, in these PEM texts: it believes no others, and those under any
    /// name.
    pub fn of_own(pems: &[Vec<u8>]) -> Result<Self, ClientError> {
        let certificates = pems.iter().map(|pem| certificates(pem)).collect::<Result<Vec<_>, _>>()?.concat();
        let own = Arc::new(Own::new(certificates, provider()));
        Ok(Self::with(builder()?.dangerous().with_custom_certificate_verifier(own).with_no_client_auth()))
    }

    fn with(tls: rustls::ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(Duration::from_secs(10)));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Self { inner: legacy::Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// Posts a body. `timeout` bounds the whole exchange.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, SendError> {
        self.exchange(Method::POST, url, headers, body, timeout).await
    }

    /// Gets a page. `timeout` bounds the whole exchange.
    pub async fn get(&self, url: &str, timeout: Duration) -> Result<Answer, SendError> {
        self.get_with(url, &[], timeout).await
    }

    /// Gets a page, with headers.
    pub async fn get_with(&self, url: &str, headers: &[(&str, &str)], timeout: Duration) -> Result<Answer, SendError> {
        self.exchange(Method::GET, url, headers, Bytes::new(), timeout).await
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, SendError> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request =
            request.body(Full::new(body)).map_err(|e| SendError::Lasting(format!("{url:?} is no URL: {e}")))?;
        let exchange = async {
            let response = self.inner.request(request).await.map_err(|error| {
                if let Some(text) = lasting(&error, url) {
                    return SendError::Lasting(text);
                }
                let text = with_causes(&error);
                if error.is_connect() { SendError::Connect(text) } else { SendError::NoAnswer(text) }
            })?;
            let status = response.status().as_u16();
            let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
            let body = body.map_err(|error| SendError::NoAnswer(error.to_string()))?.to_bytes();
            Ok(Answer { status, retry_after, body })
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(SendError::NoAnswer(format!("nothing within {} s", timeout.as_secs_f32()))),
        }
    }
}

/// What is wrong at the far side, or with the URL, and will be at the next try; in the words of whoever can change it.
fn lasting(error: &legacy::Error, url: &str) -> Option<String> {
    let causes = std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source());
    causes.into_iter().find_map(|cause| {
        match of_tls(cause) {
            Some(rustls::Error::InvalidCertificate(why)) => Some(untrusted(why)),
            // What is no message of TLS is text.
            Some(rustls::Error::InvalidMessage(_)) => {
                let plain = url.replacen("https://", "http://", 1);
                Some(format!("it speaks no TLS there; write {plain}"))
            }
            _ => cause.downcast_ref::<hyper::Error>().filter(|error| error.is_parse()).map(|_| {
                let secure = url.replacen("http://", "https://", 1);
                match secure == url {
                    true => "what it answers is no HTTP; is that the right port?".to_owned(),
                    false => format!("what it answers is no HTTP; if it speaks TLS, write {secure}"),
                }
            }),
        }
    })
}

/// The error of TLS in an error: each I/O error may have another one within, which it does not tell as its source.
fn of_tls<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.downcast_ref().or_else(|| within.and_then(|error| of_tls(error)))
}

fn untrusted(why: &CertificateError) -> String {
    let ended = matches!(why, CertificateError::Expired | CertificateError::ExpiredContext { .. });
    let other_name = matches!(why, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. });
    if ended {
        return "its certificate has expired; renew it, or see whether the clock here is right".to_owned();
    }
    if other_name {
        return "its certificate is for another name than the URL has; write a name that stands in it, or name that very \
                certificate with --ca (of the admin plane: --admin-ca)"
            .to_owned();
    }
    "its certificate is not trusted: name it, or its authority, with --ca (of the admin plane: --admin-ca); a gateway that made its \
     own has it in gatepost-state/tls/cert.pem"
        .to_owned()
}

fn wrong(error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Certificates(error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn trusting(ca_pem: Option<&[u8]>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, ClientError> {
    let tls = builder()?;
    Ok(match ca_pem {
        Some(pem) => {
            let named = Named::new(certificates(pem)?, provider()).map_err(|e| wrong(&e))?;
            tls.dangerous().with_custom_certificate_verifier(Arc::new(named))
        }
        None => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            tls.with_root_certificates(roots)
        }
    })
}

fn builder() -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, ClientError> {
    let builder = rustls::ClientConfig::builder_with_provider(provider());
    builder.with_safe_default_protocol_versions().map_err(|error| wrong(&error))
}

/// At least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| wrong(&e))?;
    if found.is_empty() { Err(wrong(&"there is no certificate in it")) } else { Ok(found) }
}
