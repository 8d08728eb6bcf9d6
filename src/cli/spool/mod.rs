//! `gatepost spool`: what the log holds, here and at the servers that replicate it.

mod servers;

use std::process::ExitCode;
use std::sync::Arc;

use comfy_table::Table;
use serde_json::{Value, json};

use super::{Global, json_line, print};
use crate::event::stored::{self, StoredUploadOwned};
use crate::fs::{Fs, RealFs};
use crate::spool::inspect::Inspection;
use crate::spool::{Item, Ordinal};

/// Look inside the spool.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the segments: events, records, bytes, damage
    List,
    /// Show the events of the spool, one a line: position, where it goes (`*`: every output), event
    Inspect {
        /// The first event to show; default: the oldest kept
        #[arg(long)]
        from: Option<Ordinal>,
        /// How many events to show
        #[arg(long, default_value_t = 20)]
        count: usize,
    },
    /// Make the streams at the servers of replication before the first gateway does, and look at them
    Init(servers::Args),
    /// Look at the streams at the servers of replication: whether they are as they must be, led, and at all servers
    Check(servers::Args),
}

/// Runs the command; what is on the disk is only read, so it may run beside a gateway.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let open = || -> anyhow::Result<Inspection> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        Ok(Inspection::open(&global.load()?.state_dir.join("spool"), fs)?)
    };
    let text = match args.command {
        Command::List => list(&open()?, global.json)?,
        Command::Inspect { from, count } => inspect(&open()?, from, count, global.json)?,
        Command::Init(args) => return servers::run(&args, true, global),
        Command::Check(args) => return servers::run(&args, false, global),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn list(log: &Inspection, json: bool) -> anyhow::Result<String> {
    let segments = log.segments().collect::<Result<Vec<_>, _>>()?;
    let unusable = log.unusable();
    if json {
        let unusable: Vec<_> = unusable.iter().map(|(path, why)| json!({ "file": path, "reason": why })).collect();
        return json_line(&json!({ "segments": segments, "unusable": unusable }));
    }
    let mut table = Table::new();
    table.set_header(["segment", "first event", "records", "events", "bytes", "damage"]);
    for segment in &segments {
        let damage: Vec<String> =
            segment.damage.iter().map(|(lost, why)| format!("{}..{}: {why}", lost.start, lost.end)).collect();
        table.add_row([
            segment.number.to_string(),
            segment.first.to_string(),
            segment.records.to_string(),
            segment.items.to_string(),
            segment.bytes.to_string(),
            damage.join("; "),
        ]);
    }
    let unusable: String = unusable.iter().map(|(path, why)| format!("{}: {why}\n", path.display())).collect();
    Ok(format!("{table}\n{unusable}"))
}

fn inspect(log: &Inspection, from: Option<Ordinal>, count: usize, json: bool) -> anyhow::Result<String> {
    let mut reader = log.reader(from.unwrap_or(log.range().start));
    let mut text = String::new();
    let mut left = count;
    while left > 0 {
        match reader.next()? {
            None => break,
            Some(Item::Damaged { first, until, reason }) if json => {
                text += &json_line(&json!({ "ordinal": first, "until": until, "damaged": reason.to_string() }))?;
            }
            Some(Item::Damaged { first, until, reason }) => text += &format!("{first}..{until}\tdamaged: {reason}\n"),
            // A record that only carries a share of the account.
            Some(Item::Record(record)) if record.payload.is_empty() => {}
            Some(Item::Record(record)) => {
                let upload = stored::decode(record.payload.clone())?;
                let routes = Routes::of(&upload);
                for (ordinal, (at, (_, raw))) in (record.first..).zip(upload.events.iter().enumerate()) {
                    if left == 0 || from.is_some_and(|from| ordinal < from) {
                        continue;
                    }
                    left -= 1;
                    let raw = String::from_utf8_lossy(raw);
                    text += &if json {
                        let (stream, routes) = (&*upload.stream, routes.as_json(upload.set_of(at)));
                        format!("{}\n", json!({ "ordinal": ordinal, "stream": stream, "routes": routes, "event": raw }))
                    } else {
                        let routes = routes.as_text(upload.set_of(at));
                        format!("{ordinal}\t{routes}\t{}\n", raw.replace(['\n', '\r'], " "))
                    };
                }
            }
        }
    }
    Ok(text)
}

/// Where the events of one record go, by the number of their set.
struct Routes {
    /// Output and stream of each route of the sets 1, 2, …
    sets: Vec<Vec<(String, String)>>,
}

impl Routes {
    fn of(upload: &StoredUploadOwned) -> Self {
        let sets = upload.sets().map(|set| {
            let route = |route: stored::StoredRoute<'_>| {
                (route.output.to_owned(), route.stream.unwrap_or(&upload.stream).to_owned())
            };
            set.into_iter().map(route).collect()
        });
        Self { sets: sets.collect() }
    }

    /// `None` for every output.
    fn set(&self, number: usize) -> Option<&[(String, String)]> {
        number.checked_sub(1).map(|at| &*self.sets[at])
    }

    fn as_text(&self, number: usize) -> String {
        let Some(set) = self.set(number) else { return "*".to_owned() };
        let route = |(output, stream): &(String, String)| {
            if stream.is_empty() { output.clone() } else { format!("{output}:{stream}") }
        };
        set.iter().map(route).collect::<Vec<_>>().join(",")
    }

    fn as_json(&self, number: usize) -> Value {
        let route = |(output, stream): &(String, String)| json!({ "output": output, "stream": stream });
        self.set(number).map_or(Value::Null, |set| set.iter().map(route).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Format;
    use crate::event::stored::{Routing, StoredRoute, StoredUpload};

    #[test]
    fn each_event_tells_where_it_goes() {
        let route = |output, stream| StoredRoute { output, stream };
        let sets = [vec![route("siem", None), route("audit", Some("Custom-Audit"))], vec![]];
        let payload = stored::encode(&StoredUpload {
            stream: "Custom-Events",
            input: "agents",
            client: None,
            first_seen_ms: 0,
            tries: 0,
            routing: Routing { sets: &sets, of_events: &[1, 0, 2] },
            events: &[(Format::Json, &b"{}"[..]); 3],
        });
        let routes = Routes::of(&stored::decode(payload.into()).expect("it was written above"));
        assert_eq!([1, 0, 2].map(|set| routes.as_text(set)), ["siem:Custom-Events,audit:Custom-Audit", "*", ""]);
        let siem = json!({ "output": "siem", "stream": "Custom-Events" });
        let audit = json!({ "output": "audit", "stream": "Custom-Audit" });
        assert_eq!([1, 0, 2].map(|set| routes.as_json(set)), [json!([siem, audit]), Value::Null, json!([])]);
    }
}
