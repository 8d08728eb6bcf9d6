//! `gatepost demo --cluster` shows what it says.

use std::process::Command;

use serde_json::Value;

use crate::tools::run_well;

#[test]
fn the_demo_of_several_gateways_kills_each_part_and_the_account_balances() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    demo.args(["demo", "--cluster", "--json", "--seconds", "16", "--hosts", "12", "--events", "6000"]);
    let account: Value = serde_json::from_str(&run_well(&mut demo)).expect("an account");
    assert_eq!((&account["missing"], &account["problems"]), (&0.into(), &serde_json::json!([])));
    let killed: Vec<&str> = account["killed"].as_array().expect("kills").iter().filter_map(Value::as_str).collect();
    for part in ["gatepost-1", "gatepost-2", "gatepost-3", "primary", "replica of", "Sentinel", "HAProxy"] {
        assert!(killed.iter().any(|line| line.contains(part)), "{part} was not killed: {killed:?}");
    }
    let gateways = account["gateways"].as_array().expect("gateways");
    assert!(
        gateways.len() == 3 && gateways.iter().all(|gateway| gateway["forwarded"].as_u64() > Some(0)),
        "{gateways:?}"
    );
}
