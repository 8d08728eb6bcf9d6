//! Moving the bytes of a tunnel, until both sides have closed or a limit ends it.
//!
//! Each side may close on its own: its end of stream is passed on, and the other direction goes on. tokio's own
//! bidirectional copy never returns when one side half-closes and the other stays silent; here the pair has an idle
//! limit, a shorter one once a side has closed, one for a side that stopped reading, and one for its whole life. One
//! timer serves them all: it is set to the nearest and looks at the facts when it fires, so that moving bytes never
//! touches it.
//!
//! What a tunnel costs while nothing moves: two sockets, this future, and no buffer.

mod direction;
mod pipes;
mod throttle;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use direction::{Direction, Failed, Turn};
pub use throttle::{Throttle, Throttles};

use super::Reason;
use crate::net::stream::Stream;

/// The limits in time of a tunnel.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Without a byte in either direction.
    pub idle: Duration,
    /// The same once a side has closed.
    pub half_closed: Duration,
    /// With bytes waiting for a side that takes none.
    pub stalled: Duration,
    /// In all, since the tunnel began.
    pub lifetime: Duration,
}

/// A tunnel that stands. Resolves when it has ended, with the reason.
#[derive(Debug)]
pub struct Relay {
    client: Stream,
    destination: Stream,
    up: Direction,
    down: Direction,
    throttles: Throttles,
    timeouts: Timeouts,
    began: Instant,
    last_byte: Instant,
    /// Since when the destination takes no bytes that wait for it, and the client.
    stalled: [Option<Instant>; 2],
    pause: Option<Pin<Box<Sleep>>>,
    timer: Pin<Box<Sleep>>,
}

impl Relay {
    /// A tunnel between these two, which begins with bytes that each side has sent already.
    pub fn new(client: Stream, destination: Stream, timeouts: Timeouts, throttles: Throttles) -> Self {
        let now = Instant::now();
        Self {
            client,
            destination,
            up: Direction::default(),
            down: Direction::default(),
            throttles,
            timeouts,
            began: now,
            last_byte: now,
            stalled: [None; 2],
            pause: None,
            timer: Box::pin(tokio::time::sleep(timeouts.idle.min(timeouts.lifetime))),
        }
    }

    /// Passes nothing on to the destination: the client has said all it may.
    pub fn one_way(mut self) -> Self {
        self.up = Direction::closed();
        self
    }

    /// Bytes of the client that were read before, to be passed on first.
    pub fn with_early(mut self, from_client: &[u8], from_destination: &[u8]) -> Self {
        self.up.begin_with(from_client);
        self.down.begin_with(from_destination);
        self
    }

    /// Bytes that have reached the destination, and the client.
    pub fn moved(&self) -> (u64, u64) {
        (self.up.moved, self.down.moved)
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        // Who owes bytes waits before moving more: a debt never grows beyond one turn.
        let owed = self.throttles.charge(0);
        if !owed.is_zero() {
            let pause = self.pause.insert(Box::pin(tokio::time::sleep(owed)));
            if pause.as_mut().poll(cx).is_pending() {
                self.stalled = [None; 2];
                return Poll::Pending;
            }
        }
        let before = [self.up.moved, self.down.moved];
        let up = match self.up.turn(cx, &mut self.client, &mut self.destination, self.down.is_over()) {
            Ok(turn) => turn,
            Err(Failed::From) => return Poll::Ready(Reason::CLIENT_RESET),
            Err(Failed::To) => return Poll::Ready(Reason::DESTINATION_RESET),
        };
        let down = match self.down.turn(cx, &mut self.destination, &mut self.client, self.up.is_over()) {
            Ok(turn) => turn,
            Err(Failed::From) => return Poll::Ready(Reason::DESTINATION_RESET),
            Err(Failed::To) => return Poll::Ready(Reason::CLIENT_RESET),
        };
        if self.up.is_over() && self.down.is_over() {
            return Poll::Ready(Reason::CLOSED);
        }
        self.note(before, up, down);
        if up == Turn::Yield || down == Turn::Yield {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Keeps the facts that the timer looks at.
    fn note(&mut self, before: [u64; 2], up: Turn, down: Turn) {
        let moved = [self.up.moved - before[0], self.down.moved - before[1]];
        let now = Instant::now();
        if moved != [0, 0] {
            self.last_byte = now;
            self.throttles.charge(moved[0] + moved[1]);
        }
        let waiting = [self.up.is_waiting_for_writer(), self.down.is_waiting_for_writer()];
        for side in 0..2 {
            if !waiting[side] {
                self.stalled[side] = None;
            } else if moved[side] > 0 || self.stalled[side].is_none() {
                self.stalled[side] = Some(now);
                self.fire_by(now + self.timeouts.stalled);
            }
        }
        if up == Turn::Over || down == Turn::Over {
            self.last_byte = now;
            self.fire_by(now + self.timeouts.half_closed);
        }
    }

    fn fire_by(&mut self, deadline: Instant) {
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Looks whether a limit has been reached; else sets the timer to the nearest one.
    fn limit(&mut self, now: Instant) -> Option<Reason> {
        let half_closed = self.up.is_over() || self.down.is_over();
        let (quiet, quiet_reason) = if half_closed {
            (self.timeouts.half_closed, Reason::HALF_CLOSED)
        } else {
            (self.timeouts.idle, Reason::IDLE)
        };
        let mut limits =
            vec![(self.last_byte + quiet, quiet_reason), (self.began + self.timeouts.lifetime, Reason::LIFETIME)];
        limits.extend(self.stalled.iter().flatten().map(|since| (*since + self.timeouts.stalled, Reason::STALLED)));
        let (deadline, reason) = limits.into_iter().min_by_key(|(deadline, _)| *deadline)?;
        if deadline <= now {
            return Some(reason);
        }
        self.timer.as_mut().reset(deadline);
        None
    }
}

/// A tunnel that did not end by itself is cut, so that neither side takes what came for the whole.
impl Drop for Relay {
    fn drop(&mut self) {
        if self.up.is_over() && self.down.is_over() {
            return;
        }
        for stream in [&self.client, &self.destination] {
            // A connection that is gone needs no cutting.
            socket2::SockRef::from(stream.tcp()).set_linger(Some(Duration::ZERO)).ok();
        }
    }
}

impl Future for Relay {
    type Output = Reason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reason> {
        let this = self.get_mut();
        if let Poll::Ready(reason) = this.turn(cx) {
            return Poll::Ready(reason);
        }
        while this.timer.as_mut().poll(cx).is_ready() {
            if let Some(reason) = this.limit(Instant::now()) {
                return Poll::Ready(reason);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
