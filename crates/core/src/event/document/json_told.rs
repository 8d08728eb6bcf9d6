//! Which values of a record in JSON say what the event's fields say already.
//!
//! Agents write a field under several names, of which the scanner takes one. A value that differs from the field that it
//! could have been says something else, and is not a repetition.

use super::json_system::is_part;
use super::record::{Json, Kind};
use crate::event::from_json::keys::{Field, Place, Target, level_of_word, target};
use crate::event::numbers::{self, EventId};
use crate::event::{Fields, Timestamp};

/// Notes what the fields tell as used.
pub(super) fn note(record: &Json<'_>, fields: &Fields<'_>) {
    members(record, Place::Root, fields);
}

fn members(object: &Json<'_>, place: Place, fields: &Fields<'_>) {
    for (name, value) in object.as_object().into_iter().flatten() {
        let is_object = matches!(value.kind, Kind::Object(_));
        match target(place, name) {
            Target::Value(field, rank) if is_object => {
                members(value, Place::Inside(field, rank), fields);
                // What else such an object holds are the attributes of an element of `System`, which no row has.
                if value.has_used() {
                    value.set_used();
                }
            }
            Target::Value(field, _) if tells(value, field, fields) => value.set_used(),
            Target::RawTime(_) if raw_time(value).is_some_and(|time| Some(time) == fields.time) => value.set_used(),
            Target::Object(place) if is_object => members(value, place, fields),
            Target::System if is_object => members(value, Place::System, fields),
            Target::Body if is_object => members(value, Place::Root, fields),
            Target::Nothing if matches!(place, Place::System) && is_of_system(name) => value.set_used(),
            Target::Nothing if matches!(place, Place::Event) && name == "#attributes" => value.set_used(),
            _ => {}
        }
    }
}

/// The qualifiers that stand in one number with the event's id.
pub(super) fn qualifiers(record: &Json<'_>, fields: &Fields<'_>) -> Option<u16> {
    qualifiers_in(record, Place::Root, fields.event_id?)
}

fn qualifiers_in(object: &Json<'_>, place: Place, id: u32) -> Option<u16> {
    // Most members are texts that are no number: what their names mean need not be known.
    let is_number =
        |text: &str| text.trim_start().starts_with(|first: char| matches!(first, '0'..='9' | '+' | '-' | '.'));
    let may_have = |value: &Json<'_>| value.scalar().map_or_else(|| value.as_object().is_some(), is_number);
    let mut members = object.as_object()?.into_iter().filter(|(_, value)| may_have(value));
    members.find_map(|(name, value)| match target(place, name) {
        Target::Value(Field::EventId, rank) => match value.scalar() {
            Some(text) => {
                let read = EventId::read(text).filter(|read| u32::from(read.id) == id && read.qualifiers > 0);
                read.map(|read| read.qualifiers)
            }
            None => qualifiers_in(value, Place::Inside(Field::EventId, rank), id),
        },
        Target::Object(place) => qualifiers_in(value, place, id),
        Target::System => qualifiers_in(value, Place::System, id),
        Target::Body => qualifiers_in(value, Place::Root, id),
        _ => None,
    })
}

/// Whether a member of `System` is a part of it that columns are made of, or attributes of one.
fn is_of_system(name: &str) -> bool {
    let element = name.strip_suffix("_attributes").unwrap_or(name);
    is_part(element) || (element != name && super::FIELDS.contains(&element))
}

fn raw_time(value: &Json<'_>) -> Option<Timestamp> {
    value.scalar().and_then(Timestamp::from_raw)
}

fn tells(value: &Json<'_>, field: Field, fields: &Fields<'_>) -> bool {
    value.scalar().is_some_and(|text| says(text, field, fields))
}

/// Whether a text, number or truth value that stands for a field is what the field says.
pub(in crate::event) fn says(text: &str, field: Field, fields: &Fields<'_>) -> bool {
    let text = text.trim();
    let is_number = |number: Option<u64>| number.is_some() && numbers::whole(text) == number;
    match field {
        Field::Computer => fields.computer.as_deref() == Some(text),
        Field::Channel => fields.channel.as_deref() == Some(text),
        Field::Provider => fields.provider.as_deref() == Some(text),
        Field::EventId => {
            fields.event_id.is_some() && EventId::read(text).map(|read| read.id.into()) == fields.event_id
        }
        Field::RecordId => is_number(fields.record_id),
        Field::Level => {
            is_number(fields.level.map(u64::from)) || (fields.level.is_some() && level_of_word(text) == fields.level)
        }
        Field::Time => {
            let time = Timestamp::parse(text).or_else(|| Timestamp::from_number(text));
            time.is_some() && time == fields.time
        }
    }
}
