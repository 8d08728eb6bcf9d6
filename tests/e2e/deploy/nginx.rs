//! nginx understands its configuration. What it does with it, tests/promises/restart_fails_no_upload.rs sees.

#[test]
fn nginx_understands_its_configuration() {
    let (is_understood, said) = crate::nginx::judged();
    assert!(is_understood && !said.contains("[warn]") && !said.contains("[emerg]"), "{said}");
}
