//! The configuration, as text with comments for the person who finishes it.

use std::fmt::Write as _;

use super::read::Settings;
use crate::inputs::data_collector::signature::is_workspace_id;
use crate::tunnel::allow_list::Pattern;
use crate::tunnel::config::proxy_url_problem;

/// The original's port when nothing else was set.
const PORT: u16 = 8080;

/// Writes what the settings come to. What cannot be used is added to the warnings.
pub(super) fn toml(settings: &Settings, warnings: &mut Vec<String>) -> String {
    let relay = settings.relay.as_deref().and_then(|address| relay_url(address, warnings));
    let mut text = "# Made by `gatepost import-oms` from the settings of an OMS gateway. Check it with `gatepost check`, and with\n\
                    # `gatepost hosts explain NAME --client IP` for a host and a client that you know.\n"
        .to_owned();
    if let Some(url) = &relay {
        text += "\n[tunnel]\nvia = \"relay\"\n";
        add_relay(&mut text, url, settings.relay_user.as_deref());
    }
    add_listener(&mut text, settings.port);
    add_rules(&mut text, settings, warnings);
    add_take_over(&mut text, settings);
    text
}

/// The data and management hosts of a workspace, which old agents and scripts send to.
const OLD_HOSTS: [&str; 2] = [".ods.opinsights.azure.", ".oms.opinsights.azure."];

/// Everything that taking over needs, commented out: whoever takes it in has decided to.
fn add_take_over(text: &mut String, settings: &Settings) {
    let patterns = settings.hosts.iter().filter_map(|host| Some(Pattern::parse(host).ok()?.to_string()));
    let mut hosts: Vec<String> = patterns.filter(|host| OLD_HOSTS.iter().any(|old| host.contains(old))).collect();
    if hosts.is_empty() {
        hosts = vec!["*.ods.opinsights.azure.com".to_owned(), "*.oms.opinsights.azure.com".to_owned()];
    }
    let workspaces = workspaces_of(&hosts);
    let hosts: Vec<String> = hosts.iter().map(|host| quoted(host)).collect();
    *text += "\n# DECIDE: agents and scripts that are past their end (MMA, OMS, the HTTP Data Collector API) reach nothing any more through\n\
              # a tunnel once their service is off. Taken over, their tunnels end here, and what they send is stored and forwarded by\n\
              # today's API: they keep their settings, and need to trust this site's authority. It means that this gateway reads what\n\
              # they send, so it is off, and only for the group that you name: put nobody into it who runs the Azure Monitor Agent.\n\
              # 1. gatepost ca init /etc/gatepost/ca; gatepost ca trust /etc/gatepost/ca/ca.pem says what to do on the machines.\n\
              # 2. Take these lines in, and fill in a listener that speaks what they speak (docs/take-over.md).\n\
              # [tunnel.ca]\n# certificate = \"/etc/gatepost/ca/ca.pem\"\n# key = \"/etc/gatepost/ca/ca-key.pem\"\n\
              #\n# [[tunnel.groups]]\n# name = \"old-agents\"\n# networks = [\"192.0.2.0/24\"]\n\
              #\n# [[tunnel.take_over]]\n# name = \"old-agents\"\n";
    push(text, format_args!("# hosts = [{}]\n", hosts.join(", ")));
    *text += "# groups = [\"old-agents\"]\n# input = \"old-agents\"\n\
              #\n# [[listeners]]\n# name = \"old-agents\"\n# listen = \"127.0.0.1:8444\"\n\
              # # For MMA and OMS agents; the workspaces are those below. Take it out where there are scripts only.\n\
              # ods.enabled = true\n# data_collector.enabled = true\n";
    for id in &workspaces {
        push(
            text,
            format_args!(
                "#\n# [[listeners.data_collector.workspaces]]\n# id = {}\n# keys = [\"${{file:workspace-key}}\"]\n",
                quoted(id)
            ),
        );
    }
}

/// The ids of the workspaces that hosts are of: the first part of their names. One to fill in where no host tells.
fn workspaces_of(hosts: &[String]) -> Vec<String> {
    let ids = hosts.iter().filter_map(|host| host.split('.').next()).filter(|id| is_workspace_id(id));
    let mut ids: Vec<String> = ids.map(str::to_owned).collect();
    ids.sort();
    ids.dedup();
    if ids.is_empty() { vec!["workspace id".to_owned()] } else { ids }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The original takes addresses with and without a scheme.
fn relay_url(address: &str, warnings: &mut Vec<String>) -> Option<String> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    match proxy_url_problem(&url) {
        None => Some(url),
        Some(problem) => {
            warnings.push(format!("the relay proxy's address {problem}; it was left out, so tunnels would go direct"));
            None
        }
    }
}

fn add_relay(text: &mut String, url: &str, user: Option<&str>) {
    *text += "\n# The relay proxy: every tunnel goes through it, unless a rule says via = \"direct\".\n";
    if url.starts_with("https:") {
        *text += "# https means TLS to the proxy here; if the relay speaks plain HTTP, as most do, write http.\n";
    }
    *text += "[[tunnel.upstream_proxies]]\nname = \"relay\"\n\n[[tunnel.upstream_proxies.proxies]]\n";
    push(text, format_args!("url = {}\n", quoted(url)));
    if let Some(user) = user {
        *text +=
            "# The cmdlets do not print its password. Take these two lines in and put the password into that file.\n";
        push(text, format_args!("# user = {}\n# password = \"${{file:relay-password}}\"\n", quoted(user)));
    }
}

fn add_listener(text: &mut String, port: Option<u16>) {
    if port.is_none() {
        *text += "\n# No port was among the settings: this is the original's default.";
    }
    let port = port.unwrap_or(PORT);
    push(text, format_args!("\n[[tunnel.listeners]]\nname = \"tunnel\"\nlisten = \"0.0.0.0:{port}\"\n"));
    *text += "\n# FILL IN: the original let in everybody who reached its port. These are all private networks; write those that\n\
              # your agents are in. Arc agents cannot authenticate to a proxy, so the network is what admits them.\n\
              [[tunnel.groups]]\nname = \"agents\"\n\
              networks = [\"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\"]\n";
}

fn add_rules(text: &mut String, settings: &Settings, warnings: &mut Vec<String>) {
    let mut hosts = Vec::new();
    for host in &settings.hosts {
        match Pattern::parse(host) {
            Ok(pattern) => hosts.push(pattern.to_string()),
            Err(wrong) => warnings.push(format!("allowed host {host:?} {wrong}; it was left out")),
        }
    }
    if hosts.is_empty() {
        *text += "\n# No allowed host was among the settings.\n";
    } else {
        *text += "\n[[tunnel.allow]]\nname = \"imported\"\nhosts = [\n";
        for host in &hosts {
            push(text, format_args!("    {},\n", quoted(host)));
        }
        *text += "]\n";
        add_subjects(text, &settings.subjects);
    }
    *text += "\n# CHECK: the original also allowed the hosts of the workspaces that the agent on its own machine reports to. The\n\
              # cmdlets do not print those. These sets hold them; take in what your agents are, and narrow it.\n\
              # [[tunnel.allow]]\n# name = \"ama\"\n# rule_set = \"ama\"\n# regions = [\"westeurope\"]\n# workspaces = [\"workspace id\"]\n\
              #\n# [[tunnel.allow]]\n# name = \"mma\"\n# rule_set = \"mma\"\n# workspaces = [\"workspace id\"]\n";
    if hosts.is_empty() && !settings.subjects.is_empty() {
        *text += "#\n# These belong to the rule that you take in:\n";
        let subjects: Vec<String> = settings.subjects.iter().map(|subject| quoted(subject)).collect();
        push(text, format_args!("# client_subjects = [{}]\n", subjects.join(", ")));
    }
}

fn add_subjects(text: &mut String, subjects: &[String]) {
    if subjects.is_empty() {
        return;
    }
    *text += "# CHECK: subjects of client certificates inside the tunnel. They can be seen up to TLS 1.2 only; the original also\n\
              # took the subjects of its own agent's workspaces, which the cmdlets do not print.\n\
              client_subjects = [\n";
    for subject in subjects {
        push(text, format_args!("    {},\n", quoted(subject)));
    }
    *text += "]\n";
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    text.write_fmt(arguments).ok();
}
