//! A start with many remembered events: when tunnels and health are served, and when uploads are taken.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use gatepost::dedup::journal::Journal;
use gatepost::event::EventKey;
use gatepost::event::key::encode_keys;
use gatepost::fs::RealFs;
use tokio::time::Instant;

use super::{Args, Gateway, collectors, configuration};

/// For how long keys are remembered.
const WINDOW_S: u64 = 24 * 3600;
/// Keys of one upload: neighbours in the log of a host.
const UPLOAD: u64 = 500;
const HOSTS: u64 = 200;
/// Different events.
const EVENT_IDS: u64 = 12;

/// With each number of keys that is asked for.
pub(super) async fn run(args: &Args) -> Result<()> {
    for millions in args.keys.split(',') {
        let millions: u64 = millions.trim().parse().context("--keys wants millions, with commas between")?;
        row(args, millions * 1_000_000).await?;
    }
    Ok(())
}

async fn row(args: &Args, keys: u64) -> Result<()> {
    let (mut written, collectors) = (Ok(0), collectors(1).await?);
    let gateway = Gateway::launch(args, |dir, port, admin| {
        written = write(&dir.join("state"), keys);
        let bounds = "[dedup]\nmax_keys = 1000000000\nmax_memory = \"1 GiB\"\n";
        format!("{}{bounds}", configuration(dir, port, admin, &collectors, args))
    })?;
    let began = Instant::now();
    gateway.until("livez", Duration::from_millis(5)).await?;
    let alive = began.elapsed().as_secs_f64();
    gateway.until_ready().await?;
    let ready = began.elapsed().as_secs_f64();
    println!(
        "restart: {} million keys, {:.1} bytes a key on disk: alive after {alive:.2} s, ready after {ready:.2} s, {:.1} CPU-s, RSS {:.0} MiB",
        keys / 1_000_000,
        written? as f64 / keys as f64,
        gateway.cpu()?,
        gateway.rss()?,
    );
    Ok(())
}

/// Writes a journal of so many keys, as a day of uploads leaves it; its size.
fn write(state: &Path, keys: u64) -> Result<u64> {
    std::fs::DirBuilder::new().mode(0o700).create(state)?;
    let dir = state.join("dedup");
    let mut journal = Journal::open(Arc::new(RealFs), &dir, Duration::from_secs(WINDOW_S))?;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let uploads = keys / UPLOAD;
    for upload in 0..uploads {
        let unix_s = since - WINDOW_S + 600 + upload * (WINDOW_S - 1200) / uploads;
        let (host, first) = (upload % HOSTS, upload / HOSTS * UPLOAD);
        let of = |record_id: u64| EventKey::Record {
            stream: u128::from(host) << 64 | 0x9E37_79B9,
            record_id,
            second: unix_s.cast_signed() + (record_id % UPLOAD / 50).cast_signed(),
            event_id: Some(4_624 + (record_id * 7 % EVENT_IDS) as u16),
        };
        let of_upload: Vec<EventKey> = (first..first + UPLOAD).map(of).collect();
        journal.append(unix_s.cast_signed(), upload * UPLOAD..(upload + 1) * UPLOAD, &encode_keys(&of_upload))?;
    }
    journal.sync()?;
    let files = std::fs::read_dir(&dir)?.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    Ok(files.sum())
}
