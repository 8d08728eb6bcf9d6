//! Forms that are read: requests for tokens, which anybody may send and which prove nothing before they are whole.
//!
//! All forms of a listener share a little memory, and each takes what it declares before it is read. An honest form is small
//! and there at once, so when there is no room the one that has been coming for longest makes room: many slow ones keep nobody
//! else from a token.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use tokio::sync::Notify;

use super::entra::request::{BODY_MAX, FORMS_MAX};
use super::http::body::{BodyError, Memory, NoMemory, Share, collect};
use super::http::limits;
use crate::turns::Who;
use crate::values::{ByteSize, Span};

/// For a whole form, and how long it may be slower than the slowest body that is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(3);

/// The forms of one listener.
pub(super) struct Forms {
    limits: limits::Config,
    memory: Memory,
    open: Mutex<Open>,
}

/// The forms that are read now, by the order in which they came.
#[derive(Default)]
struct Open {
    next: u64,
    forms: BTreeMap<u64, Form>,
}

struct Form {
    _share: Share,
    must_go: Arc<Notify>,
}

impl Forms {
    /// Within what a listener says of bodies, and less.
    pub(super) fn new(of_listener: &limits::Config) -> Self {
        let least = |span: Span, most: Duration| if span.get() < most { span } else { Span::secs(most.as_secs()) };
        let limits = limits::Config {
            wire_max: ByteSize::bytes(BODY_MAX),
            body_timeout: least(of_listener.body_timeout, TIMEOUT),
            rate_grace: least(of_listener.rate_grace, GRACE),
            ..of_listener.clone()
        };
        Self { limits, memory: Memory::new(FORMS_MAX), open: Mutex::default() }
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// When it is too large, too slow, or breaks off; and when others need its room more.
    pub(super) async fn read(&self, body: &mut Body, declared: Option<u64>, who: &Who) -> Result<Bytes, BodyError> {
        let bytes = declared.unwrap_or(BODY_MAX);
        if bytes > BODY_MAX {
            return Err(BodyError::TooLarge { limit: BODY_MAX });
        }
        let (number, must_go) = self.enter(bytes, who)?;
        let _entered = Entered { forms: self, number };
        // Its room is in the books already.
        let mut counted = Memory::new(FORMS_MAX).share(who);
        tokio::select! {
            biased;
            form = collect(body, declared, &self.limits, &mut counted) => form,
            () = must_go.notified() => Err(NoMemory.into()),
        }
    }

    /// Takes room, of those that have been coming for longest if need be.
    fn enter(&self, bytes: u64, who: &Who) -> Result<(u64, Arc<Notify>), NoMemory> {
        let mut share = self.memory.share(who);
        let mut open = self.open();
        while share.grow_to(bytes).is_err() {
            let (_, slowest) = open.forms.pop_first().ok_or(NoMemory)?;
            slowest.must_go.notify_one();
        }
        let (number, must_go) = (open.next, Arc::<Notify>::default());
        open.next += 1;
        open.forms.insert(number, Form { _share: share, must_go: Arc::clone(&must_go) });
        Ok((number, must_go))
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock()
    }
}

/// A form is forgotten when its reader is done or gone.
struct Entered<'f> {
    forms: &'f Forms,
    number: u64,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.forms.open().forms.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use futures_util::stream;
    use tokio::time::{Instant, sleep};

    use super::*;

    fn endless() -> Body {
        Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())
    }

    fn at(n: u32) -> Who {
        Who::at(std::net::Ipv4Addr::from_bits(n).into())
    }

    #[tokio::test(start_paused = true)]
    async fn many_slow_forms_from_many_addresses_keep_nobody_from_a_token() {
        let forms = Forms::new(&limits::Config::default());
        let slow = (0..300).map(|n| {
            let (forms, declared) = (&forms, [65_000, 16_000, 1_000][n as usize % 3]);
            async move { forms.read(&mut endless(), Some(declared), &at(n)).await }
        });
        let good = async {
            sleep(Duration::from_secs(1)).await;
            let forms = (0..100).map(|n| {
                let forms = &forms;
                async move { forms.read(&mut Body::from("x".repeat(3_000)), Some(3_000), &at(1_000 + n)).await }
            });
            join_all(forms).await
        };
        let started = Instant::now();
        let (slow, good) = tokio::join!(join_all(slow), good);
        assert!(good.iter().all(Result::is_ok), "{good:?}");
        assert!(slow.iter().all(Result::is_err));
        assert!(started.elapsed() <= Duration::from_secs(4), "{:?}", started.elapsed());
        assert_eq!((forms.memory.held(), forms.open().forms.len()), (0, 0), "nothing is left of them");
    }

    #[tokio::test]
    async fn a_form_that_is_too_large_is_told_so() {
        let forms = Forms::new(&limits::Config::default());
        let large = forms.read(&mut endless(), Some(BODY_MAX + 1), &at(1)).await;
        assert_eq!(large, Err(BodyError::TooLarge { limit: BODY_MAX }));
    }
}
