//! What `gatepost top` shows: who it is and whether it is ready, what needs a person, what flows, and one table at a time.
//!
//! Drawn from the gateway's answers alone. Names in them were chosen by strangers, so control characters never reach the terminal.
//! What a colour says stands there in a word as well.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table, Tabs, Wrap};
use serde_json::Value;

use super::super::printable;
use super::Said;

/// Lines for what needs a person; the rest is counted.
const NEEDS: usize = 4;

/// The tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Panel {
    #[default]
    Outputs,
    Endpoints,
    Inputs,
    Hosts,
    Log,
}

impl Panel {
    pub(super) const ALL: [Self; 5] = [Self::Outputs, Self::Endpoints, Self::Inputs, Self::Hosts, Self::Log];

    fn at(self) -> usize {
        Self::ALL.iter().position(|panel| *panel == self).unwrap_or_default()
    }

    pub(super) fn next(self) -> Self {
        Self::ALL[(self.at() + 1) % Self::ALL.len()]
    }

    pub(super) fn before(self) -> Self {
        Self::ALL[(self.at() + Self::ALL.len() - 1) % Self::ALL.len()]
    }
}

/// What is shown, and what of it is looked at.
#[derive(Debug, Default)]
pub(super) struct View {
    said: Option<Said>,
    /// Why the last question had no answer.
    failed: Option<String>,
    panel: Panel,
    first: usize,
}

/// A table: its head, the widths of its columns, its rows.
struct Content {
    head: Vec<&'static str>,
    widths: Vec<Constraint>,
    rows: Vec<(Vec<String>, Style)>,
}

const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const WARN: Style = Style::new().fg(Color::Yellow);
const GOOD: Style = Style::new().fg(Color::Green);
const PLAIN: Style = Style::new();

impl View {
    pub(super) fn take(&mut self, said: Said) {
        (self.said, self.failed) = (Some(said), None);
    }

    pub(super) fn fail(&mut self, why: String) {
        self.failed = Some(why);
    }

    pub(super) fn panel(&self) -> Panel {
        self.panel
    }

    pub(super) fn turn_to(&mut self, panel: Panel) {
        (self.panel, self.first) = (panel, 0);
    }

    pub(super) fn move_by(&mut self, rows: isize) {
        self.first = self.first.saturating_add_signed(rows);
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let nothing = Said::default();
        let said = self.said.as_ref().unwrap_or(&nothing);
        let needs = needs(&said.status);
        let parts = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(u16::try_from(needs.len().clamp(1, NEEDS + 1) + 1).unwrap_or(1)),
            Constraint::Length(6),
            Constraint::Length(1),
            Constraint::Min(3),
            Constraint::Length(1),
        ])
        .split(frame.area());
        frame.render_widget(Paragraph::new(self.head(said)), parts[0]);
        frame.render_widget(Paragraph::new(needs).wrap(Wrap { trim: false }), parts[1]);
        flow(frame, parts[2], said);
        let names = ["1 outputs", "2 endpoints", "3 inputs", "4 hosts", "5 log"];
        frame.render_widget(Tabs::new(names).select(self.panel.at()), parts[3]);
        let content = content(self.panel, said);
        self.first = self.first.min(content.rows.len().saturating_sub(1));
        frame.render_widget(table(content, self.first), parts[4]);
        frame.render_widget(Paragraph::new("q end · tab table · arrows move"), parts[5]);
    }

    fn head(&self, said: &Said) -> Vec<Line<'static>> {
        let status = &said.status;
        let state = match (&self.failed, &self.said) {
            (Some(why), _) => Span::styled(format!("no answer: {}", printable(why)), BAD),
            (None, None) => Span::raw("asking …"),
            (None, Some(_)) if status["ready"] == true => Span::styled("ready", GOOD),
            (None, Some(_)) => Span::styled(format!("not ready: {}", texts(&status["not_ready_because"])), BAD),
        };
        let about = format!("gatepost {}, up {}, ", text(&status["version"]), span(status["uptime_seconds"].as_f64()));
        let total = &status["account"]["total"];
        let saved = format!(
            "received {}  duplicate {} ({})  filtered {} ({})  spool {:.0} %{}",
            text(&total["received"]),
            text(&total["duplicate"]),
            a_day(&status["saved"]["duplicate_gigabytes_a_day"]),
            text(&total["filtered"]),
            a_day(&status["saved"]["filtered_gigabytes_a_day"]),
            status["spool"]["full"].as_f64().unwrap_or_default() * 100.0,
            status["spool"]["seconds_to_full"]
                .as_f64()
                .map(|left| format!(", full in {}", span(Some(left))))
                .unwrap_or_default(),
        );
        vec![Line::from(vec![Span::raw(about), state]), Line::raw(saved)]
    }
}

fn needs(status: &Value) -> Vec<Line<'static>> {
    let all = list(&status["needs"]);
    if all.is_empty() {
        return vec![Line::styled("nothing needs a person", GOOD)];
    }
    let line = |need: &&Value| {
        let (mark, style) = if need["weight"] == "bad" { ("!! ", BAD) } else { (" ! ", WARN) };
        Line::styled(format!("{mark}{}", text(&need["text"])), style)
    };
    let mut lines: Vec<_> = all.iter().take(NEEDS).map(line).collect();
    if all.len() > NEEDS {
        lines.push(Line::raw(format!("   and {} more", all.len() - NEEDS)));
    }
    lines
}

/// The last minute.
fn flow(frame: &mut Frame<'_>, area: Rect, said: &Said) {
    let points = list(&said.history["minute"]);
    let places = Layout::horizontal([Constraint::Ratio(1, 3); 3]).split(area);
    for (place, (key, name)) in
        places.iter().zip([("received", "received/s"), ("forwarded", "forwarded/s"), ("pending", "waiting")])
    {
        let values: Vec<f64> = points.iter().map(|point| point[key].as_f64().unwrap_or_default()).collect();
        let shown = usize::from(place.width.saturating_sub(2)).min(values.len());
        let bars: Vec<u64> = values[values.len() - shown..].iter().map(|value| value.round() as u64).collect();
        let title = format!("{name} {:.0}", values.last().copied().unwrap_or_default());
        frame.render_widget(Sparkline::default().block(Block::bordered().title(title)).data(&bars), *place);
    }
}

fn table(content: Content, first: usize) -> Table<'static> {
    let rows = content
        .rows
        .into_iter()
        .skip(first)
        .map(|(cells, style)| Row::new(cells.into_iter().map(Cell::from)).style(style));
    let head = Row::new(content.head).style(Style::new().add_modifier(Modifier::UNDERLINED));
    Table::new(rows.collect::<Vec<_>>(), content.widths).header(head).column_spacing(2)
}

fn content(panel: Panel, said: &Said) -> Content {
    let long = |head: Vec<&'static str>, last: u16| {
        let mut widths = vec![Constraint::Length(14); head.len() - 1];
        widths[0] = Constraint::Length(18);
        widths.push(Constraint::Min(last));
        (head, widths)
    };
    let ((head, widths), rows) = match panel {
        Panel::Outputs => {
            (long(vec!["output", "state", "pending", "oldest", "forwarded", "what happens"], 20), outputs(&said.status))
        }
        Panel::Endpoints => {
            (long(vec!["output", "endpoint", "state", "latency", "in flight"], 10), endpoints(&said.status))
        }
        Panel::Inputs => {
            (long(vec!["input", "received", "filtered", "duplicate", "set aside", "spooled"], 10), inputs(&said.status))
        }
        Panel::Hosts => {
            (long(vec!["computer", "state", "last seen", "events/s", "lag", "comes by"], 20), hosts(&said.hosts))
        }
        Panel::Log => (long(vec!["at", "level", "message"], 40), log(&said.log)),
    };
    Content { head, widths, rows }
}

type Rows = Vec<(Vec<String>, Style)>;

fn outputs(status: &Value) -> Rows {
    let row = |output: &&Value| {
        let stalled = output["stalled_seconds"].as_f64().filter(|seconds| *seconds >= 10.0);
        let (state, style) = match (output["state"] == "running", stalled) {
            (false, _) => (text(&output["state"]), BAD),
            (true, Some(seconds)) => (format!("stalled {}", span(Some(seconds))), BAD),
            (true, None) => ("running".to_owned(), PLAIN),
        };
        let said = [&output["because"]["reason"], &output["unburied"]["why"], &output["last_error"]["detail"]];
        let said = said.into_iter().find(|said| said.is_string()).map(text).unwrap_or_default();
        let oldest = span(output["oldest_pending_seconds"].as_f64());
        (vec![text(&output["name"]), state, text(&output["pending"]), oldest, text(&output["forwarded"]), said], style)
    };
    list(&status["outputs"]).iter().map(row).collect()
}

fn endpoints(status: &Value) -> Rows {
    let outputs = list(&status["outputs"]);
    let each = outputs
        .iter()
        .flat_map(|output| list(&output["endpoints"]).into_iter().map(move |endpoint| (output, endpoint)));
    let row = |(output, endpoint): (&&Value, &Value)| {
        let is_used = endpoint["state"] == "closed";
        let state = if is_used { "in use".to_owned() } else { text(&endpoint["state"]) };
        let latency = format!("{:.0} ms", endpoint["ewma_ms"].as_f64().unwrap_or_default());
        let in_flight = format!("{} of {}", endpoint["in_flight"], endpoint["limit"]);
        let style = if is_used { PLAIN } else { BAD };
        (vec![text(&output["name"]), text(&endpoint["name"]), state, latency, in_flight], style)
    };
    let mut rows: Rows = each.map(row).collect();
    rows.sort_by_key(|(_, style)| *style == PLAIN);
    rows
}

fn inputs(status: &Value) -> Rows {
    let of = |(name, tally): (&String, &Value)| {
        let numbers = ["received", "filtered", "duplicate", "set_aside", "spooled"].map(|key| text(&tally[key]));
        ([vec![printable(name)], numbers.to_vec()].concat(), PLAIN)
    };
    status["account"]["inputs"].as_object().into_iter().flatten().map(of).collect()
}

fn hosts(answer: &Value) -> Rows {
    let row = |host: &&Value| {
        let name = if host["computer"].is_string() { &host["computer"] } else { &host["client"] };
        let is_silent = host["silent"] == true;
        let cells = vec![
            text(name),
            if is_silent { "silent" } else { "sends" }.to_owned(),
            format!("{} ago", span(host["quiet_seconds"].as_f64())),
            format!("{:.1}", host["events_per_second"].as_f64().unwrap_or_default()),
            span(host["lag_seconds"].as_f64()),
            format!("{}, {} {}", text(&host["input"]), text(&host["client"]), text(&host["address"])),
        ];
        (cells, if is_silent { BAD } else { PLAIN })
    };
    list(&answer["hosts"]).iter().map(row).collect()
}

/// The newest first.
fn log(answer: &Value) -> Rows {
    let row = |line: &&Value| {
        let fields = line["fields"].as_object().into_iter().flatten();
        let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={}", text(value))).collect();
        let ago = crate::clock::wall_ms().saturating_sub(line["at_ms"].as_u64().unwrap_or_default()) as f64 / 1000.0;
        let style = if line["level"] == "error" {
            BAD
        } else if line["level"] == "warn" {
            WARN
        } else {
            PLAIN
        };
        let cells = vec![
            format!("{} ago", span(Some(ago))),
            text(&line["level"]),
            format!("{}  {}", text(&line["message"]), fields.join(" ")),
        ];
        (cells, style)
    };
    list(&answer["lines"]).iter().rev().map(row).collect()
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().into_iter().flatten().collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

fn texts(value: &Value) -> String {
    list(value).into_iter().map(text).collect::<Vec<_>>().join(", ")
}

fn a_day(gigabytes: &Value) -> String {
    format!("{:.2} GB/day", gigabytes.as_f64().unwrap_or_default())
}

fn span(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return String::new() };
    let whole = seconds.abs() as u64;
    let sign = if seconds <= -1.0 { "-" } else { "" };
    match whole {
        0..120 => format!("{sign}{whole} s"),
        120..7_200 => format!("{sign}{} min", whole / 60),
        7_200..172_800 => format!("{sign}{} h", whole / 3_600),
        _ => format!("{sign}{} d", whole / 86_400),
    }
}
