//! The query of a subscription out of a file: what people publish for Windows' own collector loads as it is.

use std::path::Path;

use super::query_list::{self, PATHS_MAX};
use crate::faults::unread;
use crate::filter::xpath::{self, ListedQuery, QueryList};
use crate::inputs::wef::envelope::text;

/// Reads the queries of a file.
///
/// # Errors
///
/// When it cannot be read, is no query that this gateway understands too, or is one that Windows refuses.
pub(super) fn read(path: &Path) -> Result<Vec<query_list::Query>, String> {
    let wrong = |what: String| format!("{}: {what}", path.display());
    let bytes = std::fs::read(path).map_err(|error| wrong(unread(&error)))?;
    let no_text = || wrong("it is no text in UTF-8 or UTF-16".to_owned());
    let text = text::read(&bytes).ok().and_then(|text| String::from_utf8(text).ok()).ok_or_else(no_text)?;
    let list = QueryList::parse(&text).map_err(|error| wrong(xpath::near(&text, &error)))?;
    let queries = list.queries.into_iter().map(query).collect::<Option<Vec<_>>>();
    let queries = queries.ok_or_else(|| wrong("a Select has no Path; hosts are asked by channel".to_owned()))?;
    let paths: usize = queries.iter().map(query_list::Query::paths).sum();
    if paths > PATHS_MAX {
        return Err(wrong(format!("it names {paths} paths; Windows takes {PATHS_MAX}: split it into several")));
    }
    Ok(queries)
}

fn query(listed: ListedQuery) -> Option<query_list::Query> {
    let selectors = |selectors: Vec<xpath::Selector>| {
        let written = selectors.into_iter().map(|selector| {
            let (channel, xpath) = (selector.channel?.into_string(), selector.text.trim().to_owned());
            Some(query_list::Selector { channel, xpath })
        });
        written.collect::<Option<Vec<_>>>()
    };
    Some(query_list::Query { selects: selectors(listed.selects)?, suppresses: selectors(listed.suppresses)? })
}
