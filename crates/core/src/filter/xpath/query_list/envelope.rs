//! What Windows' tools keep a `QueryList` in: the subscriptions of a collector, the views of Event Viewer.
//!
//! The list inside is read as strictly as one that stands alone. What else such a document says (who may subscribe, how often
//! events are delivered, which columns are shown) is for those tools, and is passed over.

use super::reader::{Element, Reader};
use super::{QueryError, QueryList};

/// A view, from the outside in. Event Viewer exports all of it; people cut some of it off.
const VIEW: [&str; 4] = ["ViewerConfig", "QueryConfig", "QueryNode", LIST];

const LIST: &str = "QueryList";
const SUBSCRIPTION: &str = "Subscription";

/// The list of a document whose outermost element this is.
pub(super) fn open(reader: &mut Reader<'_>, root: &Element<'_>) -> Result<QueryList, QueryError> {
    let nothing = |wanted: &str| {
        let message = format!("there is no `<{wanted}>` in this `<{}>`, so it takes no events", root.name);
        QueryError::new(root.at, message)
    };
    if root.name == SUBSCRIPTION {
        return subscribed(reader, root)?.ok_or_else(|| nothing("Query"));
    }
    match VIEW.iter().position(|name| *name == root.name) {
        Some(n) if n + 1 < VIEW.len() => within(reader, root, &VIEW[n + 1..])?.ok_or_else(|| nothing(LIST)),
        _ => {
            root.expect_name(&[LIST])?;
            QueryList::read(reader, root)
        }
    }
}

/// The list of a subscription: its `Query` holds a document, mostly as CDATA.
fn subscribed(reader: &mut Reader<'_>, root: &Element<'_>) -> Result<Option<QueryList>, QueryError> {
    let mut found = None;
    while let Some(child) = reader.child(Some(root))? {
        if child.name == "Query" {
            only(&found, &child)?;
            found = Some(queried(reader, &child)?);
        } else {
            reader.skip(&child)?;
        }
    }
    Ok(found)
}

fn queried(reader: &mut Reader<'_>, query: &Element<'_>) -> Result<QueryList, QueryError> {
    if reader.holds_element(query)? {
        return within(reader, query, &[LIST])?.ok_or_else(|| QueryError::new(query.at, "expected `<QueryList>`"));
    }
    let text = reader.text(query)?;
    let inner = text.decoded();
    let mut inner_reader = Reader::new(inner);
    let list = match inner_reader.child(None) {
        Ok(Some(list)) => list.expect_name(&[LIST]).and_then(|()| QueryList::read(&mut inner_reader, &list)),
        Ok(None) => Err(QueryError::new(inner.len(), "expected `<QueryList>`, found the end of the query")),
        Err(error) => Err(error),
    };
    let list = list.and_then(|list| match inner_reader.child(None)? {
        None => Ok(list),
        Some(more) => Err(QueryError::new(more.at, "expected the end of the query: it is one `<QueryList>`")),
    });
    list.map_err(|error| QueryError::new(text.offset(error.offset), error.message))
}

/// The list at the end of a path of elements.
fn within(reader: &mut Reader<'_>, parent: &Element<'_>, path: &[&str]) -> Result<Option<QueryList>, QueryError> {
    let Some((name, rest)) = path.split_first() else { return Ok(None) };
    let mut found = None;
    while let Some(child) = reader.child(Some(parent))? {
        if child.name != *name {
            reader.skip(&child)?;
            continue;
        }
        let inner =
            if rest.is_empty() { Some(QueryList::read(reader, &child)?) } else { within(reader, &child, rest)? };
        if inner.is_some() {
            only(&found, &child)?;
            found = inner;
        }
    }
    Ok(found)
}

fn only(found: &Option<QueryList>, second: &Element<'_>) -> Result<(), QueryError> {
    if found.is_none() {
        return Ok(());
    }
    let message = format!("this is a second `<{}>`; write a file for each", second.name);
    Err(QueryError::new(second.at, message))
}
