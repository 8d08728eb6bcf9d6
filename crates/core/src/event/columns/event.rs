//! An event as a row of `Event`.

use std::fmt::Write as _;

use super::convert::Reading;
use super::data_xml::{Escaped, event_data};
use super::line::Line;
use super::system::{int, level_name, time_generated};

/// Writes the columns of the table.
pub(super) fn write(reading: &Reading<'_>, line: &mut Line<'_>) {
    let (fields, system) = (&reading.event.fields, &reading.system);
    line.text("TimeGenerated", &time_generated(fields));
    line.text("Source", fields.provider.as_deref().unwrap_or_default());
    line.text("EventLog", fields.channel.as_deref().unwrap_or_default());
    line.int("EventID", fields.event_id);
    line.int("EventLevel", fields.level);
    line.text("EventLevelName", level_name(fields.level));
    line.int("EventCategory", int(system.task));
    line.text("Computer", fields.computer.as_deref().unwrap_or_default());
    line.text("UserName", system.user_id);
    line.text("RenderedDescription", reading.message());
    line.text("Message", reading.message());
    line.text("ParameterXml", &parameters(reading));
    let data = event_data(reading, line);
    line.text("EventData", &data);
    line.text("SourceSystem", super::security_event::SOURCE_SYSTEM);
}

/// The values alone, as the Microsoft Monitoring Agent wrote them: queries take them apart by their order.
fn parameters(reading: &Reading<'_>) -> String {
    let document = reading.document;
    let mut xml = String::new();
    for section in reading.sections().filter(|section| document.name(*section) == Some("EventData")) {
        for datum in document.children(section).filter(|child| document.name(*child) == Some("Data")) {
            write!(xml, "<Param>{}</Param>", Escaped(document.value(datum))).expect("text goes into memory");
        }
    }
    xml
}
