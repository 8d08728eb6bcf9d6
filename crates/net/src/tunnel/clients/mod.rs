//! Who may connect, and which rules each client may use. Everything starts denied: only an [`Identity`] opens anything,
//! and only [`Clients::identify`] makes one.
//!
//! A client is in a group when it meets everything that the group asks for: its address, a user's password, a client
//! certificate. Groups are a union: it may use every rule of every group that it is in. Credentials that nobody asked
//! for do no harm, because some agents send made-up ones.

mod identity;
mod passwords;
mod rules;
#[cfg(test)]
mod tests;
mod throttle;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

pub use identity::Identity;
pub use passwords::Passwords;

use self::passwords::{Account, Verdict};
use self::rules::{Grant, Rules};
use super::config::{self, Authentication, Config, Listener};
use super::reason::Reason;
use crate::net::tls_server::Mode;
use crate::values::Network;

/// The word for every certificate in a group's `certificates`.
const ANY_CERTIFICATE: &str = "*";

/// What a client showed in its Proxy-Authorization headers.
#[derive(Clone, Copy)]
pub enum Presented<'a> {
    /// There was none.
    None,
    /// A name and a password.
    Basic {
        /// The user name.
        user: &'a str,
        /// The password.
        password: &'a str,
    },
    /// Something else: another scheme, more than one header, or bytes that are no name and password.
    Unusable,
}

/// Whether a password can be checked against this text: an Argon2id hash in PHC form.
pub fn is_usable_hash(text: &str) -> bool {
    Account::parse(text).is_some()
}

/// The clients of one listener, compiled.
#[derive(Debug)]
pub struct Clients {
    groups: Vec<Group>,
    /// Everybody may use everything: no groups are configured and only this host reaches the listener.
    open: Option<Arc<Grant>>,
    accounts: HashMap<String, Arc<Account>>,
    /// Stands in for users that do not exist, so that their names cannot be told by the time an answer takes.
    stranger: Option<Arc<Account>>,
    passwords: Passwords,
}

#[derive(Debug)]
struct Group {
    networks: Vec<Network>,
    users: Vec<String>,
    certificates: Vec<String>,
    grant: Arc<Grant>,
}

impl Group {
    fn new(config: &config::Group, tunnel: &Config) -> Self {
        let count = tunnel.allow.len();
        let rules = if config.allow.is_empty() {
            Rules::all(count)
        } else {
            let mut rules = Rules::none(count);
            let named = |rule: &config::Rule| config.allow.contains(&rule.name);
            tunnel.allow.iter().enumerate().filter(|(_, rule)| named(rule)).for_each(|(at, _)| rules.insert(at));
            rules
        };
        let groups = [Arc::from(config.name.as_str())].into();
        Self {
            networks: config.networks.clone(),
            users: config.users.clone(),
            certificates: config.certificates.clone(),
            grant: Arc::new(Grant { rules, groups }),
        }
    }

    /// Its clients can exist on this listener. A group that asks for nothing at all has none: that must be a mistake.
    fn counts_on(&self, listener: &Listener) -> bool {
        let certificates = listener.tls.mode == Mode::On && listener.tls.client_ca.is_some();
        let asks = !(self.networks.is_empty() && self.users.is_empty() && self.certificates.is_empty());
        asks && (self.users.is_empty() || listener.authentication == Authentication::Basic)
            && (self.certificates.is_empty() || certificates)
    }

    fn has_address(&self, address: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(address))
    }

    fn has_certificate(&self, names: &[String]) -> bool {
        let listed = |name: &String| self.certificates.iter().any(|listed| listed.eq_ignore_ascii_case(name));
        let any = || self.certificates.iter().any(|listed| listed == ANY_CERTIFICATE);
        self.certificates.is_empty() || (!names.is_empty() && any()) || names.iter().any(listed)
    }

    fn has_user(&self, user: &str) -> bool {
        self.users.iter().any(|listed| listed == user)
    }
}

impl Clients {
    /// The groups that count on `listener`. `passwords` is shared by all listeners and outlives a reload.
    pub fn new(config: &Config, listener: &Listener, passwords: &Passwords) -> Self {
        let let_in = |group: &&config::Group| listener.groups.is_empty() || listener.groups.contains(&group.name);
        let groups: Vec<Group> = config
            .groups
            .iter()
            .filter(let_in)
            .map(|group| Group::new(group, config))
            .filter(|group| group.counts_on(listener))
            .collect();
        let everything = || Arc::new(Grant { rules: Rules::all(config.allow.len()), groups: Arc::default() });
        // A balancer on this host speaks for other machines.
        let only_here = listener.listen.ip().to_canonical().is_loopback() && listener.proxy_protocol_from.is_empty();
        let open = (config.groups.is_empty() && only_here).then(everything);
        let account = |user: &config::User| Some((user.name.clone(), Account::parse(user.password_hash.reveal())?));
        let accounts: HashMap<String, Arc<Account>> =
            config.users.iter().filter_map(account).map(|(name, account)| (name, Arc::new(account))).collect();
        let costliest = accounts.values().max_by_key(|account| account.cost());
        let stranger = costliest.and_then(|account| account.stand_in()).map(Arc::new);
        Self { groups, open, accounts, stranger, passwords: passwords.clone() }
    }

    /// Whether somebody at this address can be let in at all: asked before anything is read.
    pub fn admits(&self, address: IpAddr) -> bool {
        self.open.is_some() || self.groups.iter().any(|group| group.has_address(address))
    }

    /// Who this is. `certificate_names`: the names in the verified client certificate, common name first.
    pub async fn identify(
        &self,
        address: IpAddr,
        certificate_names: &[String],
        presented: Presented<'_>,
    ) -> Result<Identity, Reason> {
        let by_certificate = || certificate_names.first().map(|name| Arc::from(name.as_str()));
        if let Some(everything) = &self.open {
            return Ok(Identity::new(by_certificate(), Arc::clone(everything)));
        }
        if !self.admits(address) {
            return Err(Reason::CLIENT);
        }
        let here = || self.groups.iter().filter(|g| g.has_address(address) && g.has_certificate(certificate_names));
        let needs_user = here().any(|group| !group.users.is_empty());
        if !needs_user {
            let grant = Grant::union(here().map(|group| &group.grant)).ok_or(Reason::CERTIFICATE)?;
            return Ok(Identity::new(by_certificate(), grant));
        }
        let (user, failure) = match self.authenticate(address, presented).await {
            Ok(user) => (Some(user), None),
            Err(failure) => (None, Some(failure)),
        };
        let member = |group: &&Group| group.users.is_empty() || user.is_some_and(|user| group.has_user(user));
        match (Grant::union(here().filter(member).map(|group| &group.grant)), failure) {
            (Some(grant), None) => Ok(Identity::new(user.map(Arc::from), grant)),
            (Some(grant), Some(failure)) => {
                let more = Grant::union(here().filter(|group| !group.users.is_empty()).map(|group| &group.grant));
                Ok(Identity::unauthenticated(by_certificate(), grant, more, failure))
            }
            (None, Some(failure)) => Err(failure),
            // The password is right, but its user is in no group here: told as nothing else than a wrong one.
            (None, None) => Err(Reason::CREDENTIALS),
        }
    }

    /// The user whose password was shown, or why there is none.
    async fn authenticate<'a>(&self, address: IpAddr, presented: Presented<'a>) -> Result<&'a str, Reason> {
        let (user, password) = match presented {
            Presented::None => return Err(Reason::AUTHENTICATION),
            Presented::Unusable => return Err(Reason::CREDENTIALS),
            Presented::Basic { user, password } => (user, password),
        };
        let account = self.accounts.get(user).or(self.stranger.as_ref()).ok_or(Reason::CREDENTIALS)?;
        match self.passwords.check(address, user, password, account).await {
            Verdict::Right => Ok(user),
            Verdict::Wrong => Err(Reason::CREDENTIALS),
            Verdict::Busy => Err(Reason::AUTHENTICATION_BUSY),
        }
    }
}
