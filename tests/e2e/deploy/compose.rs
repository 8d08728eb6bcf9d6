//! deploy/compose.yaml: docker-compose understands it, what it mounts is there, and what it mounts is right.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::tools::{both, of_checkout, run, run_well, tool};

const FILE: &str = "deploy/compose.yaml";
const HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn compose(args: &[&str]) -> Command {
    let mut command = Command::new(tool("docker-compose", "docker-compose"));
    command.arg("-f").arg(of_checkout(FILE)).args(args);
    command.env_remove("GATEPOST_TOKEN_SHA256").env("GATEPOST_DEDUP_SECRET", HASH);
    command
}

/// YAML of one document as JSON.
fn yaml(text: &[u8]) -> Value {
    let mut all = documents(text);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// The documents of YAML as JSON, by the parser that docker-compose itself brings along.
pub(super) fn documents(text: &[u8]) -> Vec<Value> {
    let script = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";
    let output = run(Command::new(tool("python3", "python3")).args(["-c", script]), text);
    assert!(output.status.success(), "python3-yaml is needed: {}", both(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn of_file(path: &str) -> Value {
    yaml(&std::fs::read(of_checkout(path)).unwrap_or_else(|error| panic!("{path}: {error}")))
}

#[test]
fn docker_compose_understands_it_and_asks_for_the_token_and_the_secret() {
    let without = run(&mut compose(&["config", "-q"]), b"");
    assert!(!without.status.success() && both(&without).contains("GATEPOST_TOKEN_SHA256"), "{}", both(&without));
    run_well(compose(&["config", "-q"]).env("GATEPOST_TOKEN_SHA256", HASH));
    let without =
        run(compose(&["config", "-q"]).env("GATEPOST_TOKEN_SHA256", HASH).env_remove("GATEPOST_DEDUP_SECRET"), b"");
    assert!(!without.status.success() && both(&without).contains("GATEPOST_DEDUP_SECRET"), "{}", both(&without));
    let services = run_well(compose(&["config", "--services"]).env("GATEPOST_TOKEN_SHA256", HASH));
    let mut services: Vec<&str> = services.split_whitespace().collect();
    services.sort_unstable();
    assert_eq!(services, ["balancer", "gateway1", "gateway2", "gateway3", "grafana", "prometheus", "valkey"]);
}

#[test]
fn the_token_that_it_asks_for_is_made_without_what_it_builds() {
    let text = std::fs::read_to_string(of_checkout(FILE)).expect("it is there");
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    let (last, first) = lines.split_last().expect("it shows how");
    assert!(last.starts_with("docker compose "), "{last}");
    let script = format!("{}\nprintf %s \"$GATEPOST_TOKEN_SHA256\"", first.join("\n"));
    let said = run_well(Command::new("sh").arg("-ec").arg(script));
    let (token, hash) = said.split_once('\n').expect("the token, then its hash");
    let token = token.split(' ').next().expect("a token");
    let summed = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    let summed: String = hex::encode(summed);
    assert_eq!(hash, summed);
    run_well(compose(&["config", "-q"]).env("GATEPOST_TOKEN_SHA256", hash));
}

#[test]
fn every_image_is_named_with_its_registry() {
    for (name, service) in of_file(FILE)["services"].as_object().expect("services") {
        let registry = service["image"].as_str().and_then(|image| image.split('/').next()).expect("an image");
        assert!(registry == "localhost" || registry.contains('.'), "{name}: {registry}");
    }
}

#[test]
fn what_it_mounts_is_there() {
    let all = of_file(FILE);
    let services = all["services"].as_object().expect("services");
    for (name, service) in services {
        for volume in service["volumes"].as_array().expect("each has volumes") {
            let source = volume.as_str().and_then(|volume| volume.split(':').next()).expect("the short form");
            let there = match source.starts_with('.') {
                true => of_checkout("deploy").join(source).exists(),
                false => all["volumes"].get(source).is_some(),
            };
            assert!(there, "{name}: {source} is not there");
        }
        assert!(
            service["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .all(|port| { port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:")) }),
            "{name} is reachable from this machine only"
        );
    }
    let provider = &of_file("deploy/grafana/dashboards.yml")["providers"][0]["options"]["path"];
    let mounts = services["grafana"]["volumes"].to_string();
    assert!(mounts.contains(&format!("../dashboards:{}:ro", provider.as_str().expect("a path"))), "{mounts}");
    let source = &of_file("deploy/grafana/datasources.yml")["datasources"][0];
    assert_eq!((&source["type"], &source["url"]), (&"prometheus".into(), &"http://prometheus:9090".into()));
}

#[test]
fn its_gateway_configuration_is_right_and_its_health_check_finds_the_admin_plane() {
    let config = of_checkout("deploy/compose/gatepost.toml");
    let mut check = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    check.args(["check", "--only-text", "--print", "--json", "--config"]).arg(&config);
    check.env("GATEPOST_DEDUP_SECRET", HASH);
    let without = run(check.env_remove("GATEPOST_TOKEN_SHA256"), b"");
    assert!(!without.status.success(), "a gateway without its token does not start");
    let printed: Value = serde_json::from_str(&run_well(check.env("GATEPOST_TOKEN_SHA256", HASH))).expect("JSON");
    assert_eq!(printed["admin"]["listen"], "0.0.0.0:8449", "the port that the image's health check asks");
    assert_eq!(printed["state_dir"], "/var/lib/gatepost", "the image's volume");
    let services = of_file(FILE)["services"].take();
    for address in printed["dedup"]["redis"]["addresses"].as_array().expect("an engine") {
        let (host, port) = address.as_str().and_then(|address| address.split_once(':')).expect("a name and a port");
        assert!(services[host]["image"].as_str().is_some_and(|image| image.contains("valkey")) && port == "6379");
    }
    let subnet = &of_file(FILE)["networks"]["default"]["ipam"]["config"][0]["subnet"];
    assert_eq!(printed["listeners"][0]["proxy_protocol_from"], serde_json::json!([subnet]), "where the balancer is");
    let tunnel = &printed["tunnel"];
    assert_eq!(tunnel["listeners"][0]["proxy_protocol_from"], serde_json::json!([subnet]), "where the balancer is");
    assert_eq!(tunnel["groups"][0]["networks"], serde_json::json!([subnet]), "where published ports come from");
}

#[test]
fn gateways_have_the_time_that_a_stop_takes() {
    let unit = std::fs::read_to_string(of_checkout("deploy/systemd/gatepost.service")).expect("it is there");
    let of_unit = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec="));
    for gateway in ["gateway1", "gateway2", "gateway3"] {
        let given = of_file(FILE)["services"][gateway]["stop_grace_period"].clone();
        assert_eq!(given.as_str(), of_unit, "{gateway} has what tests/e2e/deploy/systemd.rs found to be enough");
    }
}

#[test]
fn haproxy_gets_every_variable_that_its_configuration_names() {
    let environment = &of_file(FILE)["services"]["balancer"]["environment"];
    let config = std::fs::read_to_string(of_checkout("deploy/haproxy/haproxy.cfg")).expect("it is there");
    let named = config.split("${").skip(1).filter_map(|rest| rest.split('}').next());
    let missing: Vec<&str> = named.filter(|name| environment[*name].as_str().is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn its_prometheus_scrapes_all_gateways_and_else_is_the_one_of_deploy() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let copy = |from: &str, to: &Path| std::fs::copy(of_checkout(from), to).expect("it is there");
    copy("deploy/compose/prometheus.yml", &folder.path().join("prometheus.yml"));
    copy("deploy/prometheus/alerts.yml", &folder.path().join("alerts.yml"));
    copy("deploy/prometheus/recording.yml", &folder.path().join("recording.yml"));
    let mut promtool = Command::new(tool("promtool", "prometheus"));
    run_well(promtool.args(["check", "config"]).arg(folder.path().join("prometheus.yml")));
    let (mut here, mut there) = (of_file("deploy/compose/prometheus.yml"), of_file("deploy/prometheus/prometheus.yml"));
    let targets = |config: &mut Value| config["scrape_configs"][0]["static_configs"][0]["targets"].take();
    assert_eq!(targets(&mut here), serde_json::json!(["gateway1:8449", "gateway2:8449", "gateway3:8449"]));
    targets(&mut there);
    assert_eq!(here, there);
}
