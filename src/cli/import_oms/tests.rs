//! Forms of output that PowerShell has, and what comes of them.

use std::path::Path;

use super::*;
use read::Settings;

fn read(text: &str) -> Reading {
    let mut reading = Reading::default();
    reading.take("settings.txt", text);
    reading
}

/// What is printed, loaded: with the warnings of writing.
fn loaded(settings: &Settings) -> (crate::tunnel::Config, Vec<String>) {
    let mut warnings = Vec::new();
    let text = write::toml(settings, &mut warnings);
    let config = crate::config::parse("made", &text, Path::new("."), &|_| None);
    (config.unwrap_or_else(|problems| panic!("{problems}\n{text}")).tunnel, warnings)
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn expected() -> Settings {
    Settings {
        port: Some(8888),
        relay: Some("http://relay.example.com:3128".to_owned()),
        relay_user: Some("EXAMPLE\\relay".to_owned()),
        hosts: texts(&["a.ods.opinsights.azure.com", "b.example.com"]),
        subjects: texts(&["CN=agent one, O=Example", "CN=agent two, O=Example"]),
    }
}

const TABLES: &str = r"
**********************
Windows PowerShell transcript start
Start time: 20260102030405
Username: EXAMPLE\somebody
Host Application: powershell.exe
**********************
Transcript started, output file is C:\out.txt
PS C:\> Import-Module OMSGateway
PS C:\> Get-OMSGatewayConfig

Name       Value
----       -----
ListenPort 8888

PS C:\> Get-OMSGatewayRelayProxy

Address                       Username      Password
-------                       --------      --------
http://relay.example.com:3128 EXAMPLE\relay System.Security.SecureString

PS C:\> get-omsgatewayallowedhost | Sort-Object

Host
----
a.ods.opinsights.azure.com
b.example.com

PS C:\> Get-OMSGatewayAllowedClientCertificate

Subject
-------
CN=agent one, O=Example
CN=agent two, O=Example

PS C:\> Get-Date
Friday, 2 January 2026 03:04:05
**********************
Windows PowerShell transcript end
**********************
";

const LISTS: &str = r"
Get-OMSGatewayConfig
Name  : ListenPort
Value : 8888
Get-OMSGatewayRelayProxy
Address  : http://relay.example.com:3128
Username : EXAMPLE\relay
Password :
Get-OMSGatewayAllowedHost
Host : a.ods.opinsights.azure.com

Host : b.example.com
Get-OMSGatewayAllowedClientCertificate
Subject : CN=agent one, O=Example
Subject : CN=agent two, O=Example
";

const BARE: &str = r"
Get-OMSGatewayConfig
8888
Get-OMSGatewayRelayProxy
http://relay.example.com:3128
Username EXAMPLE\relay
Get-OMSGatewayAllowedHost
a.ods.opinsights.azure.com
b.example.com
b.example.com
Get-OMSGatewayAllowedClientCertificate
CN=agent one, O=Example
CN=agent two, O=Example
";

const ARRAYS: &str = r"
ListenPort : 8888
Address : http://relay.example.com:3128
Username : EXAMPLE\relay
AllowedHosts : {a.ods.opinsights.azure.com, b.example.com}
Subjects : {CN=agent one, O=Example, CN=agent two, O=Example}
";

#[test]
fn every_form_says_the_same() {
    for text in [TABLES, LISTS, BARE, ARRAYS] {
        let reading = read(text);
        assert_eq!((reading.settings, reading.warnings), (expected(), Vec::new()), "{text}");
        let reading = read(&text.replace('\n', "\r\n"));
        assert_eq!((reading.settings, reading.warnings), (expected(), Vec::new()), "with CRLF: {text}");
    }
}

#[test]
fn what_is_not_understood_is_told_with_its_line_and_not_guessed_at() {
    let text = "a.example.com\nGet-OMSGatewayConfig\nListenPort : many\nGet-OMSGatewayAllowedHost\n\
                very-long-name.exam...\nTwo words here\nGet-OMSGatewayRelayProxy\nUnknown : x\n";
    let reading = read(text);
    assert!(reading.settings.is_empty(), "{:?}", reading.settings);
    let warnings = reading.warnings;
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    for (warning, expected) in warnings.iter().zip([
        "settings.txt:1: not understood: a.example.com; put the name of the cmdlet",
        "settings.txt:3: this is no port",
        "settings.txt:5: the value is cut off",
        "settings.txt:6: not understood: Two words here",
        "settings.txt:8: not understood: Unknown : x",
    ]) {
        assert!(warning.starts_with(expected), "{warning}");
    }
}

#[test]
fn what_is_printed_can_be_loaded_and_says_the_same() {
    let (config, warnings) = loaded(&expected());
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.listeners[0].listen.to_string(), "0.0.0.0:8888");
    assert_eq!(config.groups[0].networks.len(), 3);
    assert_eq!(config.via, "relay");
    assert_eq!(config.upstream_proxies[0].proxies[0].url, "http://relay.example.com:3128");
    assert_eq!(config.allow[0].hosts, expected().hosts);
    assert_eq!(config.allow[0].client_subjects, expected().subjects);
}

#[test]
fn parts_alone_can_be_loaded_too() {
    for settings in [
        Settings { port: Some(1), ..Settings::default() },
        Settings { relay: Some("relay:3128".to_owned()), ..Settings::default() },
        Settings { hosts: texts(&["a.example.com"]), ..Settings::default() },
        Settings { subjects: texts(&["CN=\"quoted\" \\ name"]), ..Settings::default() },
        Settings { hosts: texts(&["a.test"]), subjects: texts(&["CN=\"quoted\" \\ name"]), ..Settings::default() },
    ] {
        let (config, warnings) = loaded(&settings);
        assert_eq!(warnings, [""; 0]);
        assert_eq!(config.listeners.len(), 1);
    }
}

#[test]
fn what_taking_over_needs_is_commented_out_and_works_when_it_is_taken_in() {
    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";
    let hosts = [format!("{ID}.ods.opinsights.azure.com"), format!("{ID}.oms.opinsights.azure.com")];
    let taken_in = |line: &str| line.strip_prefix("# ").or(line.strip_prefix('#')).unwrap_or(line).to_owned() + "\n";
    for known in [&[&*hosts[0], &*hosts[1], "a.example.com"][..], &["w.ods.opinsights.azure.com"]] {
        let settings = Settings { hosts: texts(known), ..Settings::default() };
        let text = write::toml(&settings, &mut Vec::new());
        let (before, block) = text.split_once("# [tunnel.ca]").expect("it is there");
        let block: String = format!("# [tunnel.ca]{block}").lines().map(taken_in).collect();
        assert_eq!(block.contains("workspace id"), known.len() == 1, "it is in the names of the hosts: {block}");
        let block =
            block.replace("workspace id", ID).replace("${file:workspace-key}", &format!("{}==", "A".repeat(86)));
        let config = crate::config::parse("imported", &format!("{before}{block}"), Path::new("."), &|_| None);
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config.tunnel.take_over[0].hosts, known[..known.len().min(2)]);
        let protocols = &config.listeners[0].protocols;
        assert!(protocols.ods.enabled && protocols.data_collector.workspaces[0].id == ID, "agents and scripts");
        assert!(loaded(&settings).0.take_over.is_empty(), "off until somebody decides");
    }
}

#[test]
fn what_cannot_be_used_is_left_out_and_told() {
    let settings = Settings {
        relay: Some("http://user:canary@relay:1".to_owned()),
        hosts: texts(&["https://a.example.com", "b.example.com"]),
        ..Settings::default()
    };
    let (config, warnings) = loaded(&settings);
    assert!(config.via == "direct" && config.upstream_proxies.is_empty());
    assert_eq!(config.allow[0].hosts, ["b.example.com"]);
    assert!(warnings.len() == 2 && !warnings.concat().contains("canary"), "{warnings:?}");
}

#[test]
fn the_encodings_of_windows_are_read() {
    let text = "Get-OMSGatewayConfig\r\n8888\r\n";
    let utf16: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(decoded(&utf16), text);
    let big: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    assert_eq!(decoded(&big), text);
    assert_eq!(decoded(&[b"\xef\xbb\xbf", text.as_bytes()].concat()), text);
}

const GUIDE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/migrate-from-oms-gateway.md"));

#[test]
fn the_guide_names_every_reason_beside_its_event() {
    for reason in crate::tunnel::Reason::ALL {
        let row = format!("| {} |", reason.oms_event_id);
        let code = format!("`{}`", reason.code);
        assert!(GUIDE.lines().any(|line| line.starts_with(&row) && line.contains(&code)), "{row} {code}");
    }
}

#[test]
fn the_example_of_the_guide_can_be_loaded() {
    let example = GUIDE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let config = crate::config::parse("guide", example, Path::new("."), &|_| None);
    assert_eq!(config.unwrap_or_else(|problems| panic!("{problems}")).tunnel.allow.len(), 2);
}
