//! `gatepost audit`: does the account add up?

use std::process::ExitCode;

use comfy_table::Table;

use super::{Global, counted, json_line, print};
use crate::app::audit::{Report, audit};

/// Recompute the account of events from what is on disk.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command. Exit code 1 when anything does not add up.
pub fn run(_: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let report = audit(&global.load()?)?;
    let text = if global.json { json_line(&report)? } else { shown(&report) };
    print(&text)?;
    Ok(if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The report for people.
pub(super) fn shown(report: &Report) -> String {
    let mut inputs = Table::new();
    inputs.set_header(["input", "received", "filtered", "duplicate", "set aside", "spooled"]);
    for input in &report.inputs {
        let tally = input.tally;
        let numbers = [tally.received, tally.filtered, tally.duplicate, tally.set_aside, tally.spooled];
        inputs.add_row(std::iter::once(input.name.clone()).chain(numbers.map(|n| n.to_string())));
    }
    let mut outputs = Table::new();
    outputs.set_header(["output", "forwarded", "dead-lettered", "damaged", "skipped", "pending"]);
    for output in &report.outputs {
        let numbers = [output.forwarded, output.dead_lettered, output.damaged, output.skipped, output.pending];
        let name = if output.removed { format!("{} (removed)", output.name) } else { output.name.clone() };
        outputs.add_row(std::iter::once(name).chain(numbers.map(|n| n.to_string())));
    }
    let verdict = if report.differences.is_empty() {
        format!("everything adds up: {} spooled\n", counted(report.spooled, "event"))
    } else {
        report.differences.iter().map(|difference| format!("DIFFERENCE: {difference}\n")).collect()
    };
    format!("{inputs}\n{outputs}\n{}{verdict}", remarks(report))
}

/// What a reader of the numbers has to know.
fn remarks(report: &Report) -> String {
    let mut remarks: String = report.notes.iter().map(|note| format!("note: {note}\n")).collect();
    for input in report.inputs.iter().filter(|input| input.displaced > 0) {
        let (name, displaced) = (&input.name, input.displaced);
        remarks += &format!(
            "note: input {name}: of the records set aside, {displaced} are no longer kept: they were given up for newer ones of their sender\n"
        );
    }
    if report.began > 0 {
        remarks += &format!("the ledger was lost once: the inputs' numbers begin with event {}\n", report.began);
    }
    if report.damaged > 0 {
        remarks += &format!("{} events were lost to damage of the spool\n", report.damaged);
    }
    if report.uncounted > 0 {
        remarks += &format!("the inputs' numbers lack {} events whose records were lost\n", report.uncounted);
    }
    remarks
}
