//! Windows Event Forwarding over Kerberos: hosts with tickets of a real KDC (Debian's krb5-kdc). What they send is sealed by MIT's
//! library before the clock starts, since that takes longer than anything of the gateway; each sealed body can go once only.

use gatepost::lab::wef::kerberos::kdc::{Kdc, SERVICES, SHA1};
use gatepost::lab::wef::kerberos::{self as lab, Scheme, Ticket, Wire};

use super::gateway::{binary, free_port};
use super::*;

/// Most hosts: each has a process of MIT's library beside it.
const HOSTS_MAX: usize = 16;
/// Envelopes of each.
const ENVELOPES: u64 = 40;
const PATH: &str = "/wsman/SubscriptionManager/WEC";

/// A host whose bodies are sealed.
struct Sealed {
    wire: Wire,
    path: String,
    /// Its context, which opens what it is told.
    _ticket: Ticket,
    bodies: Vec<Vec<u8>>,
}

pub(super) async fn run(args: &Args, name: &str, compress: bool) -> Result<()> {
    let (dir, port, count) = (tempfile::tempdir()?, free_port()?, args.hosts.min(HOSTS_MAX));
    let kdc = Kdc::start(dir.path(), port, &SHA1, count, binary()?)?;
    let collectors = collectors(args.collectors).await?;
    let keytab = kdc.keytab();
    let gateway = Gateway::with(args, |dir, port, admin| {
        let more = format!(
            "tls.mode = \"off\"\nwef.enabled = true\nwef.kerberos.keytab = \"{}\"\nlimits.keep_alive_idle = \"10 min\"\n[[outputs]]\n",
            keytab.display()
        );
        configuration(dir, port, admin, &collectors, args).replacen("[[outputs]]\n", &more, 1)
    });
    let gateway = gateway.await?;
    let mut hosts = Vec::new();
    for n in 0..count {
        hosts.push(host(&kdc, gateway.port, n, compress).await?);
    }
    let (cpu, began) = (gateway.cpu()?, Instant::now());
    let delivered = futures_util::future::try_join_all(hosts.iter_mut().map(|host| deliver(host, compress))).await?;
    let intake = began.elapsed().as_secs_f64();
    let events = (count * BATCH) as u64 * ENVELOPES;
    until_held(&collectors, events).await?;
    let (cpu, whole) = (gateway.cpu()? - cpu, began.elapsed().as_secs_f64());
    let mut latencies: Vec<f64> = delivered.into_iter().flatten().collect();
    latencies.sort_by(f64::total_cmp);
    println!(
        "{name}: {count} hosts, {events} events, {:.0} events/s acknowledged, {:.0} events/s delivered, {:.2} CPU-s per million, \
         ack median {:.1} ms p99 {:.1} ms, RSS {:.0} MiB",
        events as f64 / intake,
        events as f64 / whole,
        cpu / (events as f64 / 1e6),
        1e3 * percentile(&latencies, 0.5),
        1e3 * percentile(&latencies, 0.99),
        gateway.rss()?,
    );
    Ok(())
}

/// A host that has shown its ticket, and asked for its subscription.
async fn host(kdc: &Kdc, port: u16, n: usize, compress: bool) -> Result<Sealed> {
    let (account, machine) = (format!("PC{n}$"), format!("pc{n}.example.test"));
    let (mut ticket, token) = kdc.token_for(&account, SERVICES[0], Scheme::Kerberos).await?;
    let mut wire = Wire::open(&format!("127.0.0.1:{port}")).await?;
    let reply = lab::greet(&mut wire, PATH, Scheme::Kerberos, &token).await?;
    let answer = reply.header("www-authenticate").and_then(|value| value.strip_prefix("Kerberos "));
    ticket.go_on(&lab::token(answer.context("the ticket is not taken")?)?).await?;
    let asked = wide(&enumerate());
    let asked = lab::framed(Scheme::Kerberos, asked.len(), &ticket.seal(&asked).await?);
    let told = post(&mut wire, PATH, &asked, false).await?;
    let told = ticket.open(lab::unframed(&told.body).context("the answer is not sealed")?).await?;
    let narrow: Vec<u8> = told.into_iter().filter(|byte| (1..0x80).contains(byte)).collect();
    let id = identifier(&narrow)?;
    let body = body(&machine, &id, n as u64);
    let mut bodies = Vec::new();
    for round in 0..ENVELOPES {
        let plain = body.numbered(round * BATCH as u64);
        let plain = if compress { compressed(&plain) } else { plain.to_vec() };
        bodies.push(lab::framed(Scheme::Kerberos, plain.len(), &ticket.seal(&plain).await?));
    }
    Ok(Sealed { wire, path: format!("/wsman/subscriptions/{id}/1"), _ticket: ticket, bodies })
}

async fn deliver(host: &mut Sealed, compress: bool) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    for body in &host.bodies {
        let began = Instant::now();
        let answer = post(&mut host.wire, &host.path, body, compress).await?;
        ensure!(answer.status == 200, "a sealed delivery cannot go twice, and was answered with {}", answer.status);
        latencies.push(began.elapsed().as_secs_f64());
    }
    Ok(latencies)
}

async fn post(wire: &mut Wire, path: &str, body: &[u8], compressed: bool) -> Result<lab::Reply> {
    let kind = lab::content_type(Scheme::Kerberos);
    let headers = [("content-type", kind.as_str()), ("content-encoding", "SLDC")];
    wire.post(path, if compressed { &headers } else { &headers[..1] }, body).await
}
