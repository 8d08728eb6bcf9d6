//! Bodies: collected whole, within limits of size, time, rate and memory.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::limits::Config;
pub use super::memory::{MEMORY_LIMIT_MAX, Memory, NoMemory, Share};

/// Why a body was not collected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than the limit.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// `wire_max`.
        limit: u64,
    },
    /// The body did not arrive in time, or came too slowly.
    #[error("the body arrives too slowly: {received} bytes in {seconds} s")]
    Slow {
        /// Bytes that did arrive.
        received: u64,
        /// Seconds waited.
        seconds: u64,
    },
    /// The body broke off or its framing is wrong.
    #[error("the body is incomplete or malformed: {0}")]
    Broken(String),
    /// No room for it now.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
}

/// Collects a body whole. `declared` is its Content-Length, if it has one.
pub async fn collect<B>(body: B, declared: Option<u64>, limits: &Config, share: &mut Share) -> Result<Bytes, BodyError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // What can never find room is too large, not too early.
    let limit = limits.wire_max.as_u64().min(share.most());
    if declared.is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge { limit });
    }
    let started = Instant::now();
    let mut body = body;
    let mut first: Option<Bytes> = None;
    let mut whole = Vec::new();
    let mut received = 0;
    loop {
        let deadline = started + patience(limits, received);
        let slow = |_| BodyError::Slow { received, seconds: started.elapsed().as_secs() };
        let Some(frame) = timeout_at(deadline, body.frame()).await.map_err(slow)? else { break };
        let Ok(data) = frame.map_err(|error| BodyError::Broken(root_cause(error.into())))?.into_data() else {
            continue;
        };
        received += data.len() as u64;
        if received > limit {
            return Err(BodyError::TooLarge { limit });
        }
        match first.take() {
            None if whole.is_empty() => {
                share.grow_or_wait(received).await?;
                first = Some(data);
            }
            before => {
                if received > whole.capacity() as u64 {
                    let room = room(received, declared, limit);
                    share.grow_or_wait(room).await?;
                    whole.reserve_exact(usize::try_from(room).unwrap_or(usize::MAX) - whole.len());
                }
                whole.extend_from_slice(before.as_deref().unwrap_or_default());
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.into()))
}

/// How large a buffer is made when so much has arrived: what is declared, once an eighth of it is there (a promise alone takes
/// no memory from others), else twice as much.
pub(super) fn room(received: u64, declared: Option<u64>, limit: u64) -> u64 {
    match declared {
        Some(declared) if received.saturating_mul(8) >= declared && received <= declared => declared.min(limit),
        _ => received.saturating_mul(2).min(limit).max(received),
    }
}

/// How long a body of which so much arrived may take until its next byte.
fn patience(limits: &Config, received: u64) -> Duration {
    let at_rate = Duration::from_secs_f64(received as f64 / limits.rate_min.as_u64().max(1) as f64);
    limits.body_timeout.get().min(limits.rate_grace.get() + at_rate)
}

fn root_cause(error: Box<dyn Error + Send + Sync>) -> String {
    let mut cause: &dyn Error = error.as_ref();
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;
    use crate::turns::Who;
    use crate::values::ByteSize;

    fn dripping(every: Duration, bytes: usize) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin {
        StreamBody::new(Box::pin(stream::unfold((), move |()| async move {
            tokio::time::sleep(every).await;
            Some((Ok(Frame::data(Bytes::from(vec![b'x'; bytes]))), ()))
        })))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_slower_than_the_minimum_rate_is_given_up_after_the_grace() {
        let limits = Config::default();
        let started = Instant::now();
        let body = dripping(Duration::from_secs(1), 1);
        let result = collect(body, None, &limits, &mut Memory::new(1 << 20).share(&Who::default())).await;
        assert!(matches!(result, Err(BodyError::Slow { .. })), "{result:?}");
        assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_body_without_end_is_given_up_at_the_deadline() {
        let started = Instant::now();
        let body = dripping(Duration::from_secs(1), 4096);
        let result = collect(body, None, &Config::default(), &mut Memory::new(1 << 30).share(&Who::default())).await;
        assert!(matches!(result, Err(BodyError::Slow { .. })), "{result:?}");
        assert_eq!(started.elapsed().as_secs(), 60);
    }

    #[tokio::test]
    async fn a_body_takes_memory_for_what_it_declares_once_it_comes_and_for_its_buffer_when_it_declares_nothing() {
        let pieces = || {
            let pieces = (0..8).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; 64 << 10]))));
            StreamBody::new(stream::iter(pieces))
        };
        let memory = Memory::new(1 << 20);
        for (declared, taken) in [(Some(512 << 10), 512 << 10), (None, 640 << 10)] {
            let mut share = memory.share(&Who::default());
            let body = collect(pieces(), declared, &Config::default(), &mut share).await.unwrap();
            assert_eq!(body.len(), 512 << 10);
            assert_eq!(memory.held(), taken, "{declared:?}");
            share.shrink_to(body.len() as u64);
            assert_eq!(memory.held(), 512 << 10);
        }
        assert_eq!(memory.held(), 0, "all of it is given back");
    }

    #[tokio::test]
    async fn what_can_never_find_room_is_too_large_and_not_too_early() {
        let memory = Memory::new(4096);
        let body = Full::new(Bytes::from(vec![b'x'; 4097]));
        let result = collect(body, None, &Config::default(), &mut memory.share(&Who::default())).await;
        assert_eq!(result, Err(BodyError::TooLarge { limit: 3584 }));
    }

    #[tokio::test]
    async fn size_and_memory_are_limited_whether_declared_or_not() {
        let limits = Config { wire_max: ByteSize::bytes(10), ..Config::default() };
        let memory = Memory::new(1 << 20);
        let too_large = Err(BodyError::TooLarge { limit: 10 });
        let eleven = || Full::new(Bytes::from_static(b"hello world"));
        let share = || memory.share(&Who::default());
        assert_eq!(collect(eleven(), None, &limits, &mut share()).await, too_large);
        assert_eq!(collect(eleven(), Some(11), &limits, &mut share()).await, too_large);
        let whole = collect(Full::new(Bytes::from_static(b"hello")), Some(5), &limits, &mut share()).await;
        assert_eq!(whole.as_deref(), Ok(&b"hello"[..]));
    }
}
