//! What a connection knows of its host: nothing, until the host has shown a ticket; then who it is, and how to open what it
//! sends. A context belongs to its connection, and ends with it.

use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;

use super::channel::{Channel, OpenError};
use super::cipher::KeyError;
use super::lines::Accepted;
use super::multipart::Scheme;

/// Clocks may differ so much, as everywhere in Kerberos.
const SKEW: Duration = Duration::from_secs(300);

/// One connection.
#[derive(Debug)]
pub struct Session {
    number: u64,
    /// The first principal that it was of: it is of no other.
    principal: OnceLock<Arc<str>>,
    context: Mutex<Option<Context>>,
}

/// What a host has shown.
#[derive(Debug)]
struct Context {
    host: Host,
    channel: Channel,
    _place: Place,
}

/// Who a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its principal, such as `PC1$@PLANT.EXAMPLE`.
    pub principal: Arc<str>,
    /// How it showed that.
    pub scheme: Scheme,
    /// When its ticket ends.
    pub until: SystemTime,
}

/// Why a context does not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// Its key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The connection is another host's.
    #[error("another host shows its ticket on the connection of a host")]
    Another,
}

/// Contexts at once.
#[derive(Debug)]
pub struct Places {
    most: usize,
    taken: Arc<AtomicUsize>,
}

/// One of them, for as long as it lives.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Places {
    /// At most so many.
    pub fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// At most so many, together with those that these others have given out.
    pub fn with(most: usize, others: &Self) -> Self {
        Self { most, taken: Arc::clone(&others.taken) }
    }

    /// A place, if there is one.
    pub fn take(&self) -> Option<Place> {
        let one_more = |taken| (taken < self.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Place(Arc::clone(&self.taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session {
    /// Of a connection that opens now.
    pub fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { number, principal: OnceLock::new(), context: Mutex::default() })
    }

    /// A number that no other connection has.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Who its host is, if it has said so.
    pub fn host(&self) -> Option<Host> {
        self.context().as_ref().map(|context| context.host.clone())
    }

    /// From now on its host is who this says: the one that it was before, if it was anybody, however many requests lie between.
    ///
    /// # Errors
    ///
    /// When the key is none, or the connection is another host's.
    pub fn begin(&self, accepted: &Accepted, scheme: Scheme, place: Place) -> Result<Host, BeginError> {
        let channel = accepted.channel()?;
        let principal = self.principal.get_or_init(|| accepted.principal.as_str().into());
        if **principal != *accepted.principal {
            return Err(BeginError::Another);
        }
        let ends = Duration::from_secs(u64::try_from(accepted.ends_s).unwrap_or_default());
        let until = SystemTime::UNIX_EPOCH + ends;
        let host = Host { principal: Arc::clone(principal), scheme, until };
        *self.context() = Some(Context { host: host.clone(), channel, _place: place });
        Ok(host)
    }

    /// Its host is nobody any more.
    pub fn end(&self) {
        *self.context() = None;
    }

    /// Opens the next message of its host.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or nobody has shown a ticket.
    pub fn open(&self, sealed: BytesMut) -> Result<BytesMut, OpenError> {
        self.context().as_mut().ok_or(OpenError::Ended)?.channel.open(sealed)
    }

    /// Seals the next message to its host.
    pub fn seal(&self, message: &[u8]) -> Option<Vec<u8>> {
        Some(self.context().as_mut()?.channel.seal(message))
    }

    fn context(&self) -> MutexGuard<'_, Option<Context>> {
        self.context.lock()
    }
}

impl Host {
    /// Whether its ticket is past its time.
    pub fn is_over(&self) -> bool {
        SystemTime::now() > self.until + SKEW
    }

    /// Whether it should bring a new one: then its connection ends with the answer that it waits for.
    pub fn should_renew(&self) -> bool {
        SystemTime::now() + SKEW > self.until
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::written;
    use super::*;

    fn accepted(ends_s: i64) -> Accepted {
        Accepted {
            token: String::new(),
            principal: "PC1$@EXAMPLE.TEST".to_owned(),
            service: String::new(),
            ends_s,
            enctype: 18,
            key: written(&[7; 32]),
            next: 0,
            may_skip: 0,
            seals: 0,
        }
    }

    #[test]
    fn places_are_given_back_with_the_connection() {
        let places = Places::new(1);
        let session = Session::new();
        session.begin(&accepted(i64::MAX >> 8), Scheme::Kerberos, places.take().expect("one is free")).expect("a key");
        assert!(places.take().is_none() && Places::with(2, &places).take().is_some());
        assert!(session.host().is_some() && session.seal(b"m").is_some());
        session.end();
        assert!(places.take().is_some() && session.host().is_none() && session.seal(b"m").is_none());
    }

    #[test]
    fn a_connection_stays_that_of_its_first_host_however_many_requests_lie_between() {
        let (session, places) = (Session::new(), Places::new(9));
        let begin = |principal: &str| {
            let accepted = Accepted { principal: principal.to_owned(), ..accepted(1) };
            session.begin(&accepted, Scheme::Negotiate, places.take().expect("one is free")).map(|host| host.principal)
        };
        assert!(begin("PC1$@EXAMPLE.TEST").is_ok());
        // A negotiation that takes several requests ends the context with its first.
        session.end();
        assert_eq!(begin("PC2$@EXAMPLE.TEST"), Err(BeginError::Another));
        assert!(session.host().is_none(), "it is nobody's then");
        assert_eq!(begin("PC1$@EXAMPLE.TEST").as_deref(), Ok("PC1$@EXAMPLE.TEST"));
    }

    #[test]
    fn a_host_is_asked_for_a_new_ticket_before_the_old_one_ends() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() as i64;
        let host = |ends_s: i64| {
            let place = Places::new(1).take().expect("one is free");
            Session::new().begin(&accepted(ends_s), Scheme::Kerberos, place).expect("a key")
        };
        let told =
            [now + 3600, now + 60, now - 60, now - 3600].map(host).map(|host| (host.should_renew(), host.is_over()));
        assert_eq!(told, [(false, false), (true, false), (true, false), (true, true)]);
    }
}
