//! What the planes need of the network: TLS on both sides, an HTTP client, the guard before our HTTP server, names and
//! addresses.

mod any_certificate;
pub mod certificate_names;
pub mod client_trust;
pub mod dns;
pub mod expiry;
pub mod gss;
pub mod handed;
pub mod handed_over;
pub mod hang_up;
pub mod http1_guard;
pub mod http_client;
pub mod http_proxy;
pub mod listen;
mod own_certificate;
pub mod places;
pub mod proxy_protocol;
mod revocation;
pub mod stream;
pub mod target;
pub mod tls_choice;
pub mod tls_client;
mod tls_config;
mod tls_error;
pub(crate) mod tls_files;
pub mod tls_named;
pub mod tls_own;
pub mod tls_server;
pub mod upload_client;
pub mod url;
