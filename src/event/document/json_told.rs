//! Which values of a record in JSON say what the event's fields say already.
//!
//! Agents write a field under several names, of which the scanner takes one. A value that differs from the field that it
//! could have been says something else, and is not a repetition.

use super::json_system::is_part;
use super::record::{Json, Kind};
use crate::event::from_json::keys::{Field, Place, Target, level_of_word, target};
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
            Target::Object(place) if is_object => members(value, place, fields),
            Target::System if is_object => members(value, Place::System, fields),
            Target::Body if is_object => members(value, Place::Root, fields),
            Target::Nothing if matches!(place, Place::System) && is_of_system(name) => value.set_used(),
            Target::Nothing if matches!(place, Place::Event) && name == "#attributes" => value.set_used(),
            _ => {}
        }
    }
}

/// Whether a member of `System` is a part of it that columns are made of, or attributes of one.
fn is_of_system(name: &str) -> bool {
    let element = name.strip_suffix("_attributes").unwrap_or(name);
    is_part(element) || (element != name && super::FIELDS.contains(&element))
}

fn tells(value: &Json<'_>, field: Field, fields: &Fields<'_>) -> bool {
    let Some(text) = value.scalar().map(str::trim) else { return false };
    let is_number = |number: Option<u64>| number.is_some() && text.parse().ok() == number;
    match field {
        Field::Computer => fields.computer.as_deref() == Some(text),
        Field::Channel => fields.channel.as_deref() == Some(text),
        Field::Provider => fields.provider.as_deref() == Some(text),
        Field::EventId => is_number(fields.event_id.map(u64::from)),
        Field::RecordId => is_number(fields.record_id),
        Field::Level => {
            is_number(fields.level.map(u64::from)) || (fields.level.is_some() && level_of_word(text) == fields.level)
        }
        Field::Time => {
            let time = Timestamp::parse(text).or_else(|| text.parse().ok().and_then(Timestamp::from_epoch));
            time.is_some() && time == fields.time
        }
    }
}
