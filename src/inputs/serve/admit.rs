//! Whether there is room for a connection: among all, and among those of its client's address.

use std::net::IpAddr;
use std::sync::Arc;

use super::conversation::Conversation;
use super::door::Door;
use crate::net::listen::AddressPlace;
use crate::net::places::{self, Class, Limits};

/// Where a connection is counted for as long as it lives.
pub(super) struct Places {
    pub(super) among_all: places::Place,
    /// None as long as it is not known from whose address it is, and for a balancer's own.
    pub(super) of_address: Option<AddressPlace>,
}

impl Door {
    /// Whether there is room for a connection. Whom a balancer speaks for is asked later.
    pub(super) fn admit(&self, peer: IpAddr, conversation: &Arc<Conversation>) -> Result<Places, &'static str> {
        // Who has too many already makes nobody go.
        let of_address = if self.is_balancer(peer) { None } else { Some(self.admit_from(peer)?) };
        self.admit_as(peer, of_address, conversation)
    }

    /// The same for one that was handed here, whose client is known.
    pub(super) fn admit_handed(
        &self,
        client: IpAddr,
        conversation: &Arc<Conversation>,
    ) -> Result<Places, &'static str> {
        let of_address = self.admit_from(client)?;
        self.admit_as(client, Some(of_address), conversation)
    }

    fn admit_as(
        &self,
        peer: IpAddr,
        of_address: Option<AddressPlace>,
        conversation: &Arc<Conversation>,
    ) -> Result<Places, &'static str> {
        let limits = Limits { of_address: usize::MAX, of_class: self.max_connections };
        let admitted = self.places.admit(peer, Class::All, Arc::clone(conversation) as _, limits)?;
        if admitted.made_room {
            self.refused("made_room");
        }
        Ok(Places { among_all: admitted.place, of_address })
    }

    pub(super) fn admit_from(&self, address: IpAddr) -> Result<AddressPlace, &'static str> {
        let place = self.admission.admit_from(address, self.limits.connections_of_address(self.max_connections));
        place.ok_or("too_many_from_address")
    }

    fn is_balancer(&self, peer: IpAddr) -> bool {
        self.balancers.load().iter().any(|network| network.contains(peer))
    }
}
