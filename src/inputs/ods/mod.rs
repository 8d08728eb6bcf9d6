//! The protocol of the OMS and Microsoft Monitoring agents: they register with a key of a workspace, show a certificate of their
//! own from then on, refresh that registration, renew the certificate, and upload in JSON and in XML.
//!
//! - A success means that the records are durable. These agents look at the status only, send a whole chunk again upon any other
//!   and lose it after half an hour, so that nothing is refused which can be kept: an item that cannot be read is set aside.
//! - Who an agent is its registration says ([`registry`]). Its certificate is made by itself and proves nothing else.
//! - An event is the event that Windows renders, whatever it was wrapped in ([`xml`]): rules and duplicate detection see one event
//!   by whatever way it came.
//! - An item is known by its record id and time; where it has none, by its content if it tells a time to a fraction of a second;
//!   else by its upload and its place there, because equal items are then sent on purpose. Equal uploads are one for as long as
//!   agents try again; longer, where they tell a time ([`rounds`]).
//!
//! Retired in Azure. `docs/protocols/ods.md` has what was documented and seen, and what is done here.

mod answer;
pub mod catalogue;
pub mod config;
mod exchange;
pub mod json;
mod memory;
pub mod registry;
mod rounds;
pub mod signature;
#[cfg(test)]
pub(super) mod specimen;
mod topology;
mod uploads;
mod wanted;
mod watch;
mod workspaces;
pub mod xml;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::protocol::{Ask, Head, OpenError, Place, Protocol, Settings};

pub use config::Config;
pub use memory::Memory;
pub use watch::Shown;

use catalogue::Catalogue;
use exchange::Exchange;
use wanted::Wanted;
use workspaces::Workspaces;

const DATE: &str = "x-ms-date";
const CONTENT_HASH: &str = "x-ms-sha256_content";
const RESOURCE_ID: &str = "x-ms-azureresourceid";
const CLIENT_VERSION: &str = "x-ms-client-version";
const CLIENT_PLATFORM: &str = "x-ms-client-platform";
const RETRY_COUNT: &str = "x-ms-client-request-retry-count";

impl Settings for Config {
    fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn brings_credentials(&self) -> bool {
        true
    }

    /// Each agent is bound to the computer that it registered.
    fn bound_clients(&self) -> Vec<String> {
        let bound = self.workspaces.iter().filter(|workspace| !workspace.hosts.is_empty());
        bound.map(config::Workspace::shown_name).collect()
    }

    fn groups(&self) -> Vec<&str> {
        self.workspaces.iter().filter_map(|workspace| workspace.group.as_deref()).collect()
    }

    fn problems(&self) -> Vec<String> {
        self.find_problems()
    }

    fn open(&self, place: &Place<'_>) -> Result<Arc<dyn Protocol>, OpenError> {
        let workspaces = self.workspaces_with(&place.config.protocols.data_collector);
        let memory = Arc::clone(&place.shared.ods);
        // What is wrong with it is told now, and not when the first agent comes; it stops nothing else.
        memory.open().ok();
        Ok(Arc::new(OnListener(Arc::new(Ods {
            listener: place.listener.into(),
            workspaces: Workspaces::new(workspaces, self.date_window.get().as_secs()),
            catalogue: Catalogue::new(self),
            memory,
            refresh_every: self.refresh_every.get(),
            telemetry_every: self.telemetry_every.get(),
            silent_after: self.silent_after.get(),
            renew_before: self.renew_before.get(),
            forget_after: self.forget_after.map(|span| span.get()),
            takes_tokens: !place.config.auth.tokens.is_empty() || place.config.entra.enabled,
        }))))
    }
}

/// It on one listener.
struct Ods {
    listener: Arc<str>,
    workspaces: Workspaces,
    catalogue: Catalogue,
    memory: Arc<Memory>,
    refresh_every: Duration,
    telemetry_every: Duration,
    silent_after: Duration,
    renew_before: Duration,
    forget_after: Option<Duration>,
    /// Whether the listener's `auth` knows tokens, such as those of container agents.
    takes_tokens: bool,
}

/// The protocol of a listener: requests keep it for as long as they last.
struct OnListener(Arc<Ods>);

impl Protocol for OnListener {
    fn ask(&self, head: &Head<'_>) -> Option<Box<dyn Ask>> {
        let wanted = Wanted::of(&head.segments())?;
        Some(Box::new(Exchange::new(Arc::clone(&self.0), wanted)))
    }
}

/// The value of a header; `None` when it is missing, empty, or no text.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
