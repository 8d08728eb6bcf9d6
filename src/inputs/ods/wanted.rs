//! What a request asks for, by its path. Agents differ in the letter case of paths, and so did the service.

use crate::net::target::decode;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// To register, or to refresh a registration; the name that the answer's root has.
    Topology(&'static str),
    /// To report about itself.
    Telemetry,
    /// Another certificate.
    Renewal,
    /// To upload JSON.
    Json,
    /// To upload JSON about the agent itself.
    Diagnostics,
    /// To upload XML.
    Xml,
    /// To upload through a storage account.
    Blob,
}

const PATHS: [(&str, &str, Wanted); 10] = [
    ("AgentService.svc", "AgentTopologyRequest", Wanted::Topology("AgentTopologyResponse")),
    ("AgentService.svc", "LinuxAgentTopologyRequest", Wanted::Topology("LinuxAgentTopologyResponse")),
    ("AgentService.svc", "AgentTelemetry", Wanted::Telemetry),
    ("ConfigurationService.svc", "RenewCertificate", Wanted::Renewal),
    ("OperationalData.svc", "PostJsonDataItems", Wanted::Json),
    ("DiagnosticsDataService.svc", "PostJsonDataItems", Wanted::Diagnostics),
    ("OperationalData.svc", "PostDataItems", Wanted::Xml),
    ("EventDataService.svc", "PostDataItems", Wanted::Xml),
    ("GenericEventDataService.svc", "PostDataItems", Wanted::Xml),
    // The notification of an upload follows the same rules as the address for it.
    ("ContainerService.svc", "GetBlobUploadUri", Wanted::Blob),
];
const NOTIFICATION: &str = "PostBlobUploadNotification";

impl Wanted {
    /// What this path is for; `None` when it is none of the protocol's.
    pub(super) fn of(path: &[&str]) -> Option<Self> {
        let [service, method] = path else { return None };
        let (service, method) = (decode(service)?, decode(method)?);
        let method = if method.eq_ignore_ascii_case(NOTIFICATION) { "GetBlobUploadUri" } else { &*method };
        let is = |(known, of, _): &&(&str, &str, Self)| {
            service.eq_ignore_ascii_case(known) && method.eq_ignore_ascii_case(of)
        };
        PATHS.iter().find(is).map(|(.., wanted)| *wanted)
    }

    /// Whether it brings records.
    pub(super) fn is_upload(self) -> bool {
        matches!(self, Self::Json | Self::Diagnostics | Self::Xml)
    }

    /// Its name in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Topology(_) => "topology",
            Self::Telemetry => "telemetry",
            Self::Renewal => "renewal",
            Self::Json => "json",
            Self::Diagnostics => "diagnostics",
            Self::Xml => "xml",
            Self::Blob => "blob",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_known_in_any_letter_case_and_others_are_nobodys() {
        let of = |path: &str| Wanted::of(&path.split('/').collect::<Vec<_>>());
        assert_eq!(
            of("AgentService.svc/LinuxAgentTopologyRequest"),
            Some(Wanted::Topology("LinuxAgentTopologyResponse"))
        );
        assert_eq!(of("configurationservice.Svc/renewcertificate"), Some(Wanted::Renewal));
        assert_eq!(of("OperationalData.svc/PostJsonDataItems"), Some(Wanted::Json));
        assert_eq!(of("GenericEventDataService%2Esvc/PostDataItems"), Some(Wanted::Xml));
        assert_eq!(of("ContainerService.svc/PostBlobUploadNotification"), Some(Wanted::Blob));
        for path in ["", "api/logs", "AgentService.svc", "AgentService.svc/x", "AgentService.svc/AgentTelemetry/x"] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
