//! Windows Event Forwarding against a real gateway: simulated hosts over TLS with certificates of their own.
//!
//! A simulated host knows its place only by what was acknowledged and by the bookmark that the gateway returns, as Windows
//! does. So these tests fail when a bookmark is kept before its events, or an answer leaves before the bookmark.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod certificates;
mod commands;
mod conversation;
mod fleet;
mod hostile;
mod identity;
#[cfg(feature = "kerberos")]
mod kerberos;
mod published;
mod replay;
mod scene;
