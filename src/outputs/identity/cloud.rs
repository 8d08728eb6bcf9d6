//! The clouds of Azure and their addresses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which Azure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    /// The public cloud.
    #[default]
    Public,
    /// Azure Government of the United States.
    UsGov,
    /// Azure in China, operated by 21Vianet.
    China,
}

impl Cloud {
    /// Where tokens are asked for.
    pub fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::UsGov => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
        }
    }

    /// What tokens for data collection endpoints are for: the audience, without `/.default`.
    pub fn monitor(self) -> &'static str {
        match self {
            Self::Public => "https://monitor.azure.com",
            Self::UsGov => "https://monitor.azure.us",
            Self::China => "https://monitor.azure.cn",
        }
    }

    /// Azure Resource Manager, which is also the audience of its tokens.
    pub fn resource_manager(self) -> &'static str {
        match self {
            Self::Public => "https://management.azure.com",
            Self::UsGov => "https://management.usgovcloudapi.net",
            Self::China => "https://management.chinacloudapi.cn",
        }
    }

    /// How host names of data collection endpoints end.
    pub fn ingestion_suffix(self) -> &'static str {
        match self {
            Self::Public => ".ingest.monitor.azure.com",
            Self::UsGov => ".ingest.monitor.azure.us",
            Self::China => ".ingest.monitor.azure.cn",
        }
    }
}
