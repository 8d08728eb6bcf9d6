//! A lost or damaged file of the state directory is noticed, and costs what the runbook's table says.
//!
//! Each cell makes a gateway with a past (events forwarded and pending, dead letters, rules), stops it, does the damage,
//! starts it again, and lets agents repeat everything. Without more one damage of each row is done, and random bits are flipped
//! in a few files. `GATEPOST_STATE_CELLS=all` does every damage, `GATEPOST_STATE_ROUNDS` flips so many random bits in each file,
//! from `GATEPOST_STATE_SEED` on.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test suite helpers are tests too")]

mod cell;
mod damage;
mod engine;
mod table;

use cell::Seen;
use futures_util::StreamExt as _;
use table::{Damage, Row, TABLE};

/// Cells that are done at a time: most of one is waiting.
const AT_A_TIME: usize = 3;

/// Files in which a random bit is flipped when nobody asks for more.
const FEW: usize = 4;

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str, otherwise: u64) -> u64 {
    setting(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Whether nobody asked for the cells of another file only.
fn is_wanted(row: &Row) -> bool {
    setting("GATEPOST_STATE_FILE").is_none_or(|file| row.file == file)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_damage_of_the_state_comes_to_what_the_runbook_says() {
    let all = setting("GATEPOST_STATE_CELLS").as_deref() == Some("all");
    let most = if all { usize::MAX } else { 1 };
    let wanted = TABLE.iter().filter(|row| is_wanted(row));
    let cells = wanted.flat_map(|row| row.damages.iter().take(most).map(move |damage| (row, *damage)));
    let done = futures_util::stream::iter(cells).map(async |(row, damage)| {
        let problems = in_cell(row, damage, None, |seen| {
            let mut problems = seen.differs_from(&row.then);
            problems.extend(seen.unclean(damage));
            problems
        });
        (format!("{} {damage:?}", row.file), problems.await)
    });
    assert_clean(done.buffer_unordered(AT_A_TIME).collect().await);
}

/// Runs a cell to its end, whatever that is, and judges what was seen.
async fn in_cell(row: &Row, damage: Damage, seed: Option<u64>, judge: impl Fn(&Seen) -> Vec<String>) -> Vec<String> {
    match tokio::spawn(cell::run(row.file, damage, seed)).await {
        Ok(seen) => {
            let problems = judge(&seen);
            if !problems.is_empty() {
                println!("==== {} {damage:?}\n{}", row.file, seen.log);
            }
            problems
        }
        Err(_) => vec!["it broke off: see above".to_owned()],
    }
}

/// Every cell is as it should be; else all that are not are told.
fn assert_clean(done: Vec<(String, Vec<String>)>) {
    let wrong = done.iter().filter(|(_, problems)| !problems.is_empty());
    let wrong: Vec<String> = wrong.map(|(name, problems)| format!("{name}:\n  {}", problems.join("\n  "))).collect();
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), done.len(), wrong.join("\n"));
    assert!(!done.is_empty(), "nothing was tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_random_flipped_bit_is_never_lost_in_silence() {
    let rounds = setting("GATEPOST_STATE_ROUNDS").map(|text| text.parse::<u64>().expect("a number of rounds"));
    let seed = number("GATEPOST_STATE_SEED", 1);
    println!("GATEPOST_STATE_ROUNDS={} GATEPOST_STATE_SEED={seed}", rounds.unwrap_or_default());
    let flips: Vec<&Row> =
        TABLE.iter().filter(|row| row.damages.contains(&Damage::Flipped) && is_wanted(row)).collect();
    let some = if rounds.is_some() { flips.len() } else { FEW };
    let cells = (seed..seed + rounds.unwrap_or(1)).flat_map(|seed| {
        let mut flips = flips.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut flips);
        flips.into_iter().take(some).map(move |row| (row, seed))
    });
    let done = futures_util::stream::iter(cells).map(async |(row, seed)| {
        let problems = in_cell(row, Damage::Flipped, Some(seed), |seen| seen.unclean(Damage::Flipped));
        (format!("{} seed {seed}", row.file), problems.await)
    });
    assert_clean(done.buffer_unordered(AT_A_TIME).collect().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_spool_of_another_version_takes_no_tunnel_down_and_is_left_as_it_is() {
    cell::run_with_another_version().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_position_that_cannot_be_opened_stops_its_output_alone_and_keeps_its_events() {
    cell::run_without_a_position().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_output_that_could_not_start_is_not_taken_for_a_new_one_later() {
    cell::run_with_an_output_that_cannot_start().await;
}
