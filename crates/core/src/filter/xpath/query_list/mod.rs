//! Structured queries: `QueryList` documents with Select and Suppress.
//!
//! The rules are Windows' own, and a document that breaks one is refused whole: an operator who pastes a list must not find
//! out months later that half of it was passed over. So unknown elements and attributes are errors too. Windows' tools keep
//! lists inside of subscriptions and views, and those are taken as they are. Offsets of errors count in the document, also
//! those in an XPath that is written with entities.

use std::collections::HashSet;

use super::ast::Expr;
use super::parse::{self, QueryError, shortened};
use reader::{Element, Reader, Text};

mod envelope;
mod reader;

/// Most bytes of one document.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// Most `Select` and `Suppress` elements of one document.
pub const MAX_SELECTORS: usize = 1000;

/// A `QueryList`: an event is in its result if any of its queries takes it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QueryList {
    /// In order.
    pub queries: Vec<ListedQuery>,
}

/// One `Query`: takes what any `Select` selects and no `Suppress` of the same query does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ListedQuery {
    /// `Id`, if it has one.
    pub id: Option<Box<str>>,
    /// At least one.
    pub selects: Vec<Selector>,
    /// May be empty.
    pub suppresses: Vec<Selector>,
}

/// A `Select` or `Suppress`.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// `Path` of its own or of its query; `None` when neither has one: any channel.
    pub channel: Option<Box<str>>,
    /// Its XPath as written, entities decoded.
    pub text: Box<str>,
    /// The same, read.
    pub expr: Expr,
}

impl QueryList {
    /// Whether a text can only be meant as such a document.
    pub fn is_meant(text: &str) -> bool {
        text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').starts_with('<')
    }

    /// Reads a document: a `QueryList`, or a subscription or a view with one inside.
    pub fn parse(xml: &str) -> Result<Self, QueryError> {
        if xml.len() > MAX_DOCUMENT_BYTES {
            let message =
                format!("the document has {} bytes; at most {MAX_DOCUMENT_BYTES} are taken: split it", xml.len());
            return Err(QueryError::new(MAX_DOCUMENT_BYTES, message));
        }
        let mut reader = Reader::new(xml);
        let Some(root) = reader.child(None)? else {
            return Err(QueryError::new(xml.len(), "expected `<QueryList>`, found the end of the document"));
        };
        let list = envelope::open(&mut reader, &root)?;
        match reader.child(None)? {
            None => Ok(list),
            Some(more) => {
                let message = format!("expected the end of the document: it is one `<{}>`", root.name);
                Err(QueryError::new(more.at, message))
            }
        }
    }

    fn read(reader: &mut Reader<'_>, root: &Element<'_>) -> Result<Self, QueryError> {
        let [] = root.attributes([])?;
        let mut list = Self::default();
        let mut paths = Paths::default();
        while let Some(element) = reader.child(Some(root))? {
            element.expect_name(&["Query"])?;
            let query = read_query(reader, &element, &mut paths, list.queries.len() + 1)?;
            list.queries.push(query);
        }
        if list.queries.is_empty() {
            return Err(QueryError::new(
                root.at,
                "the QueryList is empty; write at least one `<Query>` with a `<Select>`",
            ));
        }
        Ok(list)
    }
}

/// What was seen of channels so far, as either all selectors name one or none does.
#[derive(Default)]
struct Paths {
    selectors: usize,
    named: bool,
}

impl Paths {
    fn add(&mut self, at: usize, channel: Option<&str>) -> Result<(), QueryError> {
        if self.selectors == MAX_SELECTORS {
            let message = format!("the document has more than {MAX_SELECTORS} Select and Suppress elements; split it");
            return Err(QueryError::new(at, message));
        }
        if self.selectors > 0 && self.named != channel.is_some() {
            let message = "some queries have a Path and some have none; write one for each, such as `Path=\"Security\"`, \
                           or remove all";
            return Err(QueryError::new(at, message));
        }
        self.selectors += 1;
        self.named = channel.is_some();
        Ok(())
    }
}

fn read_query(
    reader: &mut Reader<'_>,
    element: &Element<'_>,
    paths: &mut Paths,
    number: usize,
) -> Result<ListedQuery, QueryError> {
    let [id, path, target] = element.attributes(["Id", "Path", "Target"])?;
    let id = id.map(Text::into_decoded);
    let path = path.map(channel).transpose()?;
    if let Some(target) = target {
        check_target(&target)?;
    }
    let name = match &id {
        Some(id) => format!("Query {number} (Id {:?})", shortened(id)),
        None => format!("Query {number}"),
    };
    let mut query = ListedQuery { id, ..ListedQuery::default() };
    let mut suppressed_at = Vec::new();
    while let Some(child) = reader.child(Some(element))? {
        child.expect_name(&["Select", "Suppress"])?;
        let suppresses = child.name == "Suppress";
        let kind = if suppresses { &mut query.suppresses } else { &mut query.selects };
        let place = format!("{} {} of {name}", child.name, kind.len() + 1);
        kind.push(read_selector(reader, &child, path.as_deref(), paths, &place)?);
        if suppresses {
            suppressed_at.push(child.at);
        }
    }
    if query.selects.is_empty() {
        return Err(QueryError::new(
            element.at,
            format!("{name} has no Select; write one, such as `<Select>*</Select>`"),
        ));
    }
    check_suppresses(&query, &name, &suppressed_at)?;
    Ok(query)
}

fn read_selector(
    reader: &mut Reader<'_>,
    element: &Element<'_>,
    inherited: Option<&str>,
    paths: &mut Paths,
    place: &str,
) -> Result<Selector, QueryError> {
    let [path] = element.attributes(["Path"])?;
    let own = path.map(channel).transpose()?;
    let channel = own.or_else(|| inherited.map(Box::from));
    paths.add(element.at, channel.as_deref())?;
    let text = reader.text(element)?;
    let expr = parse::xpath(text.decoded())
        .map_err(|error| QueryError::new(text.offset(error.offset), format!("in {place}: {}", error.message)))?;
    Ok(Selector { channel, text: text.into_decoded(), expr })
}

/// The value of a `Path`.
fn channel(path: Text) -> Result<Box<str>, QueryError> {
    let name = path.decoded().trim();
    let is_file = name.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file://"));
    let problem = if is_file {
        Some("a Path to a file is never opened here; write the channel's name, such as `Security`".to_owned())
    } else {
        parse::channel_problem(name)
    };
    match problem {
        Some(problem) => Err(QueryError::new(path.offset(0), problem)),
        None => Ok(name.into()),
    }
}

/// `Target` says on which side of a container Windows looks; events that arrive here are past that.
fn check_target(target: &Text) -> Result<(), QueryError> {
    let value = target.decoded();
    if ["Host", "Container", "Both"].iter().any(|known| value.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    Err(QueryError::new(
        target.offset(0),
        format!("Target is {:?}; write `Host`, `Container` or `Both`, or remove it", shortened(value)),
    ))
}

/// A Suppress without a Select for the same channel is a slip of the pen: it takes nothing away.
fn check_suppresses(query: &ListedQuery, name: &str, suppressed_at: &[usize]) -> Result<(), QueryError> {
    let lower = |selector: &Selector| selector.channel.as_deref().map(str::to_lowercase);
    let selected: HashSet<Option<String>> = query.selects.iter().map(lower).collect();
    let places = query.suppresses.iter().zip(suppressed_at);
    match places.into_iter().find(|(suppress, _)| !selected.contains(&lower(suppress))) {
        None => Ok(()),
        Some((suppress, at)) => {
            let channel = suppress.channel.as_deref().unwrap_or_default();
            let message = format!(
                "no Select of {name} has the Path of this Suppress, {channel:?}, so it suppresses nothing; write the same \
                 in both"
            );
            Err(QueryError::new(*at, message))
        }
    }
}

#[cfg(test)]
mod tests;
