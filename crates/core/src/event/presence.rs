//! Whether somebody still waits for an answer.

use std::sync::{Arc, Weak};

/// Whether the sender of an upload still waits for its answer. Work that has kept nothing yet ends when it does not. The
/// default is somebody who always waits.
#[derive(Debug, Clone, Default)]
pub struct Presence(Option<Weak<()>>);

impl Presence {
    /// Of whoever holds this: present until it is dropped.
    pub fn of(waiting: &Arc<()>) -> Self {
        Self(Some(Arc::downgrade(waiting)))
    }

    /// Whether nobody waits any more.
    pub fn has_gone(&self) -> bool {
        self.0.as_ref().is_some_and(|waiting| waiting.strong_count() == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lets_go_has_gone() {
        let waiting = Arc::new(());
        let presence = Presence::of(&waiting);
        assert!(!presence.has_gone() && !Presence::default().has_gone());
        drop(waiting);
        assert!(presence.clone().has_gone());
    }
}
