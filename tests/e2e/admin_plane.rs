//! The admin plane from outside: own commands and curl, in plain HTTP and in TLS, on an address of its own.

use std::process::Output;

use crate::support::Site;
use crate::tools::{both, curl};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A site whose admin plane listens on this address, with more TOML for it.
fn site(address: &str, admin: &str) -> Site {
    let site = Site::new("", "");
    let listen = |address: &str| format!("listen = \"{address}:{}\"\n", site.admin);
    let section = format!("{}token = \"{TOKEN}\"\n{admin}", listen(address));
    site.configure(&site.config().replace(&listen("127.0.0.1"), &section));
    site
}

/// Waits until the gateway says that it is ready, through its own command.
async fn until_ready(site: &Site) {
    let until = tokio::time::Instant::now() + crate::support::PATIENCE;
    while !site.gatepost(&["check", "--ready"]).status.success() {
        let said = both(&site.gatepost(&["check", "--ready"]));
        assert!(tokio::time::Instant::now() < until, "{said}\n{}", site.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Every command of ours that asks the admin plane.
fn own_commands(site: &Site) {
    let done = |args: &[&str]| {
        let said: Output = site.gatepost(args);
        assert!(said.status.success(), "{args:?}: {}", both(&said));
    };
    done(&["clock", "show"]);
    done(&["clock", "accept"]);
    done(&["hosts", "observed"]);
    done(&["hosts", "seen"]);
    done(&["hosts", "silent"]);
    done(&["dead-letter", "replay", "--all"]);
    done(&["dead-letter", "purge", "--all"]);
}

#[tokio::test]
async fn on_an_address_of_its_own_commands_and_curl_work_with_the_token() {
    let site = site("127.0.0.7", "");
    let _running = site.launch();
    until_ready(&site).await;
    own_commands(&site);
    let drain = format!("http://127.0.0.7:{}/drain", site.admin);
    assert_eq!(curl(&["-X", "POST", &drain], b"").expect("curl").status, 401, "the address is a name of ours");
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let foreign = curl(&["-X", "POST", "-H", "Host: evil.example", &drain], b"").expect("curl");
    assert!(foreign.status == 403 && foreign.body.contains("admin.allowed_hosts"), "{foreign:?}");
    assert_eq!(curl(&["-X", "POST", "-H", &bearer, &drain], b"").expect("curl").status, 200);
}

#[tokio::test]
async fn the_whole_plane_in_tls_is_open_to_own_commands_and_to_who_has_the_token() {
    let site = site("127.0.0.1", "require_token = \"everything\"\ntls = {}\n");
    let running = site.launch();
    until_ready(&site).await;
    own_commands(&site);

    let url = |path: &str| format!("https://127.0.0.1:{}/{path}", site.admin);
    let ca = site.state().join("tls/cert.pem");
    let ca = ca.to_str().expect("a plain path");
    let ask = |path: &str, more: &[&str]| {
        let url = url(path);
        let args = [&["--cacert", ca], more, &[url.as_str()]].concat();
        curl(&args, b"").expect("curl").status
    };
    assert_eq!((ask("livez", &[]), ask("readyz", &[]), ask("metrics", &[]), ask("status", &[])), (200, 200, 401, 401));
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_eq!((ask("metrics", &["-H", &bearer]), ask("status", &["-H", &bearer])), (200, 200));
    assert_eq!(ask("status", &["-u", &format!("operator:{TOKEN}")]), 200);

    // Without the configuration: by the certificate that is named, and by no other.
    let check = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.args(["check", "--ready", "--admin"]).args(args).output().expect("the binary is there")
    };
    assert_eq!(both(&check(&[&url(""), "--admin-ca", ca])), "ready\n");
    let untrusted = check(&[&url("")]);
    assert!(!untrusted.status.success() && both(&untrusted).contains("--admin-ca"), "{}", both(&untrusted));
    let plain = check(&[&format!("http://127.0.0.1:{}", site.admin)]);
    assert!(!plain.status.success() && both(&plain).contains("write https://"), "{}", both(&plain));
    // Who asks without the token is told where it stands, not shown JSON.
    let seen = ["hosts", "seen", "--admin", &url(""), "--admin-ca", ca];
    let seen = std::process::Command::new(env!("CARGO_BIN_EXE_gatepost")).args(seen).output().expect("the binary");
    assert!(both(&seen).contains("needs admin.token") && both(&seen).contains("--config"), "{}", both(&seen));

    // Another certificate is shown from the next connection on, after a reload.
    let before = std::fs::read(ca).expect("the certificate");
    std::fs::remove_file(site.state().join("tls/key.pem")).expect("removed");
    let reload = curl(&["--cacert", ca, "-X", "POST", "-H", &bearer, &url("reload")], b"").expect("curl");
    assert!(reload.status == 200 && reload.body.contains("everything is in force"), "{reload:?}");
    assert_ne!(std::fs::read(ca).expect("the certificate"), before, "it was made anew");
    own_commands(&site);
    running.kill();
}

#[tokio::test]
async fn hosts_of_a_token_that_do_nothing_are_told_by_check_log_and_status() {
    let token = "auth.tokens = [{ name = \"plant\", sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\", \
                 hosts = [\"web01\"] }]\n";
    let site = Site::new(token, "");
    let told = |text: &str| text.contains("identity.policy") && text.contains("\"plant\"");
    let checked = site.gatepost(&["check"]);
    assert!(checked.status.success() && told(&both(&checked)), "{}", both(&checked));
    let running = site.start().await;
    assert!(told(&site.log().replace("\\\"", "\"")), "{}", site.log());
    let warnings = site.status().await["warnings"].clone();
    assert!(
        warnings.as_array().is_some_and(|list| list.len() == 1 && told(list[0].as_str().unwrap_or_default())),
        "{warnings}"
    );

    site.configure(&site.config().replace("hosts = [", "group = \"g\", resource_ids = ["));
    assert!(both(&site.gatepost(&["check"])).contains("do nothing"), "resource ids do nothing either");
    site.configure(&format!("{}identity.policy = \"enforce\"\n", site.config()));
    let enforced = site.gatepost(&["check"]);
    assert!(enforced.status.success() && !both(&enforced).contains("do nothing"), "{}", both(&enforced));
    running.kill();
}
