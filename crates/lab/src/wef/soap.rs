//! The messages of a Windows host, and what is told to it.

use anyhow::{Context as _, bail};
use quick_xml::events::Event;

use super::log::Place;

const EVENTING: &str = "http://schemas.xmlsoap.org/ws/2004/08/eventing";
const WSMAN: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman";
const MS_WSMAN: &str = "http://schemas.microsoft.com/wbem/wsman/1";

/// What a message is.
pub(super) enum Message<'a> {
    Enumerate,
    End,
    Heartbeat,
    Events { bookmark: String, events: Vec<&'a str> },
    SubscriptionEnd { code: u32 },
}

/// A subscription as it was told.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) version: String,
    pub(super) name: String,
    pub(super) identifier: String,
    pub(super) notify_to: String,
    pub(super) thumbprint: String,
    /// The channels of its query, each once.
    pub(super) channels: Vec<String>,
    pub(super) compressed: bool,
    pub(super) start: Start,
}

/// Where a subscription begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Start {
    #[default]
    Now,
    Earliest,
    At(Place),
}

/// A message as text. `id` is its message id, `identifier` the reference property of the subscription.
pub(super) fn written(message: &Message<'_>, host: &str, url: &str, id: &str, identifier: &str) -> String {
    let (action, body, wants_answer) = match message {
        Message::Enumerate => {
            let body = "<n:Enumerate><w:OptimizeEnumeration/><w:MaxElements>32000</w:MaxElements></n:Enumerate>";
            ("http://schemas.xmlsoap.org/ws/2004/09/enumeration/Enumerate".to_owned(), body.to_owned(), false)
        }
        Message::End => (format!("{MS_WSMAN}/wsman/End"), String::new(), false),
        Message::Heartbeat => (format!("{WSMAN}/Heartbeat"), "<w:Events></w:Events>".to_owned(), true),
        Message::Events { events, .. } => {
            let one = |event: &&str| format!("<w:Event Action=\"{WSMAN}/Event\"><![CDATA[{event}]]></w:Event>");
            let events: String = events.iter().map(one).collect();
            (format!("{WSMAN}/Events"), format!("<w:Events>{events}</w:Events>"), true)
        }
        Message::SubscriptionEnd { code } => {
            let body = format!(
                "<e:SubscriptionEnd><e:Status>{EVENTING}/SourceCancelling</e:Status><e:Reason>\
                 <f:WSManFault xmlns:f=\"{MS_WSMAN}/wsmanfault\" Code=\"{code}\"><f:Message>The query cannot be used.</f:Message></f:WSManFault>\
                 </e:Reason></e:SubscriptionEnd>"
            );
            (format!("{EVENTING}/SubscriptionEnd"), body, false)
        }
    };
    let bookmark = match message {
        Message::Events { bookmark, .. } => format!("<w:Bookmark>{bookmark}</w:Bookmark>"),
        _ => String::new(),
    };
    let identifier = match identifier {
        "" => String::new(),
        given => format!("<e:Identifier xmlns:e=\"{EVENTING}\">{given}\r\n</e:Identifier>"),
    };
    let wants_answer = if wants_answer { "<w:AckRequested/>" } else { "" };
    let session = "00000000-0000-4000-A000-00000000BEAD";
    format!(
        "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
         xmlns:n=\"http://schemas.xmlsoap.org/ws/2004/09/enumeration\" xmlns:e=\"{EVENTING}\" xmlns:w=\"{WSMAN}.xsd\" xmlns:p=\"{MS_WSMAN}/wsman.xsd\">\
         <s:Header><a:To>{url}</a:To><m:MachineID xmlns:m=\"{MS_WSMAN}/machineid\" s:mustUnderstand=\"false\">{host}\r\n</m:MachineID>\
         <a:ReplyTo><a:Address s:mustUnderstand=\"true\">http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo>\
         <a:Action s:mustUnderstand=\"true\">{action}</a:Action><w:MaxEnvelopeSize s:mustUnderstand=\"true\">512000</w:MaxEnvelopeSize>\
         <a:MessageID>{id}</a:MessageID><w:Locale xml:lang=\"en-US\" s:mustUnderstand=\"false\" />\
         <p:DataLocale xml:lang=\"en-US\" s:mustUnderstand=\"false\" /><p:SessionId s:mustUnderstand=\"false\">uuid:{session}</p:SessionId>\
         <p:OperationID s:mustUnderstand=\"false\">uuid:{session}</p:OperationID><p:SequenceId s:mustUnderstand=\"false\">1</p:SequenceId>\
         <w:OperationTimeout>PT60.000S</w:OperationTimeout>{identifier}{bookmark}{wants_answer}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )
}

/// UTF-16 with a mark, as Windows writes.
pub fn wide(text: &str) -> Vec<u8> {
    std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// The text of an answer.
pub(super) fn narrow(body: &[u8]) -> anyhow::Result<String> {
    let units: Vec<u16> = body.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let text = String::from_utf16(&units).context("the answer is no UTF-16")?;
    text.strip_prefix('\u{feff}').map(str::to_owned).context("the answer has no byte order mark")
}

/// What an acknowledgement must be: of this message, and with nothing that makes promises to repeat itself.
pub(super) fn check_acknowledgement(answer: &str, id: &str) -> anyhow::Result<()> {
    let (mut action, mut relates_to) = (String::new(), String::new());
    each_text(answer, |path, text| match path.last().map(String::as_str) {
        Some("Action") => action.push_str(text),
        Some("RelatesTo") => relates_to.push_str(text),
        _ => {}
    })?;
    if action != format!("{WSMAN}/Ack") {
        bail!("the answer is {action:?} and no acknowledgement");
    }
    if relates_to != id {
        bail!("the answer relates to {relates_to:?} and not to {id:?}");
    }
    if answer.contains("OperationID") {
        bail!("the answer repeats an OperationID");
    }
    Ok(())
}

/// The subscriptions of an answer to an enumeration.
pub(super) fn subscriptions(answer: &str, id: &str) -> anyhow::Result<Vec<Told>> {
    if !answer.contains(&format!("<a:RelatesTo>{id}</a:RelatesTo>")) {
        bail!("the answer does not relate to {id}");
    }
    let mut told: Vec<Told> = Vec::new();
    let mut reader = quick_xml::Reader::from_str(answer);
    let mut path: Vec<String> = Vec::new();
    let mut option = String::new();
    loop {
        let event = reader.read_event().context("the answer is no XML")?;
        let (tag, is_empty) = match &event {
            Event::Start(tag) => (Some(tag), false),
            Event::Empty(tag) => (Some(tag), true),
            _ => (None, false),
        };
        if let Some(tag) = tag {
            let name = tag.local_name().into_inner().to_owned();
            let attribute = |wanted: &str| {
                let found = tag.attributes().flatten().find(|attribute| attribute.key.0 == wanted);
                found
                    .map(|attribute| quick_xml::escape::unescape(&attribute.value).map(std::borrow::Cow::into_owned))
                    .transpose()
            };
            match (name.as_str(), told.last_mut()) {
                ("Subscription", _) => told.push(Told::default()),
                ("Option", _) => option = attribute("Name")?.unwrap_or_default(),
                ("Select", Some(told)) => {
                    let channel = attribute("Path")?.context("a Select has no Path")?;
                    if !told.channels.contains(&channel) {
                        told.channels.push(channel);
                    }
                }
                ("BookmarkList", Some(told)) => told.start = Start::At(Place::default()),
                ("Bookmark", Some(told)) if path.last().is_some_and(|parent| parent == "BookmarkList") => {
                    let (Start::At(place), Some(channel), Some(record)) =
                        (&mut told.start, attribute("Channel")?, attribute("RecordId")?)
                    else {
                        bail!("a bookmark is not as it was given");
                    };
                    place.records.insert(channel, record.parse()?);
                }
                _ => {}
            }
            if !is_empty {
                path.push(name);
            }
            continue;
        }
        match event {
            Event::Text(text) => text_of(told.last_mut(), &path, &option, &text),
            Event::End(_) => drop(path.pop()),
            Event::Eof => return Ok(told),
            _ => {}
        }
    }
}

fn text_of(told: Option<&mut Told>, path: &[String], option: &str, text: &str) {
    let (Some(told), Some(name)) = (told, path.last()) else { return };
    let parent = path.iter().rev().nth(1).map_or("", String::as_str);
    let grandparent = path.iter().rev().nth(2).map_or("", String::as_str);
    match (name.as_str(), parent) {
        ("Version", "Subscription") => text.clone_into(&mut told.version),
        ("Address", "NotifyTo") => text.clone_into(&mut told.notify_to),
        ("Identifier", _) if grandparent == "NotifyTo" => text.clone_into(&mut told.identifier),
        ("Thumbprint", _) => text.clone_into(&mut told.thumbprint),
        ("Bookmark", "Subscribe") if text.ends_with("/bookmark/earliest") => told.start = Start::Earliest,
        ("Option", _) if option == "Compression" => told.compressed = text == "SLDC",
        ("Option", _) if option == "SubscriptionName" => text.clone_into(&mut told.name),
        _ => {}
    }
}

/// Calls with each text and the local names of the elements that it stands in.
fn each_text(document: &str, mut each: impl FnMut(&[String], &str)) -> anyhow::Result<()> {
    let mut reader = quick_xml::Reader::from_str(document);
    let mut path = Vec::new();
    loop {
        match reader.read_event().context("the answer is no XML")? {
            Event::Start(tag) => path.push(tag.local_name().into_inner().to_owned()),
            Event::End(_) => drop(path.pop()),
            Event::Text(text) => each(&path, &text),
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}
