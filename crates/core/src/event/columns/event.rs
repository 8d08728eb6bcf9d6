//! An event as a row of `Event`.

use std::fmt::Write as _;

use super::convert::{Reading, Told};
use super::data_xml::{self, Escaped};
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
    data_xml::write(reading, line);
    line.text("SourceSystem", super::security_event::SOURCE_SYSTEM);
}

/// The values alone, as the Microsoft Monitoring Agent wrote them: queries take them apart by their order.
fn parameters(reading: &Reading<'_>) -> String {
    let mut xml = String::new();
    let mut add = |value: &str| write!(xml, "<Param>{}</Param>", Escaped(value)).expect("text goes into memory");
    match reading.told {
        Told::Plain(data) => data.iter().for_each(|datum| add(&datum.value)),
        Told::Tree(tree) => {
            let document = tree.document;
            for section in tree.sections().filter(|section| document.name(*section) == Some("EventData")) {
                let data = document.children(section).filter(|child| document.name(*child) == Some("Data"));
                data.for_each(|datum| add(document.value(datum)));
            }
        }
    }
    xml
}
