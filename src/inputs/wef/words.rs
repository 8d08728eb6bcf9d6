//! The names that Windows Event Forwarding has for things: namespaces, actions, profiles.
//!
//! Sources: WS-Management (DSP0226), WS-Eventing, and Microsoft's extensions of both (MS-WSMV).

pub(super) const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
pub(super) const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
pub(super) const EVENTING: &str = "http://schemas.xmlsoap.org/ws/2004/08/eventing";
pub(super) const ENUMERATION: &str = "http://schemas.xmlsoap.org/ws/2004/09/enumeration";
pub(super) const WSMAN: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd";
pub(super) const MS_WSMAN: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd";
pub(super) const MS_SUBSCRIPTION: &str = "http://schemas.microsoft.com/wbem/wsman/1/subscription";
pub(super) const POLICY: &str = "http://schemas.xmlsoap.org/ws/2002/12/policy";
pub(super) const MS_AUTHENTICATION: &str = "http://schemas.microsoft.com/wbem/wsman/1/authentication";
pub(super) const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

pub(super) const ANONYMOUS: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";
pub(super) const EVENT_LOG: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/EventLog";
pub(super) const EVENT_QUERY: &str = "http://schemas.microsoft.com/win/2004/08/events/eventquery";
pub(super) const EARLIEST: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman/bookmark/earliest";
pub(super) const MUTUAL_TLS: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual";
pub(super) const SPNEGO_KERBEROS: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/http/spnego-kerberos";
pub(super) const EVENTS_MODE: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman/Events";

const ENUMERATE: &str = "http://schemas.xmlsoap.org/ws/2004/09/enumeration/Enumerate";
pub(super) const ENUMERATE_RESPONSE: &str = "http://schemas.xmlsoap.org/ws/2004/09/enumeration/EnumerateResponse";
pub(super) const SUBSCRIBE: &str = "http://schemas.xmlsoap.org/ws/2004/08/eventing/Subscribe";
const SUBSCRIPTION_END: &str = "http://schemas.xmlsoap.org/ws/2004/08/eventing/SubscriptionEnd";
const HEARTBEAT: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman/Heartbeat";
const EVENTS: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman/Events";
pub(super) const ACK: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman/Ack";
const END: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsman/End";

/// What a host wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// To know its subscriptions.
    Enumerate,
    /// To end an exchange that has ended anyway.
    End,
    /// To say that it is there.
    Heartbeat,
    /// To hand over events.
    Events,
    /// To say that it gives up a subscription, and why.
    SubscriptionEnd,
}

impl Action {
    /// Its name in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Enumerate => "enumerate",
            Self::End => "end",
            Self::Heartbeat => "heartbeat",
            Self::Events => "events",
            Self::SubscriptionEnd => "subscription_end",
        }
    }

    /// The action of this name.
    pub(super) fn of(uri: &str) -> Option<Self> {
        Some(match uri {
            ENUMERATE => Self::Enumerate,
            END => Self::End,
            HEARTBEAT => Self::Heartbeat,
            EVENTS => Self::Events,
            SUBSCRIPTION_END => Self::SubscriptionEnd,
            _ => return None,
        })
    }
}
