//! The unit is one that systemd understands, and a hardened one.

use std::process::Command;
use std::time::Duration;

use gatepost::tunnel::config::Limits;

use crate::tools::{both, of_checkout, run, run_well, tool};

const UNIT: &str = "deploy/systemd/gatepost.service";

#[test]
fn the_unit_is_exposed_hardly_at_all() {
    let mut command = Command::new(tool("systemd-analyze", "systemd"));
    run_well(command.args(["security", "--offline=true", "--threshold=15", "--no-pager"]).arg(of_checkout(UNIT)));
}

#[test]
fn the_unit_holds_nothing_that_systemd_does_not_know() {
    // systemd-analyze wants the binary to be there: this one, and not one that may be installed.
    let folder = tempfile::tempdir().expect("a temporary directory");
    let unit = std::fs::read_to_string(of_checkout(UNIT)).expect("it is there");
    assert!(unit.contains("ExecStart=/usr/local/bin/gatepost "), "the test puts another binary in its place");
    let path = folder.path().join("gatepost.service");
    let unit = unit.replace("/usr/local/bin/gatepost", env!("CARGO_BIN_EXE_gatepost"));
    std::fs::write(&path, unit).expect("a temporary file");
    let verified = run(Command::new(tool("systemd-analyze", "systemd")).arg("verify").arg(&path), b"");
    // It also judges units of this machine that are none of ours.
    let about_ours: Vec<String> =
        both(&verified).lines().filter(|line| line.contains("gatepost.service")).map(str::to_owned).collect();
    assert!(verified.status.success() && about_ours.is_empty(), "{}", both(&verified));
}

#[test]
fn what_the_unit_starts_is_what_the_binary_takes() {
    let unit = std::fs::read_to_string(of_checkout(UNIT)).expect("it is there");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let config = folder.path().join("gatepost.toml");
    std::fs::write(&config, "").expect("a temporary file");
    let lines: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("ExecStartPre=")).collect();
    assert_eq!(lines.len(), 1, "a broken configuration is told before the start");
    let args = lines[0].strip_prefix("/usr/local/bin/gatepost ").expect("our binary");
    let config = config.to_str().expect("a plain path");
    let args = args.replace("/etc/gatepost/gatepost.toml", config);
    run_well(Command::new(env!("CARGO_BIN_EXE_gatepost")).args(args.split(' ')));
    assert!(unit.contains("ExecStart=/usr/local/bin/gatepost run --config /etc/gatepost/gatepost.toml\n"));
}

fn setting(name: &str) -> String {
    let unit = std::fs::read_to_string(of_checkout(UNIT)).expect("it is there");
    let value = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("the unit sets no {name}")).to_owned()
}

#[test]
fn the_unit_has_room_and_time_for_tunnels() {
    let limits = Limits::default();
    let stop: u64 = setting("TimeoutStopSec").trim_end_matches('s').parse().expect("seconds");
    assert!(Duration::from_secs(stop) >= limits.drain_timeout.get() + Duration::from_secs(40), "{stop} s");
    let descriptors: usize = setting("LimitNOFILE").parse().expect("a number");
    assert!(descriptors >= 3 * limits.max_tunnels, "{descriptors}");
}

#[test]
fn the_unit_lets_the_gateway_ask_for_its_own_addresses() {
    // Without netlink it would not know them, and could not keep tunnels from them.
    assert!(setting("RestrictAddressFamilies").split(' ').any(|family| family == "AF_NETLINK"));
}
