//! Query lists as they are written to hosts.

use std::io;

use quick_xml::Writer;
use quick_xml::events::BytesText;

/// Most channel paths of one list: Windows refuses a list with more.
pub(super) const PATHS_MAX: usize = 256;
/// The query of every event.
pub(super) const EVERY: &str = "*";

/// One `Query`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Query {
    pub(super) selects: Vec<Selector>,
    /// Hold for this query only.
    pub(super) suppresses: Vec<Selector>,
}

/// A `Select` or `Suppress`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) channel: String,
    pub(super) xpath: String,
}

impl Selector {
    pub(super) fn is_of(&self, channel: &str) -> bool {
        self.channel.eq_ignore_ascii_case(channel)
    }
}

impl Query {
    pub(super) fn paths(&self) -> usize {
        self.selects.len() + self.suppresses.len()
    }

    /// The channels of which it takes every event, in lower case.
    fn whole(&self) -> impl Iterator<Item = String> {
        let every = self.selects.iter().filter(|select| select.xpath.trim() == EVERY);
        let whole = every.filter(|select| !self.suppresses.iter().any(|suppress| suppress.is_of(&select.channel)));
        whole.map(|select| select.channel.to_lowercase())
    }
}

/// The channels of which every event is taken, in lower case.
pub(super) fn whole(queries: &[Query]) -> Vec<String> {
    let mut channels: Vec<String> = queries.iter().flat_map(Query::whole).collect();
    channels.sort();
    channels.dedup();
    channels
}

/// The list as one element.
pub(super) fn written(queries: &[Query]) -> String {
    let mut xml = Writer::new(Vec::new());
    let list = xml.create_element("QueryList").write_inner_content(|xml| {
        queries.iter().enumerate().try_for_each(|(number, query)| write(xml, number, query))
    });
    list.expect("writing to memory does not fail");
    String::from_utf8(xml.into_inner()).expect("it was written from texts")
}

fn write(xml: &mut Writer<Vec<u8>>, number: usize, query: &Query) -> io::Result<()> {
    let number = number.to_string();
    xml.create_element("Query").with_attribute(("Id", number.as_str())).write_inner_content(|xml| {
        let selects = query.selects.iter().map(|select| ("Select", select));
        let suppresses = query.suppresses.iter().map(|suppress| ("Suppress", suppress));
        for (name, selector) in selects.chain(suppresses) {
            let element = xml.create_element(name).with_attribute(("Path", selector.channel.as_str()));
            element.write_text_content(BytesText::new(&selector.xpath))?;
        }
        Ok(())
    })?;
    Ok(())
}
