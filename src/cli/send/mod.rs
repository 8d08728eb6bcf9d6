//! `gatepost send`: uploads event logs (.evtx), JSON or event XML to a gateway.
//!
//! A thread reads, several requests are under way at once, and a file counts as sent when the last of its events was
//! acknowledged. What cannot be read is reported and stepped over; its file does not count as sent, and the exit status
//! says so: success means that everything that was there has arrived.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use indicatif::HumanDuration;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Global, counted};
use crate::values::{Secret, Span};
use door::Door;
use progress::Progress;
use reader::{Form, Piece, Source};
use resume::{Finished, Stamp};
use uploader::{Patience, Tally, UploadError, Uploader};

mod door;
mod progress;
pub mod reader;
pub mod resume;
pub mod uploader;

#[cfg(test)]
mod tests;

/// Requests under way at once.
const IN_FLIGHT: usize = 4;

/// Most damaged records that the summary describes one by one.
const DAMAGE_SHOWN: usize = 20;

/// Uploads .evtx files or folders of them, JSON or event XML.
///
/// Exit status: 0 when every event was acknowledged; 1 when anything could not be read, was set aside by the gateway, or was
/// not sent.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// .evtx files, folders with .evtx files, texts (JSON objects, an array of them, or event XML, in UTF-8 or UTF-16); `-` is
    /// standard input
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Where to: without a path the plain door /v1/events, or the full URL of a Logs Ingestion stream [default: the first
    /// listener of the configuration file, else https://127.0.0.1:8443]
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// Bearer token
    #[arg(long, env = "GATEPOST_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// PEM file with the authority, or the self-signed certificate, of the gateway [default: that
    /// of the configuration's listener; without a file gatepost-state/tls/cert.pem if it is there, else the system's authorities]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// How to write the events of .evtx files [default: xml, or json for a Logs Ingestion stream]
    #[arg(long = "as", value_enum, value_name = "FORM")]
    pub form: Option<Form>,
    /// Most events of one request
    #[arg(long, default_value_t = 500, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch: u32,
    /// Remember in this file what was sent whole and undamaged, and skip it in the next run
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// Stop when a request finds no taker for so long
    #[arg(long, default_value = "2 min", value_name = "SPAN")]
    pub give_up_after: Span,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Where.
    pub file: String,
    /// What is wrong with it.
    pub error: String,
}

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Files read to their end.
    pub files: u64,
    /// Files skipped because the resume file knows them.
    pub skipped: u64,
    /// Records read.
    pub records: u64,
    /// Records, and files, that could not be read.
    pub damaged: u64,
    /// Damage by file, the first of it.
    pub damage: Vec<Damage>,
    /// What became of the uploads.
    pub uploads: Tally,
    /// Why the run stopped early.
    pub stopped: Option<String>,
    /// How long it took.
    pub seconds: f64,
}

impl Summary {
    /// Whether everything that was there was understood and acknowledged.
    pub fn complete(&self) -> bool {
        let arrived = self.stopped.is_none() && self.uploads.acknowledged == self.records;
        arrived && self.damaged == 0 && self.uploads.set_aside() == 0
    }
}

/// Runs the command: exit status 0 when everything that was there was understood and acknowledged.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let summary = runtime.block_on(send(&args, global))?;
    let text = if global.json { super::json_line(&summary)? } else { describe(&summary) };
    super::print(&text)?;
    Ok(if summary.complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Does what the arguments say. Errors before anything was sent are errors; later ones stand in the summary.
pub async fn send(args: &Args, global: &Global) -> anyhow::Result<Summary> {
    let begin = Instant::now();
    let Door { target, client } = Door::find(args, global)?;
    let form = match args.form {
        Some(Form::Xml) if target.takes_only_json() => {
            bail!("a Logs Ingestion stream takes JSON; use --as json or --as row, or the plain door /v1/events")
        }
        Some(form) => form,
        None if target.takes_only_json() => Form::Json,
        None => Form::Xml,
    };
    let mut finished = match &args.resume {
        Some(path) => Some(Finished::open(path).with_context(|| format!("resume file {}", path.display()))?),
        None => None,
    };
    let mut summary = Summary::default();
    let mut sources = reader::sources(&args.paths)?;
    sources.retain(|source| {
        let known = known(source, finished.as_ref());
        summary.skipped += u64::from(known);
        !known
    });
    // Stamped before reading: a file that grows meanwhile is read again next time.
    let stamps = sources.iter().map(stamp).collect();
    let progress = Arc::new(Progress::of(sources.len()));
    let patience = Patience { give_up_after: args.give_up_after.get(), ..Patience::default() };
    let token = args.token.as_ref().map(Secret::new);
    let trouble = Arc::clone(&progress);
    let url = target.url().to_owned();
    let on_trouble = Arc::new(move |text: &str| trouble.tell_trouble(format!("waiting for {url}: {text}")));
    let uploader = Uploader::new(client, target, token.as_ref(), patience, fastrand::Rng::new(), on_trouble);
    let names = sources.iter().map(Source::to_string).collect();
    let (pieces, found) = mpsc::channel(IN_FLIGHT);
    let batch = args.batch as usize;
    let reading = std::thread::Builder::new()
        .name("reader".to_owned())
        .spawn(move || reader::read(&sources, form, batch, &pieces))?;
    let mut run = Run { summary, names, stamps, open: BTreeMap::new(), progress, stopped: None };
    run.drive(found, &Arc::new(uploader), finished.as_mut()).await?;
    if tokio::task::spawn_blocking(move || reading.join()).await?.is_err() {
        bail!("the reader failed; this is a bug of gatepost, please report it with the file");
    }
    run.progress.end();
    run.summary.stopped = run.stopped.map(|error| error.to_string());
    run.summary.seconds = begin.elapsed().as_secs_f64();
    Ok(run.summary)
}

fn stamp(source: &Source) -> Option<Stamp> {
    match source {
        Source::Stdin => None,
        Source::File(path) => Stamp::of(path).ok(),
    }
}

fn known(source: &Source, finished: Option<&Finished>) -> bool {
    finished.is_some_and(|finished| stamp(source).is_some_and(|stamp| finished.contains(&stamp)))
}

/// One run: which sources are open, and what was found so far.
struct Run {
    summary: Summary,
    names: Vec<String>,
    stamps: Vec<Option<Stamp>>,
    open: BTreeMap<usize, Open>,
    progress: Arc<Progress>,
    stopped: Option<UploadError>,
}

/// A source that is not sent whole yet.
#[derive(Default)]
struct Open {
    in_flight: usize,
    read: bool,
    /// Not everything in it was understood.
    damaged: bool,
}

type Uploaded = (usize, Tally, Result<(), UploadError>);

impl Run {
    /// Uploads pieces as they come. Stops taking new ones at the first error, but lets those under way finish.
    async fn drive(
        &mut self,
        mut found: mpsc::Receiver<Piece>,
        uploader: &Arc<Uploader>,
        mut finished: Option<&mut Finished>,
    ) -> anyhow::Result<()> {
        let mut uploads: JoinSet<Uploaded> = JoinSet::new();
        loop {
            let wanted = self.stopped.is_none() && uploads.len() < IN_FLIGHT;
            let source = tokio::select! {
                Some(uploaded) = uploads.join_next() => self.uploaded(uploaded?),
                piece = found.recv(), if wanted => match piece {
                    Some(piece) => self.found(piece, uploader, &mut uploads),
                    None if uploads.is_empty() => return Ok(()),
                    None => {
                        let uploaded = uploads.join_next().await.context("an upload is under way")?;
                        self.uploaded(uploaded?)
                    }
                },
                else => return Ok(()),
            };
            self.close(source, finished.as_deref_mut())?;
            let count = counted(self.summary.uploads.acknowledged, "event");
            self.progress.tell(format!("{count} acknowledged"));
        }
    }

    fn found(&mut self, piece: Piece, uploader: &Arc<Uploader>, uploads: &mut JoinSet<Uploaded>) -> usize {
        match piece {
            Piece::Records { source, records } => {
                self.summary.records += records.len() as u64;
                self.open.entry(source).or_default().in_flight += 1;
                let uploader = Arc::clone(uploader);
                uploads.spawn(async move {
                    let mut tally = Tally::default();
                    let result = uploader.upload(&records, &mut tally).await;
                    (source, tally, result)
                });
                source
            }
            Piece::Damaged { source, error } => {
                self.summary.damaged += 1;
                self.open.entry(source).or_default().damaged = true;
                if self.summary.damage.len() < DAMAGE_SHOWN {
                    self.summary.damage.push(Damage { file: self.names[source].clone(), error });
                }
                source
            }
            Piece::End { source } => {
                self.open.entry(source).or_default().read = true;
                source
            }
        }
    }

    fn uploaded(&mut self, (source, tally, result): Uploaded) -> usize {
        self.summary.uploads.add(&tally);
        match result {
            Ok(()) => {
                let open = self.open.entry(source).or_default();
                open.in_flight -= 1;
                open.damaged |= tally.set_aside() > 0;
            }
            // The source stays open: it was not sent whole.
            Err(error) => self.stopped = Some(error),
        }
        source
    }

    /// Closes a source that was read to its end and whose last upload was acknowledged. One that is damaged is not
    /// remembered as sent: it may be a copy that is not finished, and its events are duplicates if it comes again.
    fn close(&mut self, source: usize, finished: Option<&mut Finished>) -> anyhow::Result<()> {
        if self.open.get(&source).is_some_and(|open| open.read && open.in_flight == 0) {
            let damaged = self.open.remove(&source).is_some_and(|open| open.damaged);
            self.summary.files += 1;
            self.progress.finished_one();
            let finished = finished.filter(|_| !damaged);
            if let (Some(finished), Some(stamp)) = (finished, self.stamps[source].take()) {
                finished.add(stamp).context("the resume file cannot be written")?;
            }
        }
        Ok(())
    }
}

fn describe(summary: &Summary) -> String {
    use std::fmt::Write as _;
    let Summary { files, skipped, records, damaged, damage, uploads, stopped, seconds } = summary;
    let mut text = String::new();
    let mut line = |content: std::fmt::Arguments<'_>| {
        _ = writeln!(text, "{content}");
    };
    for Damage { file, error } in damage {
        line(format_args!("damaged: {file}: {error}"));
    }
    if *damaged > damage.len() as u64 {
        line(format_args!("damaged: {} more", damaged - damage.len() as u64));
    }
    let skipped = if *skipped > 0 { format!(" ({skipped} skipped: sent before)") } else { String::new() };
    let (read, of) = (counted(*records, "record"), counted(*files, "file"));
    line(format_args!("read          {read} of {of}{skipped}, {damaged} damaged"));
    let took = HumanDuration(std::time::Duration::from_secs_f64(*seconds));
    line(format_args!("acknowledged  {} in {took}", counted(uploads.acknowledged, "record")));
    if let Some(r) = &uploads.receipts {
        line(format_args!(
            "receipts      {} spooled, {} duplicate, {} filtered, {} set aside",
            r.spooled, r.duplicate, r.filtered, r.set_aside
        ));
    }
    let answers: Vec<_> = uploads.answers.iter().map(|(answer, times)| format!("{answer} × {times}")).collect();
    match answers.as_slice() {
        [] => line(format_args!("answers       none")),
        answers => line(format_args!("answers       {} ({} sent again)", answers.join(", "), uploads.retries)),
    }
    if let Some(error) = stopped {
        line(format_args!("stopped       {error}"));
    }
    match (*records, *damaged) {
        (0, 0) if !skipped.is_empty() => {}
        (0, 0) => line(format_args!("nothing       there was nothing to send")),
        (0, _) => line(format_args!("nothing       nothing was understood, and nothing was sent")),
        (_, 0) => {}
        (..) => line(format_args!("incomplete    what is damaged was not sent; the rest was")),
    }
    text
}
