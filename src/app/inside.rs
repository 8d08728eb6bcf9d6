//! Where tunnels that are taken over lead: to the upload listeners, of which tunnels know nothing but this.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::inputs::Uploads;
use crate::net::handed::Handed;
use crate::tunnel::take_over::Inputs;

/// The upload listeners, for tunnels.
pub(super) struct Inside(pub(super) Arc<Uploads>);

impl std::fmt::Debug for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inside")
    }
}

impl Inputs for Inside {
    fn of(&self, listener: &str) -> Option<mpsc::Sender<Handed>> {
        self.0.handed_to(listener)
    }
}
