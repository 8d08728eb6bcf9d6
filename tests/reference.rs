//! The committed documents say what the code says. `UPDATE=1 cargo test --test reference` writes them anew.

use std::fs;
use std::path::Path;

use gatepost::config::reference;

fn check(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
        fs::write(&path, made).expect("write the document");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(made.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or(committed.lines().count().min(made.lines().count())) + 1;
    assert!(committed == made, "{file} is stale from line {line} on; run `UPDATE=1 cargo test --test reference`");
}

#[test]
fn configuration_reference() {
    check("docs/configuration.md", &reference::configuration());
}

#[test]
fn example_configuration() {
    check("docs/gatepost.example.toml", &reference::example());
}

#[test]
fn metrics_reference() {
    check("docs/metrics.md", &reference::metrics());
}
