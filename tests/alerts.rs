//! Alerts ring when they should, and the runbook says what to do about each.

use std::path::{Path, PathBuf};
use std::process::Command;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn alerts_ring_also_for_series_that_begin_late() {
    let test = file("deploy/prometheus/alerts_test.yml");
    let ran =
        Command::new("promtool").args(["test", "rules"]).arg(test).output().expect("`make test` installs promtool");
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn every_alert_stands_in_the_runbook() {
    let read = |path| std::fs::read_to_string(file(path)).expect("it is committed");
    let (alerts, runbook) = (read("deploy/prometheus/alerts.yml"), read("docs/runbook.md"));
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(!names.is_empty());
    for name in names {
        assert!(runbook.contains(&format!("| {name} |")), "{name} is not in docs/runbook.md");
    }
}
