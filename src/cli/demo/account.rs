//! The demo's account: what hosts wrote, what the gateway says it did, what the collectors really hold, and whether
//! the three agree.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::HumanCount;
use serde::Serialize;

use super::hosts::Written;
use crate::cli::send::uploader::Tally;
use crate::lab::collector::Served;
use crate::lab::held::Held;
use crate::metrics::{self, Metric};

/// The line that only several gateways have.
const OF_OTHERS: &str = "had by another";

/// What the gateway says of itself, read from its metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Books {
    /// Events in acknowledged uploads.
    pub received: u64,
    /// Dropped by the event set.
    pub filtered: u64,
    /// Dropped because they were seen before.
    pub duplicate: u64,
    /// Kept apart because they could not be understood.
    pub set_aside: u64,
    /// Made durable.
    pub spooled: u64,
    /// Taken by a collector.
    pub forwarded: u64,
    /// Refused by the collectors and kept apart.
    pub dead_lettered: u64,
    /// Still to be forwarded.
    pub pending: u64,
    /// Sent again after an ambiguous answer, in batches.
    pub ambiguous: u64,
    /// Dropped although they were stored, because another gateway has them.
    pub of_others: u64,
    /// What may have been forwarded by two gateways, as they counted it.
    pub possible_duplicates: u64,
}

/// The sum over the series of a metric, on a page in Prometheus' text format.
pub fn sum(page: &str, metric: &Metric) -> u64 {
    let lines = page.lines().filter_map(|line| line.strip_prefix(metric.name));
    let values = lines.filter(|rest| rest.starts_with(['{', ' '])).filter_map(|rest| rest.split(' ').next_back());
    values.filter_map(|value| value.parse::<f64>().ok()).sum::<f64>() as u64
}

impl Books {
    /// Reads the books from a page in Prometheus' text format.
    pub fn read(page: &str) -> Self {
        let sum = |metric: &Metric| sum(page, metric);
        Self {
            received: sum(&metrics::EVENTS_RECEIVED),
            filtered: sum(&metrics::EVENTS_FILTERED),
            duplicate: sum(&metrics::EVENTS_DUPLICATE),
            set_aside: sum(&metrics::EVENTS_SET_ASIDE),
            spooled: sum(&metrics::EVENTS_SPOOLED),
            forwarded: sum(&metrics::EVENTS_FORWARDED),
            dead_lettered: sum(&metrics::EVENTS_DEAD_LETTERED),
            pending: sum(&metrics::EVENTS_PENDING),
            ambiguous: sum(&metrics::EVENTS_AMBIGUOUS),
            of_others: sum(&metrics::EVENTS_SKIPPED),
            possible_duplicates: sum(&metrics::DEDUP_POSSIBLE_DUPLICATES),
        }
    }

    /// Adds those of another gateway.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.filtered += other.filtered;
        self.duplicate += other.duplicate;
        self.set_aside += other.set_aside;
        self.spooled += other.spooled;
        self.forwarded += other.forwarded;
        self.dead_lettered += other.dead_lettered;
        self.pending += other.pending;
        self.ambiguous += other.ambiguous;
        self.of_others += other.of_others;
        self.possible_duplicates += other.possible_duplicates;
    }
}

/// The books of one gateway of several.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GatewayPart {
    /// Its name.
    pub name: String,
    /// What its disk says.
    #[serde(flatten)]
    pub books: Books,
}

/// One collector's part.
#[derive(Debug, Clone, Serialize)]
pub struct CollectorPart {
    /// Its name.
    pub name: &'static str,
    /// How it behaved.
    pub behaviour: &'static str,
    /// Requests it read.
    pub requests: u64,
    /// Requests it did not accept.
    pub refused: u64,
    /// Requests that it knew already.
    pub repeats: u64,
    /// Events it holds.
    pub holds: u64,
}

impl CollectorPart {
    /// A part from what a collector served.
    pub fn new(name: &'static str, behaviour: &'static str, served: &Served) -> Self {
        let refused = served.answers.iter().filter(|(status, _)| **status >= 300).map(|(_, times)| times).sum();
        let Served { requests, events, repeats, .. } = *served;
        Self { name, behaviour, requests, refused, repeats, holds: events }
    }
}

/// The whole account.
#[derive(Debug, Serialize)]
pub struct Account {
    /// Different events that the hosts wrote.
    pub written: u64,
    /// Those of them that the event set keeps.
    pub wanted: u64,
    /// What the agents did.
    pub agents: Tally,
    /// Replies lost on purpose.
    pub lost_replies: u64,
    /// What the gateway says; of several, all together.
    pub gateway: Books,
    /// What each of several gateways says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<GatewayPart>,
    /// What was killed, and how it went on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub killed: Vec<String>,
    /// What each collector did.
    pub collectors: Vec<CollectorPart>,
    /// Wanted events that no collector holds.
    pub missing: u64,
    /// Events that are held more than once.
    pub repeated: u64,
    /// Records held that nobody should have sent.
    pub unwanted: u64,
    /// Everything that does not agree; empty when all is well.
    pub problems: Vec<String>,
    /// How long the demo took.
    pub seconds: f64,
}

impl Account {
    /// Compares what was written with what is held and with the gateway's books.
    pub fn new(written: &Written, held: &Held, agents: Tally, gateway: Books) -> Self {
        Self::of_several(written, held, agents, gateway, Vec::new(), Vec::new())
    }

    /// The same of several gateways, which together have these books, and of which some were killed.
    pub fn of_several(
        written: &Written,
        held: &Held,
        agents: Tally,
        gateway: Books,
        gateways: Vec<GatewayPart>,
        killed: Vec<String>,
    ) -> Self {
        let wanted = written.values().filter(|wanted| **wanted).count() as u64;
        let strange = held.events.keys().filter(|event| written.get(event) != Some(&true)).count();
        let mut account = Self {
            written: written.len() as u64,
            wanted,
            agents,
            lost_replies: 0,
            gateway,
            gateways,
            killed,
            collectors: Vec::new(),
            missing: missing(written, held),
            repeated: held.repeated(),
            unwanted: strange as u64 + held.strangers,
            problems: Vec::new(),
            seconds: 0.0,
        };
        account.problems = account.disagreements();
        account
    }

    fn disagreements(&self) -> Vec<String> {
        let g = &self.gateway;
        let mut problems = Vec::new();
        let mut check = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        check(self.missing == 0, format!("{} events of the set never arrived", self.missing));
        let counted = match g.possible_duplicates {
            0 => String::new(),
            n => format!(", and {n} were counted as possible duplicates"),
        };
        check(
            self.repeated <= g.possible_duplicates,
            format!("{} events arrived more than once{counted}", self.repeated),
        );
        check(self.unwanted == 0, format!("{} records arrived that the event set leaves out", self.unwanted));
        check(
            g.received == g.filtered + g.duplicate + g.set_aside + g.spooled,
            "received is not filtered + duplicate + set aside + spooled".to_owned(),
        );
        check(
            g.spooled == g.forwarded + g.dead_lettered + g.of_others + g.pending,
            "spooled is not forwarded + dead-lettered + of others + pending".to_owned(),
        );
        // A gateway that is killed forgets how many it has dropped since it last wrote that down.
        let acknowledged = self.agents.acknowledged;
        check(
            g.received >= acknowledged || !self.killed.is_empty(),
            format!("hosts have {acknowledged} events acknowledged, the gateway says {}", g.received),
        );
        check(
            (self.wanted..=self.wanted + g.possible_duplicates).contains(&g.forwarded),
            format!("forwarded {} events instead of {}", g.forwarded, self.wanted),
        );
        problems
    }

    /// Whether every wanted event arrived exactly once and the books balance.
    pub fn balances(&self) -> bool {
        self.problems.is_empty()
    }

    /// The account as tables, with a verdict.
    pub fn describe(&self) -> String {
        let g = &self.gateway;
        let agents = [
            ("events the hosts wrote", self.written),
            ("acknowledged to agents", self.agents.acknowledged),
            ("requests", self.agents.requests),
            ("requests sent again", self.agents.retries),
            ("replies lost on purpose", self.lost_replies),
        ];
        let books = [
            ("received", g.received),
            ("− filtered", g.filtered),
            ("− duplicate", g.duplicate),
            ("− set aside", g.set_aside),
            ("= spooled", g.spooled),
            ("forwarded", g.forwarded),
            ("dead-lettered", g.dead_lettered),
            (OF_OTHERS, g.of_others),
            ("pending", g.pending),
        ];
        let is_one = self.gateways.is_empty();
        let books: Vec<(&str, u64)> = books.into_iter().filter(|(name, _)| !is_one || *name != OF_OTHERS).collect();
        let collectors = [
            ("wanted by the event set", self.wanted),
            ("missing", self.missing),
            ("more than once", self.repeated),
            ("not wanted", self.unwanted),
        ];
        let mut text = String::new();
        let mut part = |table: Table| _ = writeln!(text, "{table}\n");
        part(figures("hosts", &agents));
        part(figures(if is_one { "gateway" } else { "gateways" }, &books));
        if !is_one {
            part(self.gateway_table());
        }
        part(self.collector_table());
        part(figures("what arrived", &collectors));
        for line in &self.killed {
            _ = writeln!(text, "{line}");
        }
        _ = writeln!(text, "{} ({:.1} s)", self.verdict(), self.seconds);
        text.push_str(&self.recognised());
        text
    }

    fn verdict(&self) -> String {
        let wanted = HumanCount(self.wanted);
        match self.repeated {
            _ if !self.balances() => format!("The account does not balance:\n  {}", self.problems.join("\n  ")),
            0 => format!("Every one of {wanted} events arrived exactly once; the account balances."),
            n => format!(
                "Every one of {wanted} events arrived, {} of them twice: the gateways say so themselves ({}). The account \
                 balances.",
                HumanCount(n),
                metrics::DEDUP_POSSIBLE_DUPLICATES.name
            ),
        }
    }

    /// What "exactly once" owes to collectors that know a request again.
    fn recognised(&self) -> String {
        let repeats: u64 = self.collectors.iter().map(|part| part.repeats).sum();
        let times = match repeats {
            0 => return String::new(),
            1 => "Once a batch was sent twice".to_owned(),
            n => format!("{} times a batch was sent twice", HumanCount(n)),
        };
        format!(
            "{times}, because the answer to the first was lost or told nothing. The demo's collectors knew it again by its request \
             id.\nAzure would not have, and would hold its events twice: such events are counted in {}, and\nevent_key_column finds \
             them there (docs/azure.md).\n",
            metrics::EVENTS_AMBIGUOUS.name
        )
    }

    fn gateway_table(&self) -> Table {
        let mut table = empty(&["of these", "received", "spooled", "forwarded", OF_OTHERS]);
        for GatewayPart { name, books } in &self.gateways {
            let mut row = vec![Cell::new(name)];
            row.extend([books.received, books.spooled, books.forwarded, books.of_others].map(number));
            table.add_row(row);
        }
        table
    }

    fn collector_table(&self) -> Table {
        let mut table = empty(&["collector", "", "requests", "refused", "repeats", "holds"]);
        for part in &self.collectors {
            let mut row = vec![Cell::new(part.name), Cell::new(part.behaviour)];
            row.extend([part.requests, part.refused, part.repeats, part.holds].map(number));
            table.add_row(row);
        }
        table
    }
}

/// How many of the events that were wanted are not held.
pub fn missing(written: &Written, held: &Held) -> u64 {
    written.iter().filter(|(event, wanted)| **wanted && !held.events.contains_key(event)).count() as u64
}

fn empty(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.iter().copied());
    table
}

fn number(n: u64) -> Cell {
    Cell::new(HumanCount(n)).set_alignment(CellAlignment::Right)
}

fn figures(title: &str, rows: &[(&str, u64)]) -> Table {
    let mut table = empty(&[title, ""]);
    for (name, n) in rows {
        table.add_row([Cell::new(name), number(*n)]);
    }
    table
}
