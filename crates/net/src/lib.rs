//! Names, certificates and connections; the balancer over endpoints; and the tunnel plane, which needs nothing else.

pub mod tunnel;

pub mod balancer;

pub mod access_log;
pub mod net;

pub(crate) use gatepost_core::{faults, metrics, values};
pub(crate) use gatepost_spool::{clock, fs};
