//! The unit is one that systemd understands, and a hardened one.

use std::process::Command;
use std::time::Duration;

use gatepost::tunnel::config::Limits;

use crate::tools::{both, of_checkout, run, tool};

const UNIT: &str = "deploy/systemd/gatepost.service";

#[test]
fn the_unit_is_exposed_hardly_at_all() {
    let report = judged(&[]);
    let exposure = report.lines().find(|line| line.contains("Overall exposure level")).expect("a verdict");
    assert!(exposure.contains("gatepost.service: 1.0 "), "{report}");
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
    std::fs::write(&config, "[spool]\nmax_siez = \"1 GiB\"\n").expect("a temporary file");
    let start = setting("ExecStart");
    let args = start.strip_prefix("/usr/local/bin/gatepost ").expect("our binary");
    let args = args.replace("/etc/gatepost/gatepost.toml", config.to_str().expect("a plain path"));
    let ended = run(Command::new(env!("CARGO_BIN_EXE_gatepost")).args(args.split(' ')), b"");
    assert!(both(&ended).contains("max_siez"), "{}", both(&ended));
    let code = ended.status.code().expect("it ended by itself").to_string();
    // A restart would read the same file again, for ever.
    assert_eq!(setting("RestartPreventExitStatus"), code);
    assert!(!unit.contains("ExecStartPre="), "its exit status would not prevent the restart");
}

/// The unit with these drop-ins, as systemd reads them, in a folder of their own, where the binary is ours.
fn with_drop_ins(drop_ins: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let unit = std::fs::read_to_string(of_checkout(UNIT)).expect("it is there");
    let unit = unit.replace("/usr/local/bin/gatepost", env!("CARGO_BIN_EXE_gatepost"));
    std::fs::write(folder.path().join("gatepost.service"), unit).expect("a temporary file");
    let beside = folder.path().join("gatepost.service.d");
    std::fs::create_dir(&beside).expect("a temporary directory");
    for drop_in in drop_ins {
        let from = of_checkout(UNIT).with_extension("service.d").join(drop_in);
        std::fs::copy(&from, beside.join(drop_in)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }
    folder
}

/// How exposed systemd finds the unit with these drop-ins, setting by setting.
fn judged(drop_ins: &[&str]) -> String {
    let folder = with_drop_ins(drop_ins);
    let mut command = Command::new(tool("systemd-analyze", "systemd"));
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()));
    both(&run(command.args(["security", "--offline=true", "--no-pager", "gatepost.service"]), b""))
}

#[test]
fn the_drop_in_for_public_egress_lets_a_workspace_output_reach_azure_and_nothing_else_changes() {
    let (confined, open) = (judged(&[]), judged(&["public-egress.conf"]));
    let row = |report: &str| report.lines().find(|line| line.contains("IPAddressDeny=")).map(str::to_owned);
    assert!(row(&confined).is_some_and(|row| row.contains("defines IP address allow list")), "{confined}");
    assert!(row(&open).is_some_and(|row| row.contains("does not define an IP address allow list")), "{open}");
    let others = |report: &str| -> Vec<String> {
        let rows = report.lines().filter(|line| line.contains('=') && !line.contains("IPAddressDeny="));
        rows.map(str::to_owned).collect()
    };
    assert_eq!(others(&confined), others(&open));
}

#[test]
fn the_other_drop_ins_are_understood() {
    for drop_in in ["credentials.conf", "arc.conf"] {
        let folder = with_drop_ins(&[drop_in]);
        let mut command = Command::new(tool("systemd-analyze", "systemd"));
        let said = run(command.arg("verify").arg(folder.path().join("gatepost.service")), b"");
        let said = both(&said);
        let about_ours: Vec<&str> = said.lines().filter(|line| line.contains(drop_in)).collect();
        assert!(about_ours.is_empty(), "{about_ours:?}");
    }
}

fn setting(name: &str) -> String {
    let unit = std::fs::read_to_string(of_checkout(UNIT)).expect("it is there");
    let value = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("the unit sets no {name}")).to_owned()
}

#[test]
fn the_unit_has_room_for_tunnels_and_time_for_a_stop() {
    let (limits, grace) = (Limits::default(), gatepost::config::Config::default().drain_grace.get());
    let stop: u64 = setting("TimeoutStopSec").trim_end_matches('s').parse().expect("seconds");
    let uploads = gatepost::inputs::http::limits::Config::default().drain_timeout.get();
    let longest = uploads.max(limits.drain_timeout.get());
    assert!(Duration::from_secs(stop) >= grace + longest + Duration::from_secs(60), "{stop} s");
    let descriptors: usize = setting("LimitNOFILE").parse().expect("a number");
    assert!(descriptors >= 3 * limits.max_tunnels, "{descriptors}");
}

#[test]
fn the_unit_lets_the_gateway_ask_for_its_own_addresses() {
    // Without netlink it would not know them, and could not keep tunnels from them.
    assert!(setting("RestrictAddressFamilies").split(' ').any(|family| family == "AF_NETLINK"));
}

const SOCKET: &str = "deploy/systemd/gatepost.socket";

#[test]
fn the_socket_unit_holds_nothing_that_systemd_does_not_know_and_is_for_the_service() {
    let folder = with_drop_ins(&[]);
    let socket = folder.path().join("gatepost.socket");
    std::fs::copy(of_checkout(SOCKET), &socket).expect("it is there");
    let mut command = Command::new(tool("systemd-analyze", "systemd"));
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()));
    let verified = run(command.arg("verify").arg(&socket), b"");
    let about_ours: Vec<String> =
        both(&verified).lines().filter(|line| line.contains("gatepost.")).map(str::to_owned).collect();
    assert!(verified.status.success() && about_ours.is_empty(), "{}", both(&verified));
}

#[test]
fn who_may_come_to_the_sockets_is_who_may_come_to_the_service() {
    let unit = std::fs::read_to_string(of_checkout(SOCKET)).expect("it is there");
    for name in ["IPAddressDeny", "IPAddressAllow"] {
        assert!(unit.lines().any(|line| line == format!("{name}={}", setting(name))), "{name}");
    }
}
