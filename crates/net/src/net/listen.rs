//! Listening sockets, and how many connections each may have, in all and from one address.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use tokio::net::{TcpListener, TcpStream};

use super::handed_over;
use crate::faults::spoken;

const BACKLOG: i32 = 1024;

/// Takes the socket that was handed over for this address, or binds and listens; a restart does not have to wait for old
/// connections to be forgotten. Call it inside a runtime.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if let Some(socket) = handed_over::socket(address) {
        return TcpListener::from_std(socket?);
    }
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into()).and_then(|()| socket.listen(BACKLOG)).map_err(with_remedy)?;
    TcpListener::from_std(socket.into())
}

/// Closes a socket, and gives whoever is in the kernel's queue at this moment and would be reset with it. The runtime is not asked: it
/// knows of them only when it has looked.
pub fn close(socket: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(socket) = socket.into_std() else { return Vec::new() };
    let mut last = Vec::new();
    while let Ok((stream, peer)) = socket.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        last.extend(stream.map(|stream| (stream, peer)));
    }
    last
}

fn with_remedy(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let told = format!("{}; see who listens there (ss -ltnp), or choose another port", spoken(&error));
            io::Error::new(error.kind(), told)
        }
        _ => error,
    }
}

/// Why nobody could listen there. An address that is in use is none of it: whoever uses it may be the gateway that this is asked
/// beside. Nothing is listened on.
pub fn fault(address: SocketAddr) -> Option<String> {
    let tried = || -> io::Result<()> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())
    };
    match tried() {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Some(format!(
            "is no address of this machine; write one of its own, or \"0.0.0.0:{}\" for all of them",
            address.port()
        )),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(format!(
            "cannot be had by this user ({}); choose a port above 1023, or give the process CAP_NET_BIND_SERVICE",
            spoken(&error)
        )),
        _ => None,
    }
}

/// Counts connections, in all and from each address. The limits are given with each question, so that they can change
/// while connections are open.
#[derive(Debug, Clone, Default)]
pub struct Admission(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: AtomicUsize,
    per_address: DashMap<IpAddr, usize>,
}

/// The place of one connection among all; given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<Counts>);

/// The place of one connection among those of its address; given back when dropped.
#[derive(Debug)]
pub struct AddressPlace {
    address: IpAddr,
    counts: Arc<Counts>,
}

impl Admission {
    /// A place among at most `max` connections.
    pub fn admit(&self, max: usize) -> Option<Place> {
        let place = Place(Arc::clone(&self.0));
        // The place counts itself out again when it is one too many.
        (self.0.total.fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }

    /// A place among at most `max` connections from this address (IPv6: its /64).
    pub fn admit_from(&self, address: IpAddr, max: usize) -> Option<AddressPlace> {
        let address = one_subscriber(address);
        let mut count = self.0.per_address.entry(address).or_insert(0);
        *count += 1;
        let fits = *count <= max;
        drop(count);
        let place = AddressPlace { address, counts: Arc::clone(&self.0) };
        fits.then_some(place)
    }

    /// Connections now.
    pub fn total(&self) -> usize {
        self.0.total.load(Ordering::Relaxed)
    }

    /// Addresses that have a connection now.
    pub fn addresses(&self) -> usize {
        self.0.per_address.len()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.total.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        self.counts.per_address.remove_if_mut(&self.address, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

/// Whoever has one IPv6 address has the whole /64.
pub fn one_subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscribers_not_addresses_are_counted() {
        let admission = Admission::default();
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let _one = admission.admit_from(address("2001:db8::1"), 2).expect("room");
        let two = admission.admit_from(address("2001:db8::2"), 2);
        assert!(two.is_some() && admission.admit_from(address("2001:db8::3"), 2).is_none());
        let _three = admission.admit_from(address("::ffff:10.0.0.1"), 2).expect("room");
        let _four = admission.admit_from(address("10.0.0.1"), 2).expect("room");
        assert!(admission.admit_from(address("10.0.0.1"), 2).is_none());
        drop(two);
        assert!(admission.admit_from(address("2001:db8::3"), 2).is_some());
        assert_eq!(admission.addresses(), 2);
    }

    #[test]
    fn an_address_of_another_machine_is_none_and_one_in_use_is_no_fault() {
        let fault = |address: &str| fault(address.parse().expect("an address"));
        assert!(fault("192.0.2.1:0").is_some_and(|reason| reason.contains("0.0.0.0:0")));
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        assert_eq!(fault(&taken.local_addr().expect("an address").to_string()), None);
        assert_eq!(fault("127.0.0.1:0"), None);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_told_with_what_to_do() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let error = bind(taken.local_addr().expect("an address")).expect_err("it is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("ss -ltnp") && !error.to_string().contains("os error"), "{error}");
    }

    #[tokio::test]
    async fn who_is_in_the_queue_of_a_socket_that_closes_is_not_reset() {
        let socket = bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = socket.local_addr().expect("bound");
        let clients = [TcpStream::connect(address).await, TcpStream::connect(address).await];
        let last = close(socket);
        let addresses: Vec<_> = clients.iter().flatten().filter_map(|client| client.local_addr().ok()).collect();
        assert_eq!(last.iter().map(|(_, peer)| *peer).collect::<Vec<_>>(), addresses);
        for (stream, _) in last {
            stream.writable().await.and_then(|()| stream.try_write(b"served")).expect("it is there");
        }
        assert!(TcpStream::connect(address).await.is_err(), "the door is closed");
    }

    #[test]
    fn a_place_that_was_refused_or_left_is_free() {
        let admission = Admission::default();
        let first = admission.admit(1);
        assert!(first.is_some() && admission.admit(1).is_none() && admission.admit(1).is_none());
        assert_eq!(admission.total(), 1);
        drop(first);
        assert!(admission.admit(1).is_some());
    }
}
