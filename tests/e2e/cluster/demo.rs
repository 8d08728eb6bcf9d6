//! `gatepost demo --cluster` shows what it says.

use std::process::Command;

use serde_json::Value;

use crate::tools::run_well;

fn account(more: &[&str]) -> Value {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    demo.args(["demo", "--cluster", "--json", "--seconds", "16", "--hosts", "12", "--events", "6000"]).args(more);
    serde_json::from_str(&run_well(&mut demo)).expect("an account")
}

fn assert_each_was_killed(account: &Value, parts: &[&str]) {
    assert_eq!((&account["missing"], &account["problems"]), (&0.into(), &serde_json::json!([])));
    let killed: Vec<&str> = account["killed"].as_array().expect("kills").iter().filter_map(Value::as_str).collect();
    for part in parts {
        assert!(killed.iter().any(|line| line.contains(part)), "{part} was not killed: {killed:?}");
    }
    let gateways = account["gateways"].as_array().expect("gateways");
    assert!(
        gateways.len() == 3 && gateways.iter().all(|gateway| gateway["forwarded"].as_u64() > Some(0)),
        "{gateways:?}"
    );
}

#[test]
fn the_demo_of_several_gateways_kills_each_part_and_the_account_balances() {
    let parts = ["gatepost-1", "gatepost-2", "gatepost-3", "primary", "replica of", "Sentinel", "HAProxy"];
    assert_each_was_killed(&account(&[]), &parts);
}

#[test]
fn the_demo_over_servers_of_nats_kills_each_part_and_the_account_balances() {
    let parts = ["gatepost-1", "gatepost-2", "gatepost-3", "server 1", "server 2", "server 3", "HAProxy"];
    assert_each_was_killed(&account(&["--spool", "jetstream"]), &parts);
}
