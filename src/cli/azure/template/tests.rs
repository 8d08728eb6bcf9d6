//! The templates hold together: what a compiler of Azure's would see, as far as that can be seen here.

use std::process::Command;

use serde_json::Value;

use super::*;
use crate::event::columns::{Column, ColumnType};
use crate::filter::dcr;
use crate::outputs::identity::Identity;

const WORKSPACE: &str = "/subscriptions/703362b3-f278-4e4b-9179-c76eaf41ffc2/resourceGroups/soc/providers/Microsoft.OperationalInsights/workspaces/central";

const COLUMNS: &[Column] = &[
    Column { name: "TenantId", kind: ColumnType::String },
    Column { name: "_ResourceId", kind: ColumnType::String },
    Column { name: "TimeGenerated", kind: ColumnType::Datetime },
    Column { name: "EventID", kind: ColumnType::Int },
    Column { name: "EventData", kind: ColumnType::Dynamic },
];

fn asked(flags: &[&str]) -> Args {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let line = ["template"].iter().chain(flags).copied();
    <Line as clap::Parser>::try_parse_from(line).unwrap().args
}

fn made(flags: &[&str], config: &Config) -> anyhow::Result<String> {
    let args = asked(flags);
    Ok(text(&plan(&args, config, &|_| COLUMNS)?, args.format))
}

fn of_defaults(flags: &[&str]) -> String {
    made(flags, &Config::default()).unwrap()
}

#[test]
fn the_arm_template_is_a_rule_that_our_own_reader_takes() {
    let both = ["--table", "SecurityEvent", "--table", "WindowsEvent"];
    for extra in [&[][..], &["--endpoint"], &["--resource-group", "elsewhere"]] {
        let flags = [&["--format", "arm", "--workspace", WORKSPACE], &both[..], extra].concat();
        let text = of_defaults(&flags);
        let template: Value = serde_json::from_str(&text).unwrap();
        let (rules, findings) = dcr::read(&text, "x", &dcr::Given::default());
        let [rule] = &*rules else { panic!("{findings:?}\n{text}") };
        assert_eq!(rule.name, "gatepost");
        assert_eq!(rule.declared, ["Custom-SecurityEvent", "Custom-WindowsEvent"]);
        assert_eq!(rule.destinations[0].workspace_resource_id.as_deref(), Some(WORKSPACE));
        let outputs: Vec<_> = rule.flows.iter().map(|flow| flow.output_stream.as_deref()).collect();
        assert_eq!(outputs, [Some("Microsoft-SecurityEvent"), Some("Microsoft-WindowsEvent")]);

        let kinds: Vec<&str> =
            template["resources"].as_array().unwrap().iter().map(|r| r["type"].as_str().unwrap()).collect();
        let tables = kinds.iter().filter(|kind| kind.ends_with("/tables")).count();
        assert_eq!(tables, if extra == ["--resource-group", "elsewhere"] { 0 } else { 2 }, "{kinds:?}");
        let resource = &template["resources"].as_array().unwrap().iter().find(|r| r["kind"] == "Direct").unwrap();
        let declared = &resource["properties"]["streamDeclarations"]["Custom-SecurityEvent"]["columns"];
        let names: Vec<&str> =
            declared.as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["TimeGenerated", "EventID", "EventData", "TimeCreated_CF", "EventKey_CF", "UploadedBy_CF"]);
        assert_eq!((&declared[0]["type"], &declared[3]["type"]), (&"datetime".into(), &"datetime".into()));
        assert!(!text.contains("\\u0000"), "a hole was left");
    }
}

/// Every bracket outside of texts has its other half, and every text ends in its line.
fn assert_balanced(bicep: &str) {
    let mut open = Vec::new();
    for line in bicep.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let mut quoted = false;
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' if quoted => _ = chars.next(),
                '\'' => quoted = !quoted,
                '{' | '[' | '(' if !quoted => open.push(c),
                '}' | ']' | ')' if !quoted => {
                    let other = open.pop().unwrap_or_else(|| panic!("{c} closes nothing: {line}"));
                    assert!(matches!((other, c), ('{', '}') | ('[', ']') | ('(', ')')), "{line}");
                }
                _ => {}
            }
        }
        assert!(!quoted, "a text does not end: {line}");
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_bicep_file_is_balanced_and_declares_every_column() {
    let flags =
        ["--table", "SecurityEvent", "--table", "Event", "--endpoint", "--workspace", "central", "--principal-id"];
    let text = of_defaults(&[&flags[..], &["11111111-2222-3333-4444-555555555555"]].concat());
    assert_balanced(&text);
    for (name, kind) in
        [("TimeGenerated", "datetime"), ("EventID", "int"), ("EventData", "dynamic"), ("EventKey_CF", "string")]
    {
        let line = format!("{{ name: '{name}', type: '{kind}' }}");
        assert!(text.matches(&line).count() >= 2, "{line} is missing:\n{text}");
    }
    assert!(!text.contains("TenantId") && !text.contains("_ResourceId"), "columns of the system are Azure's");
    for part in [
        "'Custom-SecurityEvent': {",
        "outputStream: 'Microsoft-Event'",
        "param principalId string = '11111111-2222-3333-4444-555555555555'",
        "dataCollectionEndpointId: endpoint.id",
        "url = \"${endpoint.properties.logsIngestion.endpoint}\"",
        r#"client_secret = "\${file:client-secret}""#,
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert!(!text.contains('\0'), "a hole was left");
}

#[test]
fn texts_are_escaped_for_bicep() {
    assert_eq!(bicep::escaped("it's ${here}\\ $5\n"), "it\\'s \\${here}\\\\ $5\\n");
}

/// An `az` that answers what the script asks for. Its arguments go to standard error.
const AZ: &str = r#"#!/bin/sh
echo "az $*" >&2
case "$*" in
*'account show --output table'*) echo "EnvironmentName  TenantId" ;;
*'properties.schema.columns[].name'*) echo "$THERE" ;;
*properties.provisioningState*) echo Succeeded ;;
*properties.immutableId*) echo dcr-00000000000000000000000000000001 ;;
*ogsIngestion*) echo https://gatepost-abcd.westeurope-1.ingest.monitor.azure.com ;;
*'--query tenantId'*) echo the-tenant ;;
*'--query appId'*) echo the-app ;;
*'--query password'*) echo the-secret ;;
*'workspace show'*) echo /subscriptions/sub/resourceGroups/soc/providers/Microsoft.OperationalInsights/workspaces/central ;;
*'--query location'*) echo westeurope ;;
*'--query id'*) echo sub ;;
esac
"#;

/// Runs a script with that `az`, on a table that has these columns already. The folder, the output and the complaints.
fn run_script(text: &str, there: &str) -> (tempfile::TempDir, Option<String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let az = folder.path().join("az");
    std::fs::write(&az, AZ).unwrap();
    std::fs::set_permissions(&az, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(folder.path().join("azure.sh"), text).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut sh = Command::new("sh");
    sh.arg("azure.sh").current_dir(folder.path()).env("PATH", path).env("THERE", there);
    let ran = sh.env("RESOURCE_GROUP", "soc").env("WORKSPACE_ID", WORKSPACE).output().unwrap();
    let printed = ran.status.success().then(|| String::from_utf8(ran.stdout).unwrap());
    (folder, printed, String::from_utf8(ran.stderr).unwrap())
}

#[test]
fn the_script_runs_and_ends_with_outputs_that_we_can_read() {
    let by_name = ["--workspace", "central", "--resource-group", "soc"];
    for flags in [&["--endpoint"][..], &["--workspace", WORKSPACE], &by_name] {
        let text = of_defaults(&[&["--format", "az", "--table", "SecurityEvent"], flags].concat());
        let (folder, printed, said) = run_script(&text, "EventKey_CF");
        let toml = printed.unwrap_or_else(|| panic!("{said}\n{text}"));
        assert!(toml.contains("client_secret = \"${file:client-secret}\""), "{toml}");
        let config: Config = toml::from_str(&toml).unwrap_or_else(|error| panic!("{error}\n{toml}"));
        let [output] = &*config.outputs else { panic!("{toml}") };
        let output = workspace_of(&output.output).unwrap();
        assert_eq!((output.stream.as_str(), output.table), ("Custom-SecurityEvent", Some(Table::SecurityEvent)));
        assert_eq!((output.event_key_column.as_str(), output.dcr.len()), ("EventKey_CF", 36));
        let Identity::ClientSecret { tenant, client_id, .. } = &output.identity else { panic!("{toml}") };
        assert_eq!((tenant.as_str(), client_id.as_str()), ("the-tenant", "the-app"));
        let secret = std::fs::read_to_string(folder.path().join("client-secret")).unwrap();
        assert_eq!(secret, "the-secret\n");
        let body = std::fs::read_to_string(folder.path().join("gatepost-rule.json")).unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        let to = body["properties"]["destinations"]["logAnalytics"][0]["workspaceResourceId"].as_str().unwrap();
        assert!(to.starts_with("/subscriptions/") && to.ends_with("/central"), "{to}");
        assert_eq!(body["location"], "westeurope");
        for call in ["--method put --url /subscriptions/", "tables/SecurityEvent", "az role assignment create"] {
            assert!(said.contains(call), "{call} is missing:\n{said}");
        }
    }
}

#[test]
fn the_script_stops_before_it_would_take_somebody_elses_column_away() {
    let text = of_defaults(&["--format", "az", "--workspace", WORKSPACE]);
    let (_folder, printed, said) = run_script(&text, "EventKey_CF\nTheirs_CF");
    assert_eq!(printed, None);
    assert!(said.contains("also has Theirs_CF") && !said.contains("--method put"), "{said}");
}

#[test]
fn the_configuration_gives_the_defaults() {
    let config: Config = toml::from_str(
        "[[outputs]]\nkind = 'workspace'\nname = 'a'\ntable = 'Event'\nstream = 'Custom-Mine'\ncloud = 'us_gov'\nclient_column = ''\n\
         event_key_column = 'Key_CF'\n[outputs.identity]\nkind = 'managed_identity'\n",
    )
    .unwrap();
    let text = made(&["--format", "az"], &config).unwrap();
    for part in [
        "az cloud set --name AzureUSGovernment",
        "\"Custom-Mine\"",
        "Key_CF",
        "az vm identity assign",
        "kind = \"managed_identity\"",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert!(!text.contains("UploadedBy_CF") && !text.contains("Custom-Event"), "{text}");
}

#[test]
fn what_azure_would_refuse_is_refused_here() {
    let config = |key: &str| -> Config {
        toml::from_str(&format!("[[outputs]]\nkind = 'workspace'\nname = 'a'\n{key}")).unwrap()
    };
    let none = Config::default();
    let guid = "11111111-2222-3333-4444";
    for (flags, config, why) in [
        (&["--name", "a'b"][..], &none, "--name"),
        (&["--workspace", "$(id)"], &none, "--workspace"),
        (&["--workspace", "/subscriptions/x/resourceGroups/y"], &none, "neither a name nor a resource id"),
        (&["--resource-group", "a;b"], &none, "--resource-group"),
        (&["--principal-id", guid], &none, "no object id"),
        (&[], &config("client_column = 'Who'"), "must end with _CF"),
        (&[], &config("client_column = 'Same_CF'\nevent_key_column = 'Same_CF'"), "twice"),
    ] {
        let error = made(flags, config).unwrap_err().to_string();
        assert!(error.contains(why), "{flags:?}: {error}");
    }
    let many: &'static [Column] = vec![Column { name: "EventID", kind: ColumnType::Int }; 501].leak();
    let error = plan(&asked(&[]), &none, &|_| many).unwrap_err().to_string();
    assert!(error.contains("more than the 500"), "{error}");
}

#[test]
fn the_same_plan_gives_the_same_text() {
    for form in ["bicep", "arm", "az"] {
        let flags = ["--format", form, "--table", "Event", "--table", "SecurityEvent", "--workspace", "central"];
        assert_eq!(of_defaults(&flags), of_defaults(&flags));
    }
}
