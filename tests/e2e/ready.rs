//! `gatepost check --ready`, which health checks use: exit status 0 when ready, 1 with the reasons when not.

use std::process::{Command, Output};

use crate::support::Site;
use crate::tools::{both, curl};

fn check(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command.args(["check", "--ready"]).args(args).output().expect("the binary is there")
}

#[tokio::test]
async fn check_ready_tells_what_the_gateway_says() {
    let site = Site::new("", "");
    let down = site.gatepost(&["check", "--ready"]);
    assert_eq!(down.status.code(), Some(1), "{}", both(&down));
    assert!(both(&down).starts_with("not ready: http://127.0.0.1:"), "{}", both(&down));

    let _running = site.start().await;
    let ready = site.gatepost(&["check", "--ready"]);
    assert_eq!((ready.status.code(), both(&ready).as_str()), (Some(0), "ready\n"));
    let admin = format!("http://127.0.0.1:{}", site.admin);
    assert!(check(&["--admin", &admin]).status.success(), "no configuration is needed with --admin");
    assert!(check(&["--admin", &format!("{admin}/")]).status.success());
    // A gateway that runs is judged by itself, not by a file that it would refuse.
    let config = site.config().to_owned();
    site.configure("nonsense = true");
    let mut with_broken_file = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    with_broken_file.args(["check", "--ready", "--admin", &admin]).env("GATEPOST_CONFIG", site.config_path());
    let with_broken_file = with_broken_file.output().expect("the binary is there");
    assert!(with_broken_file.status.success(), "{}", both(&with_broken_file));
    site.configure(&config);
    // A file that would be read for nothing is not taken in silence.
    let both_given = site.gatepost(&["check", "--ready", "--admin", &admin]);
    assert_eq!(both_given.status.code(), Some(2), "{}", both(&both_given));
    assert!(both(&both_given).contains("either --config or --admin"), "{}", both(&both_given));

    let drained = curl(&["-X", "POST", &format!("{admin}/drain")], b"").unwrap();
    assert_eq!(drained.status, 200, "{drained:?}");
    let draining = site.gatepost(&["check", "--ready"]);
    assert_eq!(draining.status.code(), Some(1), "{}", both(&draining));
    assert!(both(&draining).contains("not ready: drain"), "the reason is named: {}", both(&draining));
    let json: serde_json::Value = serde_json::from_slice(&check(&["--json", "--admin", &admin]).stdout).unwrap();
    assert_eq!(json["ready"], false);
    assert_eq!(json["reasons"].as_array().map(Vec::len), Some(1), "{json}");
    assert_eq!(json["codes"], serde_json::json!(["draining"]));
}

/// Asks the admin plane; status and answer.
fn post(site: &Site, path: &str) -> (u16, serde_json::Value) {
    let answer = curl(&["-X", "POST", &format!("http://127.0.0.1:{}/{path}", site.admin)], b"")
        .expect("the admin plane answers");
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

#[tokio::test]
async fn a_drain_can_be_taken_back_before_the_doors_close_and_after() {
    for (grace, is_closed) in [("60 s", false), ("0 s", true)] {
        let site = Site::new("", "");
        site.configure(&site.config().replace("drain_grace = \"0 s\"", &format!("drain_grace = \"{grace}\"")));
        let _running = site.start().await;
        assert_eq!(post(&site, "undrain").0, 409, "it does not drain");
        let client = site.client();
        assert_eq!(site.upload(&client, b"[]".to_vec()).await.unwrap().status, 204);
        for round in 0..2 {
            assert_eq!(post(&site, "drain").0, 200);
            assert_eq!(site.admin_get("/readyz").await.status, 503, "round {round}");
            let until = tokio::time::Instant::now() + crate::support::PATIENCE;
            while is_closed && site.upload(&site.client(), b"[]".to_vec()).await.is_ok() {
                assert!(tokio::time::Instant::now() < until, "the door does not close");
            }
            let (status, said) = post(&site, "undrain");
            assert_eq!((status, &said["draining"]), (200, &false.into()), "{said}");
            site.until_ready().await;
            for client in [&client, &site.client()] {
                assert_eq!(site.upload(client, b"[]".to_vec()).await.unwrap().status, 204, "round {round}");
            }
        }
        assert!(site.log().contains("the drain is over"));
    }
}

#[tokio::test]
async fn status_is_short_for_people_whole_for_scripts_and_an_exit_code() {
    let site = Site::new("", "");
    let down = site.gatepost(&["status", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&down.stdout).unwrap_or_else(|_| panic!("{}", both(&down)));
    assert_eq!((down.status.code(), &said["ok"]), (Some(2), &false.into()), "nobody knows how it is: {said}");
    let _running = site.start().await;
    let ready = site.gatepost(&["status"]);
    assert_eq!(ready.status.code(), Some(0), "{}", both(&ready));
    assert!(both(&ready).starts_with("ready (version ") && both(&ready).contains("received 0, "), "{}", both(&ready));
    let whole: serde_json::Value = serde_json::from_slice(&site.gatepost(&["status", "--json"]).stdout).unwrap();
    assert_eq!((&whole["ready"], &whole["not_ready_codes"]), (&true.into(), &serde_json::json!([])));
    let admin = format!("http://127.0.0.1:{}", site.admin);
    assert_eq!(curl(&["-X", "POST", &format!("{admin}/drain")], b"").unwrap().status, 200);
    let draining = site.gatepost(&["status"]);
    assert_eq!(draining.status.code(), Some(1), "{}", both(&draining));
    assert!(both(&draining).contains("!! Not ready: draining"), "{}", both(&draining));
    // It draws in a terminal, and says so where there is none.
    let top = site.gatepost(&["top"]);
    assert!(top.status.code() == Some(2) && both(&top).contains("gatepost status --json"), "{}", both(&top));
}
