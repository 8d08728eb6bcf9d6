//! Where streams go that are taken over: the upper layer knows the inputs, this one only asks.

use std::fmt;

use tokio::sync::mpsc;

use crate::net::handed::Handed;

/// The upload listeners, as far as tunnels need to know them.
pub trait Inputs: fmt::Debug + Send + Sync {
    /// Where connections for the upload listener of this name are handed to. None when there is no such listener, or when it takes
    /// no connection any more.
    fn of(&self, listener: &str) -> Option<mpsc::Sender<Handed>>;
}

/// There are none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoInputs;

impl Inputs for NoInputs {
    fn of(&self, _: &str) -> Option<mpsc::Sender<Handed>> {
        None
    }
}
