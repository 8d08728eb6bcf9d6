//! Every protocol that a listener can speak: one line for each.
//!
//! A line makes the protocol's table on `[[listeners]]` (the type `Config` of the module of that name), has it checked and
//! opened, and makes it pass `conformance.rs` with the `Specimen` of its module. The comment is what the reference says.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::protocol::{OpenError, Place, Protocol, Settings};

macro_rules! protocols {
    ($($(#[doc = $doc:literal])+ $(#[cfg($only:meta)])? $name:ident;)+) => {
        /// The tables of the protocols on a listener.
        #[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
        #[serde(default)]
        pub struct Protocols {
            $($(#[doc = $doc])+ $(#[cfg($only)])? pub $name: super::$name::Config,)+
        }

        impl Protocols {
            /// Their names: the tables of a listener.
            pub const NAMES: &'static [&'static str] = &[$($(#[cfg($only)])? stringify!($name)),+];

            fn each(&self) -> Vec<&dyn Settings> {
                let all: [&dyn Settings; Self::NAMES.len()] = [$($(#[cfg($only)])? &self.$name),+];
                all.into()
            }
        }

        /// Each as its clients know it.
        #[cfg(test)]
        pub(super) fn specimens() -> Vec<Box<dyn super::conformance::Specimen>> {
            vec![$(Box::new(super::$name::specimen::Specimen)),+]
        }
    };
}

protocols! {
    /// The Logs Ingestion API of Azure Monitor.
    logs_ingestion;
    /// The plain door for scripts.
    events;
    /// The HTTP Data Collector API, for agents and scripts that cannot be changed.
    data_collector;
    /// The protocol of the OMS and Microsoft Monitoring agents.
    ods;
    /// Windows Event Forwarding.
    wef;
    /// An example, which no gateway has.
    #[cfg(test)]
    lines;
}

impl Protocols {
    /// Everything about their tables that cannot work, each beginning with its key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.each().into_iter().flat_map(Settings::problems).collect();
        if !self.each().into_iter().any(Settings::is_enabled) {
            let (first, names) = (Self::NAMES[0], Self::NAMES.join(" or "));
            problems.push(format!("{first}.enabled: nothing is enabled here; enable {names}, or remove the listener"));
        }
        problems
    }

    /// Whether the listener speaks nothing but Windows Event Forwarding.
    pub fn only_wef(&self) -> bool {
        self.each().into_iter().filter(|settings| settings.is_enabled()).count() == 1 && self.wef.enabled
    }

    /// Whether clients of any of them show credentials of their own.
    pub fn bring_credentials(&self) -> bool {
        self.each().into_iter().any(|settings| settings.is_enabled() && settings.brings_credentials())
    }

    /// The clients of theirs that are bound to computers or resources.
    pub fn bound_clients(&self) -> Vec<String> {
        let enabled = self.each().into_iter().filter(|settings| settings.is_enabled());
        enabled.flat_map(Settings::bound_clients).collect()
    }

    /// The agent groups that clients of theirs can belong to.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.each().into_iter().flat_map(Settings::groups)
    }

    /// Opens those that the listener speaks, in the order in which requests are offered to them.
    ///
    /// # Errors
    ///
    /// When a file that one of them needs cannot be used.
    pub fn open(&self, place: &Place<'_>) -> Result<Vec<Arc<dyn Protocol>>, OpenError> {
        self.each().into_iter().filter(|settings| settings.is_enabled()).map(|settings| settings.open(place)).collect()
    }
}
