//! What a Windows host needs to forward to this gateway.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::Global;
use crate::cli::{json_line, print};
use crate::inputs::{self, wef};

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
    let kerberos = listener.protocols.wef.kerberos.is_enabled();
    let told = listener.protocols.wef.place();
    let host =
        args.gateway.as_ref().or(told.as_ref().map(|(host, _)| host)).map_or("GATEWAY", String::as_str).to_owned();
    // Under the name that hosts are told they reach it at that port, which a balancer may have changed.
    let port =
        told.filter(|(name, _)| name.eq_ignore_ascii_case(&host)).map_or(listener.listen.port(), |(_, port)| port);
    let url = format!("{}://{host}:{port}/wsman/SubscriptionManager/WEC", listener.protocols.wef.scheme());
    let value = format!("Server={url},Refresh={}", args.refresh);
    let values = if kerberos { vec![(String::new(), value)] } else { of_authorities(listener, &value)? };
    print(&if global.json {
        let one = |(name, value): &(String, String)| match kerberos {
            true => json!({"value": value}),
            false => json!({"authority": name, "value": value}),
        };
        let lines: Vec<_> = values.iter().map(one).collect();
        json_line(&json!({"registry_key": KEY, "policies": lines}))?
    } else {
        let identity = if kerberos { of_kerberos(&host) } else { of_certificates(&host) };
        text(kerberos, &identity, &values)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A value for each authority that issues hosts' certificates, with its name.
fn of_authorities(listener: &inputs::Config, value: &str) -> anyhow::Result<Vec<(String, String)>> {
    let pem = listener.tls.client_ca.as_ref().context("tls.client_ca is not set")?;
    let pem = std::fs::read(pem).with_context(|| format!("reading {}", pem.display()))?;
    let authorities = wef::authorities(&pem).into_iter();
    Ok(authorities.map(|(name, thumbprint)| (name, format!("{value},IssuerCA={thumbprint}"))).collect())
}

/// What must be so that a host gets a ticket that the gateway takes.
fn of_kerberos(host: &str) -> String {
    format!(
        "3. Kerberos. Once, as administrator of the domain (GATEPOST is an account made for this, with AES allowed):\n\n     \
         setspn -S HTTP/{host} GATEPOST\n     \
         setspn -S HOST/{host} GATEPOST\n     \
         ktpass /princ HTTP/{host}@DOMAIN /mapuser GATEPOST /crypto AES256-SHA1 /ptype KRB5_NT_PRINCIPAL /pass * /out gateway.keytab\n\n   \
         The hosts reach the gateway by this very name, not by an address. Windows Server 2025 asks for HOST/, others for HTTP/.\n   \
         On a host, `klist get HTTP/{host}` shows whether there is a ticket.\n\n"
    )
}

/// What the certificates must have.
fn of_certificates(host: &str) -> String {
    format!(
        "3. Certificates:\n\n     \
         the gateway's names {host} (subjectAltName) and allows serverAuth; the host trusts its authority and can look up whether\n     \
         it was revoked, where it names a place for that.\n     \
         the host's stands in LocalMachine\\My, allows clientAuth, names the host (its full name, as in Computer of its events),\n     \
         has SHA-256 and at least RSA 2048, and NETWORK SERVICE may read its key:\n     \
         certlm.msc > Personal > Certificates > All Tasks > Manage Private Keys.\n     \
         every authority right above a host's certificate stands in tls.client_ca, also an intermediate one.\n\n"
    )
}

fn text(kerberos: bool, identity: &str, values: &[(String, String)]) -> String {
    let first = if kerberos { "" } else { ", by the authority that issued the host's certificate" };
    let mut out = format!(
        "1. The policy{first}. Group policy: Computer Configuration >\n   \
         Administrative Templates > Windows Components > Event Forwarding > Configure target Subscription Manager.\n   \
         Without a domain, as administrator:\n\n",
    );
    for (n, (name, value)) in values.iter().enumerate() {
        out.push_str(&format!(
            "   {name}{}     {value}\n     reg add \"{KEY}\" /v {} /t REG_SZ /d \"{value}\"\n\n",
            if kerberos { "" } else { "\n" },
            n + 1
        ));
    }
    let which = if kerberos { "" } else { ": the one of its own authority" };
    out.push_str(&format!(
        "   One value a host{which}. With several the host sends everything to each.\n\n\
         2. On the host, as administrator:\n\n     \
         winrm quickconfig -quiet\n     \
         sc config WinRM start= auto\n     \
         net localgroup \"Event Log Readers\" \"NT AUTHORITY\\NETWORK SERVICE\" /add\n     \
         wevtutil sl Security /ms:1073741824\n     \
         gpupdate /force\n     \
         net stop WinRM & net start WinRM\n\n   \
         Membership of Event Log Readers counts after a restart of the host. Elsewhere than in English the group has another name;\n   \
         its SID is S-1-5-32-573. The log is the host's only buffer: 1 GiB there is some hours to days.\n\n\
         {identity}4. Whether it works:\n\n     \
         wevtutil qe Microsoft-Windows-Eventlog-ForwardingPlugin/Operational /c:5 /rd:true /f:text\n     \
         100: the subscription is there. 104: the gateway was reached. 102, 105: what is wrong.\n     \
         gatepost wef hosts    on the gateway: who forwards, who was refused, whose certificate was not taken\n"
    ));
    out
}
