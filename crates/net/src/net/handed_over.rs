//! Listening sockets that a service manager holds and hands over to each process in turn: systemd's socket activation, or whoever
//! else speaks its protocol (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`).
//!
//! Such a socket outlives the process. Between two of them the kernel keeps who connects, and the next process finds them
//! waiting: an upgrade refuses nobody, although only one process at a time can have the state directory. What is handed over is
//! kept as long as the process lives, so that a listener which goes and comes back with reloads finds its socket again. It is
//! known by its address, as the configuration names it; its name is for people.
//!
//! Two sockets on one port (`SO_REUSEPORT`) are not used. The kernel gives each of them its share of the connections, so that those
//! of the later process would wait for as long as the earlier one drains, and it resets what waits at the earlier one when that closes.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use listenfd::ListenFd;

static HANDED_OVER: OnceLock<HandedOver> = OnceLock::new();

/// Takes what the environment hands over to this process, and says what of it cannot be used. Once, and before there is any
/// other thread: the environment is changed.
pub fn take() -> Vec<String> {
    let is_for_us = std::env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(std::process::id()));
    if !is_for_us {
        return Vec::new();
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut handed = ListenFd::from_env();
    let sockets = (0..handed.len()).map(|at| handed.take_tcp_listener(at)).collect();
    let (all, unusable) = HandedOver::of(sockets, &names);
    // Who asks a second time gets nothing: the first has it.
    HANDED_OVER.set(all).ok();
    unusable
}

/// Whether the socket of this address outlives the process.
pub fn outlives_us(address: SocketAddr) -> bool {
    HANDED_OVER.get().is_some_and(|all| all.find(address).is_some())
}

/// What nobody has listened on so far: name and address. Who connects there waits in vain.
pub fn unused() -> Vec<(String, SocketAddr)> {
    HANDED_OVER.get().map(HandedOver::unused).unwrap_or_default()
}

/// The socket of this address, if one was handed over.
pub(super) fn socket(address: SocketAddr) -> Option<io::Result<TcpListener>> {
    HANDED_OVER.get()?.socket(address)
}

/// Everything that was handed over and can be used.
#[derive(Debug, Default)]
struct HandedOver(Vec<Held>);

#[derive(Debug)]
struct Held {
    name: String,
    address: SocketAddr,
    socket: TcpListener,
    is_used: AtomicBool,
}

impl HandedOver {
    /// These, by their names with colons between; and what is wrong with the others.
    fn of(sockets: Vec<io::Result<Option<TcpListener>>>, names: &str) -> (Self, Vec<String>) {
        let (mut all, mut unusable) = (Vec::new(), Vec::new());
        let mut names = names.split(':').filter(|name| !name.is_empty());
        for socket in sockets {
            let name = names.next().unwrap_or("unknown").to_owned();
            let usable = socket.and_then(|socket| socket.ok_or_else(|| io::Error::other("it was taken before")));
            match usable.and_then(|socket| Held::new(name.clone(), socket)) {
                Ok(held) => all.push(held),
                Err(error) => unusable.push(format!("{name}: {error}")),
            }
        }
        (Self(all), unusable)
    }

    fn find(&self, address: SocketAddr) -> Option<&Held> {
        self.0.iter().find(|held| held.address == address)
    }

    fn socket(&self, address: SocketAddr) -> Option<io::Result<TcpListener>> {
        let held = self.find(address)?;
        held.is_used.store(true, Ordering::Relaxed);
        Some(held.socket.try_clone())
    }

    fn unused(&self) -> Vec<(String, SocketAddr)> {
        let unused = self.0.iter().filter(|held| !held.is_used.load(Ordering::Relaxed));
        unused.map(|held| (held.name.clone(), held.address)).collect()
    }
}

impl Held {
    fn new(name: String, socket: TcpListener) -> io::Result<Self> {
        if !rustix::net::sockopt::socket_acceptconn(&socket)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
        }
        socket.set_nonblocking(true)?;
        Ok(Self { name, address: socket.local_addr()?, socket, is_used: AtomicBool::new(false) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").expect("a free port")
    }

    #[test]
    fn a_socket_is_found_by_its_address_as_often_as_it_is_asked_for() {
        let (uploads, tunnels) = (listening(), listening());
        let address = |socket: &TcpListener| socket.local_addr().expect("bound");
        let (first, second) = (address(&uploads), address(&tunnels));
        let (all, unusable) = HandedOver::of(vec![Ok(Some(uploads)), Ok(Some(tunnels))], "uploads:tunnels");
        assert_eq!(unusable, Vec::<String>::new());
        for _ in 0..2 {
            let socket = all.socket(first).expect("it was handed over").expect("it can be had again");
            assert_eq!(address(&socket), first);
        }
        assert_eq!(all.unused(), [("tunnels".to_owned(), second)]);
        assert!(all.socket("192.0.2.1:8443".parse().expect("an address")).is_none());
    }

    #[test]
    fn what_is_no_listening_socket_is_named_and_the_others_are_used() {
        let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let anywhere: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        bound.bind(&anywhere.into()).expect("a free port");
        let broken = Err(io::Error::new(io::ErrorKind::InvalidInput, "fd 4 is not a socket"));
        let sockets = vec![Ok(Some(bound.into())), broken, Ok(Some(listening()))];
        let (all, unusable) = HandedOver::of(sockets, "silent:file");
        assert_eq!(unusable, ["silent: it does not listen", "file: fd 4 is not a socket"]);
        assert_eq!(all.unused()[0].0, "unknown");
    }
}
