//! What must be so that hosts of a domain get a ticket that the gateway takes: keys for the names that they ask for, and a
//! listener that asks for tickets where they are told to deliver.
//!
//! What the domain has (whether a name stands at one account only, and whether the key is that account's newest) only a machine
//! of the domain can tell: the remedies are commands for one.

use std::path::Path;

use bytes::Bytes;

use super::Verdict;
use super::check::{Check, PATIENCE};
use crate::cli::admin_plane::reachable;
use crate::inputs;
use crate::net::gss::keytab::{self, Entry};
use crate::net::upload_client::Client;

/// The kinds of services that Windows hosts ask for.
const KINDS: [(&str, &str); 2] =
    [("HTTP", "what hosts up to Windows Server 2022 ask for"), ("HOST", "what Windows Server 2025 asks for")];

/// Looks at a listener where hosts show tickets.
pub(super) async fn examine(listener: &inputs::Config, name: Option<&str>) -> Vec<Check> {
    let check = |check, (result, detail)| Check { listener: listener.name.clone(), check, result, detail };
    let mut checks = Vec::new();
    match listener.protocols.wef.kerberos.keytab.as_deref().map(|path| (path, keytab::load(path))) {
        None => {}
        Some((path, Err(error))) => {
            let detail = format!("{}: {error}; export it anew (gatepost wef policy has the commands)", path.display());
            checks.push(check("keytab", (Verdict::Failed, detail)));
        }
        Some((path, Ok(entries))) => {
            let usable: Vec<Entry> = entries.into_iter().filter(|entry| entry.key().is_some()).collect();
            checks.push(check("keytab", keys(path, &usable)));
            let services = KINDS.map(|(kind, who)| service(&usable, kind, who, name));
            checks.extend(services.into_iter().map(|found| check("service", found)));
        }
    }
    checks.push(check("delivery", delivery(listener).await));
    checks
}

/// Whether there is any key that can open a ticket.
fn keys(path: &Path, usable: &[Entry]) -> (Verdict, String) {
    if usable.is_empty() {
        let detail = format!("{} holds no key with AES; export it with ktpass /crypto AES256-SHA1", path.display());
        return (Verdict::Failed, detail);
    }
    (Verdict::Ok, format!("{} holds keys of {}", path.display(), names(usable)))
}

fn names(entries: &[Entry]) -> String {
    let mut names: Vec<String> = entries.iter().map(|entry| format!("{}@{}", entry.service, entry.realm)).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// Whether there is a key under the name that hosts ask for. One key opens the tickets of all names of its account, so without
/// that name all may be well.
fn service(usable: &[Entry], kind: &str, who: &str, name: Option<&str>) -> (Verdict, String) {
    let Some(name) = name else {
        let detail =
            format!("give the name that hosts use with --gateway, or set wef.notify_to, to look for {kind}/NAME");
        return (Verdict::NotChecked, detail);
    };
    let service = format!("{kind}/{name}");
    if let Some(entry) = usable.iter().find(|entry| entry.is_of(&service)) {
        return (Verdict::Ok, format!("{service}, {who}, is in the keytab (key version {})", entry.version));
    }
    let detail = format!(
        "{service}, {who}, is not in the keytab. If the account of the keytab has the name too, its key is enough: \
         setspn -Q {service} tells whose it is. Nobody's: setspn -S {service} ACCOUNT. Another account's: setspn -D it there first"
    );
    (Verdict::Suspicious, detail)
}

/// Where hosts are told to deliver, tickets must be asked for.
async fn delivery(listener: &inputs::Config) -> (Verdict, String) {
    let told = listener.protocols.wef.notify_to.as_deref().map(|told| told.trim_end_matches('/').to_owned());
    let place = told.unwrap_or_else(|| format!("http://{}", reachable(listener.listen)));
    let url = format!("{place}/wsman/SubscriptionManager/WEC");
    let answer = async {
        let client = Client::new(None).map_err(|error| error.to_string())?;
        client.post(&url, &[], Bytes::new(), PATIENCE).await.map_err(|error| error.to_string())
    };
    match answer.await {
        Ok(answer) if answer.status == 401 => (Verdict::Ok, format!("{place} asks for tickets")),
        Ok(answer) => {
            let detail = format!(
                "{place} answers {} where 401 was due: it is another listener, or one that does not let this machine's address in",
                answer.status
            );
            (Verdict::Suspicious, detail)
        }
        Err(error) => (Verdict::Failed, format!("{place} is not reached from here: {error}. Does the gateway run?")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(service: &str) -> Entry {
        let (realm, host) = ("EXAMPLE.TEST", service.split('/').collect::<Vec<_>>());
        let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
        let names: Vec<u8> = host.iter().flat_map(|part| text(part)).collect();
        let head =
            [&(host.len() as u16).to_be_bytes()[..], &text(realm), &names, &[0; 8], &[3, 0, 18, 0, 32], &[7; 32]];
        let entry = head.concat();
        let file = [&[5, 2][..], &(entry.len() as i32).to_be_bytes(), &entry].concat();
        keytab::read(&file).expect("a keytab").remove(0)
    }

    #[test]
    fn a_name_that_hosts_ask_for_and_the_keytab_lacks_is_told_with_the_remedy() {
        let entries = [entry("HTTP/gate.example.test")];
        let found = KINDS.map(|(kind, who)| service(&entries, kind, who, Some("GATE.example.test")));
        assert_eq!(found[0].0, Verdict::Ok, "{}", found[0].1);
        assert_eq!(found[1].0, Verdict::Suspicious);
        assert!(found[1].1.contains("setspn -S HOST/GATE.example.test ACCOUNT") && found[1].1.contains("2025"));
        assert_eq!(service(&entries, "HTTP", "", None).0, Verdict::NotChecked);
        let empty = keys(Path::new("gateway.keytab"), &[]);
        assert!(empty.0 == Verdict::Failed && empty.1.contains("/crypto AES256-SHA1"), "{}", empty.1);
        assert!(keys(Path::new("a"), &entries).1.contains("HTTP/gate.example.test@EXAMPLE.TEST"));
    }
}
