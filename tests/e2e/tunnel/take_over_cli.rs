//! What an operator does for hosts that are taken over: the authority, and what is wrong with a configuration.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::Site;
use crate::tools::both;

/// Who may upload, at the listener that gets what is taken over.
const AUTH: &str = "auth = { networks = [\"10.20.0.0/16\"] }\n";

const TAKE_OVER: &str = r#"
[[tunnel.listeners]]
listen = "127.0.0.1:0"
[[tunnel.groups]]
name = "old"
networks = ["10.20.0.0/16"]
[tunnel.ca]
certificate = "ca/ca.pem"
key = "ca/ca-key.pem"
[[tunnel.take_over]]
name = "scripts"
hosts = ["*.ods.opinsights.azure.com"]
groups = ["old"]
input = "uploads"
"#;

#[test]
fn an_authority_is_made_shown_and_handed_out_and_never_replaced() {
    let site = Site::new(AUTH, TAKE_OVER);
    let made = site.gatepost(&["ca", "init", "ca", "--key", "both"]);
    assert!(made.status.success() && both(&made).contains("[tunnel.ca]\ncertificate = "), "{}", both(&made));
    assert!(both(&made).contains("second_certificate") && both(&made).contains("ods.opinsights.azure.com"));
    for (file, mode) in [("ca.pem", 0o644), ("ca-key.pem", 0o600), ("ca-rsa.pem", 0o644), ("ca-rsa-key.pem", 0o600)] {
        let found = std::fs::metadata(site.dir.join("ca").join(file)).expect(file).permissions().mode();
        assert_eq!(found & 0o777, mode, "{file}");
    }
    let before = std::fs::read(site.dir.join("ca/ca.pem")).expect("it is there");
    let again = site.gatepost(&["ca", "init", "ca"]);
    assert!(!again.status.success() && both(&again).contains("not replaced"), "{}", both(&again));
    assert_eq!(std::fs::read(site.dir.join("ca/ca.pem")).expect("it is there"), before);

    let shown = site.gatepost(&["ca", "show", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let authority = &shown["authorities"][0];
    assert_eq!(
        (&authority["key"], &authority["may_sign_for"][0]),
        (&"ECDSA".into(), &"ods.opinsights.azure.com".into())
    );
    let rsa = site.gatepost(&["ca", "show", "ca/ca-rsa.pem"]);
    assert!(both(&rsa).contains("RSA"), "{}", both(&rsa));
    let trust = both(&site.gatepost(&["ca", "trust"]));
    let thumbprint = authority["thumbprint"].as_str().expect("text");
    assert!(trust.contains("certutil -addstore -f Root ca.pem") && trust.contains(thumbprint), "{trust}");
    assert!(trust.contains("update-ca-certificates") && !trust.contains("key.pem"), "{trust}");

    let check = both(&site.gatepost(&["check"]));
    assert!(check.contains("tunnel.take_over[0]") && check.contains("end at this gateway"), "{check}");
}

#[test]
fn what_cannot_be_meant_is_refused_with_line_and_remedy() {
    for (change, key, right) in [
        (("ods.opinsights.azure.com", "handler.control.monitor.azure.com"), "hosts[0]", "the Azure Monitor Agent"),
        (("ods.opinsights.azure.com", "his.arc.azure.com"), "hosts[0]", "the Arc agent"),
        (("*.ods.opinsights.azure.com", "*.azure.com"), "hosts[0]", "force = true"),
        (("*.ods.opinsights.azure.com", "192.0.2.7"), "hosts[0]", "write the host's name"),
        (("groups = [\"old\"]", "groups = []"), "groups", "nobody would be taken over"),
        (("groups = [\"old\"]", "groups = [\"odl\"]"), "groups[0]", "names no group"),
        (("input = \"uploads\"", "input = \"upload\""), "input", "there is \"uploads\""),
        (("input = \"uploads\"", "input = \"uploads\"\nforce = true"), "force", "forces nothing"),
        (("key = \"ca/ca-key.pem\"", ""), "ca.certificate", "tunnel.ca.key"),
        (("hosts = [\"*.ods.opinsights.azure.com\"]", "hosts = []"), "hosts", "is empty"),
        (("ods.opinsights.azure.com", "ods.example.com"), "hosts[0]", "may not sign for"),
    ] {
        let site = Site::new(AUTH, &TAKE_OVER.replace(change.0, change.1));
        let made = site.gatepost(&["ca", "init", "ca", "--domain", "ods.opinsights.azure.com"]);
        assert!(made.status.success(), "{}", both(&made));
        let check = site.gatepost(&["check"]);
        let told = both(&check);
        assert!(!check.status.success() && told.contains(key) && told.contains(right), "{change:?}: {told}");
    }
    let forced =
        TAKE_OVER.replace("*.ods.opinsights.azure.com", "*.azure.com").replace("input =", "force = true\ninput =");
    let site = Site::new(AUTH, &forced);
    assert!(site.gatepost(&["ca", "init", "ca", "--any-name"]).status.success());
    let check = site.gatepost(&["check"]);
    assert!(check.status.success() && both(&check).contains("does not support it"), "{}", both(&check));
    std::fs::set_permissions(site.dir.join("ca/ca-key.pem"), std::fs::Permissions::from_mode(0o644)).expect("set");
    let check = site.gatepost(&["check"]);
    assert!(!check.status.success() && both(&check).contains("chmod 600"), "{}", both(&check));
}
