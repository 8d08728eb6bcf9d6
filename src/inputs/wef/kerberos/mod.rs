//! Hosts that show a ticket of Kerberos, on a listener of their own: who they are, and the seal on everything that they send and
//! are told.
//!
//! A connection begins with an empty request that shows a ticket; what comes then is sealed under the key that came of it. Nothing
//! but such an empty request is done on a ticket alone, since somebody may have recorded it: who has only that can neither open
//! nor seal anything.

mod config;
mod names;
mod turned_away;
mod visit;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use config::{Config, Principal};
pub(super) use turned_away::TurnedAway;
pub use turned_away::TurnedAwayHost;
pub(super) use visit::Visit;

use crate::event::Client;
use crate::inputs::http::auth::Peer;
use crate::inputs::protocol::{OpenError, Place};
use crate::inputs::reason::{Failure, Reason};
use crate::metrics;
use crate::net::gss::acceptor::{Acceptor, Program};
use crate::net::gss::keytab;
use crate::net::gss::lines::{Accepted, Question, Reply};
use crate::net::gss::multipart::Scheme;
use crate::net::gss::session::{Host, Places, Session};
use crate::net::listen::one_subscriber;
use crate::telemetry::Repeats;
use names::Names;

/// The hidden command by which a gateway starts the process that accepts tickets.
pub const COMMAND: &str = "accept-tickets";
/// How long a host whose ticket was refused is not told of again.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// The folder of the state directory for the notes of tickets that were shown.
const FOLDER: &str = "kerberos";

/// What accepts tickets on one listener.
pub(super) struct Tickets {
    listener: String,
    acceptor: Acceptor,
    names: Names,
    places: Places,
    memory: Arc<super::Memory>,
    told: Repeats<(std::net::IpAddr, String)>,
}

/// What came of a ticket.
enum Outcome {
    /// The host goes on with this.
    GoOn(String),
    /// It is known, and told this.
    Known(Box<Client>, Host, String),
}

impl Tickets {
    /// With the keytab of the configuration; `before` is what the listener accepts tickets with until now.
    pub(super) fn open(
        config: &Config,
        place: &Place<'_>,
        before: Option<&Self>,
    ) -> Result<Option<Arc<Self>>, OpenError> {
        let Some(path) = &config.keytab else { return Ok(None) };
        let wrong = |reason: String| OpenError { key: "wef.kerberos.keytab".to_owned(), reason };
        let entries = keytab::load(path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
        let mut realms: Vec<String> = entries.into_iter().map(|entry| entry.realm).collect();
        realms.sort_unstable();
        realms.dedup();
        let program = Program {
            path: program().map_err(|error| wrong(format!("this program does not find itself: {error}")))?,
            args: vec![COMMAND.to_owned()],
            keytab: path.clone(),
            replays: place.state_dir.join(FOLDER).join(place.listener),
        };
        let Config { principals, domains, max_contexts, .. } = config.clone();
        Ok(Some(Arc::new(Self {
            listener: place.listener.to_owned(),
            acceptor: Acceptor::new(program),
            names: Names { realms, principals, domains },
            places: before.map_or_else(|| Places::new(max_contexts), |other| Places::with(max_contexts, &other.places)),
            memory: Arc::clone(&place.shared.wef),
            told: Repeats::new(TOLD_AGAIN_AFTER),
        })))
    }

    /// What comes of a token of a connection's host.
    async fn shown(&self, peer: &Peer, session: &Session, scheme: Scheme, token: &str) -> Result<Outcome, Failure> {
        let before = session.host();
        session.end();
        let question = Question { conversation: session.number(), token: token.to_owned() };
        match self.acceptor.ask(question).await {
            Ok(Reply::GoOn(token)) => Ok(Outcome::GoOn(token)),
            Ok(Reply::Accepted(accepted)) => {
                let known = self.begin(session, scheme, before.as_ref(), &accepted);
                let result = if known.is_ok() { "accepted" } else { "refused" };
                metrics::WEF_TICKETS.add(&[&self.listener, result], 1);
                let (client, host) = known.inspect_err(|failure| self.tell(peer, &failure.message))?;
                Ok(Outcome::Known(Box::new(client), host, accepted.token))
            }
            Ok(Reply::Refused(reason)) => {
                metrics::WEF_TICKETS.add(&[&self.listener, "refused"], 1);
                self.tell(peer, &reason);
                Err(Failure::new(Reason::TICKET_REFUSED, reason))
            }
            Err(error) => {
                metrics::WEF_TICKETS.add(&[&self.listener, "failed"], 1);
                Err(Failure::new(Reason::TICKETS_BUSY, error.to_string()))
            }
        }
    }

    fn begin(
        &self,
        session: &Session,
        scheme: Scheme,
        before: Option<&Host>,
        accepted: &Accepted,
    ) -> Result<(Client, Host), Failure> {
        let principal = accepted.principal.as_str();
        if before.is_some_and(|before| *before.principal != *principal) {
            return Err(Failure::new(Reason::PRINCIPAL, "another host shows its ticket on the connection of a host"));
        }
        let Some(client) = self.names.client(principal) else {
            return Err(Failure::new(
                Reason::PRINCIPAL,
                format!("{principal:?} is not let in; see wef.kerberos.principals"),
            ));
        };
        let full = || Failure::new(Reason::TICKETS_BUSY, "as many hosts as wef.kerberos.max_contexts are connected");
        let place = self.places.take().ok_or_else(full)?;
        let begun = session.begin(accepted, scheme, place);
        let host = begun.map_err(|error| Failure::new(Reason::TICKET_REFUSED, error.to_string()))?;
        Ok((client, host))
    }

    fn tell(&self, peer: &Peer, reason: &str) {
        let address = peer.address.to_canonical();
        self.memory.turned_away.note(address, reason);
        if let Some(left_out) = self.told.pass((one_subscriber(address), reason.to_owned())) {
            tracing::warn!(listener = self.listener, %address, reason, left_out, "the Kerberos ticket of a host is refused");
        }
    }
}

/// This program, also after another one has taken its place on the disk.
fn program() -> std::io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Ok(running) } else { std::env::current_exe() }
}
