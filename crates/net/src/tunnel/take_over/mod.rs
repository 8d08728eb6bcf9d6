//! Taking over a host: for some hosts and some groups of clients a tunnel ends here, and its stream goes to an input.
//!
//! It is for agents and scripts that know a proxy and a host, and cannot be given another host. What they send is answered in the
//! name of a local authority that their site made and that they were told to trust; to everybody else nothing changes. This is what
//! a tunnel otherwise never does, so nothing of it happens by itself: each host and each group is named, hosts of agents that are in
//! support are refused, and whoever looks at the log, the status or the metrics sees it.
//!
//! The stream that is handed on begins with the client's ClientHello: the input speaks TLS with it as on its own listener (with
//! the same client certificates, limits and end), only with a certificate that [`Leaves`] makes for the host. Before that, the
//! handshake was looked at as in any tunnel: a host that is taken over is no door to another name.

mod authority;
mod faults;
mod inputs;
mod leaves;
mod list;
pub mod make;
mod names;
mod stream;

pub use authority::{Authority, AuthorityError, Facts, facts_of};
pub use inputs::{Inputs, NoInputs};
pub use leaves::Leaves;
pub use names::Constraints;

pub(super) use faults::faults;
pub(super) use list::{Found, TakeOvers};
pub(super) use stream::Taken;
