//! A real KDC in a temporary directory: see [`lab::kdc`](gatepost::lab::wef::kerberos::kdc).

use std::ops::Deref;

use gatepost::lab::wef::kerberos::kdc::{self, SHA1};
use gatepost::lab::wef::kerberos::{Scheme, Ticket};

pub(crate) use gatepost::lab::wef::kerberos::kdc::SERVICES;

use crate::support::free_port;

/// A KDC that runs.
pub(crate) struct Kdc {
    running: kdc::Kdc,
    _dir: tempfile::TempDir,
}

impl Deref for Kdc {
    type Target = kdc::Kdc;

    fn deref(&self) -> &kdc::Kdc {
        &self.running
    }
}

impl Kdc {
    /// One that knows the services, another one that is in no keytab, and the computers `PC0$` to so many.
    pub(crate) fn start(computers: usize) -> Self {
        Self::with_keys(&SHA1, computers)
    }

    /// The same with keys of these types.
    pub(crate) fn with_keys(kinds: &[&str], computers: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gatepost = env!("CARGO_BIN_EXE_gatepost");
        let running = kdc::Kdc::start(dir.path(), free_port(), kinds, computers, gatepost).unwrap();
        Self { running, _dir: dir }
    }

    /// A computer's tickets, and its first token for the first service.
    pub(crate) async fn token(&self, name: &str, scheme: Scheme) -> (Ticket, Vec<u8>) {
        self.token_for(name, SERVICES[0], scheme).await
    }

    pub(crate) async fn token_for(&self, name: &str, service: &str, scheme: Scheme) -> (Ticket, Vec<u8>) {
        self.running.token_for(name, service, scheme).await.unwrap()
    }
}
