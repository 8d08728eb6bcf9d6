//! Serving one listener: who comes in ([`door`]), the life of each connection ([`visit`]), the check of the handshake
//! inside a tunnel ([`handshake`]), and the answer to who gets none ([`refusal`]).

mod arrive;
mod door;
mod handshake;
mod ledger;
mod plain;
mod policy;
mod refusal;
mod shared;
mod visit;

pub(super) use door::Door;
pub(super) use ledger::begin_series;
pub(super) use policy::{Policy, Rules};
pub(super) use shared::Shared;
