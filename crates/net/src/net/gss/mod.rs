//! Kerberos over HTTP, as Windows hosts speak it to a collector: tickets are accepted, and the bodies behind them opened and
//! sealed.
//!
//! ```text
//! Authorization: Kerberos … ─▶ [acceptor] ─ pipe ─▶ [worker: libgssapi, keytab, file of replays]
//!                                  ◀── who it is, until when, the key of the context ──┘
//! multipart/encrypted ─▶ [multipart] ─▶ [channel] ─▶ the message        (no C, no pipe, off the async runtime)
//! ```
//!
//! MIT's library decides alone whether a ticket is good. It runs in a process of its own ([`acceptor`]), because it is C and reads
//! what strangers send, and because its keytab and its file of replays are chosen by variables of a process. What comes after is
//! done here: [`messages`] finds the key of the context where the library found it, [`channel`] uses it. The process compares the
//! two before the gateway hears of the key.
//!
//! All but the process itself is built always, so that it is tested and fuzzed everywhere; the process needs the feature
//! `kerberos` and the headers of MIT Kerberos.

pub mod acceptor;
pub mod channel;
pub mod cipher;
mod cts;
mod der;
pub mod keytab;
pub mod lines;
pub mod messages;
pub mod multipart;
pub mod session;
pub mod spnego;
#[cfg(feature = "kerberos")]
pub mod worker;

/// Whether this program can accept tickets.
pub const IS_BUILT_IN: bool = cfg!(feature = "kerberos");
