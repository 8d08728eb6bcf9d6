//! A destination with TLS: serves the files of a folder over HTTP/1.1 and HTTP/2, under names that its own authority has
//! signed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;

/// An authority of a test, and certificates that it signs.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Gatepost test authority");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, folder }
    }

    /// The PEM file with its certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for these DNS names, with the first as common name: the PEM files of certificate and key.
    pub(crate) fn sign(&self, names: &[&str]) -> (PathBuf, PathBuf) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, names[0].clone());
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let file = |kind: &str| self.folder.path().join(format!("{}.{kind}", names[0].replace('*', "any")));
        std::fs::write(file("pem"), certificate.pem()).expect("written");
        std::fs::write(file("key"), key.serialize_pem()).expect("written");
        (file("pem"), file("key"))
    }
}

/// A running HTTPS server.
pub(crate) struct HttpsSite {
    pub(crate) port: u16,
    pub(crate) folder: tempfile::TempDir,
}

impl HttpsSite {
    /// Serves an empty folder under these names.
    pub(crate) async fn start(authority: &Authority, names: &[&str]) -> Self {
        let (certificate, key) = authority.sign(names);
        let tls = gatepost::net::tls_server::Config {
            certificate: Some(certificate),
            key: Some(key),
            // It asks for a certificate, and serves clients without one too, as Azure does.
            client_ca: Some(authority.file()),
            ..gatepost::net::tls_server::Config::default()
        };
        let folder = tempfile::tempdir().expect("a temporary directory");
        let tls = gatepost::net::tls_server::ServerTls::load(&tls, folder.path(), gatepost::net::tls_server::HTTP)
            .expect("its own certificate");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let root: Arc<Path> = folder.path().into();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, root) = (tokio_rustls::TlsAcceptor::from(tls.current()), Arc::clone(&root));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper::service::service_fn(|request| answer(Arc::clone(&root), request));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    builder.serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
        Self { port, folder }
    }

    /// Puts a file there.
    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        let file = self.folder.path().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(file, content).expect("written");
    }
}

async fn answer(
    root: Arc<Path>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    // What is posted comes back.
    if request.method() == http::Method::POST {
        let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        return Ok(Response::new(Full::new(body)));
    }
    let file = root.join(&path);
    let file = if file.is_dir() { file.join("index.html") } else { file };
    let kind = if file.extension().is_some_and(|extension| extension == "html") {
        "text/html"
    } else {
        "application/octet-stream"
    };
    let (status, body) = match std::fs::read(&file) {
        Ok(content) => (StatusCode::OK, content),
        Err(_) => (StatusCode::NOT_FOUND, b"no such file".to_vec()),
    };
    let response = Response::builder().status(status).header("content-type", kind);
    Ok(response.body(Full::new(body.into())).expect("a sound response"))
}
