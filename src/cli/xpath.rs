//! `gatepost xpath`: tries a query on events, or explains it.
//!
//! A query comes in any of the forms in which people have it: a bare XPath, `Channel!XPath` of a data collection rule, or a
//! structured `QueryList`, alone or in a subscription or a view; as text or in a file. The events are read as `gatepost send` reads them.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

use super::event_files::{self, now, time};
use super::send::reader::Form;
use super::{Global, json_line, print};
use crate::config::rule_files;
use crate::event::document::Document;
use crate::event::{Event, Format, Timestamp};
use crate::filter::xpath::ast::Expr;
use crate::filter::xpath::{Program, QueryError, QueryList, View, channel_query, lint, told_channel, xpath};

/// Bytes that are gathered before they are printed.
const PRINTED_AT_ONCE: usize = 64 << 10;

/// Show which events a query takes, or what it asks.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An XPath, `Channel!XPath`, or a QueryList in XML, also within a subscription or a view; `@FILE` reads it from a file
    pub query: String,
    /// .evtx files, folders with .evtx files, texts of NDJSON or event XML; `-` is standard input
    #[arg(required_unless_present = "explain")]
    pub paths: Vec<PathBuf>,
    /// Print how many events it takes, not the events
    #[arg(long)]
    pub count: bool,
    /// Print what the query looks at, and what Windows or Azure would say about it
    #[arg(long, conflicts_with = "count")]
    pub explain: bool,
    /// What counts as now for `timediff`, such as 2025-01-01T00:00:00Z [default: the time of the call]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub now: Option<Timestamp>,
}

/// Runs the command. Exit code 0 also when the query takes nothing; 1 when not all events could be read.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let text = query_text(&args.query)?;
    let asked = Asked::read(&text).map_err(|error| anyhow!("{}", error.pointed(&text)))?;
    if args.explain {
        let lines = asked.explain();
        let text = match global.json {
            true => json_line(&serde_json::json!({ "explained": lines }))?,
            false => lines.join("\n") + "\n",
        };
        print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    for warning in asked.warnings() {
        // Nothing can be done about a closed terminal.
        writeln!(io::stderr(), "gatepost: warning: {warning}").ok();
    }
    let form = if global.json { Form::Json } else { Form::Xml };
    let mut search = Search::new(asked, args.now.unwrap_or_else(now), (!args.count).then_some(form));
    let damage = event_files::for_each(&args.paths, form, |_, event| Ok(search.look_at(event)?))?;
    search.flush()?;
    if args.count {
        let Search { taken, events, .. } = search;
        let machine = || format!("{}\n", serde_json::json!({"taken": taken, "events": events}));
        print(&if global.json { machine() } else { format!("{taken}\n") })?;
    }
    Ok(event_files::complain(&damage))
}

fn query_text(query: &str) -> anyhow::Result<String> {
    let Some(path) = query.strip_prefix('@') else { return Ok(query.to_owned()) };
    let text = rule_files::read_text(Path::new(path)).with_context(|| path.to_owned())?;
    Ok(text.trim().to_owned())
}

/// What was asked for: queries of which one has to take an event.
#[derive(Debug, Default)]
struct Asked {
    queries: Vec<Query>,
}

#[derive(Debug)]
struct Query {
    selects: Vec<Part>,
    suppresses: Vec<Part>,
}

/// One XPath and the channel that it is for.
#[derive(Debug)]
struct Part {
    channel: Option<Box<str>>,
    expr: Expr,
    program: Program,
}

impl Part {
    fn new(channel: Option<Box<str>>, expr: Expr) -> Self {
        Self { channel, program: Program::compile(&expr), expr }
    }

    fn takes(&self, view: &mut View<'_>) -> bool {
        let channel = view.event.fields.channel.as_deref();
        let in_channel = |wanted: &str| channel.is_some_and(|channel| channel.eq_ignore_ascii_case(wanted));
        self.channel.as_deref().and_then(told_channel).is_none_or(in_channel) && self.program.matches(view)
    }

    fn explain(&self, what: &str, lines: &mut Vec<String>) {
        let channel = self.channel.as_ref().map_or_else(String::new, |channel| format!(" in the channel {channel}"));
        lines.push(format!("{what}{channel}: {}", self.expr));
        lines.extend(self.program.explain().into_iter().map(|line| format!("  {line}")));
        lines.extend(self.warnings().map(|warning| format!("  warning: {warning}")));
    }

    fn warnings(&self) -> impl Iterator<Item = String> + use<> {
        lint(self.channel.as_deref(), &self.expr).into_iter().map(|warning| warning.message)
    }
}

impl Asked {
    fn read(text: &str) -> Result<Self, QueryError> {
        if QueryList::is_meant(text) {
            let list = QueryList::parse(text)?;
            let part = |selector: crate::filter::xpath::Selector| Part::new(selector.channel, selector.expr);
            let queries = list.queries.into_iter().map(|query| Query {
                selects: query.selects.into_iter().map(part).collect(),
                suppresses: query.suppresses.into_iter().map(part).collect(),
            });
            return Ok(Self { queries: queries.collect() });
        }
        let part = match xpath(text) {
            Ok(expr) => Part::new(None, expr),
            Err(error) if names_no_channel(text) => return Err(error),
            Err(_) => {
                let query = channel_query(text)?;
                Part::new(Some(query.channel), query.expr)
            }
        };
        Ok(Self { queries: vec![Query { selects: vec![part], suppresses: Vec::new() }] })
    }

    fn takes(&self, view: &mut View<'_>) -> bool {
        self.queries.iter().any(|query| {
            query.selects.iter().any(|part| part.takes(view)) && !query.suppresses.iter().any(|part| part.takes(view))
        })
    }

    /// What Windows or Azure would say about it, and what can never match or always does; each once.
    fn warnings(&self) -> impl Iterator<Item = String> {
        let parts = self.queries.iter().flat_map(|query| query.selects.iter().chain(&query.suppresses));
        parts.flat_map(Part::warnings).collect::<BTreeSet<_>>().into_iter()
    }

    fn explain(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for query in &self.queries {
            query.selects.iter().for_each(|part| part.explain("takes events", &mut lines));
            query.suppresses.iter().for_each(|part| part.explain("but none of the events", &mut lines));
        }
        lines
    }
}

/// Whether the text can only be meant as an XPath: what stands before its first `!` is no channel's name.
fn names_no_channel(text: &str) -> bool {
    text.split_once('!').is_none_or(|(before, _)| before.contains(['*', '[', '(', '=', '@']))
}

/// A search through events.
#[derive(Debug)]
struct Search {
    asked: Asked,
    now: Timestamp,
    /// How the events that it takes are printed; else they are only counted.
    show: Option<Form>,
    document: Document,
    events: u64,
    taken: u64,
    shown: String,
}

impl Search {
    fn new(asked: Asked, now: Timestamp, show: Option<Form>) -> Self {
        Self { asked, now, show, document: Document::default(), events: 0, taken: 0, shown: String::new() }
    }

    fn look_at(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.events += 1;
        if !self.asked.takes(&mut View::new(event, self.now, &mut self.document)) {
            return Ok(());
        }
        self.taken += 1;
        match self.show {
            // An event of a text of XML stays XML; a line is an object all the same.
            Some(Form::Json) if event.format == Format::Xml => {
                let event = String::from_utf8_lossy(event.raw);
                self.shown.push_str(&format!("{}\n", serde_json::json!({ "event": event })));
            }
            Some(_) => {
                self.shown.push_str(&String::from_utf8_lossy(&one_line(event.raw)));
                self.shown.push('\n');
            }
            None => {}
        }
        if self.shown.len() < PRINTED_AT_ONCE { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        print(&std::mem::take(&mut self.shown))
    }
}

/// Line breaks in XML become references, which mean the same; JSON has none.
fn one_line(record: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(record.len());
    for byte in record {
        match byte {
            b'\n' => line.extend_from_slice(b"&#10;"),
            b'\r' => line.extend_from_slice(b"&#13;"),
            byte => line.push(*byte),
        }
    }
    line
}

#[cfg(test)]
#[path = "xpath_tests.rs"]
mod tests;
