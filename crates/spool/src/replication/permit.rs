//! Whether a gateway may send what is in its log.

use tokio::sync::watch;
use tokio::time::Instant;

use crate::spool::Ordinal;

/// What stands about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Granted {
    /// Until when nobody else can have taken the log over; none while that is not known.
    pub(super) until: Option<Instant>,
    /// Items below this one are another gateway's.
    pub(super) handed_over: Ordinal,
}

impl Granted {
    fn holds(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }
}

/// Whether a gateway may send what is in its log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Permit {
    granted: watch::Receiver<Granted>,
}

impl Permit {
    pub(super) fn of(granted: &watch::Sender<Granted>) -> Self {
        Self { granted: granted.subscribe() }
    }

    /// Whether it may now.
    pub fn holds(&self) -> bool {
        self.granted.borrow().holds()
    }

    /// Waits until it may. Items below the returned one are another gateway's, for good.
    pub async fn granted(&mut self) -> Ordinal {
        let handed_over = self.granted.wait_for(Granted::holds).await.ok().map(|granted| granted.handed_over);
        match handed_over {
            Some(handed_over) => handed_over,
            // Nobody is left who could know: the gateway stops.
            None => std::future::pending().await,
        }
    }

    /// Waits until it may no longer.
    pub async fn over(&mut self) {
        loop {
            let Granted { until, .. } = *self.granted.borrow_and_update();
            let Some(until) = until.filter(|until| Instant::now() < *until) else { return };
            tokio::select! {
                changed = self.granted.changed() => if changed.is_err() { tokio::time::sleep_until(until).await },
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }
}
