//! Rows for tables, which are most of the work where a workspace is the output, and several outputs at once. Over HTTPS in, gzip
//! out; the collector speaks HTTP, as the others of this run do.

use super::*;

/// How many outputs the scenarios of several have.
const OUTPUTS: usize = 10;

/// What comes in and what goes out.
struct Way {
    name: &'static str,
    shape: Shape,
    /// The output's table; `None` for an HTTP collector.
    table: Option<&'static str>,
}

const WAYS: [Way; 6] = [
    Way { name: "rows-json-security", shape: Shape::EvtxJson, table: Some("SecurityEvent") },
    Way { name: "rows-json-windows", shape: Shape::EvtxJson, table: Some("WindowsEvent") },
    Way { name: "rows-xml-security", shape: Shape::Xml, table: Some("SecurityEvent") },
    Way { name: "rows-xml-http", shape: Shape::Xml, table: None },
    Way { name: "rows-json-http", shape: Shape::Row, table: None },
    Way { name: "rows-pass", shape: Shape::Row, table: Some("SecurityEvent") },
];

/// How many outputs want an event, of how many there are.
struct Share {
    name: &'static str,
    outputs: usize,
    /// Whether each event is for one output.
    is_split: bool,
}

const SHARES: [Share; 3] = [
    Share { name: "outputs-one", outputs: 1, is_split: false },
    Share { name: "outputs-all", outputs: OUTPUTS, is_split: false },
    Share { name: "outputs-tenth", outputs: OUTPUTS, is_split: true },
];

pub(super) async fn run(args: &Args, wanted: impl Fn(&str) -> bool) -> Result<()> {
    for way in WAYS.iter().filter(|way| wanted("rows") || wanted(way.name)) {
        let bodies = Arc::new(Bodies::make(args, way.shape));
        let outputs = vec![output("workspace", way.table)];
        measure(args, &bodies, way.name, &outputs, "", |sent| sent).await?;
    }
    let shares: Vec<&Share> = SHARES.iter().filter(|share| wanted("outputs") || wanted(share.name)).collect();
    if shares.is_empty() {
        return Ok(());
    }
    let bodies = Arc::new(Bodies::make(args, Shape::Row));
    for share in shares {
        let outputs: Vec<Output> =
            (0..share.outputs).map(|at| output(&format!("workspace-{at}"), Some("SecurityEvent"))).collect();
        let copies = if share.is_split { 1 } else { share.outputs as u64 };
        let rules = if share.is_split { rules_of_a_tenth() } else { String::new() };
        measure(args, &bodies, share.name, &outputs, &rules, |sent| sent * copies).await?;
    }
    Ok(())
}

/// An output of the configuration, without its endpoints.
struct Output {
    name: String,
    toml: String,
    /// Where its collectors take events.
    path: &'static str,
}

fn output(name: &str, table: Option<&str>) -> Output {
    let (toml, path) = match table {
        Some(table) => {
            let rule = "dcr = \"dcr-00000000000000000000000000000000\"\nstream = \"Custom-Rows\"";
            (format!("kind = \"workspace\"\n{rule}\ntable = \"{table}\"\n"), "")
        }
        None => ("kind = \"http\"\n".to_owned(), "/events"),
    };
    Output { name: name.to_owned(), toml, path }
}

/// Sends hosts to one of the outputs each, by the last digit of their name.
fn rules_of_a_tenth() -> String {
    let rule = |at: usize| {
        format!(
            "[[filter.rules]]\nname = \"tenth-{at}\"\nevent_set = \"All\"\nhosts = [\"SRV-*{at}.plant.example\"]\n\
             outputs = [\"workspace-{at}\"]\n"
        )
    };
    (0..OUTPUTS).map(rule).collect()
}

/// One run: how fast it is acknowledged and delivered, and what it costs. `delivered` is what has to arrive of what was sent.
async fn measure(
    args: &Args,
    bodies: &Arc<Bodies>,
    name: &str,
    outputs: &[Output],
    rules: &str,
    delivered: impl Fn(u64) -> u64,
) -> Result<()> {
    let collectors = collectors(args.collectors).await?;
    let gateway = Gateway::with(args, |dir, port, admin| {
        let text = configuration(dir, port, admin, &collectors, args);
        let head = text.split("[[outputs]]").next().unwrap_or_default();
        let output = |output: &Output| {
            let endpoints = endpoints(&collectors, output.path);
            format!("[[outputs]]\nname = \"{}\"\n{}endpoints = [{endpoints}]\n", output.name, output.toml)
        };
        format!("{head}{}{rules}", outputs.iter().map(output).collect::<String>())
    })
    .await?;
    let load = Load::new(bodies, args);
    let clients = load.clients_at(&gateway, args.clients, "/v1/events")?;
    load.run(&clients, Stop::after(2)).await?;
    until_held(&collectors, delivered(load.acknowledged.load(Ordering::Relaxed))).await?;

    let (cpu, before, began) = (gateway.cpu()?, load.acknowledged.load(Ordering::Relaxed), Instant::now());
    load.run(&clients, Stop::after(args.seconds)).await?;
    let intake = began.elapsed().as_secs_f64();
    let arrived = held(&collectors) - delivered(before);
    let events = load.acknowledged.load(Ordering::Relaxed) - before;
    until_held(&collectors, delivered(before + events)).await?;
    let whole = began.elapsed().as_secs_f64();
    let cpu = gateway.cpu()? - cpu;
    println!(
        "{name}: {events} events of {} bytes, {:.0} events/s acknowledged, {:.0} events/s through to the end, {:.2} CPU-s per \
         million; {:.0} delivered a second while uploads came; RSS {:.0} MiB, {} refused",
        bodies.bytes_per_event,
        events as f64 / intake,
        events as f64 / whole,
        cpu / (events as f64 / 1e6),
        arrived as f64 / intake,
        gateway.rss()?,
        load.refused.load(Ordering::Relaxed),
    );
    Ok(())
}

fn endpoints(collectors: &[Collector], path: &str) -> String {
    let endpoint = |(at, collector): (usize, &Collector)| {
        format!("{{ name = \"c{at}\", url = \"{}{path}\", max_in_flight = 4 }}", collector.url())
    };
    collectors.iter().enumerate().map(endpoint).collect::<Vec<_>>().join(", ")
}
