//! The process that accepts tickets, from inside: lines in, lines out, until the input ends.
//!
//! Only here the gateway calls the library of Kerberos. A context lives here as long as its negotiation; then the library is
//! asked to seal a few bytes, the key of the context is found in its messages, and the two must agree. What is told to the
//! gateway is that key.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::path::PathBuf;

use libgssapi::context::{CtxFlags, SecurityContext as _, ServerCtx};
use libgssapi::credential::{Cred, CredUsage};
use libgssapi::error::Error;

use super::channel::Channel;
use super::keytab;
use super::lines::{self, Accepted, LINE_MAX, NO_TOKEN, Question, Reply};
use super::messages::{self, Ticket};
use super::spnego;

/// Negotiations that are remembered between two of their tokens; the oldest is forgotten first.
const NEGOTIATIONS_MAX: usize = 256;
/// What the library is asked to seal.
const PROBE: &[u8] = b"Gatepost";

/// Answers lines until the input ends. `keytab` is that of the environment.
///
/// # Errors
///
/// When the pipes break.
pub fn run(keytab: PathBuf) -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut worker = Worker { keytab, cred: None, negotiations: VecDeque::new() };
    loop {
        let mut line = Vec::new();
        (&mut input).take(LINE_MAX as u64).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let question: Question = serde_json::from_slice(&line)?;
        let mut reply = serde_json::to_vec(&worker.answer(&question))?;
        reply.push(b'\n');
        output.write_all(&reply)?;
        output.flush()?;
    }
}

struct Worker {
    keytab: PathBuf,
    /// Reads the keytab anew for each ticket; got anew only when there was none.
    cred: Option<Cred>,
    negotiations: VecDeque<Negotiation>,
}

struct Negotiation {
    conversation: u64,
    context: ServerCtx,
    request: Option<Vec<u8>>,
    answer: Option<Vec<u8>>,
    is_wrapped: bool,
}

impl Worker {
    fn answer(&mut self, question: &Question) -> Reply {
        let Some(token) = lines::read(&question.token) else {
            return Reply::Refused(NO_TOKEN.to_owned());
        };
        self.step(question.conversation, &token).unwrap_or_else(Reply::Refused)
    }

    fn step(&mut self, conversation: u64, token: &[u8]) -> Result<Reply, String> {
        let mut negotiation = self.negotiation(conversation)?;
        let inner = spnego::inner(token);
        negotiation.is_wrapped |= inner.len() < token.len();
        negotiation.request = messages::request(inner).map(<[u8]>::to_vec).or(negotiation.request);
        let stepped = negotiation.context.step(token, None);
        let given = stepped.map_err(|error| explained(&error, token))?.map(|given| given.to_vec()).unwrap_or_default();
        negotiation.answer = messages::answer(spnego::inner(&given)).map(<[u8]>::to_vec).or(negotiation.answer);
        if negotiation.context.is_complete() {
            return self.accepted(&mut negotiation, &given).map(Reply::Accepted);
        }
        if self.negotiations.len() == NEGOTIATIONS_MAX {
            self.negotiations.pop_front();
        }
        self.negotiations.push_back(negotiation);
        Ok(Reply::GoOn(lines::written(&given)))
    }

    fn negotiation(&mut self, conversation: u64) -> Result<Negotiation, String> {
        let known = self.negotiations.iter().position(|known| known.conversation == conversation);
        if let Some(negotiation) = known.and_then(|at| self.negotiations.remove(at)) {
            return Ok(negotiation);
        }
        let cred = match &self.cred {
            Some(cred) => cred.clone(),
            None => Cred::acquire(None, None, CredUsage::Accept, None).map_err(|error| error.to_string())?,
        };
        self.cred = Some(cred.clone());
        let context = ServerCtx::new(Some(cred));
        Ok(Negotiation { conversation, context, request: None, answer: None, is_wrapped: false })
    }

    fn accepted(&self, negotiation: &mut Negotiation, given: &[u8]) -> Result<Accepted, String> {
        let Negotiation { context, request, answer, is_wrapped, .. } = negotiation;
        let said = |error: Error| error.to_string();
        let needed = CtxFlags::GSS_C_MUTUAL_FLAG | CtxFlags::GSS_C_CONF_FLAG | CtxFlags::GSS_C_INTEG_FLAG;
        if !context.flags().map_err(said)?.contains(needed) {
            return Err("the host does not ask for mutual authentication and encryption".to_owned());
        }
        let (Some(request), Some(answer)) = (request.as_deref(), answer.as_deref()) else {
            return Err("the host was accepted by something else than Kerberos".to_owned());
        };
        let keytab = keytab::load(&self.keytab).map_err(|error| format!("the keytab: {error}"))?;
        let ticket = Ticket::open(request, &keytab).map_err(|error| error.to_string())?;
        let key = ticket.context_key(answer).map_err(|error| error.to_string())?;
        let principal = context.source_name().map_err(said)?.to_string();
        let probe = context.wrap(true, PROBE).map_err(said)?;
        let seals = Channel::knows_own(&key, &probe, PROBE).filter(|_| principal == ticket.principal);
        let seals = seals.ok_or("the messages do not hold the key or the name that the library has")?;
        Ok(Accepted {
            token: if given.is_empty() { String::new() } else { lines::written(given) },
            principal,
            service: context.target_name().map_err(said)?.to_string(),
            ends_s: ticket.ends_s,
            enctype: key.enctype() as i64,
            key: lines::written(key.bytes()),
            next: ticket.first,
            // Under SPNEGO the host may have signed the list of mechanisms.
            may_skip: u64::from(*is_wrapped),
            seals,
        })
    }
}

/// What the library says, and beside it what a person can do.
fn explained(error: &Error, token: &[u8]) -> String {
    let said = error.to_string();
    let advice = if spnego::is_ntlm(token) {
        "the host tried NTLM, since it got no ticket: it uses an address in place of the name, or nobody has this service name (setspn -Q HTTP/NAME)"
    } else {
        advice(&said)
    };
    if advice.is_empty() { said } else { format!("{said}: {advice}") }
}

/// By the texts of MIT's library.
fn advice(said: &str) -> &'static str {
    let known = [
        ("Clock skew too great", "the clocks of the host and the gateway differ by more than five minutes"),
        (
            "Request is a replay",
            "a ticket was shown a second time; somebody recorded it, or two gateways share the file of replays",
        ),
        (
            "cannot decrypt ticket",
            "the key in the keytab is another one: it was made with another password or salt, or two accounts have this service name",
        ),
        (
            "keytab is likely out of date",
            "the password of the account has changed since the keytab was made; export it again",
        ),
        ("found in keytab but not with enctype", "export the keytab with AES keys (ktpass /crypto AES256-SHA1)"),
        (
            "not found in keytab",
            "the host asked for a service that the keytab does not have; add HTTP/NAME and HOST/NAME (Windows Server 2025) to it",
        ),
        ("nonexistent or empty", "the keytab is missing, unreadable or no keytab"),
        ("Ticket expired", "the ticket is past its time; look at the clock of the host"),
        (
            "unsupported mechanism",
            "the host got no ticket and offers none: it uses an address in place of the name, or nobody has this service name",
        ),
    ];
    known.iter().find(|(text, _)| said.contains(text)).map_or("", |(_, advice)| advice)
}
