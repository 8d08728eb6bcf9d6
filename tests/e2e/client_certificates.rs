//! Client certificates from an authority of one's own, made with openssl and shown by curl, alone and together with
//! tokens and networks.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{PATH, Site};
use crate::tools::{Reply, curl, run, run_well, tool};

const TOKEN: &str = "a-token-that-only-these-tests-know";

/// An authority in a folder of its own.
struct Authority(PathBuf);

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let authority = Self(folder.join(name));
        std::fs::create_dir_all(&authority.0).expect("a temporary folder");
        let subject = format!("/CN={name}");
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &subject,
            "-addext",
            "keyUsage=critical,keyCertSign",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ]);
        authority
    }

    /// Issues a client certificate with this common name: `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str) {
        let (key, request, cert) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            &subject,
            "-keyout",
            &key,
            "-out",
            &request,
        ]);
        std::fs::write(self.0.join("ext"), "extendedKeyUsage=clientAuth\n").expect("a temporary file");
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "ext",
            "-out",
            &cert,
        ]);
    }

    fn openssl(&self, args: &[&str]) {
        run_well(Command::new(tool("openssl", "openssl")).args(args).current_dir(&self.0));
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).to_str().expect("a plain path").to_owned()
    }

    /// What curl needs to show the certificate of this name.
    fn shown(&self, name: &str) -> Vec<String> {
        ["--cert".into(), self.path(&format!("{name}.pem")), "--key".into(), self.path(&format!("{name}.key"))].into()
    }
}

fn upload(site: &Site, args: &[String]) -> Result<Reply, (i32, String)> {
    let (cert, url) = (site.state().join("tls/cert.pem"), site.url(PATH));
    let mut all = vec!["--cacert", cert.to_str().expect("a plain path"), "-d", "[{\"a\":1}]"];
    all.extend(args.iter().map(String::as_str));
    all.push(&url);
    curl(&all, b"")
}

/// The status, and the error code if there is one.
fn answer(site: &Site, args: &[&[String]]) -> (u16, String) {
    let reply = upload(site, &args.concat()).unwrap_or_else(|error| panic!("{args:?}: {error:?}"));
    (reply.status, reply.header("x-ms-error-code").unwrap_or_default().to_owned())
}

fn bearer(token: &str) -> Vec<String> {
    vec!["-H".into(), format!("Authorization: Bearer {token}")]
}

fn token_table() -> String {
    let mut hash = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    let hash = run(hash.args(["token", "--hash"]), TOKEN.as_bytes());
    format!("tokens = [{{ name = \"plant\", sha256 = \"{}\" }}]", String::from_utf8_lossy(&hash.stdout).trim())
}

struct Certificates {
    _folder: tempfile::TempDir,
    ours: Authority,
    theirs: Authority,
}

fn certificates() -> Certificates {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (ours, theirs) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "theirs"));
    for name in ["host-a.plant.example", "host-b.plant.example"] {
        ours.issue(name);
    }
    theirs.issue("host-a.plant.example");
    Certificates { _folder: folder, ours, theirs }
}

#[tokio::test]
async fn where_a_certificate_is_required_nobody_connects_without_one_of_our_authority() {
    let Certificates { ours, theirs, _folder } = certificates();
    let tls = format!("tls = {{ client_ca = \"{}\", client_certificates = \"required\" }}\n", ours.path("ca.pem"));
    let site = Site::new(&tls, "");
    let running = site.start().await;
    assert_eq!(upload(&site, &ours.shown("host-a.plant.example")).unwrap().status, 204);
    // In TLS 1.3 a client may learn of it while it sends already: curl then fails in one way or another.
    assert!(upload(&site, &[]).is_err(), "no certificate");
    assert!(upload(&site, &theirs.shown("host-a.plant.example")).is_err(), "the right name by the wrong authority");
    for tls12 in [&ours, &theirs] {
        let mut args = tls12.shown("host-b.plant.example");
        if !Path::new(&args[1]).exists() {
            args = tls12.shown("host-a.plant.example");
        }
        args.extend(["--tls-max".into(), "1.2".into()]);
        assert_eq!(upload(&site, &args).is_ok(), std::ptr::eq(tls12, &raw const ours), "TLS 1.2 is no way around");
    }
    let refused = async |reason: &str| {
        site.metric(&format!("gatepost_connections_refused_total{{listener=\"uploads\",reason=\"{reason}\"}}")).await
    };
    assert!(refused("tls_error").await >= 1.0, "without a certificate");
    assert!(refused("tls_client_unknown_ca").await >= 2.0, "of the wrong authority");
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test]
async fn where_it_is_optional_the_refusal_is_a_readable_403() {
    let Certificates { ours, theirs, _folder } = certificates();
    let listener = format!(
        "tls = {{ client_ca = \"{}\" }}\nauth = {{ client_certificates = [{{ name = \"HOST-A.plant.example\" }}] }}\n",
        ours.path("ca.pem")
    );
    let site = Site::new(&listener, "");
    let _running = site.start().await;
    let denied = (403, "CertificateNotAllowed".to_owned());
    assert_eq!(answer(&site, &[&ours.shown("host-a.plant.example")]), (204, String::new()));
    assert_eq!(answer(&site, &[&ours.shown("host-b.plant.example")]), denied, "of our authority, but not listed");
    assert_eq!(answer(&site, &[]), denied);
    assert!(upload(&site, &theirs.shown("host-a.plant.example")).is_err(), "the right name by the wrong authority");
}

#[tokio::test]
async fn tokens_certificates_and_networks_combine() {
    let Certificates { ours, _folder, .. } = certificates();
    let tls = format!("tls = {{ client_ca = \"{}\" }}\n", ours.path("ca.pem"));
    let (cert, good, bad) = (ours.shown("host-a.plant.example"), bearer(TOKEN), bearer("wrong"));
    let ok = (204, String::new());
    let no_token = (401, "AuthenticationFailed".to_owned());
    let no_certificate = (403, "CertificateNotAllowed".to_owned());
    let no_network = (403, "AddressNotAllowed".to_owned());

    // Either is enough.
    let site = Site::new(&format!("{tls}auth = {{ {} }}\n", token_table()), "");
    let running = site.start().await;
    assert_eq!(answer(&site, &[&cert]), ok);
    assert_eq!(answer(&site, &[&good]), ok);
    assert_eq!(answer(&site, &[&cert, &bad]), ok, "the certificate is enough by itself");
    assert_eq!(answer(&site, &[&bad]), no_token);
    assert_eq!(answer(&site, &[]), no_token);
    drop(running);

    // Both are needed.
    let both = format!("{tls}auth = {{ {}, require = [\"token\", \"certificate\"] }}\n", token_table());
    let site = Site::new(&both, "");
    let running = site.start().await;
    assert_eq!(answer(&site, &[&cert, &good]), ok);
    assert_eq!(answer(&site, &[&cert]), no_token);
    assert_eq!(answer(&site, &[&good]), no_certificate);
    drop(running);

    // The network must match whatever else is shown; a change of the file alone changes who is let in.
    let networks = |list: &str| format!("{tls}auth = {{ {}, networks = [{list}] }}\n", token_table());
    let site = Site::new(&networks("\"192.0.2.0/24\""), "");
    let running = site.start().await;
    assert_eq!(answer(&site, &[&cert, &good]), no_network);
    site.configure(&site.config().replace("192.0.2.0/24", "127.0.0.0/8"));
    running.signal("HUP");
    site.until("the reload lets in", async || answer(&site, &[&good]) == ok).await;
    assert_eq!(answer(&site, &[&cert]), ok);
    assert_eq!(answer(&site, &[&bad]), no_token);
}
