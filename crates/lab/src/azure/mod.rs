//! A fake Azure in this process: Entra, the metadata services of machines, and data collection endpoints in front of a
//! workspace that can be looked into.
//!
//! It is the judge of the workspace output, so it shares nothing with it: no parser of events, no maker of assertions,
//! no inflater. It behaves as the service is documented and reported to behave, and misbehaves on request. It was not
//! held against Azure itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

mod apps;
mod authority;
mod door;
mod entra;
mod faults;
mod ingestion;
mod jwt;
mod metadata;
mod row;
mod rules;

pub use apps::App;
pub use door::Door;
pub use entra::Directory;
pub use faults::Fault;
pub use ingestion::{Upload, Watcher, Workspace};
pub use metadata::{Himds, Imds, Machine, UserAssigned};
pub use row::Row;
pub use rules::{Quota, Rule, Type};

use authority::Authority;
use entra::Entra;
use ingestion::Ingestion;

/// Any free port of the machine itself.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Why a fake Azure cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AzureError {
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Entropy,
    /// A certificate cannot be made or read.
    #[error("the certificate cannot be made or read: {0}")]
    Certificate(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// How a fake Azure is built.
pub struct Plan {
    /// Where Entra listens.
    pub entra: SocketAddr,
    /// Where each data collection endpoint listens.
    pub endpoints: Vec<SocketAddr>,
    /// Whether the endpoints speak plain HTTP.
    pub plain_endpoints: bool,
    /// Is told of each upload; then nothing is kept in memory.
    pub watcher: Option<Watcher>,
}

impl Plan {
    /// So many endpoints on free ports of 127.0.0.1, over TLS; everything is kept in memory.
    pub fn endpoints(count: usize) -> Self {
        Self { entra: LOOPBACK, endpoints: vec![LOOPBACK; count], plain_endpoints: false, watcher: None }
    }

    /// The same with endpoints that speak plain HTTP.
    #[must_use]
    pub fn with_plain_endpoints(mut self) -> Self {
        self.plain_endpoints = true;
        self
    }
}

/// A running fake Azure; it stops when dropped.
pub struct FakeAzure {
    ca_pem: String,
    directory: Arc<Directory>,
    workspace: Arc<Workspace>,
    imds: Arc<Imds>,
    himds: Arc<Himds>,
    entra_door: Door,
    imds_door: Door,
    himds_door: Door,
    endpoints: Vec<Door>,
}

impl FakeAzure {
    /// Starts it: no app, no rule, and everything behaves.
    ///
    /// # Errors
    ///
    /// When an address is taken, or a key cannot be made.
    pub async fn start(plan: Plan) -> Result<Self, AzureError> {
        let addresses: Vec<IpAddr> =
            plan.endpoints.iter().chain([&plan.entra, &LOOPBACK]).map(SocketAddr::ip).collect();
        let Authority { ca_pem, tls } = Authority::new(&addresses)?;
        let directory = Arc::new(Directory::new()?);
        let workspace = Arc::new(Workspace::watched(plan.watcher));
        let imds = Arc::new(Imds::new(Arc::clone(&directory)));
        let himds = Arc::new(Himds::new(Arc::clone(&directory)));
        let entra = Arc::new(Entra(Arc::clone(&directory)));
        let entra_door = Door::open(plan.entra, Some(Arc::clone(&tls)), entra).await?;
        let imds_door = Door::open(LOOPBACK, None, Arc::<Imds>::clone(&imds)).await?;
        let himds_door = Door::open(LOOPBACK, None, Arc::<Himds>::clone(&himds)).await?;
        let mut endpoints = Vec::new();
        for (number, address) in plan.endpoints.into_iter().enumerate() {
            let behind =
                Arc::new(Ingestion { number, directory: Arc::clone(&directory), workspace: Arc::clone(&workspace) });
            let tls = (!plan.plain_endpoints).then(|| Arc::clone(&tls));
            endpoints.push(Door::open(address, tls, behind).await?);
        }
        Ok(Self { ca_pem, directory, workspace, imds, himds, entra_door, imds_door, himds_door, endpoints })
    }

    /// The certificate authority that clients have to trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Apps and the terms of tokens.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Rules, and what is stored.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The instance metadata service.
    pub fn imds(&self) -> &Imds {
        &self.imds
    }

    /// The metadata service of the agent of Azure Arc.
    pub fn himds(&self) -> &Himds {
        &self.himds
    }

    /// The door of Entra: HTTPS.
    pub fn entra_door(&self) -> &Door {
        &self.entra_door
    }

    /// The door of the instance metadata service: plain HTTP.
    pub fn imds_door(&self) -> &Door {
        &self.imds_door
    }

    /// The door of the agent of Azure Arc: plain HTTP.
    pub fn himds_door(&self) -> &Door {
        &self.himds_door
    }

    /// The doors of the data collection endpoints.
    pub fn endpoints(&self) -> &[Door] {
        &self.endpoints
    }
}
