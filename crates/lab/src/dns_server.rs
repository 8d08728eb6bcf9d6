//! A DNS server on loopback that answers what a test tells it to, and remembers what it was asked.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;

/// Record type of IPv4 addresses.
pub const A: u16 = 1;
/// Record type of IPv6 addresses.
pub const AAAA: u16 = 28;

const SOA: u16 = 6;
const IN: u16 = 1;

/// What it says to one query.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These addresses, each to the query of its family, with this time to live in seconds. A family without any is
    /// told that there is none.
    Addresses(Vec<IpAddr>, u32),
    /// The same, but a family without any gets no answer at all.
    Half(Vec<IpAddr>, u32),
    /// The same after a while.
    Late(Duration, Vec<IpAddr>, u32),
    /// This response code and nothing else: 2 is SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    Code(u8),
    /// Nothing.
    Silence,
}

/// A running server; ends when dropped.
pub struct DnsServer {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Vec<Answer>>,
    asked: Vec<(String, u16)>,
}

impl DnsServer {
    /// A server that knows no name: everything is NXDOMAIN.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(serve(Arc::new(socket), Arc::clone(&state)));
        Self { address, state, task }
    }

    /// From now on it gives these answers for the name, one after the other for each record type; the last one for ever.
    pub fn script(&self, name: &str, answers: impl Into<Vec<Answer>>) {
        let mut state = self.state.lock();
        state.asked.retain(|(asked, _)| asked != name);
        state.answers.insert(name.to_owned(), answers.into());
    }

    /// From now on it gives these addresses for the name.
    pub fn addresses(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        self.script(name, [Answer::Addresses(addresses, ttl)]);
    }

    /// How often it was asked for the name with this record type, since the last script.
    pub fn asked(&self, name: &str, kind: u16) -> usize {
        let state = self.state.lock();
        state.asked.iter().filter(|(asked, of)| asked == name && *of == kind).count()
    }

    /// How many queries came in all.
    pub fn queries(&self) -> usize {
        self.state.lock().asked.len()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: Arc<UdpSocket>, state: Arc<Mutex<State>>) {
    let mut buffer = [0; 2048];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let query = &buffer[..length];
        let Some((name, kind, end)) = question(query) else { continue };
        let answer = {
            let mut state = state.lock();
            let before = state.asked.iter().filter(|(asked, of)| *asked == name && *of == kind).count();
            state.asked.push((name.clone(), kind));
            let script = state.answers.get(&name).map_or(&[] as &[Answer], Vec::as_slice);
            script.get(before).or(script.last()).cloned().unwrap_or(Answer::Code(3))
        };
        let (addresses, ttl) = match answer {
            Answer::Silence => continue,
            Answer::Code(code) => {
                let message = message(query, end, code, kind, &[], 60);
                socket.send_to(&message, client).await.ok();
                continue;
            }
            Answer::Half(addresses, ttl) => {
                if !addresses.iter().any(|address| kind_of(address) == kind) {
                    continue;
                }
                (addresses, ttl)
            }
            Answer::Addresses(addresses, ttl) => (addresses, ttl),
            Answer::Late(wait, addresses, ttl) => {
                let message = message(query, end, 0, kind, &addresses, ttl);
                let socket = Arc::clone(&socket);
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    socket.send_to(&message, client).await.ok();
                });
                continue;
            }
        };
        let message = message(query, end, 0, kind, &addresses, ttl);
        socket.send_to(&message, client).await.ok();
    }
}

fn kind_of(address: &IpAddr) -> u16 {
    if address.is_ipv4() { A } else { AAAA }
}

/// The name and type that are asked for, and where the question ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, at + 4))
}

fn message(query: &[u8], end: usize, code: u8, kind: u16, addresses: &[IpAddr], ttl: u32) -> Vec<u8> {
    let answers: Vec<&IpAddr> = addresses.iter().filter(|address| kind_of(address) == kind).collect();
    let negative = answers.is_empty() && matches!(code, 0 | 3);
    let mut message = query[..2].to_vec();
    message.extend([0x81, 0x80 | code, 0, 1]);
    message.extend((answers.len() as u16).to_be_bytes());
    message.extend([0, u8::from(negative), 0, 0]);
    message.extend(&query[12..end]);
    let record = |kind: u16, data: &[u8]| {
        let mut record = vec![0xc0, 12];
        record.extend(kind.to_be_bytes());
        record.extend(IN.to_be_bytes());
        record.extend(ttl.to_be_bytes());
        record.extend((data.len() as u16).to_be_bytes());
        record.extend(data);
        record
    };
    for address in answers {
        message.extend(match address {
            IpAddr::V4(address) => record(A, &address.octets()),
            IpAddr::V6(address) => record(AAAA, &address.octets()),
        });
    }
    if negative {
        // The root as name server and mailbox, then five numbers; the last says how long "no" may be remembered.
        let mut data = vec![0, 0];
        [1u32, 60, 60, 60, 60].iter().for_each(|number| data.extend(number.to_be_bytes()));
        message.extend(record(SOA, &data));
    }
    message
}
