//! What others read of ours, read with the types that they publish.

use std::path::PathBuf;
use std::process::Command;

use super::world::library;
use crate::tools::{both, of_checkout, run};

/// A script of this folder, for the Python of the libraries.
fn script(name: &str) -> Command {
    let mut command = library("python/bin/python", "python/bin/python");
    command.arg(of_checkout("tests/e2e/clients").join(name));
    command
}

/// How many spans OpenTelemetry's own types find in these requests, one a line. They must know everything in them.
pub(crate) fn otlp_spans(lines: &[u8]) -> usize {
    let output = run(&mut script("otlp.py"), lines);
    assert!(output.status.success(), "{}", both(&output));
    both(&output).trim().parse().unwrap_or_else(|_| panic!("{}", both(&output)))
}

#[test]
fn grafanas_own_types_read_every_dashboard_and_lose_nothing_of_it() {
    let entries = std::fs::read_dir(of_checkout("dashboards")).expect("it is there");
    let files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    assert!(files.len() >= 5, "{files:?}");
    let output = run(script("dashboards.py").args(&files), b"");
    assert!(output.status.success(), "{}", both(&output));

    // Types that took anything would prove nothing.
    let folder = tempfile::tempdir().expect("a temporary directory");
    let text = std::fs::read_to_string(&files[0]).expect("UTF-8");
    let odd = folder.path().join("odd.json");
    std::fs::write(&odd, text.replacen("\"gridPos\"", "\"gridPosition\"", 1)).expect("a file");
    let output = run(script("dashboards.py").arg(&odd), b"");
    assert!(!output.status.success() && both(&output).contains("gridPosition"), "{}", both(&output));
}
