//! Where the values of an item stand, and what each is to the event: so much of an item has to be known to read the next one that
//! is written alike.

use std::ops::Range;

use super::event_data::RECORD_ID;
use super::reader::{Reader, time_in};

/// An item of more values is not compared with. Agents write 25.
const PLACES_MAX: usize = 64;

/// What a text of an item is to the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    ProviderId,
    Provider,
    Source,
    Channel,
    Computer,
    /// The id of the event, and the one that is shown where it has another.
    Number,
    Id,
    Task,
    Level,
    User,
    Description,
    /// The description before anything was put into it.
    Raw,
}

/// How many there are.
pub(super) const SLOTS: usize = Slot::Raw as usize + 1;

impl Slot {
    /// Where the text of an element belongs.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"PublisherId" => Self::ProviderId,
            b"PublisherName" => Self::Provider,
            b"EventSourceName" => Self::Source,
            b"Channel" => Self::Channel,
            b"LoggingComputer" => Self::Computer,
            b"EventNumber" => Self::Number,
            b"EventDisplayNumber" => Self::Id,
            b"EventCategory" => Self::Task,
            b"EventLevel" => Self::Level,
            b"UserName" => Self::User,
            b"EventDescription" => Self::Description,
            b"RawDescription" => Self::Raw,
            _ => return None,
        })
    }
}

/// What a value is to the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Nothing,
    Text(Slot),
    RecordId,
    Time,
    /// `EventData` that is written as nearly all are, with its tags.
    Data,
}

impl Holds {
    /// What the text of an element is.
    pub(super) fn of(name: &[u8]) -> Self {
        match Slot::of(name) {
            Some(slot) => Self::Text(slot),
            None if RECORD_ID.iter().any(|known| known.as_bytes() == name) => Self::RecordId,
            None => Self::Nothing,
        }
    }
}

/// Where a value stands, and what ends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) end: u8,
    pub(super) holds: Holds,
}

/// Where the values of an item stand, in their order. What is at none of these places counts as part of the tags.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: Vec<Place>,
    is_given_up: bool,
}

impl Places {
    /// Notes the text of an element.
    pub(super) fn text(&mut self, at: Range<usize>, holds: Holds) {
        self.note(at, b'<', holds);
    }

    /// Notes the time that a tag tells, which stands there, if it tells one as agents do.
    pub(super) fn time_of(&mut self, reader: &Reader<'_>, tag: Range<usize>, holds: Holds) {
        let start = tag.start;
        if let Some((at, quote)) = time_in(reader.bytes(tag)) {
            self.note(start + at.start..start + at.end, quote, holds);
        }
    }

    /// Notes data that is written as nearly all are.
    pub(super) fn data(&mut self, at: Range<usize>) {
        self.other_data();
        self.note(at, b'<', Holds::Data);
    }

    /// Notes that there is data that is written in another way, or none.
    pub(super) fn other_data(&mut self) {
        // Which of two counts is for others to say.
        if self.places.iter().any(Place::is_data) {
            self.give_up();
        }
    }

    /// What was noted so far to be this is not: something that is no place tells it.
    pub(super) fn override_with(&mut self, holds: Holds) {
        self.places.iter_mut().filter(|place| place.holds == holds).for_each(|place| place.holds = Holds::Nothing);
    }

    /// All of them, and which of them is data; `None` where nothing can be told from them.
    pub(super) fn into_list(self) -> Option<(Vec<Place>, Option<usize>)> {
        let data_at = self.places.iter().position(Place::is_data);
        (!self.is_given_up).then_some((self.places, data_at))
    }

    /// What stands in the item tells more than its values do.
    fn give_up(&mut self) {
        self.is_given_up = true;
    }

    fn note(&mut self, at: Range<usize>, end: u8, holds: Holds) {
        if self.places.len() == PLACES_MAX {
            return self.give_up();
        }
        // Of values that are told twice the last counts.
        if holds != Holds::Nothing {
            self.override_with(holds);
        }
        self.places.push(Place { from: at.start, to: at.end, end, holds });
    }
}

impl Place {
    fn is_data(&self) -> bool {
        self.holds == Holds::Data
    }
}
