//! A TCP connection to the first of several addresses that takes it (RFC 8305, "happy eyeballs").
//!
//! The families alternate, the next address is tried when the last one failed or has not answered for a quarter of a
//! second, and the first connection wins. One address, the usual case, costs a connect and nothing more.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustix::io::Errno;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::Failure;
use crate::net::stream::watch_peer;
use crate::tunnel::Reason;

/// The wait before the next address is tried beside those that have not answered.
const STAGGER: Duration = Duration::from_millis(250);

/// The most addresses that are tried.
const ADDRESSES_MAX: usize = 8;

/// Connects to one of these addresses. On failure the most telling reason stands for all.
pub(super) async fn connect(addresses: Vec<SocketAddr>, deadline: Instant) -> Result<(TcpStream, SocketAddr), Failure> {
    let first = addresses.first().copied();
    let attempts = async {
        match addresses[..] {
            [address] => open(address).await,
            _ => Box::pin(race(alternating(addresses))).await,
        }
    };
    let late = |_| Failure { reason: Reason::CONNECT_TIMEOUT, detail: "no address answers".to_owned(), address: first };
    tokio::time::timeout_at(deadline, attempts).await.map_err(late)?
}

async fn race(addresses: Vec<SocketAddr>) -> Result<(TcpStream, SocketAddr), Failure> {
    let mut left = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    let mut worst = None;
    loop {
        if let Some(address) = left.next() {
            running.push(open(address));
        }
        tokio::select! {
            biased;
            result = running.next() => match result {
                Some(Ok(connected)) => return Ok(connected),
                // More attempts would only make it worse.
                Some(Err(failure)) if failure.reason == Reason::DESCRIPTORS => return Err(failure),
                Some(Err(failure)) => worst = Some(more_telling(worst, failure)),
                None => {
                    let none = || Failure::new(Reason::UNREACHABLE, "there is no address to connect to");
                    return Err(worst.unwrap_or_else(none));
                }
            },
            () = tokio::time::sleep(STAGGER), if left.len() > 0 => {}
        }
    }
}

/// A refusal says that somebody is there; "unreachable" is often only a family that this host does not have.
fn more_telling(known: Option<Failure>, new: Failure) -> Failure {
    let rank = |failure: &Failure| {
        [Reason::UNREACHABLE, Reason::CONNECT_TIMEOUT, Reason::REFUSED]
            .iter()
            .position(|reason| *reason == failure.reason)
    };
    match known {
        Some(known) if rank(&known) >= rank(&new) => known,
        _ => new,
    }
}

/// The addresses in the order to try them: families in turn, beginning with that of the first.
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_family = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_family);
    let longest = first.len().max(second.len());
    (0..longest).flat_map(|n| [first.get(n), second.get(n)]).flatten().copied().take(ADDRESSES_MAX).collect()
}

async fn open(address: SocketAddr) -> Result<(TcpStream, SocketAddr), Failure> {
    let attempt = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        watch_peer(&socket);
        socket.connect(address).await
    };
    match attempt.await {
        Ok(stream) => Ok((stream, address)),
        Err(error) => Err(Failure { reason: reason(&error), detail: error.to_string(), address: Some(address) }),
    }
}

fn reason(error: &io::Error) -> Reason {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED | Errno::CONNRESET) => Reason::REFUSED,
        Some(Errno::TIMEDOUT) => Reason::CONNECT_TIMEOUT,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Reason::DESCRIPTORS,
        _ => Reason::UNREACHABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_and_there_is_an_end() {
        let six = ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1"];
        let four = ["192.0.2.1:1"];
        let order = alternating(addresses(&[six[0], six[1], six[2], four[0]]));
        assert_eq!(order, addresses(&[six[0], four[0], six[1], six[2]]));
        assert_eq!(alternating(vec![order[0]; 20]).len(), ADDRESSES_MAX);
    }

    #[test]
    fn errors_have_reasons() {
        for (error, expected) in [
            (Errno::CONNREFUSED, Reason::REFUSED),
            (Errno::NETUNREACH, Reason::UNREACHABLE),
            (Errno::HOSTUNREACH, Reason::UNREACHABLE),
            (Errno::TIMEDOUT, Reason::CONNECT_TIMEOUT),
            (Errno::MFILE, Reason::DESCRIPTORS),
            (Errno::NFILE, Reason::DESCRIPTORS),
        ] {
            assert_eq!(reason(&error.into()), expected, "{error}");
        }
    }

    #[tokio::test]
    async fn a_dead_first_address_costs_a_quarter_of_a_second_at_most() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let live = listener.local_addr().unwrap();
        let refused: SocketAddr = ([127, 0, 0, 9], live.port()).into();
        let deadline = Instant::now() + Duration::from_secs(5);
        // The quickest of some: a busy machine may wait for anything.
        let mut quickest = STAGGER;
        for _ in 0..5 {
            let began = Instant::now();
            assert_eq!(connect(vec![refused, live], deadline).await.unwrap().1, live);
            quickest = quickest.min(began.elapsed());
        }
        assert!(quickest < STAGGER, "a refusal is not waited out");
        let (stream, _) = connect(vec![refused, live], deadline).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(rustix::net::sockopt::socket_keepalive(&stream).unwrap());
        let failure = connect(vec![refused, refused], deadline).await.unwrap_err();
        assert_eq!((failure.reason, failure.address), (Reason::REFUSED, Some(refused)));
        let failure = connect(Vec::new(), deadline).await.unwrap_err();
        assert_eq!(failure.reason, Reason::UNREACHABLE);
    }
}
