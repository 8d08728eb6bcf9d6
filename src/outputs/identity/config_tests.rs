use crate::outputs;

/// The keys with problems of an output with this identity.
fn keys(identity: &str) -> Vec<String> {
    let text = format!(
        r#"
        name = "sentinel"
        kind = "workspace"
        dcr = "dcr-00000000000000000000000000000000"
        stream = "Custom-SecurityEvent"
        endpoints = [{{ url = "https://a.example" }}]
        identity = {{ {identity} }}"#
    );
    let config: outputs::Config = toml::from_str(&text).unwrap();
    config.problems().into_iter().map(|(key, _)| key).collect()
}

#[test]
fn sound_identities_have_no_problem() {
    for identity in [
        r#"kind = "none""#,
        r#"kind = "token", token = "abc""#,
        r#"kind = "client_secret", tenant = "contoso.onmicrosoft.com", client_id = "0-1", client_secret = "s""#,
        r#"kind = "client_secret", tenant = "t", client_id = "c", client_secret = "s", authority = "https://login.example:8443""#,
        r#"kind = "client_secret", tenant = "t", client_id = "c", client_secret = "s", authority = "http://127.0.0.1:8080/""#,
        r#"kind = "client_certificate", tenant = "t", client_id = "c", certificate = "a.pfx", password = "p""#,
        r#"kind = "managed_identity""#,
        r#"kind = "managed_identity", resource_id = "/subscriptions/1/x", endpoint = "http://imds.example""#,
        r#"kind = "arc", endpoint = "http://[::1]:40342""#,
        r#"kind = "workload_identity", tenant = "t", client_id = "c", token_file = "/run/token""#,
    ] {
        assert_eq!(keys(identity), [""; 0], "{identity}");
    }
}

#[test]
fn every_mistake_is_told_with_its_key() {
    for (identity, key) in [
        (r#"kind = "token", token = "a b""#, "identity.token"),
        (r#"kind = "client_secret", tenant = "a/../b", client_id = "c", client_secret = "s""#, "identity.tenant"),
        (r#"kind = "client_secret", tenant = "t", client_id = "c?x", client_secret = "s""#, "identity.client_id"),
        (r#"kind = "client_secret", tenant = "t", client_id = "c", client_secret = """#, "identity.client_secret"),
        (
            r#"kind = "client_secret", tenant = "t", client_id = "c", client_secret = "s", authority = "http://login.example""#,
            "identity.authority",
        ),
        (
            r#"kind = "client_secret", tenant = "t", client_id = "c", client_secret = "s", authority = "https://u@login.example""#,
            "identity.authority",
        ),
        (r#"kind = "client_certificate", tenant = "t", client_id = "c", certificate = """#, "identity.certificate"),
        (r#"kind = "managed_identity", client_id = "a", object_id = "b""#, "identity.client_id"),
        (r#"kind = "managed_identity", resource_id = "mine""#, "identity.resource_id"),
        (r#"kind = "managed_identity", endpoint = "https://imds.example""#, "identity.endpoint"),
        (r#"kind = "arc", endpoint = "http://10.0.0.1:40342""#, "identity.endpoint"),
        (r#"kind = "arc", endpoint = "http://localhost.example:40342""#, "identity.endpoint"),
        (r#"kind = "arc", key_dir = "tokens""#, "identity.key_dir"),
        (r#"kind = "workload_identity", tenant = "t", client_id = "c", token_file = """#, "identity.token_file"),
    ] {
        assert_eq!(keys(identity), [key], "{identity}");
    }
}
