//! What inputs and outputs need of the network: TLS on both sides, an HTTP client, and the guard before our HTTP server.

pub mod http1_guard;
pub mod http_client;
pub mod tls_client;
pub mod tls_server;
