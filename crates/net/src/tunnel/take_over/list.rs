//! Which tunnels are taken over: the tables of the configuration, compiled.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Leaves;
use crate::tunnel::allow_list::{AllowList, Rule, Verdict};
use crate::tunnel::clients::Identity;
use crate::tunnel::config::{self, Config};
use crate::tunnel::request::Authority;

/// The hosts that are taken over, and for whom.
#[derive(Debug, Default)]
pub(in crate::tunnel) struct TakeOvers {
    hosts: AllowList,
    tables: Vec<config::TakeOver>,
    leaves: Option<Arc<Leaves>>,
}

/// A tunnel that is taken over.
#[derive(Debug, Clone)]
pub(in crate::tunnel) struct Found {
    /// The table that says so, as a rule: its name, and what its ClientHello must be.
    pub(in crate::tunnel) rule: Arc<Rule>,
    /// The upload listener that gets it.
    pub(in crate::tunnel) input: String,
    /// Who makes certificates.
    pub(in crate::tunnel) leaves: Arc<Leaves>,
}

impl TakeOvers {
    /// Those of a configuration.
    pub(in crate::tunnel) fn new(config: &Config, leaves: Option<Arc<Leaves>>) -> Self {
        let rules: Vec<_> = config.take_over.iter().map(config::TakeOver::as_rule).collect();
        Self { hosts: AllowList::new(&rules, Config::DIRECT), tables: config.take_over.clone(), leaves }
    }

    /// Whether the tunnel that a client asks for is taken over.
    pub(in crate::tunnel) fn find(&self, asked: &Authority, client: &Identity) -> Option<Found> {
        self.first(asked, |group| client.groups().iter().any(|of| **of == *group))
    }

    /// Whether it would be if the client authenticated.
    pub(in crate::tunnel) fn might_find(&self, asked: &Authority, client: &Identity) -> bool {
        self.first(asked, |group| client.might_be_in(group)).is_some()
    }

    fn first(&self, asked: &Authority, is_in: impl Fn(&str) -> bool) -> Option<Found> {
        let leaves = self.leaves.as_ref()?;
        let may = |at: usize| self.tables[at].groups.iter().any(|group| is_in(group));
        let Verdict::Allowed(rule) = self.hosts.decide(asked, may) else { return None };
        let input = self.tables[rule.index].input.clone();
        Some(Found { rule, input, leaves: Arc::clone(leaves) })
    }

    /// What goes on, for the status page. `taken` tells how many tunnels a table has taken over.
    pub(in crate::tunnel) fn status(&self, taken: impl Fn(&str) -> u64) -> Value {
        let hosts = self.tables.iter().map(|table| {
            json!({
                "name": table.name,
                "hosts": table.hosts,
                "groups": table.groups,
                "input": table.input,
                "forced": table.force,
                "taken": taken(&table.name),
            })
        });
        let authorities = self.leaves.iter().flat_map(|leaves| leaves.facts()).map(|facts| {
            json!({
                "subject": facts.subject,
                "key": facts.key,
                "may_sign_for": facts.constraints.permitted(),
                "ends_s": facts.ends_s,
                "sha256": facts.sha256,
            })
        });
        json!({
            "hosts": hosts.collect::<Vec<_>>(),
            "authorities": authorities.collect::<Vec<_>>(),
            "certificates": self.leaves.as_ref().map_or(0, |leaves| leaves.kept_for()),
        })
    }

    /// Says in the log what is taken over.
    pub(in crate::tunnel) fn tell(&self) {
        for table in &self.tables {
            let config::TakeOver { name, input, force, .. } = table;
            let (hosts, groups) = (table.hosts.join(", "), table.groups.join(", "));
            tracing::warn!(
                name,
                hosts,
                groups,
                input,
                forced = force,
                "tunnels of these groups to these hosts are taken over: this gateway answers in the hosts' name and reads the traffic"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::clients::{Clients, Passwords, Presented};
    use crate::tunnel::request::Host;
    use crate::tunnel::take_over::make::{Kind, Wish, make};

    const CONFIG: &str = r#"
        [[listeners]]
        listen = "0.0.0.0:8080"
        [[groups]]
        name = "old"
        networks = ["10.20.0.0/16"]
        [[groups]]
        name = "people"
        networks = ["10.30.0.0/16"]
        users = ["alice"]
        [[groups]]
        name = "others"
        networks = ["10.0.0.0/8"]
        [[users]]
        name = "alice"
        password_hash = "$argon2id$v=19$m=19456,t=2,p=1$NsgVfAOrz0RNFWqDhhC2Zw$i2HuqONKYglSo24YviCBfYfstkguGavFSkVwmAlT8Mc"
        [[take_over]]
        name = "first"
        hosts = ["*.example.com"]
        groups = ["old"]
        input = "scripts"
        [[take_over]]
        name = "second"
        hosts = ["a.example.com", "b.example.com:8443"]
        groups = ["old", "people"]
        input = "agents"
    "#;

    fn leaves() -> Arc<Leaves> {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a folder");
        let wish = Wish { name: "plant".to_owned(), kind: Kind::P256, domains: Vec::new(), days: 1 };
        let made = make(&wish).expect("made");
        let (certificate, key) = (dir.path().join("ca.pem"), dir.path().join("key.pem"));
        std::fs::write(&certificate, made.certificate).expect("written");
        std::fs::write(&key, made.key).expect("written");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("set");
        let config =
            config::Authority { certificate: Some(certificate), key: Some(key), ..config::Authority::default() };
        Leaves::load(&config, None).expect("it can be used")
    }

    fn asked(host: &str, port: u16) -> Authority {
        let text = format!("{host}:{port}");
        let authority = Authority::parse(text.as_bytes()).expect("a target");
        assert!(matches!(authority.host, Host::Name(_)));
        authority
    }

    #[tokio::test]
    async fn a_tunnel_is_taken_over_by_the_first_table_with_its_host_its_port_and_its_group() {
        let config: Config = toml::from_str(CONFIG).expect("a configuration");
        let passwords = Passwords::new().expect("random bytes");
        let clients = Clients::new(&config, &config.listeners[0], &passwords);
        let taken = TakeOvers::new(&config, Some(leaves()));
        let who = async |address: &str| {
            clients.identify(address.parse().expect("an address"), &[], Presented::None).await.expect("it may come in")
        };
        let input =
            |host: &str, port, client: &Identity| taken.find(&asked(host, port), client).map(|found| found.input);
        let old = who("10.20.0.1").await;
        assert_eq!(input("a.example.com", 443, &old).as_deref(), Some("scripts"));
        assert_eq!(input("b.example.com", 8443, &old).as_deref(), Some("agents"));
        for (host, port) in [("a.example.com", 444), ("example.com", 443), ("a.example.org", 443)] {
            assert!(input(host, port, &old).is_none(), "{host}:{port}");
        }
        // Who would be in a group after a password is asked for it where nothing else lets it through.
        let stranger = who("10.30.0.1").await;
        assert!(input("a.example.com", 443, &stranger).is_none());
        assert!(taken.might_find(&asked("a.example.com", 443), &stranger));
        assert!(!taken.might_find(&asked("c.example.com", 443), &stranger), "that is of another group");
        let other = who("10.40.0.1").await;
        assert!(
            input("a.example.com", 443, &other).is_none() && !taken.might_find(&asked("a.example.com", 443), &other)
        );
        assert!(
            TakeOvers::new(&config, None).find(&asked("a.example.com", 443), &old).is_none(),
            "without an authority"
        );
    }
}
