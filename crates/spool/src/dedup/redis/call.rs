//! Jobs of uploads become calls of the script, and its answers theirs.
//!
//! What ends claims goes in one call, what begins them in another right behind it: an engine at its limit of memory refuses a
//! script whose first write takes some, and must not refuse the end of what is under way with the beginning of something new.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use super::connect::Trouble;
use super::engine::Shared;
use super::session::Session;
use crate::dedup::several::ask::{Answer, Ask, Away, Held, Job, What};
use crate::dedup::several::grouped::Part;

/// What one call holds at most, in parts and pages: the engine does nothing else meanwhile.
pub(super) const WEIGHT_MAX: usize = 512;

/// How much of a call a job takes.
pub(super) fn weight(job: &Job) -> usize {
    job.ask.parts.iter().map(|held| 1 + held.part.pages().len()).sum()
}

fn begins(job: &Job) -> bool {
    matches!(job.ask.what, What::Claim { .. })
}

/// How a call went.
pub(super) enum Called {
    /// Whoever waited has an answer.
    Done,
    /// The engine is another than it was: nothing was done of these.
    Forgot(Vec<Job>),
    /// The connection is of no use any more; whoever waited knows.
    Failed(Trouble),
}

/// Does the work of these jobs.
pub(super) async fn call(shared: &Shared, session: &mut Session, jobs: Vec<Job>) -> Called {
    let (begin, end): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(begins);
    let (ended, begun) = {
        let session = &*session;
        tokio::join!(send(shared, session, &end), send(shared, session, &begin))
    };
    let mut forgot = Vec::new();
    let mut failed = None;
    for (jobs, sent) in [(end, ended), (begin, begun)] {
        match settle(session, shared, jobs, sent).await {
            Called::Done => {}
            Called::Forgot(jobs) => forgot.extend(jobs),
            Called::Failed(trouble) => failed = Some(trouble),
        }
    }
    match failed {
        Some(trouble) => {
            let away = Away { reason: trouble.to_string(), refused: false };
            forgot.into_iter().for_each(|job| job.fail(&away));
            Called::Failed(trouble)
        }
        None if forgot.is_empty() => Called::Done,
        None => Called::Forgot(forgot),
    }
}

async fn settle(session: &mut Session, shared: &Shared, jobs: Vec<Job>, sent: Result<Value, RedisError>) -> Called {
    let sent = match sent {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => match session.load().await {
            Ok(()) => send(shared, session, &jobs).await,
            Err(trouble) => return fail(jobs, trouble),
        },
        sent => sent,
    };
    let answers = match sent {
        Ok(value) => value,
        Err(error) if error.code() == Some("OOM") => {
            // The connection is sound, and what ends claims goes through.
            let away = Away { reason: "the memory of the engine is full".to_owned(), refused: false };
            jobs.into_iter().for_each(|job| job.fail(&away));
            shared.board.counts.losses.fetch_add(1, Ordering::Relaxed);
            return Called::Done;
        }
        Err(error) => return fail(jobs, error.into()),
    };
    if jobs.is_empty() {
        return Called::Done;
    }
    let mut answers = match answers {
        Value::Array(answers) if answers.first() == Some(&Value::Int(1)) => answers.into_iter().skip(1),
        Value::Array(answers) if answers.first() == Some(&Value::Int(0)) => return Called::Forgot(jobs),
        _ => return fail(jobs, unreadable()),
    };
    let mut trouble = None;
    for job in jobs {
        let read = job.ask.parts.iter().map(|held| answers.next().and_then(|answer| read(job.ask.what, held, answer)));
        let read = read.collect::<Option<Vec<Answer>>>().ok_or_else(|| {
            trouble = Some(unreadable());
            Away { reason: unreadable().to_string(), refused: false }
        });
        // An upload that has gone left its claim: it ends with its lease.
        drop(job.reply.send(read));
    }
    trouble.map_or(Called::Done, Called::Failed)
}

/// Whoever answers so is asked nothing more on this connection: what belongs to which question is not known any more.
fn unreadable() -> Trouble {
    Trouble::Away("an answer of the engine is not readable".to_owned())
}

fn fail(jobs: Vec<Job>, trouble: Trouble) -> Called {
    let away = Away { reason: trouble.to_string(), refused: false };
    jobs.into_iter().for_each(|job| job.fail(&away));
    Called::Failed(trouble)
}

async fn send(shared: &Shared, session: &Session, jobs: &[Job]) -> Result<Value, RedisError> {
    if jobs.is_empty() {
        return Ok(Value::Nil);
    }
    let mut words = Words::new(shared, session);
    for job in jobs {
        job.ask.parts.iter().for_each(|held| words.add(&job.ask, held));
    }
    session.call(&words.keys, &words.arguments).await
}

fn read(what: What, Held { part, .. }: &Held, answer: Value) -> Option<Answer> {
    match (what, answer) {
        (What::Claim { .. }, Value::Array(mut values)) => {
            let Value::Int(left) = values.first()? else { return None };
            if let Ok(left) = u64::try_from(*left) {
                return Some(Answer::Blocked(Duration::from_millis(left)));
            }
            let bytes = |value| match value {
                Value::BulkString(bytes) => Some(bytes),
                Value::SimpleString(text) => Some(text.into_bytes()),
                _ => None,
            };
            let known = values.drain(1..).map(bytes).collect::<Option<Vec<_>>>()?;
            // What is missing would be taken for unknown.
            part.may_be_told(&known).then(|| Answer::Claimed(part.look_up(&known)))
        }
        (What::Confirm, Value::Int(0)) => Some(Answer::Lost),
        (What::Confirm | What::Release, Value::Int(1)) => Some(Answer::Ended),
        _ => None,
    }
}

/// Slices that a window is cut into: hashes are forgotten by slice.
const SLICES: u64 = 4;

/// The keys and arguments of a call.
struct Words<'a> {
    /// Now, by the engine's clock: those of gateways differ, and jump.
    now_s: u64,
    shared: &'a Shared,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl<'a> Words<'a> {
    fn new(shared: &'a Shared, session: &Session) -> Self {
        let keys = vec![shared.names.generation()];
        Self { now_s: session.now_s(), shared, keys, arguments: vec![session.generation.clone().into_bytes()] }
    }

    fn say(&mut self, words: impl IntoIterator<Item = Vec<u8>>) {
        self.arguments.extend(words);
    }

    fn add(&mut self, ask: &Ask, held: &Held) {
        match held.part {
            Part::Records { stream, .. } => self.add_records(ask, held, stream),
            Part::Hashes(_) => self.add_hashes(ask, held),
        }
    }

    fn add_records(&mut self, ask: &Ask, Held { me, gateway, part }: &Held, stream: u128) {
        let names = &self.shared.names;
        let page = |page: &u64| names.of_stream(stream, &format!("{page:x}"));
        self.keys.push(names.of_stream(stream, "o"));
        match ask.what {
            What::Claim { durable } => {
                let pages = part.pages();
                self.keys.extend(pages.iter().map(page));
                let lease = self.lease();
                self.say([word("C"), word(me), lease, flag(durable), number(pages.len()), part.ranges().into_bytes()]);
            }
            What::Confirm => {
                let segments = part.segments(*gateway);
                self.keys.extend(segments.iter().map(|(number, _)| page(number)));
                let ttl = number(ask.window.as_secs().saturating_add(3600));
                self.say([word("K"), word(me), ttl, number(segments.len())]);
                self.say(segments.into_iter().map(|(_, segment)| segment));
            }
            What::Release => self.say([word("R"), word(me)]),
        }
    }

    fn add_hashes(&mut self, ask: &Ask, Held { me, gateway, part }: &Held) {
        let names = &self.shared.names;
        let span = (ask.window.as_secs() / SLICES).max(1);
        let now = self.now_s / span;
        let slice = |number: u64| names.of_hashes(&format!("{span}.{number}"));
        self.keys.extend([names.of_hashes("o"), names.of_hashes("p")]);
        match ask.what {
            What::Claim { durable } => {
                // One more on each side: after a failover the clock is another one.
                let slices: Vec<String> = (now.saturating_sub(SLICES)..=now + 1).map(slice).collect();
                let words = [word("c"), word(me), self.lease(), flag(durable), number(slices.len()), part.hashes()];
                self.keys.extend(slices);
                self.say(words);
            }
            What::Confirm => {
                self.keys.push(slice(now));
                let ttl = number(span.saturating_mul(SLICES + 2));
                let owner = gateway.0.to_vec();
                self.say([word("k"), word(me), ttl, owner, part.hashes()]);
            }
            What::Release => self.say([word("r"), word(me), part.hashes()]),
        }
    }

    fn lease(&self) -> Vec<u8> {
        number(self.shared.config.lease.get().as_millis())
    }
}

fn word(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn number(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn flag(is: bool) -> Vec<u8> {
    word(if is { "1" } else { "0" })
}
