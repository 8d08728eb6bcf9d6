//! The spool alone, on the disk of this directory: appends by many producers at once, then opening what they left.
//! `cargo bench --bench spool`.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::sync::Arc;

use anyhow::Result;
use gatepost::fs::RealFs;
use gatepost::spool::{Config, Entry, Spool};
use tokio::time::Instant;

const PRODUCERS: usize = 32;
const APPENDS: usize = 1_600;
const BYTES: usize = 40_000;

#[tokio::main]
async fn main() -> Result<()> {
    let dir = tempfile::Builder::new().prefix("gatepost-spool").tempdir_in("target")?;
    let config = Config::default();
    let (spool, _) = Spool::open(&config, dir.path(), Arc::new(RealFs))?;
    let mut rng = fastrand::Rng::with_seed(1);
    let payload: Arc<[u8]> = std::iter::repeat_with(|| rng.u8(..)).take(BYTES).collect();
    let began = Instant::now();
    let mut producers = tokio::task::JoinSet::new();
    for _ in 0..PRODUCERS {
        let (spool, payload) = (spool.clone(), Arc::clone(&payload));
        producers.spawn(async move {
            for _ in 0..APPENDS {
                let entry = Entry { items: 40, note: Vec::new(), index: Vec::new(), payload: payload.to_vec() };
                spool.append(spool.pack(entry)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = producers.join_next().await {
        ended??;
    }
    let (seconds, status) = (began.elapsed().as_secs_f64(), spool.status());
    println!(
        "append: {} producers, {:.0} appends/s of {BYTES} incompressible bytes, {:.0} MB/s, {:.1} appends a commit",
        PRODUCERS,
        status.appends as f64 / seconds,
        (status.appends as usize * BYTES) as f64 / 1e6 / seconds,
        status.appends as f64 / status.commits as f64,
    );
    spool.close();
    let began = Instant::now();
    let (_spool, recovered) = Spool::open(&config, dir.path(), Arc::new(RealFs))?;
    println!(
        "open: {} segments, {} bytes, in {:.3} s",
        recovered.segments,
        status.bytes,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}
