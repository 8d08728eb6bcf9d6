//! Every way in which a tunnel can end or not begin: one stable code for each, which logs, metrics, answers and tests
//! share.
//!
//! The original gateway had one event id for three causes. Here each cause has a code of its own, and the original's
//! event id stands beside it for people who migrate.

/// Why a tunnel ended or was refused. The code is stable: alerts are written against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason {
    /// Stable code, in snake case: the label in metrics, the field in the access log.
    pub code: &'static str,
    /// The HTTP status of the answer; 0 when no answer can be given any more, because the tunnel stands.
    pub status: u16,
    /// The id that the OMS gateway's event log has for this.
    pub oms_event_id: u16,
    /// One line for a person, without a full stop and without anything that the client sent.
    pub text: &'static str,
}

macro_rules! reasons {
    ($($id:ident $code:literal $status:literal $event:literal $text:literal;)+) => {
        impl Reason {
            $(#[doc = $text] pub const $id: Self =
                Self { code: $code, status: $status, oms_event_id: $event, text: $text };)+
            /// Every reason, in the order of this file.
            pub const ALL: &[Self] = &[$(Self::$id),+];
        }
    };
}

reasons! {
    // The tunnel stood and has ended.
    CLOSED "closed" 0 107 "both sides have closed";
    CLIENT_RESET "client_reset" 0 107 "the client cut the connection";
    DESTINATION_RESET "destination_reset" 0 403 "the destination cut the connection";
    IDLE "idle_timeout" 0 107 "no byte in either direction for idle_timeout";
    HALF_CLOSED "half_closed_timeout" 0 107 "one side had closed and the other went on for half_closed_timeout without a byte";
    STALLED "stalled_timeout" 0 403 "a side stopped reading for stalled_timeout";
    LIFETIME "lifetime" 0 107 "the tunnel reached max_lifetime";
    STOPPED "stopped" 0 102 "the gateway stopped";
    FORWARDED "forwarded" 0 100 "the answer to a plain request was passed on";

    // The request.
    MALFORMED "malformed_request" 400 104 "the request is malformed";
    MALFORMED_AUTHORITY "malformed_authority" 400 105 "the target is not a host and a port";
    HOST_DIFFERS "host_differs" 400 105 "the Host header differs from the target";
    NOT_CONNECT "not_connect" 405 104 "only CONNECT is served here";
    HEAD_TIMEOUT "head_timeout" 408 403 "the head of the request did not arrive in time";
    HEAD_TOO_LARGE "head_too_large" 431 104 "the head of the request is too large";
    VERSION "http_version" 505 104 "the HTTP version is not served here";
    CLIENT_GONE "client_gone" 0 403 "the client left before the tunnel stood";
    PROXY_HEADER "proxy_header" 0 403 "the PROXY protocol header is missing or malformed";
    TLS_HANDSHAKE "proxy_tls" 0 402 "the TLS handshake with this proxy failed";
    TLS_NO_COMMON_CIPHER "tls_no_common_cipher" 0 402 "nothing that the client offers for TLS goes with this proxy's certificate";
    TLS_OLD_VERSION "tls_old_version" 0 402 "the client offers no TLS 1.2 to this proxy";
    TLS_CLIENT_REVOKED "tls_client_revoked" 0 402 "the client's certificate has been revoked";
    TLS_CLIENT_CRL_EXPIRED "tls_client_crl_expired" 0 402 "the revocation list for the client's certificate is past its time";
    TLS_CLIENT_CRL_MISSING "tls_client_crl_missing" 0 402 "no revocation list tells about the client's certificate";
    TLS_CLIENT_CRL_OTHER_KEY "tls_client_crl_other_key" 0 402 "the revocation lists of the client's authority are signed with another key";

    // The client.
    CLIENT "client_not_allowed" 403 105 "this address may not use this proxy";
    AUTHENTICATION "authentication_required" 407 105 "credentials are needed";
    CREDENTIALS "credentials_wrong" 407 105 "the credentials are not accepted";
    CERTIFICATE "certificate_not_allowed" 403 105 "the client certificate is not on the list";
    AUTHENTICATION_BUSY "authentication_busy" 503 400 "too many credentials are being checked";

    // The destination.
    HOST "host_not_allowed" 403 105 "the host is not on the allow-list";
    PORT "port_not_allowed" 403 105 "the port is not allowed for this host";
    ADDRESS "address_forbidden" 403 105 "the host's address is in a range that tunnels may not reach";
    OURSELVES "own_address" 403 105 "the host's address is this gateway's own";
    LOOP "proxy_loop" 508 401 "the request has been through this gateway before";
    DNS "dns_failed" 502 403 "the host name has no address";
    DNS_TIMEOUT "dns_timeout" 504 403 "the host name was not resolved in time";
    REFUSED "connection_refused" 502 403 "the destination refuses the connection";
    UNREACHABLE "unreachable" 502 403 "the destination cannot be reached";
    DESTINATION_SILENT "destination_silent" 504 403 "the destination did not answer the request";
    CONNECT_TIMEOUT "connect_timeout" 504 403 "the destination did not answer in time";
    UPSTREAM_UNREACHABLE "upstream_unreachable" 502 403 "no upstream proxy can be reached";
    UPSTREAM_REFUSED "upstream_refused" 502 403 "the upstream proxy refused the tunnel";
    UPSTREAM_CREDENTIALS "upstream_credentials" 502 401 "the upstream proxy does not accept the configured credentials";
    UPSTREAM_GARBAGE "upstream_malformed" 502 403 "the upstream proxy's answer is malformed";
    UPSTREAM_TIMEOUT "upstream_timeout" 504 403 "the upstream proxy did not answer in time";
    UPSTREAM_TLS "upstream_tls" 502 403 "the TLS handshake with the upstream proxy failed";

    // Load.
    CLIENT_TUNNELS "client_tunnel_limit" 429 400 "this client has as many tunnels as it may";
    TUNNELS "tunnel_limit" 503 400 "there are as many tunnels as there may be";
    DESCRIPTORS "out_of_descriptors" 503 400 "the system has no file descriptor left";
    DRAINING "draining" 503 102 "the gateway is about to stop";

    // The handshake inside the tunnel.
    NOT_TLS "not_tls" 0 106 "the client does not speak TLS";
    TLS_VERSION "tls_version" 0 106 "the client offers no TLS version that is new enough";
    HELLO_MALFORMED "hello_malformed" 0 402 "the ClientHello is malformed";
    SERVER_NOT_TLS "server_not_tls" 0 402 "the destination does not answer with TLS";
    HELLO_TOO_LARGE "hello_too_large" 0 402 "the ClientHello is too large";
    HELLO_TIMEOUT "hello_timeout" 0 402 "the ClientHello did not arrive in time";
    SNI_ABSENT "sni_absent" 0 105 "the ClientHello names no server";
    SNI_DIFFERS "sni_differs" 0 105 "the ClientHello names another server than the CONNECT request";
    ECH "encrypted_hello" 0 105 "the ClientHello is encrypted (ECH)";
    SUBJECT "client_subject" 0 105 "the subject of the client certificate is not on the list";
    SUBJECT_HIDDEN "client_subject_hidden" 0 105 "TLS 1.3 hides the client certificate that this rule asks for";
}

impl Reason {
    /// Whether only a tunnel that stood can have it.
    pub fn only_ends(self) -> bool {
        matches!(
            self,
            Self::CLOSED
                | Self::CLIENT_RESET
                | Self::DESTINATION_RESET
                | Self::IDLE
                | Self::HALF_CLOSED
                | Self::STALLED
                | Self::LIFETIME
                | Self::STOPPED
                | Self::FORWARDED
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_snake_case() {
        let mut codes: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code).collect();
        assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')), "{codes:?}");
        codes.sort_unstable();
        let count = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }

    #[test]
    fn texts_can_stand_in_a_status_line() {
        for reason in Reason::ALL {
            assert!(reason.text.bytes().all(|b| (0x20..0x7f).contains(&b)) && !reason.text.ends_with('.'));
            assert!(matches!(reason.status, 0 | 400 | 403 | 405 | 407 | 408 | 429 | 431 | 502..=505 | 508));
        }
    }
}
