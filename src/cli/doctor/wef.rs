//! What a Windows host looks at before it forwards: the gateway's name, its chain, where revocation can be looked up, times, and
//! whether what it is told as the place of delivery leads here.
//!
//! Each of these makes a host stop without a word to the gateway, so nothing in its log would tell. What only the host can know
//! (its own certificate, whom it trusts, its firewall) is left to `gatepost wef policy`, which says what to look at there.

use std::net::SocketAddr;
use std::path::Path;

use comfy_table::Table;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use tokio::net::TcpStream;
use tokio::time::timeout;
use x509_parser::prelude::{
    ASN1Time, CertificateRevocationList, DistributionPointName, FromDer, GeneralName, ParsedExtension, X509Certificate,
};

use super::check::{Check, PATIENCE};
use super::tls::Judge;
use super::{Verdict, kerberos};
use crate::cli::admin_plane::reachable;
use crate::config::Config;
use crate::inputs;
use crate::net::certificate_names::certificate_names;
use crate::net::upload_client::Client;

/// A certificate that ends within this is told.
const SOON_S: i64 = 30 * 24 * 3600;
/// Clocks that differ by more are not the same: what Kerberos allows, too.
const CLOCKS_DIFFER_S: i64 = 300;
/// What the time services of Linux leave where they run.
const TIME_SERVICES: [&str; 5] = [
    "/run/systemd/timesync/synchronized",
    "/run/chrony/chronyd.pid",
    "/run/chronyd.pid",
    "/run/ntpd.pid",
    "/run/ntpsec/ntpd.pid",
];

/// A listener that takes forwarded events, with what it shows.
struct Looked<'c> {
    listener: &'c inputs::Config,
    /// The name by which hosts reach it.
    name: Option<String>,
    /// The certificate with what follows it in its file.
    chain: Vec<CertificateDer<'static>>,
}

/// Looks at every listener that takes forwarded events.
pub(super) async fn examine(config: &Config, gateway: Option<&str>) -> Vec<Check> {
    let mut checks = Vec::new();
    for listener in config.listeners.iter().filter(|listener| listener.protocols.wef.enabled) {
        let name = gateway.map(str::to_owned).or_else(|| listener.protocols.wef.host());
        if listener.protocols.wef.kerberos.is_enabled() {
            checks.extend(kerberos::examine(listener, name.as_deref()).await);
            checks.push(clock(listener));
            continue;
        }
        for file in listener.tls.certificate_files(&config.state_dir) {
            let name = name.clone();
            let looked = Looked { listener, name, chain: certificates(&file) };
            looked.all(&file, &mut checks).await;
        }
        checks.extend(authorities(listener));
        checks.push(clock(listener));
    }
    checks
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(file);
    read.map(|found| found.filter_map(Result::ok).collect()).unwrap_or_default()
}

impl Looked<'_> {
    async fn all(&self, file: &Path, checks: &mut Vec<Check>) {
        let Some(leaf) = self.chain.first() else {
            let detail = format!("{} holds no certificate yet; the first start makes it", file.display());
            return checks.push(self.check("certificate", Verdict::NotChecked, detail));
        };
        let Ok((_, parsed)) = X509Certificate::from_der(leaf) else {
            let detail = format!("the certificate in {} is damaged", file.display());
            return checks.push(self.check("certificate", Verdict::Failed, detail));
        };
        checks.push(self.name(leaf));
        checks.push(self.chain(&parsed));
        checks.push(self.use_and_time(&parsed));
        checks.push(self.revocation(&parsed).await);
        checks.push(self.delivery(leaf).await);
    }

    fn check(&self, check: &'static str, result: Verdict, detail: String) -> Check {
        Check { listener: self.listener.name.clone(), check, result, detail }
    }

    /// Hosts compare the name that the policy gives them with those in the certificate.
    fn name(&self, leaf: &CertificateDer<'_>) -> Check {
        let names = certificate_names(leaf).join(", ");
        let Some(name) = &self.name else {
            let detail = format!("it names {names}; give the name that hosts use with --gateway, or set wef.notify_to");
            return self.check("name", Verdict::NotChecked, detail);
        };
        let asked = ServerName::try_from(name.as_str()).ok();
        let shown = ParsedCertificate::try_from(leaf).ok();
        match asked.zip(shown).is_some_and(|(asked, shown)| verify_server_name(&shown, &asked).is_ok()) {
            true => self.check("name", Verdict::Ok, format!("{name} is in the certificate")),
            false => {
                let detail = format!("{name} is not among its subjectAltNames; it names {names}: hosts refuse it");
                self.check("name", Verdict::Failed, detail)
            }
        }
    }

    /// Hosts build the way to an authority that they trust from what the gateway shows.
    fn chain(&self, leaf: &X509Certificate<'_>) -> Check {
        if leaf.issuer() == leaf.subject() {
            let detail = "it signed itself: each host needs exactly this one among its trusted roots \
                          (certutil -addstore Root FILE)";
            return self.check("chain", Verdict::Suspicious, detail.to_owned());
        }
        let parsed: Vec<_> = self.chain.iter().filter_map(|der| X509Certificate::from_der(der).ok()).collect();
        let breaks = parsed.windows(2).find(|pair| pair[0].1.issuer() != pair[1].1.subject());
        if let Some([(_, below), (_, above)]) = breaks {
            let detail = format!(
                "behind {} stands {}, but {} signed it: put each authority behind what it signed",
                below.subject(),
                above.subject(),
                below.issuer()
            );
            return self.check("chain", Verdict::Failed, detail);
        }
        let top = parsed.last().map(|(_, last)| last.issuer().to_string()).unwrap_or_default();
        let detail = format!("it leads to {top}, which hosts must have among their trusted roots");
        self.check("chain", Verdict::Ok, detail)
    }

    fn use_and_time(&self, leaf: &X509Certificate<'_>) -> Check {
        let uses = leaf.extended_key_usage().ok().flatten();
        if uses.is_some_and(|uses| !uses.value.server_auth && !uses.value.any) {
            let detail = "its extended key usage leaves serverAuth out: hosts refuse it".to_owned();
            return self.check("certificate", Verdict::Failed, detail);
        }
        let (now, validity) = (ASN1Time::now().timestamp(), leaf.validity());
        let until = validity.not_after.to_datetime().date();
        if now < validity.not_before.timestamp() {
            let detail = "it is not good yet: hosts refuse it. Is this machine's clock right?".to_owned();
            return self.check("certificate", Verdict::Failed, detail);
        }
        match validity.not_after.timestamp() - now {
            left if left < 0 => {
                self.check("certificate", Verdict::Failed, format!("it expired on {until}: hosts refuse it"))
            }
            left if left < SOON_S => {
                self.check("certificate", Verdict::Suspicious, format!("it ends on {until}: renew it"))
            }
            _ => self.check("certificate", Verdict::Ok, format!("it allows serverAuth and is good until {until}")),
        }
    }

    /// Where a certificate names places for that, hosts look there, and refuse it when they cannot.
    async fn revocation(&self, leaf: &X509Certificate<'_>) -> Check {
        const CHECK: &str = "revocation";
        let places = distribution_points(leaf);
        if places.is_empty() {
            return self.check(CHECK, Verdict::Ok, "it names no place to look it up".to_owned());
        }
        let mut failed = Vec::new();
        for place in places.iter().filter(|place| place.starts_with("http://")) {
            match look_up(place, leaf).await {
                Ok(detail) => return self.check(CHECK, Verdict::Ok, detail),
                Err(reason) => failed.push(format!("{place}: {reason}")),
            }
        }
        if failed.is_empty() {
            let detail = format!("only hosts can look there: {}", places.join(", "));
            return self.check(CHECK, Verdict::NotChecked, detail);
        }
        let detail = format!("{}. Hosts that cannot look it up refuse the certificate", failed.join("; "));
        self.check(CHECK, Verdict::Failed, detail)
    }

    /// What hosts are told as the place of delivery must lead to this certificate.
    async fn delivery(&self, leaf: &CertificateDer<'_>) -> Check {
        const CHECK: &str = "delivery";
        let (place, name) = self.place();
        let connected = match timeout(PATIENCE, TcpStream::connect(&*place)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let detail = format!("{place} is not reached from here: {error}. Does the gateway run?");
                return self.check(CHECK, Verdict::Failed, detail);
            }
            Err(_) => return self.check(CHECK, Verdict::Failed, format!("{place} does not answer from here")),
        };
        let judge = Judge::new();
        match timeout(PATIENCE, judge.look(connected, name)).await {
            Ok(Ok(shown)) if shown.leaf == leaf.as_ref() => {
                self.check(CHECK, Verdict::Ok, format!("{place} leads to this certificate"))
            }
            Ok(Ok(_)) => {
                let detail = format!(
                    "{place} shows another certificate: one that waits for a reload, another gateway, or a balancer that ends \
                     TLS itself, behind which no host can be known"
                );
                self.check(CHECK, Verdict::Suspicious, detail)
            }
            Ok(Err(reason)) => self.check(CHECK, Verdict::Failed, format!("{place}: no TLS handshake: {reason}")),
            Err(_) => self.check(CHECK, Verdict::Failed, format!("{place}: no TLS handshake in time")),
        }
    }

    /// Where hosts deliver, and the name that they ask for there.
    fn place(&self) -> (String, ServerName<'static>) {
        let notify_to = self.listener.protocols.wef.notify_to.as_deref();
        let uri = notify_to.and_then(|given| given.parse::<http::Uri>().ok());
        let told = uri.as_ref().and_then(|uri| Some((uri.host()?, uri.port_u16().unwrap_or(443))));
        let here = reachable(self.listener.listen);
        let name = |name: &str| ServerName::try_from(name.to_owned()).ok();
        match told.and_then(|(host, port)| Some((format!("{host}:{port}"), name(host.trim_matches(['[', ']']))?))) {
            Some(told) => told,
            None => (here.to_string(), self.name.as_deref().and_then(name).unwrap_or_else(|| of_address(here))),
        }
    }
}

fn of_address(address: SocketAddr) -> ServerName<'static> {
    ServerName::from(address.ip())
}

fn distribution_points(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut places = Vec::new();
    for extension in certificate.extensions() {
        let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() else { continue };
        for point in points.points.iter() {
            let Some(DistributionPointName::FullName(names)) = &point.distribution_point else { continue };
            places.extend(names.iter().filter_map(|name| match name {
                GeneralName::URI(uri) => Some((*uri).to_owned()),
                _ => None,
            }));
        }
    }
    places
}

/// Gets a revocation list and looks for a certificate in it.
async fn look_up(place: &str, certificate: &X509Certificate<'_>) -> Result<String, String> {
    let client = Client::new(None).map_err(|error| error.to_string())?;
    let answer = client.get(place, PATIENCE).await.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("it answers {}", answer.status));
    }
    let (_, list) = CertificateRevocationList::from_der(&answer.body)
        .map_err(|_| "what is there is no revocation list".to_owned())?;
    let now = ASN1Time::now().timestamp();
    if list.next_update().is_some_and(|next| next.timestamp() < now) {
        return Err("the list there is past its time".to_owned());
    }
    if list.last_update().timestamp() > now + CLOCKS_DIFFER_S {
        return Err("the list there is of the future: this machine's clock is behind".to_owned());
    }
    if list.iter_revoked_certificates().any(|revoked| revoked.raw_serial() == certificate.raw_serial()) {
        return Err("the certificate is on the list there: it was revoked".to_owned());
    }
    Ok(format!("{place} is reached from here and has nothing against it"))
}

/// The authorities of the hosts' certificates, and their lists.
fn authorities(listener: &inputs::Config) -> Vec<Check> {
    let check = |result, detail| Check { listener: listener.name.clone(), check: "hosts", result, detail };
    let mut checks = Vec::new();
    let now = ASN1Time::now().timestamp();
    for der in listener.tls.client_ca.iter().flat_map(|file| certificates(file)) {
        let Ok((_, authority)) = X509Certificate::from_der(&der) else { continue };
        let (subject, end) = (authority.subject(), authority.validity().not_after);
        checks.push(if end.timestamp() < now {
            check(Verdict::Failed, format!("{subject} in tls.client_ca expired on {}", end.to_datetime().date()))
        } else {
            check(Verdict::Ok, format!("certificates of {subject} are taken"))
        });
    }
    let of_lists = listener.tls.warnings().into_iter().filter(|(key, _)| key.starts_with("client_crl"));
    checks.extend(of_lists.map(|(_, warning)| check(Verdict::Failed, warning)));
    checks
}

/// Certificates and lists are judged by this clock.
fn clock(listener: &inputs::Config) -> Check {
    let (listener, check) = (listener.name.clone(), "clock");
    match TIME_SERVICES.iter().find(|path| Path::new(path).exists()) {
        Some(path) => {
            Check { listener, check, result: Verdict::Ok, detail: format!("a time service keeps it ({path})") }
        }
        None => {
            let detail = "no time service was found on this machine (systemd-timesyncd, chrony, ntpd); compare with a domain \
                          controller: w32tm /stripchart /computer:GATEWAY on Windows asks for NTP, else compare by hand";
            Check { listener, check, result: Verdict::Suspicious, detail: detail.to_owned() }
        }
    }
}

/// All of them for people; nothing where no listener takes forwarded events.
pub(super) fn table(checks: &[Check]) -> String {
    if checks.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.set_header(["listener", "forwarding: check", "result", "detail"]);
    for Check { listener, check, result, detail } in checks {
        table.add_row([listener.as_str(), check, result.as_str(), detail.as_str()]);
    }
    format!("{table}\n")
}

#[cfg(test)]
#[path = "wef_tests.rs"]
mod tests;
