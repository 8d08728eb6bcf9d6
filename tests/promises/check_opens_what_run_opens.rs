//! `gatepost check` and `gatepost run` find the same: what stops a gateway is told by the check with line, key and remedy, and
//! what the check accepts, a gateway starts with. Looking changes nothing.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::Site;

/// A site whose files a test may break.
struct Desk {
    site: Site,
}

/// A configuration that is right but for one thing.
struct Broken {
    name: &'static str,
    /// Into the listener's table.
    listener: String,
    /// Behind everything.
    rest: String,
    /// The key that must be named.
    key: &'static str,
    /// A part of the message: what is wrong, or what would be right.
    told: &'static str,
}

impl Desk {
    fn new() -> Self {
        let site = Site::new("", "");
        let made = rcgen::generate_simple_self_signed(["gate.plant.example".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["other.plant.example".to_owned()]).unwrap();
        let desk = Self { site };
        desk.put("cert.pem", made.cert.pem().as_bytes());
        desk.put("key.pem", made.signing_key.serialize_pem().as_bytes());
        desk.put("other.key", other.signing_key.serialize_pem().as_bytes());
        desk.put("cert.der", made.cert.der());
        desk.put("key.der", &made.signing_key.serialize_der());
        desk.put("empty.pem", b"");
        desk.put("garbage.pem", b"no PEM at all\n");
        let damaged = made.cert.pem().replacen("MII", "MIJ", 1);
        desk.put("damaged.pem", damaged.as_bytes());
        desk.put(
            "encrypted.key",
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
        );
        let mut expired = rcgen::CertificateParams::new(vec!["gate.plant.example".to_owned()]).unwrap();
        expired.not_before = rcgen::date_time_ymd(2001, 1, 1);
        expired.not_after = rcgen::date_time_ymd(2002, 1, 1);
        desk.put("expired.pem", expired.self_signed(&made.signing_key).unwrap().pem().as_bytes());
        std::fs::create_dir(desk.path("folder")).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.dir.join(name)
    }

    fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn configure(&self, listener: &str, rest: &str) {
        let name = "name = \"uploads\"\n";
        assert!(self.site.config().contains(name));
        self.site.configure(&(self.site.config().replacen(name, &format!("{name}{listener}\n"), 1) + rest));
    }

    /// A start that is expected to fail: it is ended when it does not.
    fn run(&self) -> Output {
        std::process::Command::new("timeout")
            .args(["30", env!("CARGO_BIN_EXE_gatepost"), "run", "--config"])
            .arg(self.site.config_path())
            .current_dir(&self.site.dir)
            .output()
            .unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn tls(certificate: &str, key: &str) -> String {
    format!("tls = {{ certificate = \"{certificate}\", key = \"{key}\" }}")
}

fn output(more: &str) -> String {
    format!(
        "[[outputs]]\nkind = \"http\"\nname = \"siem\"\nendpoints = [{{ url = \"https://127.0.0.1:1\" }}]\n{more}\n"
    )
}

fn table(desk: &Desk) -> Vec<Broken> {
    let listener = |name, listener: String, key, told| Broken { name, listener, rest: String::new(), key, told };
    let rest = |name, rest: String, key, told| Broken { name, listener: String::new(), rest, key, told };
    let tls_key = "listeners[0].tls.key";
    let tls_certificate = "listeners[0].tls.certificate";
    let keys_dir = desk.path("cert.pem").display().to_string();
    vec![
        listener("missing certificate", tls("none.pem", "key.pem"), tls_certificate, "is not there; put it there"),
        listener("missing key", tls("cert.pem", "none.pem"), tls_key, "is not there"),
        listener("mismatched", tls("cert.pem", "other.key"), tls_key, "is not the key of the certificate"),
        listener("garbage", tls("garbage.pem", "key.pem"), tls_certificate, "holds nothing in PEM form"),
        listener("damaged", tls("damaged.pem", "key.pem"), tls_certificate, "damaged"),
        listener("empty", tls("empty.pem", "key.pem"), tls_certificate, "is empty"),
        listener("DER", tls("cert.der", "key.pem"), tls_certificate, "openssl x509 -inform der"),
        listener("key in DER", tls("cert.pem", "key.der"), tls_key, "openssl pkey -inform der"),
        listener("encrypted key", tls("cert.pem", "encrypted.key"), tls_key, "openssl pkey -in"),
        listener("exchanged", tls("key.pem", "cert.pem"), tls_key, "are two files exchanged?"),
        listener(
            "client authorities",
            "tls = { client_ca = \"garbage.pem\" }".to_owned(),
            "listeners[0].tls.client_ca",
            "holds nothing in PEM form",
        ),
        listener(
            "client of the local Entra",
            "entra = { enabled = true, clients = [{ id = \"a\", certificates = [\"cert.pem\", \"none.pem\"] }] }".to_owned(),
            "listeners[0].entra.clients[0].certificates[1]",
            "is not there",
        ),
        listener(
            "keys of the local Entra",
            format!(
                "entra = {{ enabled = true, keys_dir = \"{keys_dir}\", clients = [{{ id = \"a\", certificates = [\"cert.pem\"] }}] }}"
            ),
            "listeners[0].entra.keys_dir",
            "is a file",
        ),
        rest("authorities of an output", output("ca_file = \"garbage.pem\""), "outputs[0].ca_file", "must hold a certificate"),
        rest("authorities of an output in DER", output("ca_file = \"cert.der\""), "outputs[0].ca_file", "openssl x509 -inform der"),
        rest(
            "identity of an output",
            "[[outputs]]\nkind = \"workspace\"\nname = \"siem\"\ndcr = \"dcr-0\"\nstream = \"Custom-S\"\nca_file = \"cert.pem\"\n\
             endpoints = [{ url = \"https://127.0.0.1:1\" }]\n\
             identity = { kind = \"client_certificate\", tenant = \"t\", client_id = \"c\", certificate = \"none.pfx\" }\n"
                .to_owned(),
            "outputs[0].identity.certificate",
            "is not there",
        ),
        rest(
            "folder of an output",
            "[[outputs]]\nkind = \"file\"\nname = \"x\"\ndirectory = \"cert.pem/below\"\n".to_owned(),
            "outputs[0].directory",
            "is a file",
        ),
        rest(
            "collector of traces",
            "[telemetry]\ntraces_to = \"http://[::1:4318/v1/traces\"\n".to_owned(),
            "telemetry.traces_to",
            "is no URL",
        ),
        rest("access log", "[access_log]\nfile = \"folder\"\n".to_owned(), "access_log.file", "name a file"),
        rest(
            "tunnel's certificate",
            "[[tunnel.listeners]]\nname = \"t\"\nlisten = \"127.0.0.1:0\"\ntls = { mode = \"on\", certificate = \"cert.pem\", key = \"other.key\" }\n"
                .to_owned(),
            "tunnel.listeners[0].tls.key",
            "is not the key",
        ),
        rest(
            "rules",
            "[[filter.rules]]\nfile = \"none.json\"\n".to_owned(),
            "filter.rules[0].file",
            "is not there",
        ),
        rest(
            "secret",
            output("headers = { Authorization = \"${file:none}\" }"),
            "outputs[0].headers.Authorization",
            "which is not there",
        ),
        rest(
            "address of another machine",
            "[[listeners]]\nname = \"b\"\nlisten = \"192.0.2.1:8443\"\nauth = { networks = [\"10.0.0.0/8\"] }\n".to_owned(),
            "listeners[1].listen",
            "0.0.0.0:8443",
        ),
    ]
}

/// What stands in a folder, with its times.
fn listing(dir: &Path) -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            format!("{:?} {:?}", entry.file_name(), entry.metadata().unwrap().modified().unwrap())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn what_stops_a_gateway_fails_the_check_with_line_key_and_remedy() {
    let desk = Desk::new();
    for broken in table(&desk) {
        desk.configure(&broken.listener, &broken.rest);
        let before = listing(&desk.site.dir);
        let (check, run) = (desk.site.gatepost(&["check"]), desk.run());
        let (checked, ran) = (stderr(&check), stderr(&run));
        assert_eq!(check.status.code(), Some(78), "{}: the check accepts it: {checked}", broken.name);
        assert_eq!(run.status.code(), Some(78), "{}: it starts, or fails otherwise: {ran}", broken.name);
        let line = checked.lines().find(|line| line.contains(&format!(": {}", broken.key)));
        let line = line.unwrap_or_else(|| panic!("{}: {} is not named: {checked}", broken.name, broken.key));
        assert!(line.contains(broken.told), "{}: {line}", broken.name);
        assert!(!line.contains("gatepost.toml:1:1:"), "{}: no line: {line}", broken.name);
        assert_eq!(checked, ran, "{}: the start tells something else", broken.name);
        assert_eq!(listing(&desk.site.dir), before, "{}: looking changed something", broken.name);
    }
}

#[test]
fn a_state_directory_that_cannot_be_one_stops_both() {
    let desk = Desk::new();
    let state = desk.site.state();
    for (path, told) in
        [("cert.pem", "is a file"), ("cert.pem/state", "is a file"), ("/proc/gatepost", "nothing can be kept")]
    {
        let other = desk.path(path).display().to_string();
        desk.site.configure(&desk.site.config().replacen(&state.display().to_string(), &other, 1));
        let (check, run) = (desk.site.gatepost(&["check"]), desk.run());
        assert_eq!((check.status.code(), run.status.code()), (Some(78), Some(78)), "{}", stderr(&run));
        assert!(stderr(&check).contains("state_dir") && stderr(&check).contains(told), "{}", stderr(&check));
        assert_eq!(stderr(&check), stderr(&run));
    }
}

#[test]
fn everything_is_told_at_once_over_all_sections() {
    let desk = Desk::new();
    let url = |text: String| text.replace("https://127.0.0.1:1", "siem.example:8080");
    let rest = url(output("ca_file = \"empty.pem\"\nbalancer = { nonsense = 1 }"))
        + "[telemetry]\nlevel = \"inof\"\n[access_log]\nfile = \"folder\"\n[[filter.rules]]\nfile = \"none.json\"\n";
    desk.configure("tls = { certificate = \"none.pem\", key = \"encrypted.key\", client_ca = \"empty.pem\", client_crl = [\"none.crl\"] }", &rest);
    let told = stderr(&desk.site.gatepost(&["check"]));
    for key in [
        "listeners[0].tls.certificate",
        "listeners[0].tls.key",
        "listeners[0].tls.client_ca",
        "listeners[0].tls.client_crl[0]",
        "outputs[0].endpoints[0].url",
        "https://siem.example:8080",
        "outputs[0].balancer.nonsense",
        "outputs[0].ca_file",
        "filter.rules[0].file",
        "telemetry.level",
        "access_log.file",
    ] {
        assert!(told.contains(key), "{key} is missing in\n{told}");
    }
}

#[test]
fn the_text_alone_is_judged_without_files_and_variables_of_the_other_machine() {
    let desk = Desk::new();
    let rest = output("headers = { Authorization = \"Bearer ${env:NOT_SET_HERE}\" }\nca_file = \"none.pem\"")
        + "[[filter.rules]]\nfile = \"none.json\"\n[[filter.rules]]\nname = \"lists\"\nquery_list = \"none.xml\"\noutputs = [\"siem\"]\n";
    desk.configure("", &rest);
    let checked = desk.site.gatepost(&["check", "--only-text"]);
    assert!(checked.status.success(), "{}", stderr(&checked));
    assert!(stderr(&checked).contains("NOT_SET_HERE"), "{}", stderr(&checked));
    let printed = desk.site.gatepost(&["check", "--only-text", "--print"]);
    assert_eq!(printed.status.code(), Some(78), "what is missing cannot be printed");
    desk.configure("nonsense = 1", &rest);
    let wrong = desk.site.gatepost(&["check", "--only-text"]);
    assert_eq!(wrong.status.code(), Some(78), "{}", stderr(&wrong));
    assert!(stderr(&wrong).contains("listeners[0].nonsense"), "{}", stderr(&wrong));
}

#[test]
fn a_text_in_utf_16_is_told_how_to_be_saved() {
    let desk = Desk::new();
    let text: Vec<u8> = desk.site.config().encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(desk.site.config_path(), [&[0xff, 0xfe], text.as_slice()].concat()).unwrap();
    let checked = desk.site.gatepost(&["check"]);
    assert_eq!(checked.status.code(), Some(78));
    assert!(stderr(&checked).contains("is not UTF-8; save it as UTF-8"), "{}", stderr(&checked));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_check_accepts_a_gateway_starts_with_and_the_check_works_beside_it() {
    let desk = Desk::new();
    let rest = output("ca_file = \"cert.pem\"") + "[access_log]\nfile = \"access.log\"\n";
    desk.configure(&tls("cert.pem", "key.pem"), &rest);
    let check = desk.site.gatepost(&["check"]);
    assert!(check.status.success(), "{}", stderr(&check));
    assert!(!desk.site.state().exists() && !desk.path("access.log").exists(), "looking made something");
    let running = desk.site.start().await;
    let beside = desk.site.gatepost(&["check"]);
    assert!(beside.status.success(), "{}", stderr(&beside));
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_fails_the_check_and_a_gateway_starts_and_tells_it() {
    // A clock that is wrong at boot must not take tunnels and the admin plane down.
    let desk = Desk::new();
    desk.configure(&tls("expired.pem", "key.pem"), "");
    let check = desk.site.gatepost(&["check"]);
    let told = stderr(&check);
    assert_eq!(check.status.code(), Some(78), "{told}");
    assert!(told.contains("listeners[0].tls.certificate") && told.contains("expired on 2002-01-01"), "{told}");
    let running = desk.site.start().await;
    assert!(desk.site.log().contains("expired on"), "{}", desk.site.log());
    assert!(running.stop().success());
}

#[test]
fn relative_paths_start_at_the_folder_of_the_configuration_wherever_it_is_started() {
    let desk = Desk::new();
    let elsewhere = tempfile::tempdir().unwrap();
    desk.configure(&tls("cert.pem", "key.pem"), "");
    let from = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.args(args).arg("--config").arg(desk.site.config_path()).current_dir(elsewhere.path()).output().unwrap()
    };
    let printed = from(&["check", "--print"]);
    let shown = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.status.success(), "{}", stderr(&printed));
    assert!(shown.contains(&desk.path("cert.pem").display().to_string()), "{shown}");
    // Where it led before there is one too: it is not used, and no news at each start.
    std::fs::write(elsewhere.path().join("cert.pem"), "another").unwrap();
    let quiet = from(&["check"]);
    assert!(quiet.status.success() && !stderr(&quiet).contains("former versions"), "{}", stderr(&quiet));
    std::fs::remove_file(desk.path("cert.pem")).unwrap();
    let refused = from(&["check"]);
    assert!(
        refused.status.code() == Some(78) && stderr(&refused).contains("In former versions"),
        "{}",
        stderr(&refused)
    );
}
