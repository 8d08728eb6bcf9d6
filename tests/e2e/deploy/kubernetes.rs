//! deploy/kubernetes: Kustomize builds it, it is what Kubernetes' published schemas allow, and its parts fit together and with the
//! gateway.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::compose::documents;
use crate::tools::{of_checkout, run_well, tool};

const FOLDER: &str = "deploy/kubernetes";
/// From the first with everything that is used here to the newest that is known.
const VERSIONS: [&str; 2] = ["1.29", "1.37"];
const SECRETS: [&str; 2] = ["dedup-secret", "token-sha256"];

/// What Kustomize makes of it, as text and as documents.
fn built() -> (String, Vec<Value>) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    for entry in std::fs::read_dir(of_checkout(FOLDER)).expect("it is there") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            std::fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
    std::fs::create_dir(folder.path().join("secrets")).expect("a folder");
    for name in SECRETS {
        std::fs::write(folder.path().join("secrets").join(name), "0".repeat(64)).expect("a secret");
    }
    let text = run_well(Command::new(tool("kubectl", "kubernetes-client")).arg("kustomize").arg(folder.path()));
    let all = documents(text.as_bytes());
    (text, all)
}

fn named<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = all.iter().find(|one| one["kind"] == kind && one["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// The configuration, as the gateway understands it.
fn configuration() -> Value {
    let mut check = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    check
        .args(["check", "--only-text", "--print", "--json", "--config"])
        .arg(of_checkout(FOLDER).join("gatepost.toml"));
    check.envs([("GATEPOST_DEDUP_SECRET", "0".repeat(64)), ("GATEPOST_TOKEN_SHA256", "0".repeat(64))]);
    serde_json::from_str(&run_well(&mut check)).expect("JSON")
}

fn seconds(span: &Value) -> u64 {
    let text = span.as_str().expect("a span");
    text.trim_end_matches('s').trim().parse().unwrap_or_else(|_| panic!("{text} is not in seconds"))
}

#[test]
fn it_is_what_the_published_schemas_allow() {
    let (text, _) = built();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("a temporary file");
    let judge = run_well(Command::new(of_checkout("scripts/tools.sh")).arg("kubernetes"));
    let judge = judge.lines().last().expect("where it is");
    for version in VERSIONS {
        run_well(Command::new(judge).args(["--strict", "-k", version]).arg(file.path()));
    }
}

#[test]
fn what_selects_pods_selects_those_that_are_there() {
    let (_, all) = built();
    let pods: Vec<&Value> = all.iter().filter(|one| one["kind"] == "StatefulSet").collect();
    let selects = |selector: &Value, pod: &Value| {
        let labels = &pod["spec"]["template"]["metadata"]["labels"];
        selector.as_object().expect("labels").iter().all(|(name, value)| labels[name] == *value)
    };
    for one in &all {
        let spec = &one["spec"];
        let selector = match one["kind"].as_str().expect("a kind") {
            "Service" => &spec["selector"],
            "NetworkPolicy" => &spec["podSelector"]["matchLabels"],
            "StatefulSet" | "PodDisruptionBudget" => &spec["selector"]["matchLabels"],
            _ => continue,
        };
        assert!(pods.iter().any(|pod| selects(selector, pod)), "{} selects nothing", one["metadata"]["name"]);
    }
    for pod in &pods {
        let name = pod["spec"]["serviceName"].as_str().expect("a service");
        assert!(selects(&named(&all, "Service", name)["spec"]["selector"], pod), "{name}");
    }
    let monitor = documents(&std::fs::read(of_checkout(FOLDER).join("servicemonitor.yaml")).expect("it is there"));
    let wanted = monitor[0]["spec"]["selector"]["matchLabels"].as_object().expect("labels");
    let service = named(&all, "Service", "gatepost-pods");
    assert!(wanted.iter().all(|(name, value)| service["metadata"]["labels"][name] == *value));
    assert_eq!(service["spec"]["ports"][0]["name"], monitor[0]["spec"]["endpoints"][0]["port"]);
}

#[test]
fn the_gateway_finds_there_what_its_configuration_names() {
    let (_, all) = built();
    let (config, set) = (configuration(), named(&all, "StatefulSet", "gatepost"));
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    let port = |name: &str| {
        let ports = container["ports"].as_array().expect("ports");
        ports.iter().find(|port| port["name"] == name).expect("it has one")["containerPort"].clone()
    };
    assert_eq!(config["admin"]["listen"], format!("0.0.0.0:{}", port("admin")));
    assert_eq!(config["listeners"][0]["listen"], format!("0.0.0.0:{}", port("uploads")));
    for (probe, path) in [("startupProbe", "/livez"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")] {
        assert_eq!(
            (&container[probe]["httpGet"]["path"], &container[probe]["httpGet"]["port"]),
            (&path.into(), &"admin".into())
        );
    }
    let mount = container["volumeMounts"].as_array().expect("mounts").iter().find(|mount| mount["name"] == "state");
    let mount = mount.and_then(|mount| mount["mountPath"].as_str()).expect("where the volume is");
    assert_eq!(config["state_dir"], format!("{mount}/state"), "a folder of its own within the volume");
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"], "state");
    let secret = container["envFrom"][0]["secretRef"]["name"].as_str().expect("a secret");
    let kept = named(&all, "Secret", secret)["data"].as_object().expect("data").clone();
    let text = std::fs::read_to_string(of_checkout(FOLDER).join("gatepost.toml")).expect("it is there");
    let asked = text.split("${env:").skip(1).filter_map(|rest| rest.split('}').next());
    let missing: Vec<&str> = asked.filter(|name| !kept.contains_key(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let engine = config["dedup"]["redis"]["addresses"][0].as_str().and_then(|address| address.split_once(':'));
    let (host, at) = engine.expect("a name and a port");
    assert_eq!(named(&all, "Service", host)["spec"]["ports"][0]["port"].to_string(), at);
}

#[test]
fn a_pod_that_goes_has_the_time_that_a_stop_takes_and_the_others_stay() {
    let (_, all) = built();
    let (config, set) = (configuration(), named(&all, "StatefulSet", "gatepost"));
    let pod = &set["spec"]["template"]["spec"];
    let drain = gatepost::inputs::http::limits::Config::default().drain_timeout.get();
    let grace = Duration::from_secs(seconds(&config["drain_grace"]));
    let given = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().expect("seconds"));
    assert!(given >= grace + drain + Duration::from_secs(60), "{given:?}");
    let probe = &pod["containers"][0]["readinessProbe"];
    let seen = probe["periodSeconds"].as_u64().zip(probe["failureThreshold"].as_u64()).expect("numbers");
    assert!(grace > Duration::from_secs(2 * seen.0 * seen.1), "readiness is seen to fall long before the door closes");
    let budget = &named(&all, "PodDisruptionBudget", "gatepost")["spec"];
    assert_eq!((budget["maxUnavailable"].as_u64(), set["spec"]["replicas"].as_u64()), (Some(1), Some(3)));
}

#[test]
fn pods_are_confined_and_images_are_named_with_their_registry() {
    let (_, all) = built();
    for set in all.iter().filter(|one| one["kind"] == "StatefulSet") {
        let pod = &set["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["automountServiceAccountToken"], false);
        for container in pod["containers"].as_array().expect("containers") {
            let confined = &container["securityContext"];
            assert_eq!(
                (&confined["allowPrivilegeEscalation"], &confined["readOnlyRootFilesystem"]),
                (&false.into(), &true.into())
            );
            assert_eq!(confined["capabilities"]["drop"][0], "ALL");
            assert!(container["resources"]["limits"]["memory"].is_string());
            let registry = container["image"].as_str().and_then(|image| image.split('/').next()).expect("an image");
            assert!(registry.contains('.'), "{}", container["image"]);
        }
    }
}
