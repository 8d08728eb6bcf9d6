//! Hosts of a domain against a real gateway: tickets of a real KDC, shown and sealed by MIT's library, which the gateway has for
//! accepting tickets only.

mod conversation;
mod fleet;
mod hostile;
mod kdc;
mod tickets;

use gatepost::lab::collector::{Behaviour, Collector, Memory};
use gatepost::lab::wef::kerberos::{self as lab, Line, Scheme, Ticket, Wire};
use gatepost::lab::wef::{Authority, Faults, Forwarder, Setting};
use gatepost::net::upload_client::Client;

use super::scene::Scene;
use crate::support::{Site, workspace};
use kdc::{Kdc, SERVICES};

/// The path that hosts ask at.
const PATH: &str = "/wsman/SubscriptionManager/WEC";

/// A gateway with the keytab of a KDC.
pub(crate) struct Domain {
    pub(crate) kdc: Kdc,
    pub(crate) scene: Scene,
}

impl Domain {
    /// With so many computers, and more keys for the listener.
    pub(crate) async fn new(computers: usize, listener: &str) -> Self {
        Self::of(Kdc::start(computers), listener).await
    }

    /// The same with a KDC of its own.
    pub(crate) async fn of(kdc: Kdc, listener: &str) -> Self {
        let dir = tempfile::tempdir().unwrap().keep();
        let collector = Collector::start(Memory::Identities).await.unwrap();
        collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
        let outputs = format!(
            "tls.mode = \"off\"\nlogs_ingestion.enabled = false\nevents.enabled = false\nwef.enabled = true\n\
             wef.kerberos.keytab = \"{}\"\nwef.kerberos.services = [\"{}\", \"{}\"]\n\
             limits.max_connections_per_address = 1024\n{listener}\n{}",
            kdc.keytab().display(),
            SERVICES[0],
            SERVICES[1],
            workspace("workspace", &[&collector])
        );
        let spool = "[spool]\nsegment_size = \"1 MiB\"\nmax_size = \"64 MiB\"\n";
        let site = Site::at(&dir, &outputs, spool);
        Self { kdc, scene: Scene { site, authority: Authority::new("nobody's").unwrap(), collector } }
    }

    pub(crate) fn site(&self) -> &Site {
        &self.scene.site
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.site().uploads)
    }

    /// The host `pcN.example.test`, which shows the ticket of `PCN$`.
    pub(crate) fn host(&self, n: usize, service: &str, scheme: Scheme, faults: Faults) -> Forwarder {
        self.impostor(&format!("PC{n}$"), &name(n), service, scheme, faults)
    }

    /// One that shows the ticket of an account and calls itself by any name.
    pub(crate) fn impostor(
        &self,
        account: &str,
        name: &str,
        service: &str,
        scheme: Scheme,
        faults: Faults,
    ) -> Forwarder {
        let manager = format!("http://{}{PATH}", self.address());
        let setting = Setting { host: name.to_owned(), manager, client: Client::new(None).unwrap() };
        let line = Line::new(self.kdc.account(account, service, scheme));
        Forwarder::new(setting, faults, 1).on(line)
    }

    /// A connection on which a computer has shown its ticket.
    pub(crate) async fn greeted(&self, n: usize) -> (Wire, Ticket) {
        let (mut ticket, token) = self.kdc.token(&format!("PC{n}$"), Scheme::Kerberos).await;
        let mut wire = Wire::open(&self.address()).await.unwrap();
        let reply = lab::greet(&mut wire, PATH, Scheme::Kerberos, &token).await.unwrap();
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        assert_eq!(ticket.go_on(&answer_of(&reply)).await.unwrap(), None);
        (wire, ticket)
    }
}

/// The full name of a computer.
pub(crate) fn name(n: usize) -> String {
    format!("pc{n}.example.test")
}

/// The token in an answer.
pub(crate) fn answer_of(reply: &lab::Reply) -> Vec<u8> {
    use base64::Engine as _;
    let (_, token) = reply.header("www-authenticate").expect("it answers").split_once(' ').expect("a token");
    base64::engine::general_purpose::STANDARD.decode(token).unwrap()
}

/// Everything that an answer says of how to show who one is.
pub(crate) fn schemes(reply: &lab::Reply) -> Vec<&str> {
    let fields = reply.headers.iter().filter(|(name, _)| name == "www-authenticate");
    fields.map(|(_, value)| value.as_str()).collect()
}

/// A message of a host, in UTF-16 as Windows writes.
pub(crate) fn heartbeat(n: usize) -> Vec<u8> {
    let text = format!(
        "<s:Envelope xmlns:s=\"x\"><s:Header><a:Action>http://schemas.microsoft.com/wbem/wsman/1/wsman/End</a:Action>\
         <a:MessageID>uuid:1</a:MessageID><m:MachineID>{}</m:MachineID></s:Header><s:Body/></s:Envelope>",
        name(n)
    );
    std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// Posts sealed bytes.
pub(crate) async fn post(wire: &mut Wire, body: &[u8]) -> anyhow::Result<lab::Reply> {
    let kind = lab::content_type(Scheme::Kerberos);
    wire.post(PATH, &[("content-type", &kind)], body).await
}
