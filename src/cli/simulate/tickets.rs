//! Simulated hosts of a domain: whose keys or tickets they have, and what they call themselves.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};

/// Options for hosts that show tickets.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Tickets {
    /// Let hosts show tickets for this service in place of certificates, such as `HTTP/gateway.example.com`; the gateway is then
    /// a listener with a keytab, such as `http://127.0.0.1:5985`. Where the domain is stands in krb5.conf (KRB5_CONFIG)
    #[arg(long, value_name = "SERVICE")]
    kerberos: Option<String>,
    /// A keytab with the keys of computers (`PC1$`): each of them is a host, up to `--hosts`
    #[arg(long, value_name = "FILE", requires = "kerberos", conflicts_with = "ccache")]
    keytab: Option<PathBuf>,
    /// The cache with the tickets of one computer, as kinit fills it; `--principal` says which
    #[arg(long, value_name = "FILE", requires = "kerberos", requires = "principal")]
    ccache: Option<PathBuf>,
    /// The only host, such as `PC1$@EXAMPLE.COM`
    #[arg(long, value_name = "NAME", requires = "kerberos")]
    principal: Option<String>,
    /// What hosts' names end with. Default: the realm
    #[arg(long, value_name = "NAME", requires = "kerberos")]
    domain: Option<String>,
    /// Show tickets within SPNEGO
    #[arg(long, requires = "kerberos")]
    negotiate: bool,
}

impl Tickets {
    /// Whether hosts show tickets.
    pub(super) fn is_given(&self) -> bool {
        self.kerberos.is_some()
    }

    /// The principals that are hosts.
    fn principals(&self, most: u64) -> anyhow::Result<Vec<String>> {
        if let Some(principal) = &self.principal {
            return Ok(vec![principal.clone()]);
        }
        let path =
            self.keytab.as_ref().context("name the computers' keys with --keytab, or one's tickets with --ccache")?;
        let entries = crate::net::gss::keytab::load(path).with_context(|| format!("the keytab {}", path.display()))?;
        let computers = entries.iter().filter(|entry| entry.service.ends_with('$') && !entry.service.contains('/'));
        let mut principals: Vec<String> = Vec::new();
        for name in computers.map(|entry| format!("{}@{}", entry.service, entry.realm)) {
            if !principals.contains(&name) {
                principals.push(name);
            }
        }
        ensure!(!principals.is_empty(), "{} holds no key of a computer (NAME$)", path.display());
        principals.truncate(usize::try_from(most)?);
        Ok(principals)
    }

    /// What the computer of a principal calls itself.
    fn name_of(&self, principal: &str) -> String {
        let (account, realm) = principal.rsplit_once('@').unwrap_or((principal, "EXAMPLE.COM"));
        let domain = self.domain.as_deref().unwrap_or(realm);
        format!("{}.{domain}", account.trim_end_matches('$')).to_lowercase()
    }
}

#[cfg(feature = "kerberos")]
pub(super) use with_tickets::hosts;

#[cfg(feature = "kerberos")]
mod with_tickets {
    use super::Tickets;
    use crate::lab::wef::kerberos::{Account, Line, Scheme};
    use crate::lab::wef::{Faults, Forwarder, Setting};
    use crate::net::upload_client::Client;
    use anyhow::Context as _;

    /// The hosts, each with its name.
    pub(in crate::cli::simulate) fn hosts(
        args: &Tickets,
        manager: &str,
        most: u64,
        faults: Faults,
    ) -> anyhow::Result<Vec<(String, Forwarder)>> {
        let program = std::env::current_exe()?;
        let service = args.kerberos.as_ref().context("name the service with --kerberos")?;
        let files = [("KRB5_CLIENT_KTNAME", &args.keytab), ("KRB5CCNAME", &args.ccache)];
        let mut variables = Vec::new();
        for (name, path) in files {
            if let Some(path) = path {
                variables.push((name.to_owned(), format!("FILE:{}", std::path::absolute(path)?.display())));
            }
        }
        if args.ccache.is_none() {
            variables.push(("KRB5CCNAME".to_owned(), "MEMORY:own".to_owned()));
        }
        let scheme = if args.negotiate { Scheme::Negotiate } else { Scheme::Kerberos };
        let mut hosts = Vec::new();
        for (n, principal) in (0..).zip(args.principals(most)?) {
            let name = args.name_of(&principal);
            let account = Account {
                program: program.clone(),
                args: vec!["show-tickets".to_owned()],
                variables: variables.clone(),
                principal: Some(principal),
                service: service.clone(),
                scheme,
            };
            let setting = Setting { host: name.clone(), manager: manager.to_owned(), client: Client::new(None)? };
            hosts.push((name, Forwarder::new(setting, faults, n).on(Line::new(account))));
        }
        Ok(hosts)
    }
}

#[cfg(not(feature = "kerberos"))]
pub(super) fn hosts(
    args: &Tickets,
    _: &str,
    most: u64,
    _: crate::lab::wef::Faults,
) -> anyhow::Result<Vec<(String, crate::lab::wef::Forwarder)>> {
    let names: Vec<String> = args.principals(most)?.iter().map(|principal| args.name_of(principal)).collect();
    anyhow::bail!("this gatepost was built without Kerberos, so {} cannot show a ticket", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_called_as_their_accounts() {
        let args = Tickets { domain: Some("plant.test".to_owned()), ..Tickets::default() };
        assert_eq!(args.name_of("PC1$@EXAMPLE.TEST"), "pc1.plant.test");
        assert_eq!(Tickets::default().name_of("PC1$@EXAMPLE.TEST"), "pc1.example.test");
        let told = Tickets::default().principals(1).expect_err("nobody is named").to_string();
        assert!(told.contains("--keytab"), "{told}");
    }
}
