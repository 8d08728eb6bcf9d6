//! Dead letters of an output, sent again: past dedup, which remembers them, and to the one output that refused them.

use super::ledger::{Note, Tally};
use crate::event::Format;
use crate::event::stored::{self, Routing, StoredRoute, StoredUpload};
use crate::spool::dead_letter::Letter;
use crate::spool::{AppendError, Entry, Spool};

/// The name that events which were sent again have in the account, as an input's.
const REPLAY: &str = "replay";

/// Appends a letter's event to the spool again. The event is durable there, and counted, when this returns.
pub async fn replay(spool: &Spool, letter: &Letter) -> Result<(), AppendError> {
    let format = if letter.format == Format::Xml as u8 { Format::Xml } else { Format::Json };
    let route = StoredRoute { output: letter.source.name(), stream: Some(&letter.stream) };
    let payload = stored::encode(&StoredUpload {
        stream: &letter.stream,
        input: REPLAY,
        client: letter.client.as_deref(),
        first_seen_ms: letter.first_seen_ms,
        tries: letter.tries,
        routing: Routing { sets: &[vec![route]], of_events: &[1] },
        events: &[(format, &letter.raw)],
    });
    let note = Note::of(REPLAY, Tally { received: 1, spooled: 1, ..Tally::default() }).encode();
    let entry = Entry { items: 1, note, index: Vec::new(), payload };
    spool.append(spool.pack(entry)).await.map(|_| ())
}
