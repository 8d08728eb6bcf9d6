//! What a Windows host needs to forward to this gateway.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::Global;
use crate::cli::print;
use crate::inputs::wef;

/// The place of the policy in the registry.
const KEY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\Windows\EventLog\EventForwarding\SubscriptionManager";

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name by which hosts reach the gateway; it stands in the gateway's certificate. Default: that of `wef.notify_to`
    #[arg(long, value_name = "NAME")]
    gateway: Option<String>,
    /// Seconds after which hosts ask for their subscriptions again
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    refresh: u32,
    /// The listener, where several take forwarded events
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
}

pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let listener = super::listener(&config.listeners, args.listener.as_deref())?;
    let pem = listener.tls.client_ca.as_ref().context("tls.client_ca is not set")?;
    let pem = std::fs::read(pem).with_context(|| format!("reading {}", pem.display()))?;
    let authorities = wef::authorities(&pem);
    let host = args.gateway.clone().or_else(|| listener.protocols.wef.host()).unwrap_or_else(|| "GATEWAY".to_owned());
    let port = listener.listen.port();
    let values: Vec<(String, String)> = authorities
        .into_iter()
        .map(|(name, thumbprint)| {
            let url = format!("https://{host}:{port}/wsman/SubscriptionManager/WEC");
            (name, format!("Server={url},Refresh={},IssuerCA={thumbprint}", args.refresh))
        })
        .collect();
    print(&if global.json {
        let lines: Vec<_> = values.iter().map(|(name, value)| json!({"authority": name, "value": value})).collect();
        format!("{}\n", serde_json::to_string_pretty(&json!({"registry_key": KEY, "policies": lines}))?)
    } else {
        text(&host, &values)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn text(host: &str, values: &[(String, String)]) -> String {
    let mut out = String::from(
        "1. The policy, by the authority that issued the host's certificate. Group policy: Computer Configuration >\n   \
         Administrative Templates > Windows Components > Event Forwarding > Configure target Subscription Manager.\n   \
         Without a domain, as administrator:\n\n",
    );
    for (n, (name, value)) in values.iter().enumerate() {
        out.push_str(&format!(
            "   {name}\n     {value}\n     reg add \"{KEY}\" /v {} /t REG_SZ /d \"{value}\"\n\n",
            n + 1
        ));
    }
    out.push_str(&format!(
        "   One value a host: the one of its own authority. With several the host sends everything to each.\n\n\
         2. On the host, as administrator:\n\n     \
         winrm quickconfig -quiet\n     \
         sc config WinRM start= auto\n     \
         net localgroup \"Event Log Readers\" \"NT AUTHORITY\\NETWORK SERVICE\" /add\n     \
         wevtutil sl Security /ms:1073741824\n     \
         gpupdate /force\n     \
         net stop WinRM & net start WinRM\n\n   \
         Membership of Event Log Readers counts after a restart of the host. Elsewhere than in English the group has another name;\n   \
         its SID is S-1-5-32-573. The log is the host's only buffer: 1 GiB there is some hours to days.\n\n\
         3. Certificates:\n\n     \
         the gateway's names {host} (subjectAltName) and allows serverAuth; the host trusts its authority and can look up whether\n     \
         it was revoked, where it names a place for that.\n     \
         the host's stands in LocalMachine\\My, allows clientAuth, names the host (its full name, as in Computer of its events),\n     \
         has SHA-256 and at least RSA 2048, and NETWORK SERVICE may read its key:\n     \
         certlm.msc > Personal > Certificates > All Tasks > Manage Private Keys.\n     \
         every authority right above a host's certificate stands in tls.client_ca, also an intermediate one.\n\n\
         4. Whether it works:\n\n     \
         wevtutil qe Microsoft-Windows-Eventlog-ForwardingPlugin/Operational /c:5 /rd:true /f:text\n     \
         100: the subscription is there. 104: the gateway was reached. 102, 105: what is wrong.\n     \
         gatepost wef hosts    on the gateway: who forwards, who was refused, whose certificate was not taken\n"
    ));
    out
}
