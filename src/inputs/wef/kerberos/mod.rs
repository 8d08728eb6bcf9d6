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

use std::hash::{Hash as _, Hasher as _};
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
use crate::net::gss::lines::{Accepted, Question, Reply};
use crate::net::gss::multipart::Scheme;
use crate::net::gss::session::{BeginError, Host, Places, Session};
use crate::net::listen::one_subscriber;
use crate::telemetry::Repeats;
use names::Names;

/// The hidden command by which a gateway starts the process that accepts tickets.
pub const COMMAND: &str = "accept-tickets";
/// Most lines about one sender within that time. Reasons hold what the sender wrote, so there are as many as it likes.
const LINES_OF_ONE: u64 = 8;
/// How long a host whose ticket was refused is not told of again.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// The folder of the state directory for the notes of tickets that were shown.
const FOLDER: &str = "kerberos";

/// What accepts tickets on one listener.
pub(super) struct Tickets {
    listener: String,
    config: Config,
    acceptor: Acceptor,
    names: Names,
    places: Places,
    memory: Arc<super::Memory>,
    told: Repeats<(std::net::IpAddr, u64)>,
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
        let names = Names::of(config).map_err(wrong)?;
        let program = Program {
            path: program().map_err(|error| wrong(format!("this program does not find itself: {error}")))?,
            args: vec![COMMAND.to_owned()],
            keytab: path.clone(),
            replays: place.state_dir.join(FOLDER).join(place.listener),
        };
        let max_contexts = config.max_contexts;
        Ok(Some(Arc::new(Self {
            listener: place.listener.to_owned(),
            config: config.clone(),
            acceptor: Acceptor::new(program),
            names,
            places: before.map_or_else(|| Places::new(max_contexts), |other| Places::with(max_contexts, &other.places)),
            memory: Arc::clone(&place.shared.wef),
            told: Repeats::new(TOLD_AGAIN_AFTER),
        })))
    }

    /// Whether tickets are for this name, with or without a port: see [`Config::services`].
    pub(super) fn are_taken_at(&self, authority: &str) -> bool {
        self.config.is_called(authority)
    }

    /// What comes of a token of a connection's host.
    async fn shown(&self, peer: &Peer, session: &Session, scheme: Scheme, token: &str) -> Result<Outcome, Failure> {
        session.end();
        let question = Question { conversation: session.number(), token: token.to_owned() };
        match self.acceptor.ask(question).await {
            Ok(Reply::GoOn(token)) => Ok(Outcome::GoOn(token)),
            Ok(Reply::Accepted(accepted)) => {
                let known = self.begin(session, scheme, &accepted);
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

    fn begin(&self, session: &Session, scheme: Scheme, accepted: &Accepted) -> Result<(Client, Host), Failure> {
        let principal = accepted.principal.as_str();
        let Some(client) = self.names.client(principal) else {
            return Err(Failure::new(
                Reason::PRINCIPAL,
                format!("{principal:?} is not let in; see wef.kerberos.principals"),
            ));
        };
        let full = || Failure::new(Reason::TICKETS_BUSY, "as many hosts as wef.kerberos.max_contexts are connected");
        let place = self.places.take().ok_or_else(full)?;
        let failed = |error: BeginError| {
            let reason = if error == BeginError::Another { Reason::PRINCIPAL } else { Reason::TICKET_REFUSED };
            Failure::new(reason, error.to_string())
        };
        let host = session.begin(accepted, scheme, place).map_err(failed)?;
        Ok((client, host))
    }

    fn tell(&self, peer: &Peer, reason: &str) {
        let address = peer.address.to_canonical();
        self.memory.turned_away.note(address, reason);
        if let Some(left_out) = self.told.pass((one_subscriber(address), one_of_few(reason))) {
            tracing::warn!(listener = self.listener, %address, reason, left_out, "the Kerberos ticket of a host is refused");
        }
    }
}

/// The same number for the same reason, out of few.
fn one_of_few(reason: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    reason.hash(&mut hasher);
    hasher.finish() % LINES_OF_ONE
}

/// This program, also after another one has taken its place on the disk.
fn program() -> std::io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Ok(running) } else { std::env::current_exe() }
}
